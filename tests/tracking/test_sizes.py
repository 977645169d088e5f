"""Sizes that do not run away: targets half outside the frame, thin ones, a zoom, and what of a target the frame shows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metatrack import Tracker
from metatrack.geometry import Center, crop, iou
from metatrack.tracking.appearance import Appearance, Known, known_of
from metatrack.tracking.box_search import measurable, within
from tests.conftest import Scene


def window(scene: Scene, i: int, left: int, top: int) -> tuple[np.ndarray, np.ndarray]:
    """Part of a scene's frame, and the target's whole box in it."""
    return np.ascontiguousarray(scene.frame(i)[top : top + 180, left : left + 240]), np.array(scene.box(i)) - [left, top, 0, 0]


@pytest.mark.parametrize(("dx", "dy"), [(1, 0), (-1, 0), (0, 1), (0, -1)])
def test_a_target_that_is_half_outside_keeps_its_size_and_comes_in(dx, dy):
    """The view begins with its edge through the disc's middle, and moves until all of the disc is in it."""
    scene = Scene(size=(400, 520), length=2)
    x, y, side, _ = scene.box(0)
    edge = [middle - {1: 0, -1: size, 0: size / 2}[d] for middle, size, d in ((x + side / 2, 240, dx), (y + side / 2, 180, dy))]
    tracker, found = Tracker("lite", adapt=False), []
    for i in range(30):
        left, top = (int(v) for v in (edge - i * 1.5 * np.array([dx, dy])).clip(0))
        frame, box = window(scene, 0, left, top)
        if i == 0:
            tracker.init(frame, box.tolist())
            continue
        found.append((tracker.update(frame).box, box))
    assert min(float(iou(*pair)) for pair in found) > 0.5
    assert max(box.w * box.h / (side * side) for box, _ in found) < 2


def test_an_edge_at_the_frames_is_no_evidence():
    inside = within(50, 30, 20, 100)
    assert (inside.length, inside.middle(26)) == (30, 50)
    left = within(5, 20, 40, 100)  # -5 to 15 is seen of a target of 40
    assert (left.length, left.middle(40)) == (40, -5)
    right = within(96, 20, 40, 100)
    assert (right.length, right.middle(40)) == (40, 106)
    assert within(25, 52, 20, 100).length == 51  # -1 to 51: what is seen counts
    assert within(50, 120, 110, 100) == (110, None, None, 50)


@given(st.floats(-50, 150), st.floats(1, 200), st.floats(1, 200), st.floats(10, 100))
@settings(max_examples=60)
def test_a_seen_edge_stays_where_it_is(place, length, last, most):
    found = within(place, length, last, most)
    if found.low is not None and found.high is None:
        assert found.middle(last) - last / 2 == pytest.approx(found.low)
    elif found.high is not None and found.low is None:
        assert found.middle(last) + last / 2 == pytest.approx(found.high)
    else:
        assert found.middle(last) == place
    assert found.length >= min(length, last) - 1e-9


def test_a_side_shorter_than_a_cell_cannot_be_measured():
    assert measurable((400, 4), 22) == measurable((4, 400), 4) == 0
    assert measurable((30, 60), 15) == 1 and measurable((22.5, 60), 15) == pytest.approx(0.5)


@pytest.mark.parametrize(("w", "h"), [(200, 3), (3, 150)])
def test_a_line_is_followed_by_its_pixels(w, h):
    """A yellow line on a ground of soft noise, far too thin for the networks, moves by parts of a pixel."""
    rng = np.random.default_rng(0)
    ground = crop(rng.integers(60, 190, (24, 32, 3), dtype=np.uint8), 16, 12, 24, 320)[:240].astype(np.float32)
    tracker, found = Tracker("lite", adapt=False), []
    for i in range(15):
        x, y = 30 + 1.5 * i, 40 + 0.7 * i
        across, down = (
            (np.arange(n) + 1 - at).clip(0, 1) * (at + size - np.arange(n)).clip(0, 1)
            for n, at, size in ((320, x, w), (240, y, h))
        )
        cover = (down[:, None] * across)[..., None]
        frame = (ground * (1 - cover) + np.array([250, 240, 30]) * cover).astype(np.uint8)
        if i == 0:
            tracker.init(frame, (x, y, w, h))
            continue
        found.append(float(iou(tracker.update(frame).box, (x, y, w, h))))
    assert min(found) > 0.6


def test_what_lies_outside_is_not_known():
    assert known_of(Center(50, 50, 30, 30), 100, 100, 7, 8) is None
    known = known_of(Center(0, 50, 30, 30), 100, 100, 7, 8)
    assert known is not None
    (x, y), (u, v) = known.parts, known.cells
    assert x.tolist() == [False] * 3 + [True] * 4 and y.all()
    assert u.tolist() == [False] * 3 + [True] * 4 and v.all()


def test_what_is_not_known_is_filled_and_learnt_later():
    line = np.array([False, False, False, True, True, True, True])
    known = Known((line, np.ones(7, bool)), (line, np.ones(7, bool)))
    column = np.arange(7, dtype=np.float32)
    flat = np.broadcast_to(column, (1, 2, 7, 7)).copy()
    first = Appearance(flat, flat, known)
    assert first.repeated().parts[0, 0, 0].tolist() == [3, 3, 3, 3, 4, 5, 6]
    whole = Appearance(flat + 10, flat + 10)
    assert first.mix(whole, 0.5).parts[0, 0, 0].tolist() == [10, 11, 12, 8, 9, 10, 11]
    assert whole.mix(first, 0.5).parts[0, 0, 0].tolist() == [10, 11, 12, 8, 9, 10, 11]
    assert first.mix(whole, 0.5).known is None
