"""Algorithm 1 at run time, with the shipped weights: it tracks, it adapts, it admits a loss, and no input breaks it."""

from __future__ import annotations

import copy
import csv
import json
import math
import os
import pickle
import shutil
import subprocess
import sys
import time
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metatrack import Box, Result, Tracker
from metatrack.geometry import iou
from metatrack.runtime.bundle import BundleError, open_bundle, shipped_models
from metatrack.runtime.engine import Model, load_model
from metatrack.tracking.search import _hann, choose_box, choose_scale
from metatrack.tracking.settings import TrackerSettings, settings_from
from metatrack.tracking.tracker import Other
from metatrack.video import open_source

from .conftest import Scene

ROOT = Path(__file__).parents[1]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}


def overlaps(scene: Scene, tracker: Tracker, start: int = 0) -> list[float]:
    tracker.init(scene.frame(start), scene.box(start))
    return [float(iou(tracker.update(scene.frame(i)).box, scene.box(i))) for i in range(start + 1, scene.length)]


@pytest.mark.parametrize("model", shipped_models())
@pytest.mark.parametrize("pyramid", ["search", "template"])
def test_follows_a_moving_disc(model, pyramid, scene):
    result = overlaps(scene, Tracker(model, settings={"pyramid": pyramid}))
    assert np.mean(result) > 0.6
    assert min(result) > 0.3


def test_demo_clip_end_to_end():
    """The embedded clip against boxes drawn by hand: mean overlap of at least a half, and never lost."""
    assets = resources.files("metatrack") / "assets"
    with (assets / "demo.csv").open() as file:
        rows = {int(r["frame"]): tuple(float(r[k]) for k in "xywh") for r in csv.DictReader(file)}
    tracker = Tracker("lite")
    found = {}
    with resources.as_file(assets / "demo.mp4") as path, open_source(path) as source:
        for i, frame in enumerate(source):
            if i == 0:
                tracker.init(frame, rows[0])
            else:
                result = tracker.update(frame)
                found[i] = result
    labelled = [float(iou(found[i].box, rows[i])) for i in rows if i]
    assert len(labelled) >= 8
    assert np.mean(labelled) >= 0.5
    assert not any(r.lost for r in found.values())


def test_result_unpacks():
    tracker = Tracker("lite")
    scene = Scene()
    tracker.init(scene.frame(0), scene.box(0))
    box, score, lost = tracker.update(scene.frame(1))
    x, y, w, h = box
    assert isinstance(box, Box) and all(isinstance(v, float) for v in (x, y, w, h, score))
    assert isinstance(lost, bool)


def test_update_before_init():
    with pytest.raises(RuntimeError, match="before init"):
        Tracker("lite").update(np.zeros((50, 50, 3), np.uint8))


def test_frames_are_not_changed(scene):
    tracker = Tracker("lite", settings={"update_interval": 2})
    frames = [scene.frame(i) for i in range(5)]
    copies = [f.copy() for f in frames]
    for frame in frames:
        frame.setflags(write=False)
    tracker.init(frames[0], scene.box(0))
    for frame in frames[1:]:
        tracker.update(frame)
    assert all(np.array_equal(a, b) for a, b in zip(frames, copies, strict=True))


@pytest.mark.parametrize("adapt", [True, False])
def test_same_input_same_bytes(scene, adapt):
    def run() -> list[Result]:
        tracker = Tracker("lite", adapt=adapt, settings={"update_interval": 3})
        tracker.init(scene.frame(0), scene.box(0))
        return [tracker.update(scene.frame(i)) for i in range(1, 10)]

    assert run() == run()


def test_two_trackers_share_a_model_and_nothing_else(scene):
    """Interleaved with another target, a tracker says what it says alone."""
    other = Scene(seed=5)
    alone, beside, second = Tracker("lite"), Tracker("lite"), Tracker("lite")
    assert alone.model is second.model
    alone.init(scene.frame(0), scene.box(0))
    expected = [alone.update(scene.frame(i)) for i in range(1, 6)]
    beside.init(scene.frame(0), scene.box(0))
    second.init(other.frame(0), other.box(0))
    for i in range(1, 6):
        assert beside.update(scene.frame(i)) == expected[i - 1]
        second.update(other.frame(i))


