"""Correlation filters to compare with: their parts against the definitions, the trackers on scenes and published boxes."""

from __future__ import annotations

import itertools
import math
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metatrack.compared.ccot import CCOT
from metatrack.compared.correlation import gaussian_kernel, gaussian_labels, halved, hann, peak, subwindow
from metatrack.compared.csk import CSK
from metatrack.compared.dsst import DSST, FACTORS
from metatrack.compared.hog import CHANNELS, CLIP, TEXTURE, hog
from metatrack.compared.kcf import KCF
from metatrack.compared.meem import MEEM
from metatrack.compared.srdcf import SRDCF
from metatrack.data.otb import read_otb
from metatrack.frames import as_rgb
from metatrack.geometry import Box, check_box, iou, to_center
from tests.conftest import Scene
from tests.evaluation.helpers import published_results

TRACKERS = [CSK, KCF, DSST, SRDCF, MEEM, CCOT]


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


# --- HOG ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "cell", "cells"), [((150, 150), 4, (37, 37)), ((8, 11), 4, (2, 2)), ((5, 7), 1, (5, 7))])
def test_hog_shape(size, cell, cells):
    result = hog(noise(2, *size, 3), cell)
    assert result.shape == (2, CHANNELS, *cells)
    assert result.dtype == np.float32


@pytest.mark.parametrize("direction", range(18))
def test_hog_of_a_slope_is_one_direction(direction):
    """A plane that rises at 20 degrees times k, clockwise from the right: all of a cell is in bin k.

    A block of 2 x 2 equal cells has the norm 2 |cell|, so the normalised cell is 1/2, clipped to 0.2, four times. Half of the
    four goes into the signed and the unsigned channel (0.4), and each texture sums one direction.
    """
    angle = 2 * math.pi * direction / 18
    y, x = np.mgrid[:40, :40]
    plane = 3 * (math.cos(angle) * x + math.sin(angle) * y)
    cells = hog(plane[None, :, :, None], 4)[0, :, 2:-2, 2:-2]  # away from the border
    expected = np.zeros(CHANNELS)
    expected[[direction, 18 + direction % 9]] = 0.4
    expected[27:] = TEXTURE * CLIP
    np.testing.assert_allclose(cells, np.broadcast_to(expected[:, None, None], cells.shape), atol=1e-6)


def slow_hog(image: np.ndarray, cell: int) -> np.ndarray:
    """``(H, W)`` to ``(31, rows, columns)``, pixel by pixel and cell by cell."""
    height, width = image.shape
    rows, columns = height // cell, width // cell
    signed = np.zeros((18, rows, columns))
    for y, x in itertools.product(range(rows * cell), range(columns * cell)):
        up, down, left, right = max(y - 1, 0), min(y + 1, height - 1), max(x - 1, 0), min(x + 1, width - 1)
        dy, dx = (image[down, x] - image[up, x]) / (down - up), (image[y, right] - image[y, left]) / (right - left)
        bin_ = int(math.atan2(dy, dx) % (2 * math.pi) / (2 * math.pi) * 18 + 0.5) % 18
        for row, column in itertools.product(range(rows), range(columns)):
            away = abs((y + 0.5) / cell - row - 0.5), abs((x + 0.5) / cell - column - 0.5)
            share = max(0, 1 - away[0]) * max(0, 1 - away[1]) / cell**2
            share *= (8 / 7) ** ((row in (0, rows - 1)) + (column in (0, columns - 1)))
            signed[bin_, row, column] += share * math.hypot(dx, dy)
    unsigned = signed[:9] + signed[9:]
    out = np.zeros((31, rows, columns))
    for row, column in itertools.product(range(rows), range(columns)):
        for k, (right, below) in enumerate([(1, 1), (1, 0), (0, 1), (0, 0)]):
            top = min(max(row - 1 + below, 0), rows - 2)
            left = min(max(column - 1 + right, 0), columns - 2)
            norm = math.sqrt((unsigned[:, top : top + 2, left : left + 2] ** 2).sum() + 1e-4 / 4 / cell**4)
            clipped = np.minimum(signed[:, row, column] / norm, 0.2)
            out[:18, row, column] += clipped / 2
            out[18:27, row, column] += np.minimum(unsigned[:, row, column] / norm, 0.2) / 2
            out[27 + k, row, column] = TEXTURE * clipped.sum()
    return out


