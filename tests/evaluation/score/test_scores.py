"""From boxes to scores, by each data set's convention, and to the files and the table that show them."""

import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from metatrack.data.sequence import Sequence
from metatrack.evaluation.run.store import Store, Unit
from metatrack.evaluation.score import scores, summary
from metatrack.evaluation.score.scores import CONVENTIONS, Convention, Row, Table
from tests.evaluation.helpers import score, score_runs
from tests.fake_trackers import make_sequence


@pytest.fixture
def sequence(tmp_path):
    return make_sequence(tmp_path, "moving")


STILL = [(0, 5, 10, 10)] * 5
# overlaps (10 - 2k) / (10 + 2k) = 1, 8/12, 6/14, 4/16, 2/18 pass 20, 14, 9, 5 (0.25 > 0.25 fails), 3 of 21 thresholds
STILL_AUC = (20 + 14 + 9 + 5 + 3) / (5 * 21)


def test_scores_of_a_perfect_and_of_a_still_tracker(sequence):
    perfect = score(sequence, sequence.boxes, fps=50.0)
    assert (perfect.auc, perfect.precision, perfect.fps) == (pytest.approx(20 / 21), 1.0, 50.0)
    assert (perfect.ao, perfect.sr50, perfect.sr75, perfect.frames) == (1.0, 1.0, 1.0, 4)
    assert (perfect.sequence, perfect.attributes) == ("moving", {"FM"})
    still = score(sequence, STILL)
    assert still.auc == pytest.approx(STILL_AUC)
    assert still.precision == 1.0  # at most 8 px off
    # normalised errors 0, 0.2, 0.4, 0.6, 0.8 at most 0.2: two of five; over 0..0.5 they pass 51, 31, 11, 0, 0 of 51 thresholds
    assert still.norm_precision == pytest.approx(2 / 5)
    assert still.norm_precision_auc == pytest.approx((51 + 31 + 11) / (5 * 51))
    # without the first frame: 8/12, 6/14, 4/16, 2/18
    assert still.ao == pytest.approx((8 / 12 + 6 / 14 + 4 / 16 + 2 / 18) / 4)
    assert (still.sr50, still.sr75) == (0.25, 0.0)


def test_a_tracker_that_gives_up_keeps_its_last_box_and_the_first_frame_counts_as_found(sequence):
    boxes = np.array(STILL, float)
    boxes[2:] = np.nan
    given_up, still = (replace(score(sequence, found), fps=0.0) for found in (boxes, STILL))  # no time was taken: NaN
    assert given_up == still
    boxes = np.array(STILL, float)
    boxes[0] = (30, 30, 2, 2)  # as SRE may give it
    assert score(sequence, boxes).auc == pytest.approx(STILL_AUC)
    with pytest.raises(ValueError, match=r"moving: boxes of shape \(4, 4\) for 5 frames"):
        score(sequence, STILL[1:])


def test_frames_without_a_target(sequence):
    boxes = sequence.boxes.copy()
    boxes[2:4] = np.nan
    gap = Sequence("gap", sequence.frame_paths, boxes)
    runs = [(0, sequence.boxes)]
    left_out = score_runs(gap, runs)
    assert (left_out.auc, left_out.precision, left_out.frames) == (pytest.approx(20 / 21), 1.0, 2)
    # LaSOT divides by all five frames, of which three can be passed
    lasot = score_runs(gap, runs, CONVENTIONS["lasot"])
    assert lasot.auc == pytest.approx(3 / 5 * 20 / 21)
    assert lasot.precision == lasot.norm_precision == pytest.approx(3 / 5)
    assert (lasot.ao, lasot.frames) == (1.0, 2)
    uav = score_runs(gap, runs, CONVENTIONS["uav123"])
    assert (uav.auc, uav.precision, uav.norm_precision) == (pytest.approx(3 / 5 * 20 / 21), 1.0, 1.0)


def test_got10k_cuts_boxes_to_the_frame():
    truth = np.tile([0.0, 0, 20, 20], (2, 1))
    sequence = Sequence("edge", (Path(), Path()), truth)
    # beyond the right and lower edge of a frame of 20 x 20, so uncut 400 / 900
    row = score_runs(sequence, [(0, [[0, 0, 20, 20], [0, 0, 30, 30]])], Convention(clip=True), frame_size=(20, 20))
    assert row.ao == 1.0
    assert row.auc == pytest.approx((20 + 9) / 42)  # uncut: 0.444 passes 9 of 21
    # begins left of it: moved to 0, not narrowed, so 20 of 20
    row = score_runs(sequence, [(0, [[0, 0, 20, 20], [-5, 0, 20, 20]])], Convention(clip=True), frame_size=(20, 20))
    assert row.ao == 1.0
    with pytest.raises(ValueError, match="give its size"):
        score_runs(sequence, [(0, truth)], Convention(clip=True))


def test_runs_of_a_sequence_are_pooled(sequence):
    # 5 frames of the still tracker and 2 of a perfect one: (51 + 2 * 20) / (7 * 21)
    row = score_runs(sequence, [(0, STILL), (3, sequence.boxes[3:])])
    assert row.auc == pytest.approx((STILL_AUC * 5 * 21 + 40) / (7 * 21))
    assert row.frames == 4 + 1
    assert row.ao == pytest.approx((8 / 12 + 6 / 14 + 4 / 16 + 2 / 18 + 1) / 5)


