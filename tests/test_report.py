"""Reports of small evaluations: their numbers, what a page may and may not hold, and the parts of a loss."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metatrack.app.problem import Problem
from metatrack.app.report import ReportOptions, run
from metatrack.cli import main
from metatrack.data.sequence import Sequence
from metatrack.evaluation.run.evaluate import plan
from metatrack.evaluation.run.store import Store, Unit
from metatrack.evaluation.score import metrics, scores
from metatrack.evaluation.score.scores import CONVENTIONS, Convention
from metatrack.report import tables
from metatrack.report.diagnosis import BEST, Loss, diagnose, frame_losses, mean_loss
from metatrack.report.findings import find
from metatrack.report.look import COLORS, looks
from metatrack.report.page import sequence_grid
from metatrack.report.plots import file_names
from tests.fake_trackers import make_sequence
from tests.test_evaluate import FAKES, PATHS, command, finish, start

pytest.importorskip("matplotlib")

# Of Still on five frames of make_sequence: overlaps 1, 8/12, 6/14, 4/16, 2/18 pass 20, 14, 9, 5, 3 of 21 thresholds.
STILL_AUC = 51 / 105


def still(frames: int) -> np.ndarray:
    return np.tile([0.0, 5, 10, 10], (frames, 1))


def moving(frames: int) -> np.ndarray:
    return np.array([(2.0 * k, 5, 10, 10) for k in range(frames)])


def made(name: str, frames: int = 5, attributes: str = "") -> Sequence:
    paths = tuple(Path(f"{k}.png") for k in range(frames))
    return Sequence(name, paths, moving(frames), frozenset(attributes.split()), start_frame=7)


def evaluation(root: Path, data_set: str, sequences: list[Sequence], results: dict[str, dict[str, np.ndarray]]) -> Store:
    """A folder with these boxes, each frame of which took 10 ms."""
    store = Store(root, data_set, "ope")
    store.note_sequences(sequences)
    for tracker, boxes in results.items():
        store.pin_tracker(tracker, {"factory": "a:b"})
        for name, rows in boxes.items():
            store.write(Unit(tracker, name, 1, 0, len(rows)), rows, np.full(len(rows), 0.01))
    return store


def report(store: Store, **options: object) -> Path:
    assert run(ReportOptions(store.root, **options)) == 0  # type: ignore[arg-type]
    return Path(options.get("out") or store.root / "report")  # type: ignore[arg-type]


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))


class Page(HTMLParser):
    """The text of a page, its tags, and whatever it refers to."""

    VOID = frozenset({"meta", "img", "link", "br", "input", "hr"})

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.words: list[str] = []
        self.tags: list[str] = []
        self.places: list[str] = []
        self.ids: list[str] = []
        self.open: list[str] = []
        self.style = ""
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        for name, value in attrs:
            assert not name.startswith("on") and value is not None or name == "open"
            if name in {"src", "href", "srcset", "data", "poster", "action", "background"}:
                self.places.append(str(value))
            if name == "style":
                self.style += str(value)
            if name == "id":
                self.ids.append(str(value))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "style":
            self.style += data
        else:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.words)


def check_self_contained(text: str) -> Page:
    page = Page(text)
    for place in page.places:
        assert place.startswith(("data:image/", "#")), place[:80]
        assert not place.startswith("#") or place[1:] in page.ids
    assert "script" not in page.tags and "link" not in page.tags
    assert not re.search(r"url\(|@import|https?:", page.style)
    return page


# -- a real evaluation, from frames to page


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Root of a data set of two sequences, and the folder of three trackers' evaluation; one fails on the longer sequence."""
    root, out = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("out")
    make_sequence(root, "long", 8)
    make_sequence(root, "it's & short", 3)
    trackers = f"{FAKES}:Still,good={FAKES}:Perfect,{FAKES}:Broken"
    code, _, err = finish(start(command(root, out, trackers), out / "log"))
    assert code == 1 and "Broken on long" in err, err
    return root, out