@pytest.mark.parametrize(("size", "cell"), [((21, 18), 4), ((9, 12), 3), ((6, 5), 1)])
def test_hog_equals_its_definition(size, cell):
    image = cv2.GaussianBlur(noise(*size), (0, 0), 1.0).astype(np.float64)
    np.testing.assert_allclose(hog(image[None, :, :, None], cell)[0], slow_hog(image, cell), atol=2e-5)


@given(st.integers(0, 1000), st.sampled_from([1, 4]))
def test_hog_is_bounded(seed, cell):
    result = hog(noise(1, 16, 20, 3, seed=seed), cell)
    assert result.min() >= 0
    assert result[:, :27].max() <= 4 * CLIP / 2 + 1e-6
    assert result[:, 27:].max() <= 18 * CLIP * TEXTURE + 1e-6


def test_hog_of_several_images_and_of_nothing():
    images = noise(3, 24, 20, 3)
    np.testing.assert_array_equal(hog(images, 4), np.concatenate([hog(image[None], 4) for image in images]))
    assert not hog(np.full((1, 24, 20, 1), 77), 4).any()


def test_hog_sees_no_contrast_and_takes_the_strongest_colour():
    image = noise(1, 24, 20, 1) / np.float32(8)
    np.testing.assert_allclose(hog(7 * image + 5, 4), hog(image, 4), atol=1e-4)
    np.testing.assert_array_equal(hog(np.concatenate([image / 4, image, 0 * image], axis=3), 4), hog(image, 4))


def test_hog_needs_two_cells():
    with pytest.raises(ValueError, match="7x20 pixels hold no 2 x 2 cells of 4"):
        hog(noise(1, 20, 7, 1), 4)


# --- correlation ----------------------------------------------------------------------------------------------------------


def test_kernel_equals_its_definition_at_each_shift():
    rng = np.random.default_rng(3)
    x, z = rng.normal(size=(2, 3, 5, 6))
    kernel = gaussian_kernel(x, z, 0.7)
    for shift in np.ndindex(5, 6):
        moved = np.roll(z, shift, axis=(1, 2))
        assert kernel[shift] == pytest.approx(math.exp(-np.mean((x - moved) ** 2) / 0.7**2))
    assert gaussian_kernel(x, x, 0.7)[0, 0] == pytest.approx(1)


@given(st.integers(-7, 7), st.integers(-9, 9), st.integers(0, 100))
def test_a_moved_patch_peaks_at_its_shift(down, right, seed):
    patch = np.random.default_rng(seed).normal(size=(2, 16, 20))
    moved = np.roll(patch, (down, right), axis=(1, 2))
    assert peak(gaussian_kernel(moved, patch, 0.5))[:2] == (down, right)


def test_labels_peak_at_no_shift_and_wrap():
    labels = gaussian_labels(6, 9, 1.5)
    assert labels[0, 0] == labels.max() == 1
    assert labels[1, 2] == pytest.approx(math.exp(-5 / (2 * 1.5**2)))
    np.testing.assert_allclose(labels[1:], labels[:0:-1])
    np.testing.assert_allclose(labels[:, 1:], labels[:, :0:-1])


def test_window_is_zero_at_its_border():
    window = hann(7, 5)
    assert window[3, 2] == 1
    assert not window[[0, -1]].any() and not window[:, [0, -1]].any()


@given(st.integers(-30, 50), st.integers(-30, 50), st.integers(1, 40), st.integers(1, 40))
def test_subwindow_repeats_the_border(row, column, height, width):
    image = noise(13, 17, 3)
    padded = np.pad(image, ((99, 99), (99, 99), (0, 0)), mode="edge")
    top, left = 99 + row + 1 - height // 2, 99 + column + 1 - width // 2
    expected = padded[top : top + height, left : left + width]
    np.testing.assert_array_equal(subwindow(image, row, column, height, width), expected)


