"""Kernels while tracking: when they are asked for, when they are used, and what goes on in the background."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path

import pytest

from metatrack import Tracker
from metatrack.runtime.load import load_model
from metatrack.tracking.box_search import BoxSearch

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}


def test_a_slow_meta_learner_changes_nothing_but_the_time(scene):
    def boxes(model):
        tracker = Tracker(model, settings={"update_interval": 3, "update_delay": 1})
        tracker.init(scene.frame(0), scene.box(0))
        return [tracker.update(scene.frame(i)).box for i in range(1, 9)]

    class Slow:
        def __init__(self, graph):
            self.graph = graph

        def run(self, feeds):
            time.sleep(0.2)
            return self.graph.run(feeds)

    model = load_model("lite")
    assert boxes(model.wrapped(lambda name, graph: Slow(graph) if name == "adapt" else graph)) == boxes(model)


@pytest.mark.parametrize(
    ("delay", "expected"),
    [(0, [0, 0, 0, 32, 32, 32, 32, 32]), (2, [0, 0, 0, 0, 0, 32, 32, 32]), (9, [0, 0, 0, 0, 0, 0, 32, 32])],
)
def test_adapts_every_t_frames_and_takes_it_over_when_it_is_said(scene, delay, expected):
    settings = {"update_interval": 4, "update_span": 1, "update_delay": delay, "update_accepts": False}
    tracker = Tracker("lite", settings=settings)
    tracker.init(scene.frame(0), scene.box(0))
    rows = []
    for i in range(1, 9):
        tracker.update(scene.frame(i))
        rows.append(len(tracker.state.w_target))
    assert rows == expected
    assert len(tracker.state.adaptation.memory.samples) == 0  # frame 8 has just been used


@pytest.mark.parametrize(("span", "frames"), [(1, []), (4, []), (6, [7, 8]), (30, [1, 2, 3, 4, 5, 6, 7, 8])])
def test_kernels_are_made_of_a_span_of_frames_where_t_is_less(scene, span, frames):
    """After the update in frame 8 the memory holds what the next one, in frame 12, may be made of, besides what comes."""
    tracker = Tracker("lite", settings={"update_interval": 4, "update_span": span, "near_size": 255})
    tracker.init(scene.frame(0), scene.box(0))
    tracker.started.adaptation.memory.size = 99
    for i in range(1, 9):
        tracker.update(scene.frame(i))
    assert [sample.frame for sample in tracker.started.adaptation.memory.samples] == frames


def test_small_contexts_stay_where_the_span_has_whole_ones_enough():
    """Every fifth context is whole: four of them are in twenty frames."""
    model = load_model("lite")
    for span, interval, small in ((1, 10, False), (19, 10, False), (20, 10, True), (1, 20, True)):
        tracker = Tracker(model, settings={"update_span": span, "update_interval": interval, "near_interval": 5})
        assert isinstance(tracker.searcher, BoxSearch)
        assert tracker.searcher.small_contexts == small


def test_adaptation_changes_what_is_seen(scene):
    first, second = (
        Tracker("lite", adapt=a, settings={"update_interval": 4, "near_size": 255, "update_accepts": False})
        for a in (True, False)
    )
    for t in (first, second):
        t.init(scene.frame(0), scene.box(0))
    pairs = [(first.update(scene.frame(i)), second.update(scene.frame(i))) for i in range(1, 9)]
    assert all(a == b for a, b in pairs[:4])  # the update follows frame 4
    assert any(a != b for a, b in pairs[4:])
    assert len(second.state.w_target) == 0


@pytest.mark.parametrize("keep", [True, False])
def test_the_first_frame_is_among_the_samples_if_it_is_to_be(scene, keep):
    asked = []

    class Watched:
        def __init__(self, graph):
            self.graph = graph

        def run(self, feeds):
            asked.append((feeds["support"], feeds["labels"]))
            return self.graph.run(feeds)

    model = load_model("lite").wrapped(lambda name, graph: Watched(graph) if name == "adapt" else graph)
    tracker = Tracker(model, settings={"update_interval": 4, "update_delay": 0, "update_keeps_first": keep})
    tracker.init(scene.frame(0), scene.box(0))
    for i in range(1, 9):
        tracker.update(scene.frame(i))
    (support, labels), (later, _) = asked
    assert support.shape[0] == labels.shape[0] == tracker.model.support
    assert (support[0] == later[0]).all() == keep
    if keep:  # labelled in the middle of its context
        middle = tracker.model.response_cells // 2
        assert labels[0, middle, middle] == 1
        assert (labels[0] == labels[0, ::-1, ::-1]).all()


def test_threshold_keeps_doubtful_frames_out(scene):
    tracker = Tracker("lite", settings={"update_interval": 4, "update_threshold": 1.0})
    tracker.init(scene.frame(0), scene.box(0))
    for i in range(1, 6):
        tracker.update(scene.frame(i))
    assert len(tracker.state.adaptation.memory.samples) == 0
    assert len(tracker.state.w_target) == 0


class TestInTheBackground:
    def test_goes_on_in_a_thread_that_outlives_the_main_one(self):
        script = """
import threading, time
from tests.conftest import Scene
from metatrack import Tracker
scene, tracker = Scene(0), Tracker("lite", threads=1, settings={"update_interval": 20, "update_accepts": False})
tracker.init(scene.frame(0), scene.box(0))
def work():
    time.sleep(1)
    for i in range(1, 30): tracker.update(scene.frame(i))
    print("frames", tracker.started.frame, len(tracker.started.w_target))
threading.Thread(target=work).start()
"""
        done = subprocess.run(
            [sys.executable, "-c", script], cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=1200
        )
        assert done.stdout.split() == ["frames", "29", "32"], done.stderr

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
    def test_goes_on_in_a_forked_process(self):
        script = """
import os
from tests.conftest import Scene
from metatrack import Tracker
scene, tracker = Scene(0), Tracker("lite", threads=1, settings={"update_interval": 20, "update_accepts": False})
def follow():
    tracker.init(scene.frame(0), scene.box(0))
    for i in range(1, 25): tracker.update(scene.frame(i))
    return len(tracker.started.w_target)
follow()
child = os.fork()
if child == 0: os._exit(follow())
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
        done = subprocess.run(
            [sys.executable, "-c", script], cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=1200
        )
        assert done.stdout.split() == ["32"], done.stderr

    def test_an_error_is_told_once(self, scene):
        class Broken:
            def run(self, feeds):
                raise MemoryError("no room")

        broken = load_model("lite", 1).wrapped(lambda name, graph: Broken() if name == "adapt" else graph)
        tracker = Tracker(broken, settings={"update_interval": 4})
        tracker.init(scene.frame(0), scene.box(0))
        told = []
        for i in range(1, 9):
            try:
                tracker.update(scene.frame(i))
            except RuntimeError as error:
                told.append((i, str(error), type(error.__cause__)))
        assert told == [(6, "adapting at frame 4 failed: MemoryError: no room", MemoryError)]

    def test_a_state_can_be_copied_while_it_learns(self, scene):
        tracker = Tracker("lite", settings={"update_interval": 4})
        tracker.init(scene.frame(0), scene.box(0))
        for i in range(1, 5):
            tracker.update(scene.frame(i))
        assert tracker.started.adaptation.pending is not None
        copied = pickle.loads(pickle.dumps(copy.deepcopy(tracker.state)))
        last = [tracker.update(scene.frame(i)) for i in range(5, 9)]
        tracker.state = copied
        assert [tracker.update(scene.frame(i)) for i in range(5, 9)] == last
        assert len(copied.w_target) == len(tracker.started.w_target)
