"""Pixels of a sample: what a transformation changes, and what it leaves as it is."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("PIL", reason="training needs the train extra")

from metatrack.geometry import warp  # noqa: E402
from metatrack.training import augment  # noqa: E402
from metatrack.training.augment import Augmentation, View, cover, motion_blur, resample, resized, within  # noqa: E402

PLAIN = Augmentation(flip=False, gray=False, rotation=0.0, stretch=0.0)
SIDE = 96


@pytest.fixture
def scene():
    """A frame of noise whose target, of 40x40 pixels at (100, 80), is bright."""
    frame = np.random.default_rng(0).integers(0, 90, (200, 260, 3), dtype=np.uint8)
    frame[60:100, 80:120] += 150
    return View(frame, 100.0, 80.0, 40.0, 40.0)


def cut(augmentation, view, *, shift=(0.0, 0.0), beyond=None, size=127):
    return augmentation.cut(view, 1.0, np.array(shift), size, np.eye(2), beyond)


def bright(patch):
    """Centre (x, y) of what is bright."""
    rows, columns = np.nonzero(patch.min(2) > 140)
    return columns.mean() + 0.5, rows.mean() + 0.5


class TestCut:
    def test_the_target_lies_where_the_shift_says(self, scene):
        assert bright(cut(PLAIN, scene)) == pytest.approx((63.5, 63.5), abs=1)
        assert bright(cut(PLAIN, scene, shift=(20.0, -13.0))) == pytest.approx((83.5, 50.5), abs=1)

    def test_a_flip_mirrors_the_scene_around_the_target(self, scene):
        flipped = Augmentation(flip=True, gray=False, rotation=0.0, stretch=0.0)
        plain, mirrored = cut(PLAIN, scene).astype(int), cut(flipped, scene).astype(int)
        assert np.abs(plain[:, ::-1] - mirrored).max() <= 1

    def test_a_large_target_is_averaged_not_sampled(self):
        board = np.indices((600, 600)).sum(0) % 2 * 255  # a chequer of single pixels
        view = View(np.repeat(board[..., None], 3, 2).astype(np.uint8), 300.0, 300.0, 200.0, 200.0)
        patch = cut(PLAIN, view)
        # 400 px of context on 127 are means of 3x3 pixels: 4 or 5 of the 9 are white.
        assert np.abs(patch[20:-20, 20:-20] / 255 - 0.5).max() < 0.07

    def test_another_scene_lies_behind_the_border_and_nowhere_else(self, scene):
        corner = scene._replace(cx=2.0, cy=2.0)
        plain = cut(PLAIN, corner, size=255)
        foreign = cut(PLAIN, corner, size=255, beyond=np.full((50, 70, 3), (10, 200, 30), np.uint8))
        first = 127 - int(2 * 127 / 80)  # column of the frame's first pixel
        assert (foreign[: first - 4, : first - 4] == (10, 200, 30)).all()
        assert (foreign[first + 6 :, first + 6 :] == plain[first + 6 :, first + 6 :]).all()


@pytest.fixture(params=["OpenCV", "Pillow"])
def either(request, monkeypatch):
    """Both ways to resample in turn; what it gives is OpenCV's version, 0 without it."""
    if request.param == "OpenCV":
        return int(pytest.importorskip("cv2", reason="asks for OpenCV's way").__version__.split(".")[0])
    monkeypatch.setattr(augment, "OPENCV", None)
    return 0