def test_a_slow_meta_learner_changes_nothing_but_the_time(scene):
    def boxes(model):
        tracker = Tracker(model, settings={"update_interval": 3, "update_delay": 1})
        tracker.init(scene.frame(0), scene.box(0))
        return [tracker.update(scene.frame(i)).box for i in range(1, 9)]

    class Slow(Model):
        def adapt(self, *args):
            time.sleep(0.2)
            return super().adapt(*args)

    assert boxes(Slow(open_bundle("lite"))) == boxes(Model(open_bundle("lite")))


@pytest.mark.parametrize(
    ("delay", "expected"),
    [(0, [0, 0, 0, 32, 32, 32, 32, 32]), (2, [0, 0, 0, 0, 0, 32, 32, 32]), (9, [0, 0, 0, 0, 0, 0, 32, 32])],
)
def test_adapts_every_t_frames_and_takes_it_over_when_it_is_said(scene, delay, expected):
    tracker = Tracker("lite", settings={"update_interval": 4, "update_delay": delay})
    tracker.init(scene.frame(0), scene.box(0))
    rows = []
    for i in range(1, 9):
        tracker.update(scene.frame(i))
        rows.append(len(tracker.state.w_target))
    assert rows == expected
    assert len(tracker.state.memory.samples) == 0  # frame 8 has just been used


def test_adaptation_changes_what_is_seen(scene):
    first, second = (Tracker("lite", adapt=a, settings={"update_interval": 4, "near_size": 255}) for a in (True, False))
    for t in (first, second):
        t.init(scene.frame(0), scene.box(0))
    pairs = [(first.update(scene.frame(i)), second.update(scene.frame(i))) for i in range(1, 9)]
    assert all(a == b for a, b in pairs[:4])  # the update follows frame 4
    assert any(a != b for a, b in pairs[4:])
    assert len(second.state.w_target) == 0


def test_threshold_keeps_doubtful_frames_out(scene):
    tracker = Tracker("lite", settings={"update_interval": 4, "update_threshold": 1.0})
    tracker.init(scene.frame(0), scene.box(0))
    for i in range(1, 6):
        tracker.update(scene.frame(i))
    assert len(tracker.state.memory.samples) == 0
    assert len(tracker.state.w_target) == 0


def test_a_loss_is_admitted_and_ended():
    """The disc vanishes for 14 frames in front of a plain background and comes back where it was."""
    scene = Scene(length=50, hidden=range(20, 34))
    tracker = Tracker("lite", settings={"update_interval": 1000})
    tracker.init(scene.frame(0), scene.box(0))
    results = {}
    for i in range(1, 50):
        shown = i if i < 20 else max(20, i - 13)  # the disc's path stands still while it is hidden
        frame = scene.frame(i) if i in scene.hidden else scene.frame(min(shown, 19) if i < 36 else 19)
        results[i] = tracker.update(frame)
    seen, hidden = [results[i].score for i in range(1, 20)], [results[i].score for i in range(22, 34)]
    assert min(seen) > max(hidden)
    assert not any(results[i].lost for i in range(1, 20))
    assert results[33].lost
    assert not results[49].lost
    assert float(iou(results[49].box, scene.box(19))) > 0.5


@pytest.mark.parametrize("value", [0, 128, 255])
def test_constant_frames_are_survived(scene, value):
    tracker = Tracker("lite", settings={"update_interval": 3})
    tracker.init(scene.frame(0), scene.box(0))
    blank = np.full((scene.height, scene.width, 3), value, np.uint8)
    results = [tracker.update(blank) for _ in range(8)]
    assert results[-1].lost
    assert all(math.isfinite(v) for r in results for v in (*r.box, r.score))