def test_report_of_a_real_evaluation(real: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, out = real
    assert main(["report", str(out), "--root", str(root), "--out", str(tmp_path), "--frames", "3"]) == 0
    assert "index.html shows 3 trackers on 2 sequences" in capsys.readouterr().err
    overall = {row["tracker"]: row for row in rows_of(tmp_path / "tables" / "overall.csv")}
    assert list(overall) == ["good", "Still", "Broken"]  # the best first, and those that lack sequences last
    assert float(overall["good"]["auc"]) == pytest.approx(20 / 21)
    assert (overall["Broken"]["sequences"], overall["Broken"]["of"]) == ("1", "2")
    assert float(overall["good"]["fps"]) > 0

    page = check_self_contained((tmp_path / "index.html").read_text(encoding="utf-8"))
    assert "own sequences, OPE: 3 trackers compared" in page.text and "it's & short" in page.text
    assert "Broken has no result on 1 of 2 sequences: long." in page.text
    assert page.text.index("long") < page.text.rindex("it's & short")  # Still, the first tracker, is worse on it
    pictures = [place for place in page.places if place.startswith("data:image/jpeg")]
    assert len(pictures) == 6
    assert sum(place.startswith("data:image/svg+xml") for place in page.places) == 4  # success, precision, speed, diagnosis
    assert "#3, overlap of Still: 0.43" in page.text  # 6/14; frame 2 of 8, which the data set counts from 1

    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)]*)\)", text):
        assert (tmp_path / link.replace("%27", "'").replace("%20", " ").replace("%26", "&")).is_file(), link
    assert "1 of 2" in text and "# own sequences, OPE" in text
    assert cv2.imread(str(tmp_path / "filmstrips" / "long.jpg")).shape[1] > 3 * 240


def test_the_same_evaluation_gives_the_same_bytes(real: tuple[Path, Path], tmp_path: Path) -> None:
    root, out = real
    for seed in ("1", "2"):  # the order of sets depends on it
        words = ["report", str(out), "--root", str(root), "--out", str(tmp_path / seed)]
        environment = {**os.environ, "PYTHONPATH": PATHS, "PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-m", "metatrack", *words], env=environment, check=True, capture_output=True)
    one, two = ({p.relative_to(tmp_path / s): p.read_bytes() for p in (tmp_path / s).rglob("*.*")} for s in ("1", "2"))
    assert len(one) > 15 and one == two


def test_without_the_data_set_there_are_no_filmstrips(real: tuple[Path, Path], tmp_path: Path) -> None:
    out = report(Store.open(real[1]), out=tmp_path / "r")
    page = check_self_contained((out / "index.html").read_text(encoding="utf-8"))
    assert "No filmstrips: they need the frames of the data set; give its folder with --root." in page.text
    assert not (out / "filmstrips").exists() and "img" in page.tags
    assert "--root" in (out / "report.md").read_text(encoding="utf-8")


def test_a_cap_on_filmstrips(real: tuple[Path, Path], tmp_path: Path) -> None:
    out = report(Store.open(real[1]), root=real[0], filmstrips=1, out=tmp_path / "r")
    assert [path.name for path in (out / "filmstrips").iterdir()] == ["long.jpg"]
    assert "Filmstrips of the first 1 sequences alone" in (out / "report.md").read_text(encoding="utf-8")


def test_an_evaluation_from_before_the_truth_was_noted(real: tuple[Path, Path], tmp_path: Path) -> None:
    root, out = real
    copy = tmp_path / "old"
    for folder in ("boxes", "trackers", "seconds"):
        (copy / folder).mkdir(parents=True)
        for path in (out / folder).rglob("*.*"):
            target = copy / path.relative_to(out)
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(path.read_bytes())
    (copy / "evaluation.json").write_bytes((out / "evaluation.json").read_bytes())
    with pytest.raises(Problem, match="repeat the line of .metatrack evaluate.*--root"):
        run(ReportOptions(copy))
    assert rows_of(report(Store.open(copy), root=root) / "tables" / "overall.csv")[0]["tracker"] == "good"


# -- numbers


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
    page = (report(store) / "index.html").read_text(encoding="utf-8")
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
    store.boxes_file(planned[-1]).unlink()  # one run is missing, so the sequence is not finished
    with pytest.raises(Problem, match="no finished result of x"):
        report(store)


# -- names


