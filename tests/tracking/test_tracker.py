"""Algorithm 1 at run time, with the shipped weights: it tracks, it adapts, it admits a loss, and no input breaks it."""

from __future__ import annotations

import csv
import json
import math
import os
import shutil
from importlib import resources

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metatrack import Box, Result, Tracker
from metatrack.geometry import iou
from metatrack.runtime.bundle import BundleError, open_bundle, shipped_models
from metatrack.runtime.load import load_model
from metatrack.video import open_source
from tests.conftest import REPOSITORY, Scene

ROOT = REPOSITORY
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
    box=st.tuples(st.floats(-20, 80), st.floats(-20, 80), st.floats(1.1, 200), st.floats(1.1, 200)),
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