def test_a_constant_target_is_survived():
    blank = np.zeros((80, 100, 3), np.uint8)
    tracker = Tracker("lite", settings={"update_interval": 2})
    tracker.init(blank, (10, 10, 20, 20))
    for _ in range(4):
        result = tracker.update(blank)
        assert all(math.isfinite(v) for v in (*result.box, result.score))


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 2**32 - 1),
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    box=st.tuples(st.floats(-20, 80), st.floats(-20, 80), st.floats(0.5, 200), st.floats(0.5, 200)),
)
def test_output_is_always_finite_and_meets_the_frame(seed, height, width, box):
    """Noise of any size, any legal box, changing frame sizes."""
    rng = np.random.default_rng(seed)
    x, y, w, h = box
    if x >= width or y >= height or x + w <= 0 or y + h <= 0:
        return
    tracker = Tracker("lite", settings={"update_interval": 2})
    tracker.init(rng.integers(0, 256, (height, width, 3), dtype=np.uint8), box)
    for _ in range(3):
        height, width = (int(rng.integers(1, 90)) for _ in range(2))
        found, score, _ = tracker.update(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
        assert all(math.isfinite(v) for v in found) and found.w > 0 and found.h > 0
        assert found.x <= width and found.y <= height and found.x + found.w >= 0 and found.y + found.h >= 0
        assert 0 <= score <= 1


def test_frames_of_other_kinds_are_converted(scene):
    """Gray, RGBA and 16-bit frames give what their RGB form gives."""

    def last(convert):
        tracker = Tracker("lite")
        tracker.init(convert(scene.frame(0)), scene.box(0))
        return tracker.update(convert(scene.frame(1)))

    gray = lambda f: np.repeat(f[..., :1], 3, 2)  # noqa: E731
    assert last(lambda f: f[..., 0]) == last(gray)
    assert last(lambda f: np.dstack([f, np.full(f.shape[:2], 9, np.uint8)])) == last(lambda f: f)
    assert last(lambda f: f.astype(np.uint16) * 257) == last(lambda f: f)


def test_size_is_bounded():
    tracker = Tracker("lite", settings={"size_limits": (0.5, 2.0), "scale_penalty": 1.0, "scale_damping": 1.0})
    scene = Scene()
    tracker.init(scene.frame(0), scene.box(0))
    rng = np.random.default_rng(0)
    for _ in range(25):
        w = tracker.update(rng.integers(0, 256, (240, 320, 3), dtype=np.uint8)).box.w
        assert 0.5 * scene.side - 1e-6 <= w <= 2 * scene.side + 1e-6


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"scale_stp": 1.1}, "did you mean 'scale_step'"),
        ({"window": 2}, "0..1"),
        ({"scale_step": 1.0}, "above 1"),
        ({"update_interval": 0}, "at least 1"),
        ({"size_limits": [2.0, 3.0]}, "enclose 1"),
    ],
)
def test_bad_settings_are_explained(change, words):
    with pytest.raises(ValueError, match=words):
        settings_from(change)


def test_a_model_without_meta_learner_tracks_unadapted(scene, tmp_path):
    folder = shutil.copytree(open_bundle("lite").folder, tmp_path / "plain")
    card = json.loads((folder / "card.json").read_text())
    del card["files"]["adapt.onnx"]
    (folder / "card.json").write_text(json.dumps(card))
    tracker = Tracker(folder, adapt=True, settings={"update_interval": 2})
    assert not tracker.adapt
    assert np.mean(overlaps(Scene(length=8), tracker)) > 0.6
    with pytest.raises(BundleError, match="no meta-learner"):
        load_model(folder).adapt(*(np.zeros(1, np.float32),) * 3)


