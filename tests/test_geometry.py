"""Boxes, overlap and context crops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metatrack.geometry import Box, check_box, context_side, crop, from_center, iou, mean_color, to_center, warp

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
    # Rounded twice, the average and the mixture of columns (that of rows is exact here), and places to 1/512 of a pixel.
    assert np.abs(patch[size // 2, :, 0] - expected).max() <= 1.01
    expected_y = cy - side / 2 + (np.arange(size) + 0.5) * side / size - 0.5
    assert np.abs(patch[:, size // 2, 1] - expected_y).max() <= 1.01


@given(st.integers(0, 2**32 - 1), st.integers(-15, 15), st.integers(-15, 15))
def test_crop_moves_with_the_image(seed, dx, dy):
    """Exactly, at a scale of 1.25, at which places are whole 256ths of a pixel, as weights are."""
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


@given(
    seed=st.integers(0, 2**32 - 1),
    place=st.tuples(st.floats(-40, 160), st.floats(-40, 160)),
    side=st.floats(5, 240),
    fill=st.tuples(*[st.integers(0, 255)] * 3),
)
def test_crop_is_what_its_definition_says(seed, place, side, fill):
    """Bilinear between pixel centres, with the fill wherever a pixel lies outside: in numbers without rounding."""
    image = np.random.default_rng(seed).integers(0, 256, (100, 120, 3), dtype=np.uint8)
    size, shrink = 24, int(side / 24)
    left, top = place[0] - side / 2, place[1] - side / 2
    step, source = side / size, image.astype(float)
    if shrink >= 2:  # averaged first, from the first pixel of the frame that the crop needs
        x0, y0 = max(0, math.floor(left)), max(0, math.floor(top))
        x1, y1 = min(120, math.ceil(left + side) + shrink), min(100, math.ceil(top + side) + shrink)
        nx, ny = (x1 - x0) // shrink, (y1 - y0) // shrink
        if nx >= 1 and ny >= 1:
            source = source[y0 : y0 + ny * shrink, x0 : x0 + nx * shrink].reshape(ny, shrink, nx, shrink, 3).mean((1, 3))
            left, top, step = (left - x0) / shrink, (top - y0) / shrink, step / shrink
    h, w = source.shape[:2]
    padded = np.empty((h + 4, w + 4, 3))
    padded[:] = fill
    padded[2:-2, 2:-2] = source
    x, y = (np.clip(first + step * (np.arange(size) + 0.5) - 0.5, -2, n) + 2 for first, n in ((left, w), (top, h)))
    (i, u), (j, v) = ((np.floor(p).astype(int), p - np.floor(p)) for p in (x, y))
    rows = padded[j] * (1 - v)[:, None, None] + padded[j + 1] * v[:, None, None]
    expected = rows[:, i] * (1 - u)[None, :, None] + rows[:, i + 1] * u[None, :, None]
    # A weight is off by up to 1/512 on each axis, of 255 levels at most; the average and both mixtures are rounded.
    assert np.abs(crop(image, place[0], place[1], side, size, fill) - expected).max() <= 2 * 255 / 512 + 1.5


@given(st.integers(0, 2**32 - 1), st.floats(20, 100), st.floats(20, 100), st.floats(10, 46))
def test_a_warp_without_a_turn_is_a_crop(seed, cx, cy, side):
    """Training warps, the tracker crops: the network must see the same."""
    image = np.random.default_rng(seed).integers(0, 256, (110, 120, 3), dtype=np.uint8)
    offset = np.array([cx - side / 2, cy - side / 2])
    warped = warp(image, np.eye(2) * side / 24, offset, 24, (1, 2, 3))
    assert np.abs(warped.astype(int) - crop(image, cx, cy, side, 24, (1, 2, 3))).max() <= 1


def test_warp_turns_about_what_it_says():
    image = ramp(60, 60)
    quarter = np.array([[0.0, -1.0], [1.0, 0.0]])  # u to the right is y downwards, v downwards is x to the left
    patch = warp(image, quarter, np.array([40.0, 10.0]), 20, (255, 255, 255))
    assert np.array_equal(patch[..., 1], np.broadcast_to(np.arange(10, 30), (20, 20)))
    assert np.array_equal(patch[..., 0], np.broadcast_to(np.arange(39, 19, -1)[:, None], (20, 20)))


def test_warp_far_outside_is_all_fill():
    assert (warp(ramp(9, 9), np.eye(2), np.array([500.0, -400.0]), 8, (7, 8, 9)) == (7, 8, 9)).all()


@pytest.mark.parametrize("box", [(1, 1, 1e300, 5), (60, 40, 1e-300, 5), (-1e9, 1, 2e9, 5)])
def test_boxes_beyond_all_pixels(box):
    with pytest.raises(ValueError, match="is no box in pixels"):
        check_box(box, (80, 100))
