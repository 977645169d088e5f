"""``metatrack convert`` as a person runs it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from metatrack.cli import main
from metatrack.convert.formats import read_tracks
from tests.app.test_cli import DEMO

TABLE = "frame,id,x,y,w,h,score,lost\n0,1,10.000,20.000,30.000,40.000,1.0000,0\n0,dog,1.000,2.000,3.000,4.000,0.0500,1\n"


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def run(capsys) -> Callable[..., Done]:
    return lambda *words: Done(main(list(words)), *capsys.readouterr())


@pytest.fixture
def here(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "boxes.csv").write_text(TABLE)
    return tmp_path


def test_there_and_back(here: Path, run) -> None:
    done = run("convert", "boxes.csv", "--to", "coco", "--out", "boxes.json")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.splitlines() == ["2 targets, 2 boxes: boxes.json"]
    done = run("convert", "boxes.json", "--to", "csv", "--out", "back.csv")
    assert done.returncode == 0
    assert (here / "back.csv").read_text() == TABLE


def test_what_is_lost_is_told_in_one_line(here: Path, run) -> None:
    done = run("convert", "boxes.csv", "--to", "mot", "--out", "boxes.txt")
    assert done.stderr.splitlines()[0] == "note: mot cannot hold names of targets (dog); the flag lost (1 box)"
    assert (here / "boxes.txt").read_text().splitlines()[1] == "1,2,2.000,3.000,3.000,4.000,0.0500,-1,-1,-1"


def test_the_video_tells_its_size(here: Path, run) -> None:
    assert run("convert", "boxes.csv", "--to", "cvat", "--out", "boxes.xml", "--video", str(DEMO)).returncode == 0
    video = read_tracks(here / "boxes.xml").video
    assert (video.size, video.frames) == ((640, 360), 116)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("boxes.csv", "--to", "csv", "--out", "boxes.csv"), "boxes.csv is what is read; name another file for the result"),
        (("boxes.csv", "--to", "cvta", "--out", "b.xml"), "no format 'cvta'; did you mean 'cvat'?"),
        (("none.csv", "--to", "cvat", "--out", "b.xml"), "none.csv does not exist; pass a file of boxes"),
        (("boxes.csv", "--to", "cvat", "--out", "no/b.xml"), "no/b.xml cannot be written: the folder no does not exist"),
        (("boxes.csv", "--to", "cvat", "--out", "b.xml", "--size", "640"), "--size 640: give width and height in pixels, as in"),
        (("boxes.csv", "--from", "mot", "--to", "cvat", "--out", "b.xml"), "boxes.csv, line 1: "),
    ],
)
def test_refused(words: tuple[str, ...], message: str, here: Path, run) -> None:
    done = run("convert", *words)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {message}")
    assert (here / "boxes.csv").read_text() == TABLE
    assert not (here / "b.xml").exists()


def test_nothing_is_overwritten(here: Path, run) -> None:
    (here / "mine.json").write_text("{}")
    done = run("convert", "boxes.csv", "--to", "coco", "--out", "mine.json")
    assert (done.returncode, done.stderr) == (2, "error: mine.json exists; name another file, or delete it\n")
    assert (here / "mine.json").read_text() == "{}"


def test_several_targets_are_a_folder_of_otb(here: Path, run) -> None:
    done = run("convert", "boxes.csv", "--to", "otb", "--out", "boxes.txt")
    assert done.stderr.splitlines()[-1] == (
        "error: boxes.txt: a file of OTB is of one target, and here are 2; name a folder instead"
    )
    assert run("convert", "boxes.csv", "--to", "otb", "--out", "boxes").returncode == 0
    assert sorted(path.name for path in (here / "boxes").iterdir()) == ["boxes-1.txt", "boxes-2.txt"]
