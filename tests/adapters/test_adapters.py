"""Each adapter keeps the contract of the software it is for: on real frames, with the software itself where it is installed."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from metatrack.adapters.cvat import handler, init_context
from metatrack.adapters.cvat_agent import create
from metatrack.adapters.got10k import Got10kTracker
from metatrack.adapters.label_studio import predict
from metatrack.adapters.opencv import OpenCVTracker
from metatrack.adapters.pysot import PysotTracker
from metatrack.adapters.rerun import log
from metatrack.adapters.state import pack, unpack
from metatrack.adapters.stateless import StatelessTracker
from metatrack.adapters.supervision import detections
from metatrack.geometry import Box
from metatrack.images import encode_image, write_image
from metatrack.runtime.load import load_model
from metatrack.tracking.tracker import Result, Tracker
from tests.app.test_cli import DEMO, MODEL
from tests.conftest import REPOSITORY, Scene

SCENE = Scene(length=12)
FRAMES = [SCENE.frame(n) for n in range(8)]
BOX = SCENE.box(0)
LOST = Result(Box(1, 2, 3, 4), 0.05, True)
SEEN = Result(Box(10, 20, 30, 40), 0.9, False)


@pytest.fixture(scope="module")
def model():
    return load_model(MODEL)


@pytest.fixture(scope="module")
def boxes(model) -> dict[bool, list[Box]]:
    """What our own tracker says, with and without the meta-learner."""
    found = {}
    for adapt in (True, False):
        tracker = Tracker(model, adapt)
        tracker.init(FRAMES[0], BOX)
        found[adapt] = [tracker.update(frame).box for frame in FRAMES[1:]]
    return found


def bgr(frame: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(frame[..., ::-1])


def test_adapters_are_short() -> None:
    """Each module in at most 20 lines of code: what is no text, no import and not empty."""
    import ast

    for name in ("opencv", "pysot", "got10k", "supervision", "rerun", "cvat", "cvat_agent", "label_studio"):
        source = (REPOSITORY / "src" / "metatrack" / "adapters" / f"{name}.py").read_text(encoding="utf-8")
        code = {n for n, line in enumerate(source.splitlines(), 1) if line.strip() and "TYPE_CHECKING" not in line}
        for node in ast.walk(ast.parse(source)):
            text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            if text or isinstance(node, ast.Import | ast.ImportFrom):
                code -= set(range(node.lineno, node.end_lineno + 1))  # type: ignore[attr-defined]
        assert 5 <= len(code) <= 20, (name, len(code))


def test_opencv(model, boxes: dict[bool, list[Box]], monkeypatch) -> None:
    tracker, theirs = OpenCVTracker(model), cv2.TrackerMIL.create()
    theirs.init(bgr(FRAMES[0]), tuple(map(int, BOX)))
    tracker.init(bgr(FRAMES[0]), BOX)
    for frame, box in zip(FRAMES[1:], boxes[True]):
        ok, found = tracker.update(bgr(frame))
        assert (ok, found) == (True, tuple(map(round, box)))
        assert [type(value) for value in found] == [type(value) for value in theirs.update(bgr(frame))[1]]
    monkeypatch.setattr(tracker.tracker, "update", lambda frame: LOST)
    assert tracker.update(bgr(FRAMES[0])) == (False, (1, 2, 3, 4))


def test_pysot(model, boxes: dict[bool, list[Box]]) -> None:
    tracker = PysotTracker(model)
    tracker.init(bgr(FRAMES[0]), BOX)
    outputs = [tracker.track(bgr(frame)) for frame in FRAMES[1:]]
    assert [tuple(each["bbox"]) for each in outputs] == boxes[True]
    assert all(0 <= each["best_score"] <= 1 for each in outputs)


def test_got10k_toolkit(model, boxes: dict[bool, list[Box]], tmp_path: Path) -> None:
    files = []
    for n, frame in enumerate(FRAMES):
        write_image(tmp_path / f"{n + 1:08d}.png", frame)
        files.append(str(tmp_path / f"{n + 1:08d}.png"))
    found, times = Got10kTracker(model).track(files, BOX)
    assert (found.shape, times.shape, bool((times > 0).all())) == ((8, 4), (8,), True)
    assert [tuple(row) for row in found[1:]] == boxes[True]
    toolkit = pytest.importorskip("got10k.trackers")
    tracker = toolkit.Tracker("ours")
    ours = Got10kTracker(model)
    tracker.init, tracker.update = ours.init, ours.update  # their loop over our tracker, with Pillow's images
    assert [tuple(row) for row in tracker.track(files, np.array(BOX))[0][1:]] == boxes[True]


def test_supervision() -> None:
    sv = pytest.importorskip("supervision")
    found = detections({3: SEEN, 4: LOST})
    assert isinstance(found, sv.Detections)
    assert found.xyxy.tolist() == [[10, 20, 40, 60]]
    assert (found.tracker_id.tolist(), found.confidence.tolist()) == ([3], [0.9])
    assert detections({3: SEEN, 4: LOST}, lost=True).tracker_id.tolist() == [3, 4]
    assert len(detections({})) == 0
    assert sv.BoxAnnotator().annotate(FRAMES[0].copy(), found).shape == FRAMES[0].shape


def test_rerun(tmp_path: Path) -> None:
    rr = pytest.importorskip("rerun")
    recording = rr.RecordingStream("metatrack-test")
    recording.save(tmp_path / "a.rrd")
    log(0, {1: SEEN, "dog": LOST}, FRAMES[0], recording)
    log(1, {}, None, recording)
    recording.flush()
    assert (tmp_path / "a.rrd").stat().st_size > 1000


def encoded(frame: np.ndarray) -> str:
    return base64.b64encode(encode_image(frame, ".png")).decode()


def corners(box) -> list[float]:
    x, y, w, h = box
    return [x, y, x + w, y + h]


def test_cvat_a_frame_a_request(model, boxes: dict[bool, list[Box]]) -> None:
    """As CVAT's server asks: the states come back with the next frame; another function may answer it."""
    shapes: list[Any] = [corners(BOX), [5, 5, 40, 40, 5, 40]]
    states: list[Any] = []
    for n, frame in enumerate(FRAMES):
        body = json.loads(json.dumps({"image": encoded(frame), "shapes": shapes, "states": states}))
        answer = json.loads(json.dumps(StatelessTracker(model)(body)))
        shapes, states = answer["shapes"], answer["states"]
        if n:
            assert shapes[0] == pytest.approx(corners(boxes[False][n - 1]))
    assert len(shapes[1]) == 4  # a polygon became its rectangle
    assert all(len(state) < 2_000_000 for state in states)