class TestChoose:
    """Scale and place from hand-made responses."""

    @staticmethod
    def responses(row: int, column: int, peaks: tuple[float, float, float]) -> np.ndarray:
        maps = np.full((3, 17, 17), -6.0, np.float32)
        for i, peak in enumerate(peaks):
            maps[i, row, column] = peak
        return maps

    def test_the_peak_is_found(self):
        found = choose_scale(self.responses(6, 11, (3, 1, 1)), TrackerSettings(window=0.0))
        assert found.scale == 0
        assert found.displacement == pytest.approx((3, -2), abs=0.1)
        assert found.peak == 3

    def test_another_scale_pays_its_penalty(self):
        # log 0.95 = -0.051: a lead of 0.04 is not enough, one of 0.06 is
        assert choose_scale(self.responses(8, 8, (1.0, 1.04, 0)), TrackerSettings()).scale == 0
        assert choose_scale(self.responses(8, 8, (1.0, 1.06, 0)), TrackerSettings()).scale == 1

    def test_the_window_prefers_the_near_one_of_two_equals(self):
        maps = self.responses(8, 9, (3, 0, 0))
        maps[0, 2, 2] = 3.2
        near = choose_scale(maps, TrackerSettings(window=0.3))
        assert near.displacement == pytest.approx((1, 0), abs=0.2)
        assert choose_scale(maps, TrackerSettings(window=0.0)).displacement == pytest.approx((-6, -6), abs=0.2)

    def test_no_number_is_no_crash(self):
        found = choose_scale(np.full((3, 17, 17), np.nan, np.float32), TrackerSettings())
        assert all(math.isfinite(v) for v in (*found.displacement, found.peak))


def test_other_scales_are_searched_as_often_as_is_said(scene):
    tracker = Tracker("paper", settings={"pyramid": "search", "scale_interval": 3})
    tracker.init(scene.frame(0), scene.box(0))
    counts = []
    for i in range(1, 8):
        counts.append(len(tracker.contexts(scene.frame(i))))
        tracker.update(scene.frame(i))
    assert counts == [3, 1, 1, 3, 1, 1, 3]


class TestSmallContexts:
    def sides(self, scene, **settings):
        tracker = Tracker("lite", settings={"near_interval": 4, **settings})
        tracker.init(scene.frame(0), scene.box(0))
        found = []
        for i in range(1, 13):
            found.append(tracker.contexts(scene.frame(i)).shape[1])
            tracker.update(scene.frame(i))
        return found

    def test_for_a_slow_and_sure_target_but_for_every_fourth_frame(self):
        sides = self.sides(Scene(3), near_motion=1.0, near_above=0.1)
        assert sides[0::4] == [255] * 3
        assert sides.count(191) == 9

    @pytest.mark.parametrize("settings", [{"near_size": 255}, {"near_above": 1.0}, {"near_motion": 0.0}])
    def test_never_for_an_unsure_or_a_fast_one(self, settings):
        assert set(self.sides(Scene(3), **settings)) == {255}

    def test_say_the_same(self):
        scene = Scene(3)
        boxes = []
        for size in (191, 255):
            tracker = Tracker("lite", settings={"near_size": size, "near_motion": 1.0, "near_above": 0.1})
            tracker.init(scene.frame(0), scene.box(0))
            boxes.append(np.array([tracker.update(scene.frame(i)).box for i in range(1, 16)]))
        assert iou(boxes[0], boxes[1]).min() > 0.85
        assert not np.array_equal(boxes[0], boxes[1])

    def test_of_a_side_that_fits_no_cells_are_refused(self):
        with pytest.raises(ValueError, match="near_size 200 must be one of 127, 143"):
            TrackerSettings(near_size=200)

    def test_want_a_sure_slow_target_that_is_alone(self, scene):
        tracker = Tracker("lite", adapt=False, settings={"near_motion": 0.5})
        tracker.init(scene.frame(0), scene.box(0))
        state = tracker.started
        state.frame, state.sure, state.motion = 1, True, 3.7
        assert tracker._near()  # the small context's edge is 7.5 cells away
        for name, value in (("sure", False), ("motion", 3.8), ("others", [Other(0, 0, 0)]), ("frame", 5)):
            before = getattr(state, name)
            setattr(state, name, value)
            assert not tracker._near(), name
            setattr(state, name, before)
        assert tracker._near()

    def test_leave_the_meta_learner_enough_whole_ones(self, scene):
        for interval, near in ((19, False), (20, True)):
            tracker = Tracker("lite", settings={"update_interval": interval})
            tracker.init(scene.frame(0), scene.box(0))
            tracker.started.frame, tracker.started.sure = 1, True
            assert tracker._near() is near

    def test_the_motion_of_earlier_frames_fades(self, scene):
        tracker = Tracker("lite", adapt=False)
        tracker.init(scene.frame(0), scene.box(0))
        tracker.started.motion = 10.0
        tracker.update(scene.frame(0))
        assert tracker.started.motion == pytest.approx(8.0)

    def test_have_the_middle_of_a_whole_ones_window(self):
        assert np.array_equal(_hann(15, 23), _hann(23)[4:-4, 4:-4])
        rng = np.random.default_rng(0)
        maps = [rng.normal(-3, 1, (n, 15, 15)).astype(np.float32)[0] for n in (1, 1)]
        sides = np.full((4, 15, 15), 30, np.float32)
        own = (*maps, sides, (60, 60), (1, 1), 8, TrackerSettings(window=0.9))
        maps[1][0, 7] = 3.0  # far from the centre: a whole context's window, which is wider, costs it less
        assert choose_box(*own, whole=15).displacement != choose_box(*own, whole=63).displacement


