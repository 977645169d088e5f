"""Conversion of frames handed in by users."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from metatrack.frames import as_rgb, letterbox

SIDES = st.integers(1, 5)
SHAPES = st.one_of(st.tuples(SIDES, SIDES), st.tuples(SIDES, SIDES, st.sampled_from([1, 3, 4])))
FRAMES = st.sampled_from(["u1", "<u2", ">u2", "?"]).flatmap(lambda dtype: hnp.arrays(np.dtype(dtype), SHAPES))


@settings(max_examples=150, deadline=None)
@given(FRAMES)
def test_every_accepted_frame_becomes_rgb_and_stays_as_it_was(frame: np.ndarray[Any, Any]) -> None:
    before = frame.copy()
    frame.flags.writeable = False
    rgb = as_rgb(frame)
    assert rgb.dtype == np.uint8 and rgb.shape == (*frame.shape[:2], 3)
    np.testing.assert_array_equal(frame, before)
    if rgb is not frame:
        assert not np.shares_memory(rgb, frame)  # a tracker that draws on its copy must not reach the user's frame
        assert rgb.flags.c_contiguous


def test_rgb_is_returned_as_it_is() -> None:
    frame = np.zeros((4, 6, 3), np.uint8)
    view = frame[:, ::-1]
    assert as_rgb(frame) is frame
    assert as_rgb(view) is view


@pytest.mark.parametrize(
    ("frame", "pixel"),
    [
        (np.full((2, 2), 7, np.uint8), [7, 7, 7]),
        (np.full((2, 2, 1), 7, np.uint8), [7, 7, 7]),
        (np.full((2, 2, 4), [1, 2, 3, 0], np.uint8), [1, 2, 3]),  # fully transparent, and yet its colour
        (np.full((2, 2, 3), [257, 514, 65535], np.uint16), [1, 2, 255]),
        (np.full((2, 2, 3), [128, 129, 65407], np.uint16), [0, 1, 255]),  # 0.498, 0.502, 254.502
        (np.full((2, 2), 4095, np.uint16), [16, 16, 16]),  # 12 bits in 16: dark, as documented
        (np.full((2, 2), 4095 << 4, ">u2"), [255, 255, 255]),  # the documented remedy, in the other byte order
        (np.array([[True, False]]), [255, 255, 255]),
    ],
)
def test_values(frame: np.ndarray[Any, Any], pixel: list[int]) -> None:
    assert as_rgb(frame)[0, 0].tolist() == pixel


@pytest.mark.parametrize(
    "dtype", [np.float16, np.float32, np.float64, np.int8, np.int32, np.int64, np.uint32, np.complex64, object]
)
def test_types_whose_range_is_a_guess_are_refused(dtype: type) -> None:
    with pytest.raises(TypeError, match=np.dtype(dtype).name):
        as_rgb(np.zeros((2, 2, 3), dtype))


def test_the_remedy_for_floats_works() -> None:
    with pytest.raises(TypeError, match=r"\(frame \* 255\)\.astype\(np\.uint8\)"):
        as_rgb(np.full((2, 2, 3), 0.5))
    assert as_rgb((np.full((2, 2, 3), 0.5) * 255).astype(np.uint8)).max() == 127


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((3, 20, 30), "channels come last"),
        ((20, 30, 2), r"\(20, 30, 2\)"),
        ((20, 30, 5), r"\(20, 30, 5\)"),
        ((20,), r"\(20,\)"),
        ((), r"\(\)"),
        ((1, 20, 30, 3), r"\(1, 20, 30, 3\)"),
        ((0, 30, 3), "no pixels"),
        ((20, 0), "no pixels"),
    ],
)
def test_other_shapes_are_refused(shape: tuple[int, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        as_rgb(np.zeros(shape, np.uint8))


def test_other_objects_are_refused_by_name() -> None:
    with pytest.raises(TypeError, match="builtins.list"):
        as_rgb([[0, 0, 0]])  # type: ignore[arg-type]


def test_letterbox_keeps_the_aspect() -> None:
    frame = np.full((10, 40, 3), 200, np.uint8)
    assert letterbox(frame, 40, 10) is frame
    box = letterbox(frame, 20, 20)  # scale 1/2: 20 x 5, with 7 rows above it and 8 below
    assert box.shape == (20, 20, 3)
    assert (box[7:12] == 200).all() and not box[:7].any() and not box[12:].any()
    tall = letterbox(np.full((40, 10, 3), 200, np.uint8), 20, 20)
    assert (tall[:, 7:12] == 200).all() and not tall[:, :7].any()
