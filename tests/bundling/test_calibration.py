"""Scenes whose target goes away and comes back elsewhere, and what an export says of them."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from metatrack.runtime.load import load_model
from tests.conftest import Scene

pytest.importorskip("torch", reason="export needs the train extra")

from metatrack.app.export import calibration  # noqa: E402
from metatrack.bundling.calibration import disappear, elsewhere  # noqa: E402
from metatrack.geometry import Box  # noqa: E402
from metatrack.training.validation import VIEW, ViewedClip  # noqa: E402


@pytest.fixture(scope="module")
def clips():
    """A disc over a background, and a background alone, where the disc cannot be."""
    scenes = [Scene(0, 24, (VIEW, VIEW)), Scene(1, 24, (VIEW, VIEW), hidden=range(24))]
    boxes = [np.array([one.box(i) for i in range(24)], np.float64) for one in scenes]
    return [ViewedClip("made", [one.frame(i) for i in range(24)], own) for one, own in zip(scenes, boxes, strict=True)]


def test_a_target_that_goes_away_is_flagged_and_found_again(clips):
    model = load_model("lite", 1)
    worth = disappear(model, clips, adapt=False)
    assert worth["scenes"] == 1 and worth["found_again"] == 1  # of the scenes in which there was a target to hold
    assert worth["overlap_after"] > 0.3 and worth["lost_recall"] > 0.5 and worth["lost_precision"] > 0.5
    assert worth["false_alarms"] < 0.2
    card = {
        **model.card,
        "calibration": {"slope": 0.0, "offset": 9.0},
        "tracking": {**model.card["tracking"], "opinion_weight": 0.0},
    }
    sure = replace(model, card=card)  # whatever it sees
    worth = disappear(sure, clips, adapt=False)
    assert worth["lost_recall"] == 0 and worth["lost_precision"] is None  # nothing was flagged


def test_elsewhere_turns_the_camera(clips):
    shown = [(clips[0].frames[20], Box(*clips[0].boxes[20]))]
    ((frame, box),) = elsewhere(shown)
    x, y, w, h = shown[0][1]
    assert box == (VIEW - x - w, VIEW - y - h, w, h)  # on the other side of the view
    assert frame.shape == (VIEW, VIEW, 3)


def test_an_export_says_what_the_score_and_the_flag_are_worth(clips, capsys):
    found = calibration(load_model("lite", 1), clips, adapt=False)
    assert {"slope", "offset", "disappearance"} <= set(found)
    assert "where the target goes and comes back: lost_precision" in capsys.readouterr().out
    json.dumps(found, allow_nan=False)  # a card can hold it
