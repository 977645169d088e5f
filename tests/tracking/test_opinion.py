"""The second opinion: likeness to the first frame, and what follows from it."""

from __future__ import annotations

import numpy as np
import pytest

from metatrack import Result, Tracker
from metatrack.geometry import to_center
from metatrack.tracking.opinion import Alike, OpinionSettings, first_look, likeness, read_parts
from metatrack.tracking.patches import Patches
from tests.conftest import Scene


def test_parts_are_read_where_the_box_is():
    """Features that are their own places: a patch's middle is 1/8 of a cell before the middle cell's."""
    y, x = np.mgrid[:21, :21].astype(np.float32)
    found = read_parts(np.stack([x, y]), (2.0, -1.0), (6.0, 3.0), 8).reshape(2, 7, 7)
    assert found[0, 0].tolist() == pytest.approx((12 - 0.125 + np.linspace(-3, 3, 7)).tolist())
    assert found[1, :, 0].tolist() == pytest.approx((9 - 0.125 + np.linspace(-1.5, 1.5, 7)).tolist())
    outside = read_parts(np.stack([x, y]), (30.0, 0.0), (6.0, 3.0), 8)
    assert outside[0].max() == 20  # the map's edge goes on


def test_likeness_is_one_of_the_same_and_none_of_the_surroundings():
    rng = np.random.default_rng(0)
    context = rng.normal(0, 1, (16, 29, 29)).astype(np.float32) * np.linspace(1, 5, 16, dtype=np.float32)[:, None, None]
    target = rng.normal(0, 1, (16, 7, 7)).astype(np.float32)
    seen = context.copy()
    seen[:, 11:18, 11:18] = target
    around = np.ones((29, 29), bool)
    around[10:19, 10:19] = False
    own = first_look(read_parts(seen, (0.125, 0.125), (6.0, 6.0), 8).reshape(16, 7, 7), seen, around)
    assert likeness(own, seen, (0.125, 0.125), (6.0, 6.0), 8) == pytest.approx(1, abs=1e-3)
    elsewhere = [likeness(own, seen, place, (6.0, 6.0), 8) for place in ((-9.0, -9.0), (9.0, 0.0), (0.0, 9.0))]
    assert np.abs(elsewhere).max() < 0.2


def test_what_is_usual_is_that_of_sure_frames():
    alike = Alike()
    for now, sure in ((0.4, True), (0.0, False), (0.5, True), (None, True)):
        alike.note(now, sure)
    assert alike.now is None and alike.usual == pytest.approx(0.41)


def tracked(scene: Scene, weight: float) -> tuple[Tracker, Result]:
    """A tracker whose box and template have gone over to the background, and what it says there."""
    tracker = Tracker("lite", adapt=False, settings={"opinion.weight": weight, "redetection.enabled": False})
    tracker.init(scene.frame(0), scene.box(0))
    for i in range(1, 8):
        tracker.update(scene.frame(i))
    alike = tracker.started.alike.now
    assert alike is None if weight == 0 and tracker.started.appearance.look is None else alike > 0.3
    for _ in range(6):
        tracker.place((20, 20, 44, 44))
        tracker.started.appearance.now = tracker.searcher.appearance(Patches(scene.background), to_center((20, 20, 44, 44))).now
        found = tracker.update(scene.background)
    return tracker, found


def test_a_template_that_has_gone_over_to_the_background_is_no_excuse():
    scene = Scene(3, size=(240, 420))
    tracker, found = tracked(scene, OpinionSettings().weight)
    assert found.lost and found.score < 0.1 and tracker.started.alike.now < 0.2
    _, found = tracked(scene, 0.0)
    assert found.score > 0.5 and not found.lost  # by the networks alone


def test_nothing_is_said_of_a_target_that_was_cut_by_the_frame(scene):
    tracker = Tracker("lite", adapt=False)
    tracker.init(scene.frame(0), (-15, 40, 44, 44))
    tracker.update(scene.frame(1))
    assert tracker.started.appearance.look is None and tracker.started.alike.now is None