@pytest.mark.skipif(sys.platform == "win32", reason="Windows allows no such names")
def test_names_are_escaped_everywhere(tmp_path: Path) -> None:
    tracker, other, sequence = "<b>&\"x'", "A_1%$^{}~#|", "it's &amp; a_b %41"
    attribute = "<script>alert(1)</script>"
    sequences = [Sequence(sequence, made("a").frame_paths, moving(5), frozenset({attribute}))]
    store = evaluation(tmp_path, "plain", sequences, {tracker: {sequence: moving(5)}, other: {sequence: still(5)}})
    out = report(store, tracker=tracker)
    page = check_self_contained((out / "index.html").read_text(encoding="utf-8"))
    for name in (tracker, other, sequence, attribute):
        assert name in page.text
    assert page.tags.count("script") == 0
    latex = (out / "tables" / "sequences.tex").read_text(encoding="utf-8")
    assert r"A\_1\%\$\textasciicircum{}\{\}\textasciitilde{}\#\textbar{}" in latex
    assert r"it's \&amp; a\_b \%41" in latex and r"\textless{}b\textgreater{}\&{''}x'" in latex
    markdown = (out / "report.md").read_text(encoding="utf-8")
    assert "<b>" not in markdown and "<script>" not in markdown and r"a\_b" in markdown
    plots = {path.name for path in (out / "plots").iterdir()}
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+", name) for name in plots) and len(plots) == 2 * 6
    assert rows_of(out / "tables" / "sequences.csv")[0]["sequence"] == sequence


def test_names_of_files_differ_whatever_the_case() -> None:
    assert file_names(["a/b", "a?b", "A-B", "a-b-2"]) == ["a-b", "a-b-2", "A-B-3", "a-b-2-2"]


def test_looks() -> None:
    names = [f"t{k}" for k in range(28)]
    made = looks(names, "t9")
    assert len(set(made.values())) == 28 and list(made) == names
    assert made["t9"].color == COLORS[0] and not made["t9"].dashes
    assert made["t0"].rgb == (0, 114, 178)


# -- wrong input


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tracker": "stil"}, "no tracker 'stil' in this evaluation; did you mean 'still'?"),
        ({"trackers": "still,x"}, "--trackers: no tracker 'x'"),
        ({"frames": 0}, "at least 0 and 1"),
        ({"root": Path("nowhere")}, "nowhere is not a folder"),
    ],
)
def test_wrong_options(tmp_path: Path, options: dict[str, object], message: str) -> None:
    store = evaluation(tmp_path, "plain", [made("a")], {"still": {"a": still(5)}})
    with pytest.raises(Problem, match=re.escape(message)):
        report(store, **options)


def test_folders_that_are_no_evaluation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert "not the folder of an evaluation" in err and err.count("\n") == 1 and not list(tmp_path.iterdir())
    (tmp_path / "evaluation.json").write_text("[]")
    with pytest.raises(Problem, match=r"evaluation.json is damaged"):
        run(ReportOptions(tmp_path))
    (tmp_path / "evaluation.json").write_text(json.dumps({"format": 99, "data_set": "plain", "protocol": "ope"}))
    with pytest.raises(Problem, match="format: 99, now 1"):
        run(ReportOptions(tmp_path))
    (tmp_path / "evaluation.json").unlink()
    store = Store(tmp_path, "plain", "ope")
    with pytest.raises(Problem, match="holds no tracker's results"):
        run(ReportOptions(tmp_path))
    store.note_sequences([made("a")])
    store.pin_tracker("x", {})
    (tmp_path / "sequences" / "a.json").write_text('{"boxes": 3}')
    with pytest.raises(Problem, match=r"a.json is damaged"):
        run(ReportOptions(tmp_path))


def test_a_data_set_of_another_length(tmp_path: Path) -> None:
    make_sequence(tmp_path / "data", "a", 6)
    store = evaluation(tmp_path / "out", "plain", [made("a", 5)], {"x": {"a": still(5)}})
    with pytest.raises(Problem, match="a has 6 frames, the evaluation's 5"):
        report(store, root=tmp_path / "data")


def test_without_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(Problem, match=r"pip install 'metatrack\[plot\]'"):
        run(ReportOptions(tmp_path))


def test_noted_sequences_come_back(tmp_path: Path) -> None:
    truth = moving(3) + 1 / 3
    truth[1] = np.nan
    store = Store(tmp_path, "plain", "ope")
    noted = Sequence("b10", tuple(Path(str(k)) for k in range(3)), truth, frozenset({"x", "a"}), None, 5, (40, 60))
    store.note_sequences([noted, made("b9")])
    first, again = store.sequences()
    assert (first.name, again.name) == ("b9", "b10")  # as a person would sort them
    np.testing.assert_array_equal(again.boxes, truth)
    assert (again.attributes, again.start_frame, again.frame_size) == (noted.attributes, 5, (40, 60))
    with pytest.raises(OSError, match="no such file"):
        again.frame(0)


