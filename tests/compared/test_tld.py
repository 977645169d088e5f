"""TLD: median flow, the detector's cascade and the fusion against their definitions."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metatrack.compared.cascade import Ferns, Neighbours, blurred, make_grid, pattern, variances
from metatrack.compared.median_flow import correlation, follow, moved, surroundings
from metatrack.compared.tld import TLD, Detection, cluster, warped
from metatrack.geometry import Box, iou

from ..conftest import Scene


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def texture(*shape: int) -> np.ndarray:
    return np.asarray(cv2.GaussianBlur(noise(*shape), (0, 0), 3))


# --- median flow ----------------------------------------------------------------------------------------------------------


@given(st.floats(-20, 20), st.floats(-20, 20), st.floats(0.5, 2), st.integers(0, 100))
def test_box_moves_as_most_points_do(right, down, ratio, seed):
    """Twelve of sixteen points agree on a way and a size; the rest are anywhere."""
    rng = np.random.default_rng(seed)
    start = rng.uniform(0, 40, (40, 2)).astype(np.float32)
    centre = start.mean(axis=0)
    end = (start - centre) * ratio + centre + [right, down]
    end[:5] = rng.uniform(-200, 200, (5, 2))
    box = moved(Box(5, 6, 20, 30), start, end.astype(np.float32))
    assert (box.w, box.h) == pytest.approx((20 * ratio, 30 * ratio), rel=0.1)


def test_flow_follows_a_shift_and_a_growth():
    before = texture(160, 200)
    after = cv2.warpAffine(before, np.array([[1.05, 0, 3 - 5], [0, 1.05, -2 - 4]]), (200, 160), borderMode=cv2.BORDER_REPLICATE)
    box = follow(before, np.asarray(after, np.uint8), Box(70, 50, 60, 50))
    assert box == pytest.approx((1.05 * 70 - 2, 1.05 * 50 - 6, 63, 52.5), abs=0.7)


def test_flow_loses_what_is_replaced():
    assert follow(texture(160, 200), noise(160, 200, seed=1), Box(70, 50, 60, 50)) is None


def test_surroundings_are_bilinear_and_correlation_is_pearsons():
    ramp = (np.arange(30)[None] * 2 + np.arange(20)[:, None] * 3).astype(np.uint8)
    patch = surroundings(ramp, np.array([[12.5, 9.5]], np.float32)).reshape(10, 10)
    np.testing.assert_allclose(patch[0], 3 * 5 + 2 * np.arange(8, 18))
    a, b = np.random.default_rng(0).normal(size=(2, 4, 100)).astype(np.float32)
    np.testing.assert_allclose(correlation(a, b), [np.corrcoef(x, y)[0, 1] for x, y in zip(a, b)], atol=1e-5)
    assert correlation(np.ones((1, 9), np.float32), a[:1, :9]) == 0


# --- the detector ---------------------------------------------------------------------------------------------------------


@given(st.integers(1, 90), st.integers(1, 70))
def test_grid_lies_in_the_frame(width, height):
    grid = make_grid(width, height, (60, 80))
    x, y, w, h = grid.windows.T
    assert len(x) and (x >= 0).all() and (y >= 0).all() and (x + w <= 80).all() and (y + h <= 60).all()
    assert grid.begins[-1] == len(x)
    for part, size in grid.scales():
        assert (grid.windows[part, 2:] == size).all()


def test_grid_steps_are_a_tenth_of_the_smaller_side():
    grid = make_grid(40, 60, (240, 320))
    own = next(part for part, size in grid.scales() if size == (40, 60))
    assert sorted(set(grid.windows[own, 0]))[:3] == [0, 4, 8]
    assert grid.windows[:, 2:].min() >= 24


def test_variances_equal_numpys():
    image = noise(40, 50)
    windows = make_grid(12, 9, image.shape).windows[::37]
    expected = [image[y : y + h, x : x + w].var() for x, y, w, h in windows]
    np.testing.assert_allclose(variances(image, windows), expected, rtol=1e-6)


def test_blur_is_a_gaussian_of_two_pixels():
    image = noise(30, 40)
    expected = cv2.GaussianBlur(image, (13, 13), 2, borderType=cv2.BORDER_REPLICATE)
    np.testing.assert_allclose(blurred(image).astype(int), expected, atol=1)


def test_codes_are_bits_of_comparisons():
    image, ferns = noise(50, 60), Ferns(np.random.default_rng(0))
    (codes,) = ferns.codes(image, np.array([[7, 9]]), (30, 20))
    x, y = (np.minimum((ferns._points[..., axis] * side).astype(int), side - 1) for axis, side in ((0, 30), (1, 20)))
    values = image[9 + y, 7 + x]
    bits = (values[0] > values[1]).reshape(13, 10)
    assert codes.tolist() == [int("".join(str(int(bit)) for bit in bits[:, fern]), 2) for fern in range(10)]


def test_ferns_learn_what_they_get_wrong():
    ferns = Ferns(np.random.default_rng(0))
    code = np.arange(10)[None]
    assert ferns.posteriors(code) == 0
    for target, posterior in [(True, 1), (True, 1), (False, 0.5), (False, 0.5)]:
        ferns.learn(code, np.array([target]), 0.5)
        assert ferns.posteriors(code) == posterior  # the second view of the target is known, as is the second of the background
    assert ferns.positive.sum() == ferns.negative.sum() == 10


def test_similarities_equal_their_definition():
    rng = np.random.default_rng(0)
    image = texture(60, 80)
    patches = [pattern(image, (x, y, 20, 20)) for x, y in rng.integers(0, 40, (7, 2))]
    neighbours = Neighbours(np.array(patches[:3]), np.array(patches[3:6]))
    relative, conservative = neighbours.similarities(patches[6][None])
    likeness = [(1 + np.corrcoef(patches[6], other)[0, 1]) / 2 for other in patches[:6]]
    far = 1 - max(likeness[3:])
    assert relative[0] == pytest.approx(far / (far + 1 - max(likeness[:3])), abs=1e-4)
    assert conservative[0] == pytest.approx(far / (far + 1 - max(likeness[:2])), abs=1e-4)
    np.testing.assert_allclose(neighbours.similarities(np.array(patches[:2]))[0], 1, atol=1e-3)
    assert neighbours.known(np.array(patches[2:5])).tolist() == [False, True, True]


def test_neighbours_keep_what_they_do_not_recognise():
    image, neighbours = texture(60, 80), Neighbours()
    mine, other = pattern(image, (5, 5, 20, 20)), pattern(image, (40, 30, 20, 20))
    neighbours.learn([(mine, True), (other, False), (mine, True), (other, False)], 0.65)
    assert len(neighbours.positive) == len(neighbours.negative) == 1


# --- fusion and learning --------------------------------------------------------------------------------------------------


@given(st.integers(0, 200))
def test_clusters_are_linked_inside_and_apart(seed):
    rng = np.random.default_rng(seed)
    boxes = np.hstack([rng.uniform(0, 40, (12, 2)), np.full((12, 2), 20.0)])
    found = cluster(Detection(boxes, np.ones(12)))
    groups = {i: {i} for i in range(12)}
    for i, j in np.argwhere(np.array([iou(boxes, box) for box in boxes]) > 0.5):
        union = groups[i] | groups[j]
        for member in union:
            groups[member] = union
    expected = {tuple(boxes[sorted(group)].mean(axis=0).round(6)) for group in groups.values()}
    assert {tuple(box.round(6)) for box in found.boxes} == expected


def test_warps_are_small_and_noisy():
    image, rng = texture(100, 100), np.random.default_rng(0)
    views = [warped(image, (30, 20, 70, 60), 10, rng).astype(float) for _ in range(20)]
    plain = image[20:60, 30:70].astype(float)
    errors = [np.abs(view - plain).mean() for view in views]
    assert 2 < min(errors) and max(errors) < 25
    assert len(set(errors)) == 20


def test_follows_and_finds_again():
    """The target hides for ten frames: then the detector sees it, where the tracker has lost it."""
    scene, tracker = Scene(hidden=range(25, 35)), TLD()
    tracker.init(scene.frame(0), scene.box(0))
    overlaps = [float(iou(tracker.update(scene.frame(i)).box, scene.box(i))) for i in range(1, 50)]
    assert min(overlaps[:20]) > 0.5
    assert np.mean(overlaps[-5:]) > 0.5


def test_the_same_again_and_another_seed_is_another_draw():
    scene = Scene()
    runs = []
    for seed in (0, 0, 1):
        tracker = TLD(seed)
        tracker.init(scene.frame(0), scene.box(0))
        for i in range(1, 5):
            tracker.update(scene.frame(i))
        runs.append(tracker.model.ferns.positive.copy())
    assert np.array_equal(runs[0], runs[1]) and not np.array_equal(runs[0], runs[2])


@pytest.mark.parametrize(
    "box", [(40, 30, 0.4, 0.6), (40, 30, 2, 2), (40, 10, 3, 60), (-20, -20, 25.5, 26.5), (-40, -30, 180, 140)]
)
def test_odd_targets_do_no_harm(box):
    tracker = TLD()
    tracker.init(noise(80, 100, 3), box)
    for frame in (noise(80, 100, 3, seed=1), np.zeros((80, 100, 3), np.uint8), np.zeros((80, 100, 3), np.uint8)):
        found = tracker.update(frame)
        assert np.isfinite(found.score)
        assert np.isfinite(found.box).all() or np.isnan(found.box).all()


def test_mistakes_are_told():
    with pytest.raises(RuntimeError, match="before init"):
        TLD().update(noise(80, 100, 3))
    tracker = TLD()
    with pytest.raises(ValueError, match="no area"):
        tracker.init(noise(80, 100, 3), (10, 10, 0, 5))
    tracker.init(noise(80, 100, 3), (10, 10, 20, 20))
    with pytest.raises(ValueError, match="TLD needs one size"):
        tracker.update(noise(81, 100, 3))
