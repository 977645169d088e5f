"""Running one tracker over one sequence: what it is given and what is recorded."""

import json
import math

import numpy as np
import pytest

from metatrack import Tracker
from metatrack.data.sequence import Sequence
from metatrack.evaluation.run import trackers
from metatrack.evaluation.run.runner import run_sequence
from metatrack.geometry import Box, iou
from tests.conftest import REPOSITORY
from tests.fake_trackers import Perfect, Still, make_sequence


@pytest.fixture
def sequence(tmp_path):
    return make_sequence(tmp_path, "moving")


def test_run_sequence(sequence):
    boxes, seconds = run_sequence(Perfect(), sequence)
    np.testing.assert_array_equal(boxes, sequence.boxes)
    assert boxes.dtype == np.float64 and seconds.shape == (5,) and (seconds > 0).all()
    still, _ = run_sequence(Still(), sequence)
    assert still.tolist() == [[0, 5, 10, 10]] * 5


def test_a_tracker_sees_each_frame_once_in_order_and_the_truth_never_after_the_first(sequence):
    calls: list[tuple[object, ...]] = []

    class Spy(Still):
        def init(self, frame, box):
            super().init(frame, box)
            calls.append(("init", int(frame[0, 0, 0]), tuple(box)))

        def update(self, frame, *more):
            assert not more
            calls.append(("update", int(frame[0, 0, 0])))
            return super().update(frame)

    run_sequence(Spy(), sequence)
    assert calls == [("init", 0, (0, 5, 10, 10))] + [("update", k) for k in range(1, 5)]


def test_a_run_that_starts_later_with_a_box_of_its_own(sequence):
    frames = []

    def first(size):
        assert size == (40, 60)
        return Box(1, 2, 3, 4)

    boxes, seconds = run_sequence(Still(), sequence, 2, first, lambda: frames.append(1))
    assert boxes.tolist() == [[1, 2, 3, 4]] * 3 and len(seconds) == len(frames) == 3
    assert run_sequence(Still(), sequence, 4)[0].tolist() == [[8, 5, 10, 10]]


def test_a_sequence_that_cannot_begin(sequence):
    empty = Sequence(name="empty", frame_paths=(), boxes=np.empty((0, 4)), attributes=frozenset())
    with pytest.raises(ValueError, match="empty holds no frame"):
        run_sequence(Still(), empty)
    with pytest.raises(ValueError, match="moving holds no frame after the first 5"):
        run_sequence(Still(), sequence, 5)
    boxes = sequence.boxes.copy()
    boxes[0] = np.nan
    unknown = Sequence(name="x", frame_paths=sequence.frame_paths, boxes=boxes, attributes=frozenset())
    with pytest.raises(ValueError, match="not finite"):
        run_sequence(Still(), unknown)


def test_a_tracker_may_ask_for_files(sequence):
    calls = []

    class Reader(Perfect):
        def next_file(self, path):
            calls.append(path)

        def update(self, frame):
            assert int(calls[-1].stem) == frame[0, 0, 0]
            return super().update(frame)

    boxes, _ = run_sequence(Reader(), sequence, 1)
    assert calls == list(sequence.frame_paths[1:])
    np.testing.assert_array_equal(boxes, sequence.boxes[1:])


# -- trackers by name


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        ("noname", ValueError),
        (":x", ValueError),
        ("math:nothing", ValueError),
        ("math:pi", ValueError),
        ("no.such:x", ImportError),
    ],
)
def test_factories_that_are_none(spec, error):
    with pytest.raises(error):
        trackers.load_factory(spec)


def test_factory_by_name():
    assert trackers.load_factory("math:sqrt") is math.sqrt
    spec = trackers.tracker_spec("tests.fake_trackers:Perfect")
    assert spec.name == "Perfect" and isinstance(spec.make(), Perfect)
    assert spec.identity() == {"factory": "tests.fake_trackers:Perfect"}


