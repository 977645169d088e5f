"""OpenCV's trackers behind our interface: boxes, colours and failures are what this project means by them."""

from __future__ import annotations

import os
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from metatrack.compared import opencv
from metatrack.compared.opencv import CSRT, MIL, MOSSE, MedianFlow, Nano, OpenCVFollower, OpenCVTLD, Vit
from metatrack.evaluation.run.trackers import NAMED, Compared, tracker_spec
from metatrack.geometry import iou
from tests.conftest import Scene

ALL = [CSRT, MIL, MOSSE, OpenCVTLD, MedianFlow]
FRAMES = 20


@pytest.fixture(autouse=True)
def one_thread():
    """As in an evaluation."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    yield
    cv2.setNumThreads(threads)


def follow(tracker: OpenCVFollower, scene: Scene, frames: int = FRAMES) -> list[tuple[float, ...]]:
    tracker.init(scene.frame(0), scene.box(0))
    return [tuple(tracker.update(scene.frame(i)).box) for i in range(1, frames)]


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_follows_a_target_and_does_so_again(kind: type[OpenCVFollower]) -> None:
    scene = Scene()
    boxes = follow(kind(), scene)
    overlaps = [float(iou(np.array(box), np.array(scene.box(i)))) for i, box in enumerate(boxes, 1)]
    assert np.mean(overlaps) > 0.6 and overlaps[-1] > 0.5
    assert all(isinstance(value, float) for box in boxes for value in box)
    tracker = kind()
    assert follow(tracker, scene) == boxes
    cv2.setRNGSeed(77)  # whatever was drawn before: a continued evaluation gives the same boxes as an uninterrupted one
    assert follow(tracker, scene) == boxes


def test_frames_are_rgb(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenCV is given BGR, contiguous; and the caller's frame is not changed."""
    seen = []

    class Fake:
        def init(self, frame, box):
            seen.append((frame, box))

        def update(self, frame):
            seen.append((frame, None))
            return True, (1, 2, 3, 4)

    monkeypatch.setattr(cv2, "TrackerCSRT", Fake)
    tracker = CSRT()
    frame = np.zeros((40, 60, 3), np.uint8)
    frame[..., 0] = 200
    tracker.init(frame[:, ::-1], (10.4, 5.6, 20.2, 9.9))
    assert tracker.update(frame[::2]).box == (1.0, 2.0, 3.0, 4.0)
    for given, _ in seen:
        assert given.flags.c_contiguous and given[0, 0].tolist() == [0, 0, 200]
    assert frame[0, 0].tolist() == [200, 0, 0]
    assert seen[0][1] == (10, 6, 21, 10) and all(type(value) is int for value in seen[0][1])


