"""Re-detection: where a target is looked for when it is not seen, and when it is found there."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metatrack import Tracker
from metatrack.geometry import from_center, iou
from metatrack.tracking.opinion import OpinionSettings
from metatrack.tracking.patches import Patches
from metatrack.tracking.redetect import PLACES, RedetectionSettings, grid_places, redetect
from tests.conftest import Scene

QUIET = OpinionSettings(weight=0.0)


@settings(max_examples=30)
@given(st.floats(0, 400), st.floats(0, 300), st.floats(10, 120))
def test_a_lost_target_is_looked_for_in_the_whole_frame(cx, cy, step):
    places = [(cx, cy), *grid_places(cx, cy, step, 400, 300)]
    distances = [math.hypot(x - cx, y - cy) for x, y in places]
    assert distances == sorted(distances) or np.all(np.diff(distances) > -1e-5)
    for x, y in ((0, 0), (400, 300), (200, 150), (399, 3)):
        assert min(max(abs(x - u), abs(y - v)) for u, v in places) <= step


def moved_away(scene: Scene, dx: int) -> np.ndarray:
    """The scene's second frame with the disc elsewhere, and the background alone where it was."""
    frame, (x, y, side, _) = scene.background.copy(), map(int, scene.box(0))
    frame[y : y + side, x + dx : x + dx + side] = np.where(scene.mask, scene.object, frame[y : y + side, x + dx : x + dx + side])
    return frame


@pytest.mark.parametrize("model", ["lite", "paper"])
@pytest.mark.parametrize(("min_score", "found"), [(0.3, True), (1.0, False)])
def test_finds_a_target_that_has_jumped_unless_it_doubts(model, min_score, found):
    scene = Scene(size=(240, 640))
    tracker = Tracker(model, adapt=False)
    tracker.init(scene.frame(0), scene.box(0))
    target, patches = tracker.started, Patches(moved_away(scene, 230))
    answers = []
    for target.sighting.unseen_frames in range(6):
        answers.append(redetect(target, patches, tracker.searcher, RedetectionSettings(min_score=min_score), QUIET))
    x, y, w, h = scene.box(0)
    right = [answer for answer in answers if answer and iou(from_center(answer[0]), (x + 230, y, w, h)) > 0.4]
    assert bool(right) is found
    assert all(answer[1] >= min_score for answer in answers if answer)
    assert from_center(target.center) == pytest.approx(scene.box(0))  # it is for the tracker to move it


def test_looks_at_a_few_places_a_frame_and_begins_anew_when_it_has_seen_all(scene):
    tracker, seen = Tracker("lite", adapt=False), []
    tracker.init(scene.frame(0), scene.box(0))

    class Recorder(Patches):
        def cut(self, cx, cy, side, size):
            seen.append((cx, cy))
            return super().cut(cx, cy, side, size)

    patches, target = Recorder(scene.frame(1)), tracker.started
    every = grid_places(*target.center[:2], target.side * 0.4, patches.width, patches.height)
    rounds = math.ceil(len(every) / PLACES)
    assert rounds > 1
    for target.sighting.unseen_frames in range(rounds):
        before = len(seen)
        redetect(target, patches, tracker.searcher, RedetectionSettings(min_score=1.0), QUIET)
        assert len(seen) - before <= PLACES
    assert seen == every
    target.sighting.unseen_frames = rounds
    redetect(target, patches, tracker.searcher, RedetectionSettings(min_score=1.0), QUIET)
    assert seen[len(every) :] == every[:PLACES]


def test_a_frame_that_holds_no_other_place_is_no_trouble():
    tracker = Tracker("lite", adapt=False)
    frame = np.zeros((20, 20, 3), np.uint8)
    tracker.init(frame, (0, 0, 20, 20))
    assert redetect(tracker.started, Patches(frame), tracker.searcher, RedetectionSettings(min_score=0.0), QUIET) is None


def test_is_off_where_the_settings_say_so_and_while_the_target_is_seen(scene, monkeypatch):
    calls = []
    monkeypatch.setattr("metatrack.tracking.tracker.redetect", lambda *arguments: calls.append(arguments))
    ways = ({"unseen_below": 1.0}, 1), ({"unseen_below": 1.0, "search_wider": False}, 0), ({"unseen_below": 0.0}, 0)
    for changes, expected in ways:
        tracker = Tracker("lite", adapt=False, settings=changes)
        tracker.init(scene.frame(0), scene.box(0))
        tracker.update(np.zeros_like(scene.frame(1)))
        assert len(calls) == expected
        calls.clear()