def test_resampling_is_the_trackers_inside_the_image(either):
    frame = np.random.default_rng(1).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    linear, offset = np.array([[0.8, 0.2], [-0.15, 0.9]]), np.array([20.3, 25.6])
    difference = resample(frame, linear, offset, 60).astype(int) - warp(frame, linear, offset, 60)
    assert np.abs(difference).max() <= (6 if either == 4 else 2)  # OpenCV 4 knows places to 1/32 of a pixel
    assert (resample(frame, np.eye(2), np.array([500.0, 0.0]), 8, (1.2, 2.0, 3.7)) == (1, 2, 4)).all()


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize("scale", [0.2, 1.0])
def test_what_lies_within_shows_the_image_and_nothing_else(scale):
    white = np.full((50, 70, 3), 255, np.uint8)
    linear, offset = scale * np.array([[1.1, 0.3], [-0.2, 0.9]]), scale * np.array([-20.0, -5.0])
    inside, shown = within(white, linear, offset, 90), resample(white, linear, offset, 90)[..., 0]
    assert (shown[inside] == 255).all()
    # A seam is left out, of a patch pixel and half an image pixel.
    rows, columns = np.nonzero(inside)
    assert (shown[rows - 1, columns] == 255).all() and (shown[rows, columns - 1] == 255).all()
    assert 0 < (shown > 0).sum() - inside.sum() < 4 * 90 * (2 + 1 / scale)


class TestColor:
    @pytest.mark.parametrize("seed", range(12))
    def test_gray_is_gray_and_the_shape_stays(self, scene, seed):
        rng = np.random.default_rng(seed)
        patch = Augmentation(flip=False, gray=True, rotation=0.0, stretch=0.0).color(cut(PLAIN, scene), rng)
        assert patch.shape == (127, 127, 3) and patch.dtype == np.uint8
        assert np.ptp(patch.astype(int), axis=2).max() <= 60  # noise alone, which is drawn for each channel
        assert np.median(np.ptp(patch.astype(int), axis=2)) <= 25

    def test_all_templates_of_a_pair_get_the_same_colours(self, scene):
        patches = PLAIN.template(scene, (1.0, 1.0), np.random.default_rng(5))
        assert np.array_equal(patches[0], patches[1])
        assert patches[0].flags.writeable  # torch shares their memory


class TestMotionBlur:
    @given(st.integers(3, 9), st.floats(0, math.pi), st.integers(0, 255))
    @settings(max_examples=30)
    def test_one_colour_stays(self, length, angle, value):
        flat = np.full((20, 24, 3), value, np.uint8)
        assert np.array_equal(motion_blur(flat, length, angle), flat)

    @pytest.mark.parametrize(("angle", "axis"), [(0.0, 1), (math.pi / 2, 0)])
    def test_a_dot_becomes_a_line(self, angle, axis):
        dot = np.zeros((21, 21, 3), np.uint8)
        dot[10, 10] = 250
        blurred = motion_blur(dot, 5, angle)
        places = np.argwhere(blurred[..., 0])
        assert (blurred[places[:, 0], places[:, 1]] == 50).all()  # 250 over five places
        assert places[:, axis].tolist() == [8, 9, 10, 11, 12]
        assert set(places[:, 1 - axis]) == {10}


def test_resized_averages_and_interpolates():
    board = np.zeros((4, 4, 3), np.uint8)
    board[:, 2:] = 200
    assert resized(board, 2)[..., 0].tolist() == [[0, 200], [0, 200]]
    assert resized(board, 1)[..., 0].tolist() == [[100]]
    row = resized(board, 8)[0, :, 0].tolist()
    assert row == sorted(row) and 0 < row[3] < row[4] < 200


@given(st.integers(0, 10_000))
@settings(max_examples=40)
def test_a_cover_hides_a_part_of_the_target_with_the_patch_itself(seed):
    rng = np.random.default_rng(seed)
    patch = np.repeat(np.arange(255 * 255).reshape(255, 255, 1) % 251, 3, 2).astype(np.uint8)
    before, size = patch.copy(), np.array([80.0, 60.0])
    covered = cover(patch, np.array([127.0, 127.0]), size, rng)
    assert np.array_equal(patch, before)
    changed = np.argwhere((covered != patch).any(2))
    assert len(changed) < 0.6 * size.prod()
    assert len(changed) == 0 or np.abs(changed - 127).max() < 80