@pytest.mark.parametrize(
    ("box", "whole"),
    [
        ((-10, -5, 44, 44), (0, 0, 34, 39)),  # the part that is inside
        ((300.5, 220, 44, 44), (300, 220, 20, 20)),
        ((5.2, 5.2, 0.3, 0.3), (5, 5, 1, 1)),  # never nothing
        ((319.6, 239.6, 5, 5), (319, 239, 1, 1)),
    ],
)
def test_boxes_inside_the_frame(box: tuple[float, ...], whole: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    given = {}

    class Fake:
        def init(self, frame, box):
            given["box"] = box

    monkeypatch.setattr(cv2, "TrackerMIL", Fake)
    monkeypatch.setattr(cv2.legacy, "TrackerTLD", Fake)
    frame = np.zeros((240, 320, 3), np.uint8)
    MIL().init(frame, box)
    assert given["box"] == whole
    OpenCVTLD().init(frame, box)  # takes fractions
    x, y, w, h = given["box"]
    assert x >= 0 and y >= 0 and 0 < w and x + w <= 320 and 0 < h and y + h <= 240
    for wrong in ((0, 0, 0, 5), (400, 0, 5, 5), (np.nan, 0, 5, 5)):
        with pytest.raises(ValueError, match="box"):
            MIL().init(frame, wrong)


def test_giving_up_is_nan_and_not_the_end() -> None:
    scene = Scene()
    tracker = MOSSE()
    tracker.init(scene.frame(0), scene.box(0))
    assert np.isfinite(tracker.update(scene.frame(1)).box).all()
    assert np.isnan(tracker.update(np.zeros_like(scene.frame(0))).box).all()
    assert np.isfinite(tracker.update(scene.frame(2)).box).all()


def test_update_before_init() -> None:
    with pytest.raises(RuntimeError, match="init"):
        CSRT().update(np.zeros((40, 60, 3), np.uint8))


def test_what_opencv_refuses_is_said_in_one_line() -> None:
    tracker = CSRT()
    with pytest.raises(RuntimeError, match="OpenCV's TrackerCSRT fails in frame [01] of its run: ") as caught:
        tracker.init(Scene().frame(0), (100, 100, 1, 1))
        tracker.update(Scene().frame(1))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", [CSRT, OpenCVTLD])
def test_an_opencv_without_contrib(kind: type[OpenCVFollower], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(cv2, "TrackerCSRT")
    monkeypatch.delattr(cv2, "legacy")
    with pytest.raises(ValueError, match=f"has no {re.escape(kind.origin)}; .*opencv-contrib-python-headless"):
        kind()
    with pytest.raises(ValueError, match="opencv-contrib-python-headless"):
        kind.identity()


# -- those that need files


@pytest.mark.parametrize("kind", [Nano, Vit])
def test_files_that_are_missing(kind: type[Nano] | type[Vit], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\.onnx is missing; get .*\.onnx.* from https://github.com/") as caught:
        kind(tmp_path)
    assert str(tmp_path) in str(caught.value)
    with pytest.raises(ValueError, match="is missing"):
        kind.identity(tmp_path / "nowhere")
    for name in kind.files.values():
        (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(ValueError, match="pointer of Git LFS"):
        kind(tmp_path)


@pytest.mark.parametrize("kind", [Nano, Vit])
def test_files_that_are_none(kind: type[Nano] | type[Vit], tmp_path: Path) -> None:
    for name in kind.files.values():
        (tmp_path / name).write_bytes(b"not a network")
    identity = kind.identity(tmp_path)
    assert set(identity["sha256"]) == set(kind.files.values()) and all(len(value) == 64 for value in identity["sha256"].values())
    with pytest.raises(RuntimeError, match=f"OpenCV's {kind.origin} fails in frame 0"):
        kind(tmp_path).init(Scene().frame(0), Scene().box(0))


@pytest.mark.parametrize(("kind", "variable"), [(Nano, "METATRACK_NANO"), (Vit, "METATRACK_VIT")])
def test_with_its_files(kind: type[Nano] | type[Vit], variable: str, capfd: pytest.CaptureFixture[str]) -> None:
    folder = os.environ.get(variable)
    if folder is None:
        pytest.skip(f"needs {' and '.join(kind.files.values())} from {kind.source}: name their folder in {variable}")
    scene = Scene()
    boxes = follow(kind(folder), scene)
    assert np.mean([float(iou(np.array(box), np.array(scene.box(i)))) for i, box in enumerate(boxes, 1)]) > 0.7
    assert follow(kind(folder), scene) == boxes
    assert "WARN" not in capfd.readouterr().err


# -- by name


@pytest.mark.parametrize("name", ["csrt", "opencv-tld", "mil", "mosse", "medianflow"])
def test_by_name(name: str) -> None:
    spec = tracker_spec(name)
    tracker = spec.make()
    assert isinstance(tracker, OpenCVFollower) and type(tracker).__name__.lower() == name.replace("-", "")
    assert spec.identity()["opencv"] == cv2.__version__


def test_every_class_has_a_name() -> None:
    factories = {named.factory for named in NAMED.values() if isinstance(named, Compared)}
    kinds = {kind.__name__ for kind in vars(opencv).values() if isinstance(kind, type) and hasattr(kind, "origin")}
    assert kinds == {"CSRT", "MIL", "OpenCVTLD", "MOSSE", "MedianFlow", "Nano", "Vit"}
    assert {f"opencv:{kind}" for kind in kinds} <= factories
