"""What a report shows of small evaluations whose numbers are known."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from metatrack.app.problem import Problem
from metatrack.data.sequence import Sequence
from metatrack.evaluation.run.evaluate import plan
from metatrack.evaluation.run.store import Store, Unit
from metatrack.report import tables
from metatrack.report.diagnosis import BEST, Loss
from metatrack.report.findings import find
from metatrack.report.page import sequence_grid
from tests.report.helpers import STILL_AUC, Page, check_self_contained, evaluation, made, moving, report, rows_of, still

pytest.importorskip("matplotlib")


def test_golden_numbers(tmp_path: Path) -> None:
    sequences = [made("a", 5, "OCC SV"), made("b", 5, "OCC")]
    results = {"still": {"a": still(5), "b": still(5)}, "good": {"a": moving(5), "b": still(5)}}
    store = evaluation(tmp_path, "otb", sequences, results)
    findings = find(store, store.sequences(), ["still", "good"], "still")
    assert [group.title for group in findings.attributes] == ["Scale Variation", "Occlusion"]  # OTB's order
    assert [entry.name for entry in findings.entries] == ["good", "still"]
    scale, occlusion = findings.attributes
    good, bad = findings.entries
    assert good.table(scale).mean("auc") == pytest.approx(20 / 21)
    assert good.table(occlusion).mean("auc") == pytest.approx((20 / 21 + STILL_AUC) / 2)
    # what a plot shows is what its legend says
    for entry in findings.entries:
        for group in (findings.everything, scale, occlusion):
            curves, table = entry.mean_curves(group), entry.table(group)
            assert curves.success.mean() == pytest.approx(table.mean("auc"))
            assert curves.precision[20] == pytest.approx(table.mean("precision"))
            assert curves.norm_precision[20] == pytest.approx(table.mean("norm_precision"))
    assert bad.mean_loss(findings.everything) == pytest.approx(Loss(0, BEST - STILL_AUC, 0, 0, 0))
    assert bad.table(findings.everything).fps == pytest.approx(100)

    out = report(store)
    attributes = {(row["attribute"], row["tracker"]): row for row in rows_of(out / "tables" / "attributes.csv")}
    assert float(attributes["SV", "still"]["auc"]) == pytest.approx(STILL_AUC) and attributes["OCC", "good"]["of"] == "2"
    markdown = (out / "tables" / "attributes.md").read_text(encoding="utf-8")
    assert "| Scale Variation (1) | **0.952** | <ins>0.486</ins> |" in markdown
    latex = (out / "tables" / "overall.tex").read_text(encoding="utf-8")
    assert r"good & \textbf{0.719} & " in latex and r"still & \underline{0.486} & " in latex
    assert latex.count(r"\toprule") == latex.count(r"\bottomrule") == 1
    assert {path.name for path in (out / "plots").glob("*.svg")} == {
        *("success.svg", "precision.svg", "speed.svg", "diagnosis.svg"),
        *("success-OCC.svg", "success-SV.svg", "precision-OCC.svg", "precision-SV.svg"),
    }
    for path in (out / "plots").glob("*.svg"):
        text = path.read_text(encoding="utf-8")
        assert ET.fromstring(text).tag.endswith("svg") and "<dc:date>" not in text
        assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(("values", "marks"), [
    ([0.5], [""]),
    ([0.5, 0.4], ["best", "second"]),
    ([0.5004, 0.5001, 0.4], ["best", "best", "second"]),
    ([float("nan"), 0.4, 0.2], ["", "best", "second"]),
    ([float("nan"), 0.4], ["", ""]),
    ([], []),
])  # fmt: skip
def test_ranks(values: list[float], marks: list[str]) -> None:
    assert tables.ranked(values) == marks


def test_incomplete_trackers_are_not_ranked(tmp_path: Path) -> None:
    sequences = [made("a"), made("b", 6)]
    full = {"a": still(5), "b": still(6)}
    results = {"part": {"a": moving(5)}, "one": full, "two": full, "none": {}}
    store = evaluation(tmp_path, "plain", sequences, results)
    findings = find(store, store.sequences(), list(results), "one")
    grid = tables.overall(findings)
    assert [row[0].text for row in grid.rows] == ["one", "two", "part"]
    assert [row[1].mark for row in grid.rows] == ["best", "best", ""] and grid.rows[2][-1].text == "1 of 2"
    assert [row[-2].mark for row in grid.rows] == ["best", "best", ""]  # frames per second
    assert "not compared" in grid.note and findings.empty == ("none",)
    by_sequence = tables.by_sequence(findings, "auc")
    assert [cell.text for cell in by_sequence.rows[1]] == ["b", "0.405", "0.405", "–"]  # 51 of 6 x 21
    assert [cell.mark for cell in by_sequence.rows[0]] == ["", "second", "second", "best"]  # on a all three have a result
    assert "Means of part are over fewer" in by_sequence.note and tables.diagnosis(findings).rows[2][0].small == "1 of 2"
    assert len(sequence_grid(sequences[1], findings).rows) == 2
    made_report = report(store)
    legend = re.findall(r"(one|two|part) \[", (made_report / "plots" / "success.svg").read_text(encoding="utf-8"))
    assert list(dict.fromkeys(legend)) == ["one", "two", "part"]  # though the last has the best mean, over one sequence
    page = (made_report / "index.html").read_text(encoding="utf-8")
    assert "Without any result, and so left out: none." in page and "The lowest AUC of one first." in page  # by name after none
    with pytest.raises(Problem, match="no finished result of 'none'; name another"):
        report(store, tracker="none")


def test_one_tracker_one_sequence_no_attribute_no_time(tmp_path: Path) -> None:
    store = Store(tmp_path, "plain", "ope")
    store.note_sequences([made("a")])
    store.pin_tracker("lone", {"imported": {}})
    store.write(Unit("lone", "a", 1, 0, 5), still(5), None)
    out = report(store)
    assert {path.stem for path in (out / "plots").glob("*.png")} == {"success", "precision", "diagnosis"}
    assert not (out / "tables" / "attributes.md").exists()
    page = check_self_contained((out / "index.html").read_text(encoding="utf-8"))
    assert "1 tracker compared" in page.text and "1 sequence, 5 frames." in page.text and "By attribute" not in page.text
    assert "**" not in (out / "report.md").read_text(encoding="utf-8")


def test_withheld_truth(tmp_path: Path) -> None:
    truth = np.full((5, 4), np.nan)
    truth[0] = (0, 5, 10, 10)
    sequence = Sequence("GOT-10k_Test_000001", tuple(Path(str(k)) for k in range(5)), truth, frame_size=(40, 60))
    out = report(evaluation(tmp_path, "got10k", [sequence], {"x": {sequence.name: still(5)}}))
    page = check_self_contained((out / "index.html").read_text(encoding="utf-8"))
    assert "there is no score to show" in page.text and "img" not in page.tags


def test_got10k_needs_no_frame_once_its_size_is_noted(tmp_path: Path) -> None:
    sequence = Sequence("GOT-10k_Val_000001", tuple(Path(str(k)) for k in range(5)), moving(5), frame_size=(40, 60))
    store = evaluation(tmp_path, "got10k", [sequence], {"x": {sequence.name: still(5)}})
    (entry,) = find(store, store.sequences(), ["x"], "x").entries
    assert entry.findings[sequence.name].row.ao == pytest.approx((8 / 12 + 6 / 14 + 4 / 16 + 2 / 18) / 4)


def test_lasot_has_its_plot_and_its_absent_frames(tmp_path: Path) -> None:
    truth = moving(5)
    truth[3] = np.nan
    sequence = Sequence("airplane-1", tuple(Path(str(k)) for k in range(5)), truth, frozenset({"FOC"}))
    store = evaluation(tmp_path, "lasot", [sequence], {"x": {"airplane-1": moving(5)}})
    out = report(store)
    assert (out / "plots" / "norm_precision.png").is_file()
    (row,) = rows_of(out / "tables" / "diagnosis.csv")
    assert float(row["absent"]) == pytest.approx(BEST / 5) == pytest.approx(float(row["loss"]))
    assert "| tracker | AUC | loss | lost | position | scale | aspect ratio | absent |" in (out / "report.md").read_text()


def test_tre(tmp_path: Path) -> None:
    sequence = made("a", 45)
    store = Store(tmp_path, "plain", "tre")
    store.note_sequences([sequence])
    store.pin_tracker("x", {})
    planned = plan(store, ["x"], [sequence])
    for unit in planned:
        store.write(unit, moving(45)[unit.start :], np.ones(unit.frames))
    assert len(planned) > 2
    page = Page((report(store) / "index.html").read_text(encoding="utf-8"))
    assert "TRE: 1 tracker" in page.text and "0.952" in page.text
    store.file("boxes", planned[-1]).unlink()  # one run is missing, so the sequence is not finished
    with pytest.raises(Problem, match="no finished result of x"):
        report(store)
