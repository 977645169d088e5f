"""Running one tracker over one sequence: what it is given and what is recorded."""

import math

import numpy as np
import pytest

from metatrack.data.sequence import Sequence
from metatrack.evaluation import trackers
from metatrack.evaluation.runner import run_sequence
from metatrack.geometry import Box
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
    calls = []

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
    [("mlt", "mlt", "mlt"), ("ours=mlt-no-adapt", "ours", "mlt-no-adapt"), ("a.b=my.mod:make", "a.b", "my.mod:make")],
)
def test_names(text, name, origin):
    assert trackers.tracker_spec(text) == trackers.TrackerSpec(name, origin)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["mtl"], "no tracker 'mtl'; did you mean 'mlt'"),
        (["xyz"], "known are mlt, mlt-paper, mlt-no-adapt, mlt-no-meta"),
        (["../x=my.mod:make"], "cannot be the name"),
        (["=my.mod:make"], "cannot be the name"),
        (["a:make", "b:make"], "two trackers are named 'make'"),
        ([" "], "name a tracker"),
    ],
)
def test_names_that_are_none(texts, message):
    with pytest.raises(ValueError, match=message):
        trackers.tracker_specs(texts)
