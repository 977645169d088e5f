"""Running trackers over sequences: what they are given, what is recorded, and the table made of it."""

import math
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from metatrack.data.sequence import Sequence
from metatrack.evaluation import ope
from metatrack.evaluation.runner import run_sequence
from metatrack.geometry import Box

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data" / "otb"


class Found:
    """A tracker's answer with nothing but a box."""

    def __init__(self, box):
        self.box = Box(*box)


class Still:
    """Says the first box for ever."""

    def init(self, frame, box):
        self.box = box

    def update(self, frame):
        return Found(self.box)


class Reader(Still):
    """Reads the true x from the frame's brightness: frame k is k everywhere, the target's x is 2 k."""

    def update(self, frame):
        return Found((2 * float(frame[0, 0, 0]), *self.box[1:]))


class Broken(Still):
    def update(self, frame):
        raise KeyError("no such state")


@pytest.fixture
def sequence(tmp_path):
    return make_sequence(tmp_path, "moving")


def make_sequence(folder, name, frames=5):
    """A target of 10 x 10 px that moves 2 px a frame; frame k is filled with k (as PNG, so exactly)."""
    paths = [folder / f"{name}-{k}.png" for k in range(frames)]
    for k, path in enumerate(paths):
        cv2.imwrite(str(path), np.full((40, 60, 3), k, np.uint8))
    boxes = np.array([(2.0 * k, 5, 10, 10) for k in range(frames)])
    return Sequence(name=name, frame_paths=tuple(paths), boxes=boxes, attributes=frozenset({"FM"}))


def test_run_sequence(sequence):
    boxes, seconds = run_sequence(Reader(), sequence)
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


def test_a_sequence_that_cannot_begin(sequence):
    empty = Sequence(name="empty", frame_paths=(), boxes=np.empty((0, 4)), attributes=frozenset())
    with pytest.raises(ValueError, match="empty holds no frame"):
        run_sequence(Still(), empty)
    boxes = sequence.boxes.copy()
    boxes[0] = np.nan
    unknown = Sequence(name="x", frame_paths=sequence.frame_paths, boxes=boxes, attributes=frozenset())
    with pytest.raises(ValueError, match="not finite"):
        run_sequence(Still(), unknown)


def test_scores_of_a_perfect_and_of_a_still_tracker(sequence):
    perfect = ope.score(sequence, sequence.boxes, fps=50.0)
    assert (perfect.auc, perfect.precision, perfect.fps) == (pytest.approx(20 / 21), 1.0, 50.0)
    assert (perfect.sequence, perfect.attributes) == ("moving", {"FM"})
    # overlaps (10 - 2k) / (10 + 2k) = 1, 8/12, 6/14, 4/16, 2/18 pass 20, 14, 9, 5 (0.25 > 0.25 fails), 3 of 21 thresholds
    table = ope.evaluate_ope(Still, [sequence])
    assert table.rows[0].auc == pytest.approx((20 + 14 + 9 + 5 + 3) / (5 * 21))
    assert table.rows[0].precision == 1.0  # at most 8 px off
    assert (table.tracker, table.auc) == ("Still", table.rows[0].auc)


def test_jobs_change_nothing_but_the_time(tmp_path):
    sequences = [make_sequence(tmp_path, name, frames) for name, frames in (("a", 3), ("b", 6), ("c", 4))]
    seen = []
    one = ope.evaluate_ope(Still, sequences, on_row=seen.append)
    two = ope.evaluate_ope(partial(Still), sequences, jobs=2, name="Still")
    assert [(r.sequence, r.auc, r.precision) for r in two.rows] == [(r.sequence, r.auc, r.precision) for r in one.rows]
    assert tuple(seen) == one.rows and [row.sequence for row in seen] == ["a", "b", "c"]
    assert one.auc == pytest.approx(np.mean([row.auc for row in one.rows]))


def test_a_failure_names_its_sequence(sequence):
    with pytest.raises(RuntimeError, match="failed on sequence moving: KeyError") as error:
        ope.evaluate_ope(Broken, [sequence])
    assert isinstance(error.value.__cause__, KeyError)


def test_format_tables():
    rows = (ope.Row("a", 0.5, 0.75, 10.0), ope.Row("b", 0.7, 0.25, 30.0))
    unknown = tuple(ope.Row(r.sequence, r.auc / 2, r.precision, math.nan) for r in rows)
    lines = ope.format_tables([ope.Table("MLT", rows), ope.Table("old", unknown)], np.random.default_rng(0)).splitlines()
    assert [line.split() for line in lines] == [
        ["MLT", "old"],
        ["AUC", "P@20", "AUC", "P@20"],
        ["a", "0.500", "0.750", "0.250", "0.750"],
        ["b", "0.700", "0.250", "0.350", "0.250"],
        ["mean", "0.600", "0.500", "0.300", "0.500"],
        ["95", "%", "of", "AUC", "0.500-0.700", "0.250-0.350"],  # of two values the bootstrap mean is one, the other, or 0.6
        ["fps", "20.0", "-"],
    ]
    with pytest.raises(ValueError):
        ope.format_tables([ope.Table("MLT", rows), ope.Table("old", unknown[:1])], np.random.default_rng(0))


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
        ope.load_factory(spec)


def test_factory_by_name():
    assert ope.load_factory("math:sqrt") is math.sqrt


needs_data = pytest.mark.skipif(not (SHARED / "sequences").is_dir(), reason=f"no OTB sequences at {SHARED}")


@needs_data
def test_command_line(capsys, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    archive = str(SHARED / "results" / "SiamFC-3s__cfnet17.zip")
    sequences = ["--root", str(SHARED / "sequences"), "--only", "Skiing", "DragonBaby"]
    ope.main([*sequences, "--tracker", f"{Path(__file__).stem}:Still", "--published", archive])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["Still", "SiamFC-3s"]
    assert [line[0] for line in lines[2:5]] == ["DragonBaby", "Skiing", "mean"]
    assert lines[3][3:] == ["0.087", "0.136"]
    for wrong in ([*sequences], [*sequences, "Nothing", "--published", archive]):
        with pytest.raises(SystemExit):
            ope.main(wrong)


@needs_data
def test_published_results_that_lack_a_sequence(sequence):
    with pytest.raises(ValueError, match="holds no results for moving"):
        ope.published_table("x", SHARED / "results" / "CSK__zhangzheng.zip", [sequence])
