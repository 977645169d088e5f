"""MEEM's features, prototypes and ensemble against their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metatrack.compared.meem import MEEM, frame_score, phi, pool
from metatrack.compared.prototypes import PROTOTYPES, Machine, Samples, costs, no_prototypes, train, within_budget
from metatrack.compared.rank import binary_maps, box_mean, rank, to_lab
from tests.conftest import Scene


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


# --- features -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [1, 2, 5])
def test_rank_equals_its_definition(side):
    image = noise(9, 8)
    padded = np.pad(image, side, mode="edge") // 8
    expected = np.empty(image.shape)
    for y, x in np.ndindex(*image.shape):
        top, left = y + side - side // 2, x + side - side // 2
        around = padded[top : top + side, left : left + side]
        expected[y, x] = 255 - 255 * (around >= image[y, x] // 8).mean()
    np.testing.assert_allclose(rank(image, side), expected, atol=1e-3)


def test_rank_does_not_see_the_light():
    image = noise(12, 12) // 16 * 8
    np.testing.assert_array_equal(rank(image, 5), rank(image + np.uint8(64), 5))


def test_lab_of_known_colours():
    """The sRGB primaries in CIE Lab are (53.24, 80.09, 67.20), (87.73, -86.18, 83.18) and (32.30, 79.19, -107.86)."""
    lab = to_lab(np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [128, 128, 128]]], np.uint8))[:, 0].astype(int)
    known = [(53.24, 80.09, 67.20), (87.73, -86.18, 83.18), (32.30, 79.19, -107.86), (53.59, 0, 0)]
    for found, (lightness, a, b) in zip(lab.T, known):
        expected = [lightness / 100, (3 * a + 110) / 220, (3 * b + 110) / 220]
        np.testing.assert_allclose(found, np.clip(np.multiply(255, expected), 0, 255), atol=2)


def test_sixteen_maps_of_colour_and_of_grey():
    colour = noise(20, 24, 3)
    maps = binary_maps(colour, 5)
    assert maps.shape == (16, 20, 24) and maps.dtype == np.bool_
    assert (maps[4:7].astype(int) - maps[5:8] >= 0).all()  # a higher threshold lets less through
    grey = np.repeat(colour[..., :1], 3, axis=2)
    np.testing.assert_array_equal(binary_maps(grey, 5)[8], grey[..., 0] > 255 / 9)


@given(st.integers(1, 7), st.integers(0, 100))
def test_box_mean_equals_the_mean(side, seed):
    values = np.random.default_rng(seed).normal(size=(6, 9)).astype(np.float32)
    before, after = side // 2, side - 1 - side // 2
    padded = np.pad(values, ((before, after), (before, after)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (side, side))
    np.testing.assert_allclose(box_mean(values, side), windows.mean(axis=(2, 3)), atol=1e-5)


# --- prototypes -----------------------------------------------------------------------------------------------------------


def cloud(positive: int, negative: int, seed: int = 0) -> Samples:
    rng = np.random.default_rng(seed)
    labels = np.r_[np.ones(positive), -np.ones(negative)].astype(np.float32)
    vectors = (rng.normal(size=(len(labels), 6)) + labels[:, None] * 0.2).astype(np.float32)
    return Samples(vectors, labels, np.ones(len(labels), np.float32))


@given(st.lists(st.floats(0.01, 5), min_size=2, max_size=20), st.integers(0, 100))
def test_both_classes_cost_the_same(weights, seed):
    labels = np.where(np.arange(len(weights)) % 2, 1, -1)
    np.random.default_rng(seed).shuffle(labels)
    value = costs(labels, np.array(weights))
    assert value.sum() == pytest.approx(100, abs=0.001 * len(weights))
    assert value[labels > 0].sum() == pytest.approx(50, abs=0.001 * len(weights))


def test_training_keeps_support_vectors_and_separates():
    samples = cloud(20, 20)._replace(vectors=np.eye(40, 6, dtype=np.float32) + cloud(20, 20).labels[:, None])
    machine = train(no_prototypes(6), samples)
    assert (np.sign(machine.scores(samples.vectors)) == samples.labels).all()
    assert 2 <= len(machine.prototypes.labels) < 40
    support = np.abs(machine.scores(machine.prototypes.vectors))
    np.testing.assert_allclose(support, 1, atol=0.01)  # nothing is inside the margin, and only its edge supports it


def test_merging_keeps_the_sum_of_each_class():
    samples = cloud(40, 80)
    before = Machine(np.zeros(6, np.float32), 0.0, samples)
    after = within_budget(before)
    assert len(after.labels) == PROTOTYPES
    for label in (1, -1):
        old, new = samples.where(samples.labels == label), after.where(after.labels == label)
        assert new.weights.sum() == old.weights.sum()
        np.testing.assert_allclose(new.weights @ new.vectors, old.weights @ old.vectors, rtol=1e-3, atol=1e-3)


def test_few_prototypes_of_the_target_are_not_merged():
    after = within_budget(Machine(np.zeros(6, np.float32), 0.0, cloud(10, 100)))
    assert (after.labels > 0).sum() == 10


def test_far_ones_go_first_but_not_all_of_a_class():
    samples = cloud(30, 70)
    samples.vectors[:, 0] = np.where(np.arange(100) < 30, 5.0, np.linspace(-4, 0, 100))
    weights = np.zeros(6, np.float32)
    weights[0] = 1
    after = within_budget(Machine(weights, 0.0, samples))  # all of the target score 5: they stay
    assert (after.labels > 0).sum() == 30
    assert np.abs(after.vectors[after.labels < 0, 0]).max() < 2


# --- ensemble -------------------------------------------------------------------------------------------------------------


def test_phi_is_the_normal_distribution():
    x = np.linspace(-5, 5, 41).astype(np.float32)
    np.testing.assert_allclose(phi(x), [0.5 * (1 + math.erf(v / math.sqrt(2))) for v in x.tolist()], atol=1e-5)


def test_frame_score_equals_its_definition():
    density = np.random.default_rng(0).uniform(0, 0.01, (5, 6))
    places = np.array([[0, 1], [2, 3], [4, 5]])
    d = [density[tuple(place)] for place in places]
    p = [d[k] * np.prod([(1 - d[j]) / 30 for j in range(3) if j != k]) for k in range(3)]
    share = np.array(p) / sum(p)
    expected = math.log(max(p)) + 10 * float((share * np.log(share)).sum())
    score, best = frame_score(density, places)
    assert score == pytest.approx(expected)
    assert best == int(np.argmax(p))


def test_one_peak_is_in_no_doubt_and_two_equal_ones_are():
    density = np.full((4, 4), 1e-3)
    assert frame_score(density, np.array([[1, 1]]))[0] == pytest.approx(math.log(1e-3))
    two = frame_score(density, np.array([[1, 1], [3, 3]]))[0]
    assert two == pytest.approx(math.log(1e-3 * (1 - 1e-3) / 16) - 10 * math.log(2))


def test_pooled_peaks_are_apart():
    peaks = list(np.random.default_rng(0).uniform(0, 20, (30, 2)))
    assert 1 < len(pool(peaks, 4)) < 30
    assert len(pool(peaks, 100)) == 1


def test_keeps_snapshots_and_at_most_four_experts():
    scene, tracker = Scene(), MEEM()
    tracker.init(scene.frame(0), scene.box(0))
    for i in range(1, 51):
        tracker.update(scene.frame(i))
    assert len(tracker.model.experts) == 2
    tracker.model.experts = [tracker.model.experts[0]] * 4
    tracker.model.frame = 99
    tracker.update(scene.frame(50))
    assert len(tracker.model.experts) == 4


def test_a_target_that_is_not_there_leaves_the_box_where_it_was():
    scene, tracker = Scene(), MEEM()
    tracker.init(scene.frame(0), scene.box(0))
    last = tracker.update(scene.frame(1)).box
    flat = np.full_like(scene.frame(0), 90)
    found = tracker.update(flat)
    assert found.score <= -0.7
    assert found.box == last