def test_halved():
    assert halved(np.full((7, 8), 200, np.uint8)).tolist() == [[200] * 4] * 4
    ramp = np.broadcast_to(np.arange(0, 40, 2, dtype=np.uint8), (20, 20))
    # Pixel i of the half lies between pixels 2 i and 2 i + 1, whose values are 4 i and 4 i + 2.
    assert halved(ramp)[5, 2:-2].tolist() == [4 * i + 1 for i in range(2, 8)]


# --- the trackers ---------------------------------------------------------------------------------------------------------


def follow(tracker, scene: Scene, frames: int = 30) -> list[Box]:
    tracker.init(scene.frame(0), scene.box(0))
    return [tracker.update(scene.frame(i)).box for i in range(1, frames)]


@pytest.mark.parametrize("kind", TRACKERS)
def test_follows_a_moving_target(kind):
    scene = Scene()
    overlaps = [float(iou(box, scene.box(i))) for i, box in enumerate(follow(kind(), scene), 1)]
    assert min(overlaps) > 0.7  # KCF's steps of 4 pixels cost up to a sixth of a box of 44
    assert np.mean(overlaps) > 0.8


@pytest.mark.parametrize("kind", [CSK, KCF])
def test_follows_a_large_target_in_halved_frames(kind):
    frame = cv2.GaussianBlur(noise(240, 320, 3), (0, 0), 3)
    tracker = kind()
    tracker.init(frame, (90, 60, 110, 100))
    assert tracker.model.view.shrink == 2
    moved = np.roll(frame, (8, -16), axis=(0, 1))
    assert tracker.update(moved).box == (74, 68, 110, 100)


@pytest.mark.parametrize("growth", [1.012, 1 / 1.012])
def test_dsst_follows_growth(growth):
    """A texture that grows around its centre by less than a step of 2 % a frame."""
    texture = cv2.resize(noise(12, 12, 3), (96, 96), interpolation=cv2.INTER_CUBIC)
    background = cv2.GaussianBlur(noise(200, 240, 3, seed=1), (0, 0), 2)

    def shown(i: int) -> tuple[np.ndarray, tuple[float, float, float, float]]:
        side = 2 * round(24 * growth**i)
        frame, x, y = background.copy(), 120 - side // 2, 100 - side // 2
        frame[y : y + side, x : x + side] = cv2.resize(texture, (side, side), interpolation=cv2.INTER_AREA)
        return frame, (x, y, side, side)

    tracker = DSST()
    tracker.init(*shown(0))
    for i in range(1, 31):
        frame, truth = shown(i)
        box = tracker.update(frame).box
    assert truth[2] == 68 or truth[2] == 34
    assert box.w == pytest.approx(truth[2], rel=0.1)
    assert iou(box, truth) > 0.8


def test_dsst_looks_at_33_sizes():
    assert len(FACTORS) == 33
    assert FACTORS[16] == 1
    np.testing.assert_allclose(FACTORS[1:] / FACTORS[:-1], 1.02)


@pytest.mark.parametrize("kind", TRACKERS)
def test_frames_are_not_changed_and_answers_are_the_same_again(kind):
    scene = Scene()
    frames = [scene.frame(i) for i in range(4)]
    copies = [frame.copy() for frame in frames]
    for frame in frames:
        frame.setflags(write=False)
    tracker, runs = kind(), []
    for _ in range(2):  # init() forgets the first target
        tracker.init(frames[0], scene.box(0))
        runs.append([tracker.update(frame) for frame in frames[1:]])
    assert runs[0] == runs[1]
    assert all(isinstance(value, float) for found in runs[0] for value in (*found.box, found.score))
    assert all(np.array_equal(a, b) for a, b in zip(frames, copies, strict=True))


@pytest.mark.parametrize("kind", TRACKERS)
def test_gray_frames_and_gray_colours_are_the_same(kind):
    gray = [cv2.cvtColor(Scene().frame(i), cv2.COLOR_RGB2GRAY) for i in range(3)]
    results = []
    for frames in (gray, [as_rgb(frame) for frame in gray]):
        tracker = kind()
        tracker.init(frames[0], Scene().box(0))
        results.append([tracker.update(frame) for frame in frames[1:]])
    assert results[0] == results[1]