class TestLearningAside:
    def test_goes_on_in_a_thread_that_outlives_the_main_one(self):
        script = """
import threading, time
from tests.conftest import Scene
from metatrack import Tracker
scene, tracker = Scene(0), Tracker("lite", threads=1, settings={"update_interval": 20})
tracker.init(scene.frame(0), scene.box(0))
def work():
    time.sleep(1)
    for i in range(1, 30): tracker.update(scene.frame(i))
    print("frames", tracker.started.frame, len(tracker.started.w_target))
threading.Thread(target=work).start()
"""
        done = subprocess.run(
            [sys.executable, "-c", script], cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=120
        )
        assert done.stdout.split() == ["frames", "29", "32"], done.stderr

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
    def test_goes_on_in_a_forked_process(self):
        script = """
import os
from tests.conftest import Scene
from metatrack import Tracker
scene, tracker = Scene(0), Tracker("lite", threads=1, settings={"update_interval": 20})
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
            [sys.executable, "-c", script], cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=120
        )
        assert done.stdout.split() == ["32"], done.stderr

    def test_an_error_is_told_once(self, scene):
        class Broken(Model):
            def adapt(self, *_):
                raise MemoryError("no room")

        tracker = Tracker(Broken(open_bundle("lite"), 1), settings={"update_interval": 4})
        tracker.init(scene.frame(0), scene.box(0))
        told = []
        for i in range(1, 9):
            try:
                tracker.update(scene.frame(i))
            except MemoryError:
                told.append(i)
        assert told == [6]

    def test_a_state_can_be_copied_while_it_learns(self, scene):
        tracker = Tracker("lite", settings={"update_interval": 4})
        tracker.init(scene.frame(0), scene.box(0))
        for i in range(1, 5):
            tracker.update(scene.frame(i))
        assert tracker.started.coming is not None
        copied = pickle.loads(pickle.dumps(copy.deepcopy(tracker.state)))
        last = [tracker.update(scene.frame(i)) for i in range(5, 9)]
        tracker.state = copied
        assert [tracker.update(scene.frame(i)) for i in range(5, 9)] == last
        assert len(copied.w_target) == 32


def test_a_bundle_whose_card_does_not_speak_of_small_contexts_gets_none(tmp_path):
    shutil.copytree(open_bundle("lite").folder, tmp_path / "old")
    card = json.loads((tmp_path / "old" / "card.json").read_text())
    del card["tracking"]["near_size"]
    (tmp_path / "old" / "card.json").write_text(json.dumps(card))
    assert Tracker(tmp_path / "old").settings.near_size == 255
    assert Tracker("lite").settings.near_size == 191
