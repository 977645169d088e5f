"""Boxes, overlap and context crops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metatrack.geometry import Box, check_box, context_side, crop, from_center, iou, mean_color, to_center

coordinate = st.floats(-1e4, 1e4)
extent = st.floats(1, 1e4)
boxes = st.tuples(coordinate, coordinate, extent, extent)


@given(boxes)
def test_center_round_trip(box):
    assert from_center(to_center(box)) == pytest.approx(box, abs=1e-6)


@given(boxes, boxes)
def test_iou_is_symmetric_bounded_and_one_for_itself(a, b):
    assert 0 <= iou(a, b) <= 1
    assert iou(a, b) == pytest.approx(float(iou(b, a)))
    assert iou(a, a) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ((0, 0, 4, 4), (2, 2, 4, 4), 4 / 28),  # 2x2 shared of 16 + 16 - 4
        ((0, 0, 4, 4), (4, 0, 4, 4), 0.0),  # they touch
        ((0, 0, 10, 10), (2, 2, 5, 5), 25 / 100),  # one inside the other
        ((0, 0, math.nan, 4), (0, 0, 4, 4), 0.0),
        ((0, 0, 0, 0), (0, 0, 0, 0), 0.0),
    ],
)
def test_iou_values(a, b, expected):
    assert iou(a, b) == pytest.approx(expected)


def test_context_side():
    # w 30, h 50: p = 40, sqrt(70 * 90)
    assert context_side(30, 50) == pytest.approx(math.sqrt(6300))


@pytest.mark.parametrize(
    ("box", "words"),
    [
        ((0, 0, 0, 5), "no area"),
        ((0, 0, 5, -1), "no area"),
        ((math.nan, 0, 5, 5), "not finite"),
        ((0, 0, math.inf, 5), "not finite"),
        ((100, 0, 5, 5), "outside the frame of 100x80"),
        ((0, 80, 5, 5), "outside"),
        ((-6, 0, 5, 5), "outside"),
        ((1, 2, 3), "four numbers"),
        ("abcd", "four numbers"),
    ],
)
def test_bad_boxes_are_named(box, words):
    with pytest.raises(ValueError, match=words):
        check_box(box, (80, 100))


def test_a_box_partly_outside_is_fine():
    assert check_box((-3, -3, 5, 5), (80, 100)) == Box(-3, -3, 5, 5)


def ramp(height: int, width: int) -> np.ndarray:
    """An image whose red is x and whose green is y."""
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = np.arange(width)
    image[..., 1] = np.arange(height)[:, None]
    return image


def test_crop_at_scale_one_is_a_slice():
    image = ramp(100, 120)
    patch = crop(image, 60.0, 50.0, 20.0, 20)
    assert np.array_equal(patch, image[40:60, 50:70])


def test_crop_outside_is_filled():
    patch = crop(ramp(40, 40), 0.0, 20.0, 20.0, 20, (7, 8, 9))
    assert (patch[:, :10] == (7, 8, 9)).all()  # x from -10 to 0
    assert np.array_equal(patch[:, 10:, 0], np.broadcast_to(np.arange(10), (20, 10)))


@given(cx=st.floats(60, 140), cy=st.floats(60, 140), side=st.floats(10, 100))
def test_crop_shows_the_place_it_names(cx, cy, side):
    """On a ramp, the crop's values are the coordinates that its docstring promises, at any scale."""
    size = 31
    patch = crop(ramp(200, 200), cx, cy, side, size).astype(float)
    # Pixel p's centre, p + 0.5 of size, shows the image's coordinate; a ramp's value at coordinate x is x - 0.5.
    expected = cx - side / 2 + (np.arange(size) + 0.5) * side / size - 0.5
    assert np.abs(patch[size // 2, :, 0] - expected).max() <= 1.01
    expected_y = cy - side / 2 + (np.arange(size) + 0.5) * side / size - 0.5
    assert np.abs(patch[:, size // 2, 1] - expected_y).max() <= 1.01


@given(st.integers(0, 2**32 - 1), st.integers(-15, 15), st.integers(-15, 15))
def test_crop_moves_with_the_image(seed, dx, dy):
    """Exactly, at a scale of 1.25, whose offsets are whole eighths: OpenCV interpolates in steps of 1/32."""
    image = np.random.default_rng(seed).integers(0, 256, (120, 120, 3), dtype=np.uint8)
    moved = np.roll(image, (dy, dx), (0, 1))
    before = image.copy()
    assert np.array_equal(crop(image, 60, 60, 40, 32), crop(moved, 60 + dx, 60 + dy, 40, 32))
    assert np.array_equal(image, before)


def test_a_large_target_does_not_alias():
    """A one-pixel chessboard shrunk by 8 is gray, not a moiré."""
    board = (np.indices((400, 400)).sum(0) % 2 * 255).astype(np.uint8)
    patch = crop(np.stack([board] * 3, -1), 200, 200, 320, 40)
    assert np.abs(patch.astype(int) - 127).max() <= 2


def test_mean_color():
    image = np.zeros((2, 2, 3), np.uint8)
    image[0] = (10, 20, 30)
    assert mean_color(image) == (5, 10, 15)
