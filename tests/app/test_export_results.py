"""``metatrack export-results``: what is written reads back, in every format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from metatrack.app.import_results import ImportOptions
from metatrack.app.import_results import run as import_results
from metatrack.cli import main
from metatrack.data.plain import read_plain
from metatrack.evaluation.run.evaluate import plan
from metatrack.evaluation.run.store import Store
from metatrack.evaluation.score.formats import parse_trajectories
from tests.fake_trackers import make_two_sequences


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_two_sequences(tmp_path / "data")


@pytest.fixture
def store(root: Path, tmp_path: Path) -> Store:
    return evaluated(Store(tmp_path / "evaluation", "plain", "ope"), root)


def evaluated(store: Store, root: Path) -> Store:
    """Results of two trackers whose boxes differ, the first with times; the second lacks b_1."""
    sequences = read_plain(root)
    store.note_sequences(sequences)
    for tracker in ("first", "second"):
        store.pin_tracker(tracker, {})
    for unit in plan(store, ["first", "second"], sequences):
        if (unit.tracker, unit.sequence) != ("second", "b_1"):
            boxes = sequences[unit.sequence == "b_1"].boxes[unit.start :] + [unit.run / 8, 0, 0, 0]
            store.write(unit, boxes, np.full(unit.frames, 0.5) if unit.tracker == "first" else None)
    return store


@pytest.mark.parametrize("first_pixel", [None, 1])
@pytest.mark.parametrize("kind", ["mat", "json", "text", "got10k", "lasot"])
def test_what_is_written_reads_back(store: Store, root: Path, tmp_path: Path, kind: str, first_pixel: int | None) -> None:
    if kind == "mat":
        pytest.importorskip("scipy")
    words = ["export-results", str(store.root), "--out", str(tmp_path / "files"), "--format", kind, "--trackers", "first"]
    assert main(words + ([] if first_pixel is None else ["--first-pixel", str(first_pixel)])) == 0
    again = tmp_path / "again"
    options = ImportOptions("plain", root, (tmp_path / "files",), again, first_pixel=first_pixel)
    assert import_results(options) == 0
    back = Store.open(again)
    assert list(back.trackers()) == ["first"]
    for unit in plan(store, ["first"], read_plain(root)):
        np.testing.assert_array_equal(back.read_boxes(unit), store.read_boxes(unit))
        seconds = [] if kind in ("text", "lasot") else [0.5] * unit.frames
        assert back.read_seconds(unit).tolist() == seconds


def test_all_runs_of_sre(root: Path, tmp_path: Path) -> None:
    store = evaluated(Store(tmp_path / "evaluation", "plain", "sre"), root)
    words = ["export-results", str(store.root), "--trackers", "first", "--out"]
    assert main([*words, str(tmp_path / "files"), "--format", "json"]) == 0
    path = tmp_path / "files" / "first" / "a.json"
    runs = parse_trajectories(path.read_bytes(), path.name)
    assert len(runs) == 12
    assert [run.boxes[0, 0] for run in runs] == [k / 8 for k in range(1, 13)]
    assert '"evalType": "SRE"' in path.read_text()


def test_what_is_missing_is_said(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export-results", str(store.root), "--out", str(tmp_path / "files")]) == 1
    err = capsys.readouterr().err
    assert "second has no result of: b_1" in err
    written = sorted(path.relative_to(tmp_path / "files").as_posix() for path in (tmp_path / "files").rglob("*.txt"))
    assert written == ["first/a.txt", "first/b_1.txt", "second/a.txt"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--format", "got10k"], "holds no times of second on a"),
        (["--trackers", "third"], "no tracker 'third'"),
        (["--first-pixel", "2"], "0 or 1 is needed"),
    ],
)
def test_wrong_input(store: Store, tmp_path: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export-results", str(store.root), "--out", str(tmp_path / "files"), *words]) == 2
    assert message in capsys.readouterr().err


def test_nothing_that_is_there_is_replaced(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "mine.txt").write_text("mine")
    assert main(["export-results", str(store.root), "--out", str(tmp_path / "files")]) == 2
    assert "is not an empty folder" in capsys.readouterr().err


def test_formats_without_runs(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = evaluated(Store(tmp_path / "evaluation", "plain", "sre"), root)
    assert main(["export-results", str(store.root), "--out", str(tmp_path / "files"), "--format", "lasot"]) == 2
    assert "take mat or json" in capsys.readouterr().err