def test_a_sequence_whose_truth_is_withheld_has_no_score(sequence):
    boxes = sequence.boxes.copy()
    boxes[1:] = np.nan
    withheld = score(Sequence("test", sequence.frame_paths, boxes), sequence.boxes, fps=9.0)
    assert all(math.isnan(getattr(withheld, metric)) for metric in scores.METRICS)
    assert (withheld.frames, withheld.fps) == (0, 9.0)


def row(name, value, frames=1, **more):
    return Row(name, value, value / 2, value, value, value, value, value, frames, **more)


def test_means_and_intervals():
    table = Table("x", (row("a", 0.5, 1, fps=10.0), row("b", 0.75, 3, fps=30.0), row("c", math.nan, 0)))
    assert (table.mean("auc"), table.mean("precision"), table.fps) == (0.625, 0.3125, 20.0)
    assert table.mean("ao") == (0.5 + 3 * 0.75) / 4  # frames of all sequences together
    assert table.interval("auc") == (0.5, 0.75)  # of two values the bootstrap mean is one, the other, or 0.625
    assert table.interval("ao") == (0.5, 0.75)
    empty = Table("x", ())
    assert math.isnan(empty.mean("auc")) and math.isnan(empty.fps) and math.isnan(empty.interval()[0])


def test_means_by_attribute():
    shown = [("a", 0.2, {"OCC", "SV"}), ("b", 0.6, {"SV"}), ("c", math.nan, {"SV", "FM"}), ("d", 0.7, set())]
    table = Table("x", tuple(row(name, auc, attributes=frozenset(attributes)) for name, auc, attributes in shown))
    assert table.having("OCC").mean("auc") == 0.2
    assert table.having("SV").mean("auc") == pytest.approx(0.4)  # (0.2 + 0.6) / 2; c has no score
    assert math.isnan(table.having("FM").mean("auc")) and table.having("BC").rows == ()


def test_format_summary():
    complete = Table("MLT", (row("a", 0.5, fps=10.0), row("b", 0.7, fps=30.0)))
    partial = Table("mine", (row("a", 0.25),))
    lines = summary.format_summary([complete, partial, Table("none", ())], 2).splitlines()
    assert [line.split() for line in lines] == [
        ["AUC", "P@20", "P_norm", "AO", "SR50", "SR75", "fps", "sequences"],
        ["MLT", "0.600", "0.300", "0.600", "0.600", "0.600", "0.600", "20.0", "2"],
        ["95", "%", "0.500-0.700", "0.250-0.350", *["0.500-0.700"] * 4],
        ["mine", "0.250", "0.125", "0.250", "0.250", "0.250", "0.250", "-", "1", "of", "2"],
        ["95", "%", "0.250-0.250", "0.125-0.125", *["0.250-0.250"] * 4],
        ["none", *["-"] * 7, "0", "of", "2"],
        ["95", "%", *["-"] * 6],
    ]


def test_summary_files(tmp_path, sequence):
    other = make_sequence(tmp_path, "other", 3)
    store = Store(tmp_path / "out", "plain", "ope")
    units = [Unit(t, s.name, 1, 0, len(s)) for t in ("still", "none") for s in (sequence, other)]
    store.write(units[0], STILL, [9.0, 0.5, 0.5, 0.5, 0.5])
    tables = summary.tables(store, units, [sequence, other])
    assert [(table.tracker, len(table.rows)) for table in tables] == [("still", 1), ("none", 0)]
    summary.write_summary(store, tables, [sequence, other])
    content = json.loads((store.root / "summary.json").read_text())
    still = content["trackers"]["still"]
    assert still["missing"] == ["other"] and still["scores"]["auc"]["mean"] == pytest.approx(STILL_AUC)
    assert still["attributes"]["FM"]["sequences"] == 1 and still["sequences"]["moving"]["sr50"] == 0.25
    assert content["trackers"]["none"]["scores"]["ao"] == {"mean": None, "low": None, "high": None}
    rows = list(csv.DictReader((store.root / "summary.csv").open()))
    assert [(r["tracker"], r["sequence"]) for r in rows] == [("still", "(mean)"), ("still", "moving"), ("none", "(mean)")]
    assert float(rows[0]["auc"]) == float(rows[1]["auc"]) == still["scores"]["auc"]["mean"] and rows[2]["auc"] == ""
    speed = json.loads((store.root / "speed.json").read_text())
    assert speed["still"] == {"fps": 2.0, "sequences": {"moving": 2.0}} and speed["none"]["fps"] is None
    assert "fps" not in (store.root / "summary.json").read_text() + (store.root / "summary.csv").read_text()


def test_got10k_drops_first_frames_and_pools_the_rest():
    # AO of the sequences without their first frames: 0.7 over two frames and 0.8 over one: 2.2 / 3, not their mean 0.75
    table = Table("x", (Row("a", 0, 0, 0, 0, 0.7, 0.5, 0.5, 2), Row("b", 0, 0, 0, 0, 0.8, 1.0, 1.0, 1)))
    assert table.mean("ao") == pytest.approx(2.2 / 3)
    assert table.mean("sr50") == pytest.approx(2 / 3)
