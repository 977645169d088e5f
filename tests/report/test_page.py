"""Pages: what they hold of a real evaluation, what they may not hold, and what is refused."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from metatrack.app.problem import Problem
from metatrack.app.report import ReportOptions, run
from metatrack.cli import main
from metatrack.data.sequence import Sequence
from metatrack.evaluation.run.store import Store
from metatrack.report.plots import file_names
from metatrack.report.style import COLORS, line_styles
from tests.evaluation.helpers import FAKES, PATHS, command, finish, start
from tests.fake_trackers import make_sequence
from tests.report.helpers import check_self_contained, evaluation, made, moving, report, rows_of, still

pytest.importorskip("matplotlib")

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


def test_line_styles() -> None:
    names = [f"t{k}" for k in range(28)]
    made = line_styles(names, "t9")
    assert len(set(made.values())) == 28 and list(made) == names
    assert made["t9"].color == COLORS[0] and not made["t9"].dashes
    assert made["t0"].rgb == (0, 114, 178)


# -- wrong input


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tracker": "stil"}, "no tracker 'stil' here; did you mean 'still'?"),
        ({"trackers": "still,x"}, "--trackers: no tracker 'x'"),
        ({"frames": "0"}, "--frames 0: give how many frames (6)"),
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
