"""Equation (5), the memory's choice, and labels at the tracked place."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metatrack.tracking.memory import CRITERIA, Memory, entropy, labels, softmax_entropy


def test_entropy_values():
    # σ(0) = 1/2: each position gives 0.5 log 2; σ(log 3) = 3/4: 0.75 log(4/3)
    assert entropy(np.zeros((17, 17))) == pytest.approx(289 * 0.5 * math.log(2))
    assert entropy(np.full((1, 2), math.log(3))) == pytest.approx(2 * 0.75 * math.log(4 / 3))


def test_entropy_of_extreme_logits_is_finite():
    assert entropy(np.array([[-1e4, 1e4]])) == pytest.approx(0, abs=1e-6)


def test_a_clear_peak_has_less_entropy_than_a_doubtful_one():
    clear, doubtful = np.full((17, 17), -6.0), np.full((17, 17), -2.0)
    clear[8, 8] = doubtful[8, 8] = 4
    assert entropy(clear) < entropy(doubtful)


@pytest.mark.parametrize("criterion", ["softmax", "peak"])
def test_a_target_that_is_seen_is_chosen_before_none(criterion):
    """Equation (5) as printed does the contrary: nothing anywhere has no entropy."""
    rng = np.random.default_rng(0)
    nothing = rng.normal(-9, 0.5, (17, 17))
    seen = nothing + 2
    seen[8, 8] = 4
    memory = Memory(1, criterion)
    for i, response in enumerate((nothing, seen, nothing)):
        memory.add(np.full((1, 1, 1), i, np.float32), (0.0, 0.0), response.astype(np.float32))
    assert memory.choose(1)[0].features == 1
    assert entropy(nothing) < entropy(seen)


@given(st.floats(-50, 50), st.integers(1, 20))
def test_softmax_entropy_does_not_depend_on_the_level(level, cells):
    assert softmax_entropy(np.full((cells, cells), level)) == pytest.approx(2 * math.log(cells), abs=1e-9)
    peaked = np.full((cells, cells), level)
    peaked[0, 0] += 100
    assert softmax_entropy(peaked) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("criterion", CRITERIA)
@given(levels=st.lists(st.floats(-4, 4), min_size=1, max_size=30))
def test_memory_keeps_the_least_doubt(criterion, levels):
    """What it keeps is what sorting everything would choose, although it never holds more than four."""
    memory = Memory(4, criterion)
    values = []
    for i, level in enumerate(levels):
        response = np.full((3, 3), -1, np.float32)
        response[1, 1] = level
        values.append(CRITERIA[criterion](response))
        memory.add(np.full((1, 1, 1), i, np.float32), (0.0, 0.0), response)
        assert len(memory.samples) <= 4
    assert [s.doubt for s in memory.choose(len(memory.samples))] == pytest.approx(sorted(values)[:4])


def test_memory_copies_its_features():
    memory = Memory(1)
    features = np.zeros((1, 2, 2), np.float32)
    memory.add(features, (0.0, 0.0), np.zeros((3, 3), np.float32))
    features[:] = 5
    assert (memory.samples[0].features == 0).all()


def test_labels_match_the_trainings():
    torch = pytest.importorskip("torch", reason="compares with the networks' labels, which need the train extra")
    from metatrack.model.matching import label_map

    places = np.array([[0, 0], [1.3, -2.6], [-7, 7]])
    assert np.array_equal(labels(places, 17, 2.0), label_map(torch.tensor(places), 2.0).numpy())