@pytest.mark.parametrize(
    ("text", "name", "origin"),
    [
        ("mlt", "mlt", "mlt"),
        ("ours=mlt-no-adapt", "ours", "mlt-no-adapt"),
        ("a.b=my.mod:make", "a.b", "my.mod:make"),
        (" kcf ", "kcf", "kcf"),
        ("nano:/a b/c=d", "nano", "nano:/a b/c=d"),
        ("small=nano:C:\\x", "small", "nano:C:\\x"),
        ("a/theirs.json", "theirs", "a/theirs.json"),
        ("mine=a:b/theirs.json", "mine", "a:b/theirs.json"),
        ("mlt:make", "make", "mlt:make"),  # a module of that name
    ],
)
def test_names(text, name, origin):
    assert trackers.tracker_spec(text) == trackers.TrackerSpec(name, origin)


def test_every_name_is_in_the_docs():
    documented = (REPOSITORY / "docs" / "evaluation.md").read_text()
    for name, named in trackers.NAMED.items():
        assert f"`{name}" in documented, f"docs/evaluation.md has no row for the tracker `{name}`"
        assert named.help and name in trackers.trackers_help()


@pytest.mark.parametrize(
    "name", ["siamfc", "csk", "kcf", "dsst", "srdcf", "meem", "tld", "csrt", "opencv-tld", "mil", "mosse", "medianflow"]
)
def test_compared_trackers_follow(name, scene):
    spec = trackers.tracker_spec(name)
    json.dumps(spec.identity(), allow_nan=False)
    tracker = spec.make()
    tracker.init(scene.frame(0), Box(*scene.box(0)))
    for i in range(1, 10):
        box = np.array(tracker.update(scene.frame(i)).box)
    assert iou(box, np.array(scene.box(9), float)) > 0.5


def test_identities_pin_what_decides_boxes(tmp_path):
    siamfc, plain = (trackers.tracker_spec(name).identity() for name in ("siamfc", "mlt-no-meta"))
    assert siamfc["sha256"] == plain["sha256"] and siamfc["tracking"]["scale_step"] == 1.0375
    made = trackers.tracker_spec("siamfc").make()
    assert isinstance(made, Tracker) and made.settings.search_wider is False
    assert set(trackers.tracker_spec("kcf").identity()) == {"metatrack", "factory"}
    assert set(trackers.tracker_spec("dsst").identity()) == {"metatrack", "opencv", "factory"}
    for name in ("nanotrack_backbone_sim.onnx", "nanotrack_head_sim.onnx"):
        (tmp_path / name).write_bytes(name.encode())
    nano = trackers.tracker_spec(f"nano:{tmp_path}")
    before = nano.identity()
    (tmp_path / "nanotrack_head_sim.onnx").write_bytes(b"other")
    assert nano.identity() != before and set(before["sha256"]) == {path.name for path in tmp_path.iterdir()}


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["mtl"], "no tracker 'mtl'; did you mean 'mlt'"),
        (["xyz"], "known are mlt, mlt-paper, "),
        (["crst"], "did you mean 'csrt'"),
        (["nano"], "nano needs the folder of its network's files: nano:FOLDER"),
        (["x=vit:"], "vit needs the folder"),
        (["my tracker.json"], "cannot be the name of a tracker; .* as in name=my tracker.json"),
        (["../x=my.mod:make"], "cannot be the name"),
        (["=my.mod:make"], "cannot be the name"),
        (["a:make", "b:make"], "two trackers are named 'make'"),
        ([" "], "name a tracker"),
    ],
)
def test_names_that_are_none(texts, message):
    with pytest.raises(ValueError, match=message):
        trackers.tracker_specs(texts)


def test_a_tracker_may_answer_with_the_box_alone(sequence):
    class Still:
        def init(self, frame, box):
            self.box = box

        def update(self, frame):
            return self.box

    boxes, _ = run_sequence(Still(), sequence)
    assert (boxes == boxes[0]).all()