def test_cvat_many_frames_a_request(model, boxes: dict[bool, list[Box]]) -> None:
    shape = {"type": "rectangle", "points": corners(BOX)}
    answer = StatelessTracker(model)({"images": [encoded(frame) for frame in FRAMES], "shapes": [shape], "states": []})
    assert [found[0]["points"] for found in answer["shapes"][1:]] == [pytest.approx(corners(box)) for box in boxes[False]]
    assert answer["shapes"][0] == [shape]


def test_nuclio_calls(model) -> None:
    context = SimpleNamespace(user_data=SimpleNamespace(), Response=lambda **facts: SimpleNamespace(**facts))
    init_context(context)
    body = {"image": encoded(FRAMES[0]), "shapes": [corners(BOX)], "states": [None]}
    answer = handler(context, SimpleNamespace(body=body))
    assert (answer.status_code, answer.content_type) == (200, "application/json")
    state = json.loads(answer.body)["states"][0]
    for wrong, message in (
        ({**body, "image": "bm8="}, "cannot be read as an image"),
        ({**body, "shapes": [[1, 2, 1, 2]]}, "has no area"),
        ({**body, "states": ["{}"]}, "it lacks center"),
        ({**body, "states": [state.replace('"data":"', '"data":"AAAA', 1)]}, "of another size than it says"),
        ({}, "KeyError: 'shapes'"),
    ):
        answer = handler(context, SimpleNamespace(body=wrong))
        assert answer.status_code == 400
        assert message in json.loads(answer.body)["error"]


