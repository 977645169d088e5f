"""Kernels are taken only where they do no harm: random and harmful meta-learners are refused, a helpful one is not."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metatrack import MultiTracker, Tracker
from metatrack.runtime.load import load_model
from metatrack.tracking.acceptance import accepted
from metatrack.tracking.distractors import KEPT, Distractor
from metatrack.tracking.memory import Sample

EVERY = {"update_interval": 4, "update_delay": 1, "near_size": 255}


def learning(name, answer):
    """A shipped model whose meta-learner is a function of what it is given."""

    class Learner:
        def run(self, feeds):
            return [np.asarray(answer(**feeds), np.float32)]

    return load_model(name, 1).wrapped(lambda each, graph: Learner() if each == "adapt" else graph)


def sharpening(name, *factors):
    """A shipped model whose meta-learner makes kernels that multiply all logits: by each of the factors in turn."""
    turns = iter(factors)

    class Sharper:
        def __init__(self, graph):
            self.graph = graph

        def run(self, feeds):
            kernels = feeds["w_target"].reshape(-1)
            results = self.graph.run({**feeds, "w_target": feeds["w_target"] * 0})
            place = len(results) // 2  # the logits among a box head's three answers
            results[place] = results[place] * (kernels[0] if len(kernels) else 1)
            return results

    model = learning(name, lambda **_: np.full((32, 128), next(turns)))
    return model.wrapped(lambda each, graph: Sharper(graph) if each in ("match", "locate") else graph)


def hiding(template, support, labels):
    """Kernels to which everything is alike."""
    mean = support.mean((0, 2, 3))
    return np.tile(mean / np.linalg.norm(mean), (32, 1)) * 30


def noise(template, support, labels):
    return np.random.default_rng(int(abs(template).sum())).normal(0, 3, (32, template.shape[1]))


def broken(template, support, labels):
    return np.full((32, template.shape[1]), np.nan)


def followed(tracker, scene, frames=13):
    """The tracker after some frames, and how many kernels it had in each."""
    tracker.init(scene.frame(0), scene.box(0))
    rows = []
    for i in range(1, frames):
        tracker.update(scene.frame(i))
        rows.append(len(tracker.started.w_target))
    return rows


@pytest.mark.parametrize("name", ["lite", "paper"])
@pytest.mark.parametrize("learner", [hiding, noise, broken])
def test_a_harmful_meta_learner_is_refused_and_changes_nothing(scene, name, learner):
    harmful, without = Tracker(learning(name, learner), settings=EVERY), Tracker(learning(name, learner), False, EVERY)
    assert followed(harmful, scene) == [0] * 12
    followed(without, scene)
    assert harmful.started.center == without.started.center
    if learner is not broken:
        taken = Tracker(learning(name, learner), settings={**EVERY, "update_accepts": False})
        assert followed(taken, scene)[-1] == 32


@pytest.mark.parametrize("name", ["lite", "paper"])
def test_a_helpful_meta_learner_is_accepted(scene, name):
    assert followed(Tracker(sharpening(name, 1.2, 1.3, 1.4), settings=EVERY), scene) == [0] * 4 + [32] * 8
    assert followed(Tracker(sharpening(name, 0.8, 0.8, 0.8), settings=EVERY), scene) == [0] * 12


def test_the_last_kernels_stay_where_new_ones_are_refused(scene):
    tracker = Tracker(sharpening("lite", 1.2, 0.8, 0.8), settings=EVERY)
    assert followed(tracker, scene)[-1] == 32
    assert (tracker.started.w_target == np.float32(1.2)).all()


def test_several_targets_and_copies_are_judged_alike(scene):
    alone = Tracker(sharpening("lite", 1.2, 0.8), settings=EVERY)
    several = MultiTracker(sharpening("lite", 1.2, 0.8), settings=EVERY)
    alone.init(scene.frame(0), scene.box(0))
    several.add(scene.frame(0), scene.box(0))
    for i in range(1, 8):
        assert several.update(scene.frame(i))[1].box == pytest.approx(alone.update(scene.frame(i)).box, abs=1e-3)
        if i == 4:  # the meta-learner has just been asked
            copied = pickle.loads(pickle.dumps(copy.deepcopy(alone.started)))
    other = Tracker(sharpening("lite"), settings=EVERY)
    other.state = copied
    assert [other.update(scene.frame(i)).score for i in range(5, 8)][-1] > 0
    assert (other.started.w_target == alone.started.w_target).all()
    assert other.started.center == alone.started.center
    assert len(other.started.w_target) == 32


GAINS = st.lists(st.floats(0, 3), min_size=2, max_size=5)


@given(GAINS, GAINS)
def test_what_is_accepted_is_no_worse_on_the_first_frame_nor_in_the_mean_of_the_others(new, last):
    count = min(len(new), len(last))
    samples = [Sample(np.full((1, 1, 1), i, np.float32), (0.0, 0.0), 0.0) for i in range(count)]
    heights = {0: [1.0] * count, 1: new, 2: last}

    def scorer(features, kernels):
        logits = np.zeros((count, 17, 17))
        logits[:, 8, 8] = heights[int(kernels[0, 0]) if len(kernels) else 0][:count]
        return logits

    found = accepted([np.full((32, 1), i, np.float32) for i in (1, 2)], np.zeros((0, 1), np.float32), scorer, samples)
    good = [i for i in (1, 2) if heights[i][0] >= 1 and np.mean(np.array(heights[i][1:count]) - 1) >= 0]
    assert (int(found[0, 0]) if len(found) else None) == (good[0] if good else None)


def test_kernels_are_judged_by_frames_that_they_were_not_made_of(scene, monkeypatch):
    """The memory holds six frames: four make kernels, and what the others say counts."""
    seen = {}

    def noted(template, support, labels):
        seen["makers"] = support
        return np.full((32, template.shape[1]), 1.2)

    tracker = Tracker(learning("lite", noted), settings={**EVERY, "update_interval": 12})
    tracker.init(scene.frame(0), scene.box(0))
    memory, given = tracker.started.adaptation.memory, []
    choose = memory.choose

    def noted_choice(count: int) -> list[Sample]:
        given.append((choose(count), memory.unchosen(count)))
        return given[-1][0]

    monkeypatch.setattr(memory, "choose", noted_choice)
    for i in range(1, 14):
        tracker.update(scene.frame(i))
    [(makers, others)] = given
    assert (len(makers), len(others)) == (4, 2)
    assert not {id(each) for each in makers} & {id(each) for each in others}
    assert max(each.doubt for each in makers) <= min(each.doubt for each in others)
    assert {each.tobytes() for each in seen["makers"]} == {each.features.tobytes() for each in makers}


def test_a_target_that_is_not_seen_is_looked_for_without_kernels(scene):
    """They are dropped with the first frame that does not show it, and made anew once it is seen again."""
    rows: dict[bool, list[int]] = {}
    for forget in (True, False):
        tracker = Tracker(sharpening("lite", *[1.2] * 9), settings={**EVERY, "update_forgets": forget})
        tracker.init(scene.frame(0), scene.box(0))
        rows[forget] = []
        for i in range(1, 22):
            seen = not 6 <= i < 9
            tracker.update(scene.frame(i) if seen else np.full_like(scene.frame(i), 90))
            rows[forget].append(len(tracker.started.w_target))
    assert rows[False][4:] == [32] * 17
    assert rows[True][4:8] == [32, 0, 0, 0]
    assert rows[True][-1] == 32


def test_nothing_is_learnt_while_something_looks_like_the_target(scene):
    """Beside its double, what a tracker follows may be the double, and kernels made of that would stay with it."""
    for learns in (True, False):
        settings = {"update_interval": 90, "near_size": 255, "update_with_distractors": learns}
        tracker = Tracker("lite", settings=settings)
        tracker.init(scene.frame(0), scene.box(0))
        remembered = []
        for i in range(1, 13):
            if i == 3:  # far away, and not seen again: forgotten after KEPT frames
                tracker.started.distractors = [Distractor(1e4, 1e4, tracker.started.frame)]
            tracker.update(scene.frame(i))
            remembered.append(len(tracker.started.adaptation.memory.samples))
        most = tracker.started.adaptation.memory.size
        assert remembered[:2] == [1, 2]
        if learns:
            assert remembered == [min(i, most) for i in range(1, 13)]
        else:
            assert remembered[2 : 2 + KEPT - 1] == [2] * (KEPT - 1) and remembered[-1] == most


def misleading(name, shift, rise=0):
    """A shipped model whose kernels move the logits by so many cells to the right, and make them higher."""

    class Misled:
        def __init__(self, graph):
            self.graph = graph

        def run(self, feeds):
            results = list(self.graph.run({**feeds, "w_target": feeds["w_target"] * 0}))
            if feeds["w_target"].size:
                place = len(results) // 2
                results[place] = np.roll(results[place], shift, axis=-1) + rise
            return results

    model = learning(name, lambda **_: np.ones((32, 128)))
    return model.wrapped(lambda each, graph: Misled(graph) if each in ("match", "locate") else graph)


@pytest.mark.parametrize("name", ["lite", "paper"])
def test_kernels_in_the_role_of_a_guide_choose_the_place_and_leave_the_score_alone(scene, name):
    """Kernels that move every logit by six cells move the target; what it scores is what it scores there without them."""
    found = {}
    for role, shift, rise in (("all", 0, 3), ("place", 0, 3), ("place", 6, 0), ("none", 0, 0)):
        # Without window and penalty: logits that all rise alike weigh more against them, and another cell may be the highest.
        settings = {
            **EVERY,
            "window": 0.0,
            "shape_penalty": 0.0,
            "update_accepts": False,
            "update_role": "all" if role == "none" else role,
        }
        tracker = Tracker(misleading(name, shift, rise), adapt=role != "none", settings=settings)
        tracker.init(scene.frame(0), scene.box(0))
        results = [tracker.update(scene.frame(i)) for i in range(1, 7)]  # kernels are there from frame 5 on
        found[role, shift] = results[-1]
    plain, score = found["none", 0], found["all", 0].score
    assert found["place", 0].score == plain.score < score
    assert found["place", 0].box == pytest.approx(plain.box, abs=0.5)
    assert found["place", 6].box != found["place", 0].box
    assert found["place", 6].score < plain.score


@pytest.mark.parametrize("batch_head", [False, True])
def test_several_targets_are_scored_alike_where_kernels_are_guides(scene, batch_head):
    settings = {**EVERY, "update_accepts": False, "update_role": "place"}
    model = replace(misleading("lite", 1, 1), batch_head=batch_head)
    alone, several = Tracker(model, settings=settings), MultiTracker(model, settings=settings)
    alone.init(scene.frame(0), scene.box(0))
    several.add(scene.frame(0), scene.box(0))
    for i in range(1, 8):
        one, other = alone.update(scene.frame(i)), several.update(scene.frame(i))[1]
        assert other.box == pytest.approx(one.box, abs=0.01)
        assert other.score == pytest.approx(one.score, abs=1e-4)