@pytest.mark.parametrize("kind", TRACKERS)
@pytest.mark.parametrize("box", [(200, 10, 20, 20), (10, 10, 0, 5), (10, 10, -3, 5), (1, 2, 3), (math.nan, 1, 5, 5)])
def test_bad_boxes_are_told_as_everywhere(kind, box):
    with pytest.raises(ValueError) as expected:
        check_box(box, (80, 100))
    with pytest.raises(ValueError) as told:
        kind().init(noise(80, 100, 3), box)
    assert str(told.value) == str(expected.value)


@pytest.mark.parametrize("kind", TRACKERS)
def test_bad_frames_are_told_as_everywhere(kind):
    frames: list[Any] = [np.zeros((80, 100, 3), np.float32), np.zeros((80, 100, 2), np.uint8), [[1, 2], [3, 4]]]
    for frame in frames:
        with pytest.raises((TypeError, ValueError)) as expected:
            as_rgb(frame)
        tracker = kind()
        with pytest.raises(expected.type) as told:
            tracker.init(frame, (10, 10, 20, 20))
        assert str(told.value) == str(expected.value)
        tracker.init(noise(80, 100, 3), (10, 10, 20, 20))
        with pytest.raises(expected.type):
            tracker.update(frame)


@pytest.mark.parametrize("kind", TRACKERS)
def test_order_of_calls_and_senseless_size(kind):
    with pytest.raises(RuntimeError, match="before init"):
        kind().update(noise(80, 100, 3))
    with pytest.raises(ValueError, match="more than 2 times as large as the frame of 100x80"):
        kind().init(noise(80, 100, 3), (-1e3, -1e3, 2e3, 2e3))
    with pytest.raises(ValueError, match="is no box in pixels"):
        kind().init(noise(80, 100, 3), (-1e9, -1e9, 2e9, 2e9))


ODD = [(40, 30, 0.4, 0.6), (40, 30, 2, 2), (40, 10, 3, 60), (-20, -20, 25.5, 26.5), (-40, -30, 180, 140)]


@pytest.mark.parametrize("kind", TRACKERS)
@pytest.mark.parametrize("box", ODD)
def test_odd_targets_do_no_harm(kind, box):
    """Tiny, thin, leaving the frame, larger than the frame; then the frame goes black."""
    tracker = kind()
    tracker.init(noise(80, 100, 3), box)
    for frame in (noise(80, 100, 3, seed=1), np.zeros((80, 100, 3), np.uint8), np.zeros((80, 100, 3), np.uint8)):
        found = tracker.update(frame)
        assert np.isfinite([*found.box, found.score]).all()
        assert found.box.w > 0 and found.box.h > 0


# --- published boxes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "file", "target", "frames", "away"),
    [
        (CSK, "CSK", "Human7", 30, 0.01),
        (CSK, "CSK", "CarScale", 60, 0.1),
        (KCF, "KCF_GaussHog", "Crossing", 60, 0.01),
        (KCF, "KCF_GaussHog", "Couple", 60, 0.01),
        (DSST, "DSST", "Girl", 40, 0.5),
        (DSST, "DSST", "CarScale", 40, 0.5),
        (SRDCF, "SRDCF", "Crossing", 60, 1.2),
        (SRDCF, "SRDCF", "Couple", 60, 0.5),
        (MEEM, "MEEM", "Football1", 60, 2.0),
    ],
)
def test_agrees_with_published_boxes(shared, kind, file, target, frames, away):
    """Mean distance of centres in pixels from those of the authors' code, which saw the frames before they were re-encoded."""
    sequences = shared / "data" / "otb" / "sequences"
    results = shared / "data" / "otb" / "results" / f"{file}__zhangzheng.zip"
    if not sequences.is_dir() or not results.is_file():
        pytest.skip(f"needs {sequences} and {results}")
    (sequence,) = (s for s in read_otb(sequences) if s.name == target)
    theirs = published_results(results)[target].boxes
    tracker = kind()
    tracker.init(sequence.frame(0), sequence.boxes[0])
    distances = []
    for i in range(1, frames):
        (x, y, *_), (true_x, true_y, *_) = to_center(tracker.update(sequence.frame(i)).box), to_center(theirs[i])
        distances.append(math.hypot(x - true_x, y - true_y))
    assert np.mean(distances) <= away