@pytest.mark.parametrize(
    ("name", "box"), [("lite", BOX), ("paper", BOX), ("lite", (-20, 60, 60, 50)), ("lite", (100, 60, 2, 90))], ids=str
)
def test_a_state_is_all_there_is(name: str, box: tuple[float, ...]) -> None:
    one, other = Tracker(name, adapt=False), Tracker(name, adapt=False)
    one.init(FRAMES[0], box)  # partly outside the frame, and a line, too
    for frame in FRAMES[1:]:
        unpack(pack(one), other)
        assert other.update(frame) == one.update(frame)
        assert pack(other) == pack(one)


def test_only_a_tracker_without_meta_learner_has_a_state(model) -> None:
    tracker = Tracker(model)
    tracker.init(FRAMES[0], BOX)
    if tracker.adapt:
        with pytest.raises(ValueError, match="adapt=False"):
            pack(tracker)
    with pytest.raises(RuntimeError):
        pack(Tracker(model, adapt=False))


def test_cvat_agent(model, boxes: dict[bool, list[Box]]) -> None:
    cvataa = pytest.importorskip("cvat_sdk.auto_annotation")
    from PIL import Image

    function = create(MODEL)
    assert function.spec.supported_shape_types == {"rectangle"}
    state = function.init_tracking_state(
        None, Image.fromarray(FRAMES[0]), cvataa.TrackableShape(type="rectangle", points=corners(BOX))
    )
    for frame, box in zip(FRAMES[1:], boxes[True]):
        shape = function.track(None, Image.fromarray(frame), state)
        assert (shape.type, shape.points) == ("rectangle", pytest.approx(corners(box)))


DRAWN = (("aB3", 1, 28.90625, 33.3333333, 10.78125, 24.1666667, 0.0), ("xY9", 4, 40, 40, 10, 15, 0.12))
CONTEXT: dict[str, Any] = {  # as Label Studio sends it when a person has drawn two regions, the second one three frames later
    "result": [
        {
            "value": {
                "framesCount": 116,
                "duration": 4.64,
                "sequence": [
                    {"frame": frame, "enabled": True, "rotation": 0, "x": x, "y": y, "width": w, "height": h, "time": t}
                ],
                "labels": ["Rabbit"],
            },
            "id": name, "from_name": "box", "to_name": "video", "type": "videorectangle", "origin": "manual",
        }
        for name, frame, x, y, w, h, t in DRAWN
    ]
}  # fmt: skip


def test_label_studio() -> None:
    request = json.loads(json.dumps({"tasks": [{"id": 1, "data": {"video": "demo.mp4"}}], "params": {"context": CONTEXT}}))
    (prediction,) = predict(DEMO, request["params"]["context"], frames=5, model=MODEL)
    first, second = prediction["result"]
    assert [step["frame"] for step in first["value"]["sequence"]] == [1, 2, 3, 4, 5, 6]
    assert [step["frame"] for step in second["value"]["sequence"]] == [4, 5, 6, 7, 8, 9]
    assert first["value"]["sequence"][0] == CONTEXT["result"][0]["value"]["sequence"][0]
    tracker = Tracker(MODEL)
    from metatrack.video import open_source

    with open_source(DEMO, end=6) as source:
        tracker.init(next(source), (185, 120, 69, 87))
        for step, frame in zip(first["value"]["sequence"][1:], source):
            found = (step["x"] * 6.4, step["y"] * 3.6, step["width"] * 6.4, step["height"] * 3.6)
            assert found == pytest.approx(tuple(tracker.update(frame).box), abs=0.01)
    assert {key: first[key] for key in ("id", "from_name", "to_name", "type")} == {
        "id": "aB3", "from_name": "box", "to_name": "video", "type": "videorectangle"
    }  # fmt: skip


@pytest.mark.parametrize("context", [None, {}, {"result": []}, {"result": [{"type": "labels"}]}])
def test_label_studio_without_a_box(context) -> None:
    assert predict(DEMO, context) == []
