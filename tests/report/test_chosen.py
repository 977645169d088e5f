"""Chosen sequences and frames, common sequences, paired differences, and where the numbers come from."""

from __future__ import annotations

import numpy as np
import pytest

from metatrack.app.problem import Problem
from metatrack.app.report import ReportOptions, chosen, chosen_trackers, parse_frames
from metatrack.evaluation.run.store import Store
from metatrack.report.page import provenance
from metatrack.report.tables import paired
from tests.report.helpers import evaluation, made, moving, still


@pytest.fixture
def store(tmp_path) -> Store:
    """Ours is perfect on five sequences; theirs stands still and lacks one."""
    names = "abcde"
    results = {"ours": {name: moving(5) for name in names}, "theirs": {name: still(5) for name in names[:4]}}
    return evaluation(tmp_path, "plain", [made(name) for name in names], results)


def findings(store: Store, **options):
    return chosen(store, store.sequences(), chosen_trackers(store, None), ReportOptions(store.root, tracker="ours", **options))


def test_common_sequences_are_said(store) -> None:
    assert len(findings(store).sequences) == 5 and findings(store).chosen == ""
    found = findings(store, common=True)
    assert [s.name for s in found.sequences] == list("abcd")
    assert found.chosen == "Only the 4 sequences that all trackers have; left out are 1: e."
    assert all(entry.complete(found.everything) for entry in found.entries)


def test_chosen_sequences(store) -> None:
    found = findings(store, sequences="b,e")
    assert [s.name for s in found.sequences] == ["b", "e"] and found.chosen == "2 of 5 sequences were chosen."
    with pytest.raises(ValueError, match="--sequences: no sequence 'bb'"):
        findings(store, sequences="bb")
    with pytest.raises(ValueError, match="--common: no sequence has a result of all of"):
        results = {"one": {"a": still(5)}, "two": {"b": still(5)}}
        other = evaluation(store.root / "other", "plain", [made("a"), made("b")], results)
        chosen(other, other.sequences(), ["one", "two"], ReportOptions(other.root, common=True))


def test_differences_are_paired(store) -> None:
    table = paired(findings(store))
    (row,) = table.rows
    auc = findings(store).entry("theirs").findings["a"].row.auc
    assert row[0].text == "theirs" and row[-1].text == "4"
    # The difference is the same on all four sequences, so its interval is a point, however far the means are apart.
    assert row[1].text == f"{20 / 21 - auc:+.3f}" and row[1].small == f"{20 / 21 - auc:+.3f} to {20 / 21 - auc:+.3f}"


def test_an_interval_that_holds_zero(tmp_path) -> None:
    results = {"one": {"a": moving(5), "b": still(5)}, "two": {"a": still(5), "b": moving(5)}}
    store = evaluation(tmp_path, "plain", [made("a"), made("b")], results)
    found = chosen(store, store.sequences(), ["one", "two"], ReportOptions(tmp_path))
    cell = paired(found).rows[0][1]
    assert cell.text == "0.000" and cell.small.startswith("-0.4") and " to +0.4" in cell.small


def test_provenance_names_the_weights() -> None:
    ours = {"metatrack": "1.0", "model": "lite", "adapt": True, "sha256": {"embed.onnx": "ab"}}
    lines = provenance({"ours": ours, "theirs": {"imported": {}}, "again": {**ours, "sha256": {"embed.onnx": "cd"}}})
    assert "metatrack 1.0, model lite, adapt True; weights " in lines[2] and lines[3] == "theirs: boxes from result files."
    assert lines[2].partition("weights")[2] != lines[4].partition("weights")[2]
    assert "Report made by metatrack " in lines[0] and "Python" in lines[1]


@pytest.mark.parametrize("text", ["", "x", "0", "-3", "1,x"])
def test_frames_that_are_none(text) -> None:
    with pytest.raises(Problem, match="--frames .*give how many frames"):
        parse_frames(text)


def test_frames_of_a_filmstrip_by_their_numbers(tmp_path) -> None:
    pytest.importorskip("matplotlib")
    from metatrack.data.plain import read_plain
    from metatrack.report.filmstrip import strip
    from metatrack.report.style import line_styles
    from tests.fake_trackers import make_sequence

    make_sequence(tmp_path / "data", "a", 8)
    (sequence,) = read_plain(tmp_path / "data")
    store = evaluation(tmp_path / "out", "plain", [sequence], {"ours": {"a": np.asarray(sequence.boxes)}})
    found = chosen(store, [sequence], ["ours"], ReportOptions(store.root))
    styles = line_styles(["ours"], "ours")
    first = sequence.start_frame
    assert [s.number for s in strip(sequence, found, styles, [first + 2, first + 5, 999]).stills] == [first + 2, first + 5]
    assert len(strip(sequence, found, styles, 3).stills) == 3