# -- the parts of a loss

coordinate = st.floats(-50, 250)
side = st.floats(2, 200)
box = st.tuples(coordinate, coordinate, side, side)
truth_box = st.tuples(st.integers(0, 200), st.integers(0, 200), st.integers(8, 120), st.integers(8, 120))


def about(center: tuple[float, float], w: float, h: float) -> tuple[float, float, float, float]:
    return (center[0] - w / 2, center[1] - h / 2, w, h)


def middle(truth: tuple[int, int, int, int]) -> tuple[float, float]:
    return truth[0] + truth[2] / 2, truth[1] + truth[3] / 2


@given(st.lists(st.tuples(box, box), min_size=2, max_size=12), st.sets(st.integers(1, 11)), st.booleans())
def test_the_parts_sum_to_the_loss_and_none_is_negative(
    pairs: list[tuple[tuple[float, ...], tuple[float, ...]]], gone: set[int], fails: bool
) -> None:
    boxes, truth = (np.array(values, float) for values in zip(*pairs))
    truth[[k for k in gone if k < len(truth) - 1]] = np.nan
    sequence = Sequence("s", tuple(Path(str(k)) for k in range(len(truth))), truth)
    convention = CONVENTIONS["lasot"] if fails else Convention()
    loss = diagnose(sequence, [(0, boxes)], convention)
    assert sum(loss) == pytest.approx(BEST - scores.score_runs(sequence, [(0, boxes)], convention).auc, abs=1e-12)
    assert min(loss) >= 0
    assert fails or loss.absent == 0


def parts(found: tuple[float, ...], truth: tuple[float, ...]) -> Loss:
    (row,) = frame_losses([found], [truth])
    return Loss(*row.tolist())


@given(truth_box, st.floats(-0.6, 0.6), st.floats(-0.6, 0.6))
def test_a_shift_is_position(truth: tuple[int, int, int, int], dx: float, dy: float) -> None:
    x, y, w, h = truth
    found = (x + dx * w, y + dy * h, w, h)
    loss = parts(found, truth)
    part = "lost" if metrics.overlaps([found], [truth])[0] <= 0.1 else "position"
    assert getattr(loss, part) == pytest.approx(sum(loss))


@given(truth_box, st.floats(0.01, 30))
def test_a_scale_is_scale(truth: tuple[int, int, int, int], factor: float) -> None:
    """However far the size has collapsed or exploded: the tracker is at the target."""
    loss = parts(about(middle(truth), truth[2] * factor, truth[3] * factor), truth)
    assert loss.scale == pytest.approx(sum(loss))
    assert loss.scale > 0 or 0.97 < factor < 1.03


@given(truth_box, st.floats(0.05, 20))
def test_a_shape_is_aspect(truth: tuple[int, int, int, int], ratio: float) -> None:
    loss = parts(about(middle(truth), truth[2] * ratio, truth[3] / ratio), truth)
    assert loss.aspect == pytest.approx(sum(loss))


@given(truth_box, box)
def test_somewhere_else_is_lost(truth: tuple[int, int, int, int], found: tuple[float, ...]) -> None:
    far = (found[0] + 1000, *found[1:])
    assert parts(far, truth) == pytest.approx(Loss(BEST, 0, 0, 0, 0))


def test_parts_by_hand() -> None:
    truth = (0.0, 0, 20, 20)
    # Twice as wide and high, its centre 5 px off in x: 20 x 20 shared of 1600 = 0.25, passes 5. In place it still is 0.25, so the
    # position costs nothing; of the true size it is the truth.
    assert parts((-5, -10, 40, 40), truth) == pytest.approx(Loss(0, 0, 15 / 21, 0))
    # 20 x 10, 5 px off: 15 x 10 / (200 + 400 - 150) = 1/3, passes 7. In place 200 / 400 = 0.5, passes 10 (strictly above 0.45).
    # Of the true area it is 28.28 x 14.14: 20 x 14.14 / (800 - 282.8) = 0.547, passes 11.
    assert parts((5, 5, 20, 10), truth) == pytest.approx(Loss(0, 3 / 21, 1 / 21, 9 / 21))
    # no box at all, and a frame that does not count
    assert parts((0, 0, 0, 20), truth) == pytest.approx(Loss(BEST, 0, 0, 0))
    assert np.isnan(frame_losses([truth], [[np.nan] * 4])).all()
    assert np.isnan(mean_loss([])).all()
