"""Copies and pickles: a model is shared, or loaded again from its bundle; what belongs to a target goes along."""

from __future__ import annotations

import copy
import json
import multiprocessing
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import metatrack
from metatrack import BundleError, MultiTracker, Tracker
from metatrack.runtime.bundle import open_bundle
from metatrack.runtime.load import build_model, load_model

MODELS = Path(metatrack.__file__).parent / "models"


def pickled(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))  # noqa: S301 - our own


WAYS: dict[str, Callable[[Any], Any]] = {"copy": copy.deepcopy, "pickle": pickled}


@pytest.mark.parametrize("name", ["lite", "paper"])
@pytest.mark.parametrize("way", WAYS)
def test_the_next_ten_boxes_are_the_same_and_neither_disturbs_the_other(scene, name, way):
    tracker = Tracker(name, threads=1, settings={"update_interval": 6, "update_accepts": False})
    tracker.init(scene.frame(0), scene.box(0))
    for i in range(1, 7):  # the meta-learner is at work when the copy is made
        tracker.update(scene.frame(i))
    assert tracker.started.adaptation.pending is not None
    other = WAYS[way](tracker)
    assert other.model is tracker.model
    expected = []
    for i in range(7, 17):  # in turn
        expected.append(tracker.update(scene.frame(i)))
        assert other.update(scene.frame(i)) == expected[-1]
    again = WAYS[way](tracker)
    for i in range(40, 45):
        tracker.update(scene.frame(i))  # the copy must not see this
    assert again.started.frame == 16
    assert again.update(scene.frame(17)) == other.update(scene.frame(17))


@pytest.mark.parametrize("way", WAYS)
def test_several_targets(scene, way):
    tracker = MultiTracker("lite", threads=1)
    tracker.add(scene.frame(0), scene.box(0))
    tracker.add(scene.frame(0), (20, 20, 30, 40), "dog")
    tracker.update(scene.frame(1))
    other = WAYS[way](tracker)
    assert other.model is tracker.model
    for i in range(2, 6):
        assert other.update(scene.frame(i)) == tracker.update(scene.frame(i))
    other.remove("dog")
    assert other.add(scene.frame(5), scene.box(5)) == 2
    assert tracker.targets == (1, "dog")


def test_a_model_is_its_own_copy():
    model = load_model("lite", 1)
    assert copy.copy(model) is copy.deepcopy(model) is pickled(model) is model


def test_precision_engine_and_threads_come_along():
    model = build_model(open_bundle("lite"), 2, "float32")
    back = pickled(model)
    assert (back.precision, back.engine, back.origin) == ("float32", "onnxruntime", model.origin)
    assert back is load_model("lite", 2, "float32")


def test_a_bundle_of_ones_own_comes_from_its_folder(tmp_path):
    folder = shutil.copytree(MODELS / "lite-no-meta", tmp_path / "mine")
    data = pickle.dumps(load_model(folder, 1))
    assert str(folder).encode() in data
    assert len(data) < 2000  # no weights
    assert pickle.loads(data) is load_model(folder, 1)  # noqa: S301 - our own
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    card["calibration"]["slope"] = 0.5
    (folder / "card.json").write_text(json.dumps(card), encoding="utf-8")
    with pytest.raises(BundleError, match="holds another model than when this was pickled"):
        pickle.loads(data)  # noqa: S301 - our own
    shutil.rmtree(folder)
    with pytest.raises(BundleError, match="no model"):
        pickle.loads(data)  # noqa: S301 - our own


def test_a_shipped_model_is_known_by_its_name():
    assert str(MODELS).encode() not in pickle.dumps(load_model("lite", 1))


@pytest.mark.parametrize(
    "change", [lambda model: model.wrapped(lambda name, graph: graph), lambda model: replace(model, batch=4)]
)
def test_a_model_that_lies_in_no_bundle_says_so(change):
    model = change(load_model("lite-no-meta", 1))
    with pytest.raises(TypeError, match="'lite-no-meta' was put together in this process.* cannot be pickled"):
        pickle.dumps(model)
    assert copy.deepcopy(Tracker(model)).model is model


def follow(tracker: Tracker, frames: list[Any]) -> list[Any]:
    return [tracker.update(frame) for frame in frames]


def test_a_spawned_process_goes_on(scene):
    tracker = Tracker("lite-no-meta", threads=1)
    tracker.init(scene.frame(0), scene.box(0))
    frames = [scene.frame(i) for i in range(1, 4)]
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        there = pool.apply(follow, (tracker, frames))
    assert there == follow(tracker, frames)
