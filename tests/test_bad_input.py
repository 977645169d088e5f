"""Every row of docs/bad-input.md, run as a person would run it."""

from __future__ import annotations

import re
import shutil
import wave
from pathlib import Path

import numpy as np
import pytest

import metatrack
from metatrack.images import write_image
from tests.app.test_cli import DEMO, MODEL, run

DOCS = Path(__file__).resolve().parents[1] / "docs" / "bad-input.md"
ROW = re.compile(r"\| (?P<what>[^|]+) \| `(?P<command>[^`]+)` \| (?P<message>[^|]+) \| (?P<code>\d) \|")
CASES = [match.groupdict() for match in map(ROW.fullmatch, DOCS.read_text(encoding="utf-8").splitlines()) if match]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the table names."""
    folder = tmp_path_factory.mktemp("inputs")
    data = DEMO.read_bytes()
    (folder / "clip.mp4").write_bytes(data)
    (folder / "cut.mp4").write_bytes(data[: len(data) * 7 // 10])
    (folder / "header.mp4").write_bytes(data[:200])
    (folder / "empty.mp4").touch()
    (folder / "notes.mp4").write_text("buy milk\n")
    (folder / "list.m3u8").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:4.6,\nclip.mp4\n#EXT-X-ENDLIST\n")
    (folder / "list.mp4").write_text("ffconcat version 1.0\nfile clip.mp4\n")
    (folder / "pictures").mkdir()
    with wave.open(str(folder / "sound.wav"), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(8000))
    (folder / "folder").mkdir()
    (folder / "folder" / "notes.txt").write_text("buy milk\n")
    (folder / "broken").mkdir()
    (folder / "above" / "seen").mkdir(parents=True)
    for i in range(1, 5):
        for name in ("broken", "pictures", "above/seen", "known", "unknown"):
            write_image(folder / name / f"{i:04d}.png", np.full((120, 160, 3), 40 * i, np.uint8))
    (folder / "image.mp4").write_bytes((folder / "pictures" / "0001.png").read_bytes())
    (folder / "bomb.xml").write_text('<!DOCTYPE a [<!ENTITY b "ha">]><annotations>&b;</annotations>')
    (folder / "late.csv").write_text("frame,x,y,w,h\n116,185,120,69,87\n")
    (folder / "words.csv").write_text("frame,x,y,w,h\n0,185,120,wide,87\n")
    (folder / "broken" / "0003.png").write_text("buy milk\n")
    (folder / "known" / "groundtruth.txt").write_text("20,20,40,40\n" * 4)
    (folder / "unknown" / "groundtruth.txt").write_text("nan,nan,nan,nan\n" + "20,20,40,40\n" * 3)
    (folder / "results").mkdir()
    for name in ("summary.csv", "boxes.csv"):
        (folder / "results" / name).write_text("years of work\n")
    (folder / "list.csv").write_text("clip.mp4,185,120,69,87\n")
    (folder / "track.csv").write_text("frame,x,y,w,h\n0,185,120,69,87\n")
    return folder


def test_the_table_is_read() -> None:
    assert len(CASES) == 69
    assert len({case["command"] for case in CASES}) == 69


@pytest.mark.parametrize("case", CASES, ids=[case["what"] for case in CASES])
def test_row(case: dict[str, str], inputs: Path, tmp_path: Path) -> None:
    if case["command"].startswith("app"):
        pytest.importorskip("fastapi", reason="the page needs the extra app")
    if case["command"].startswith("data render"):
        pytest.importorskip("trimesh", reason="the renderer needs the extra render")
    folder = tmp_path / "here"
    shutil.copytree(inputs, folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    words = case["command"].split()
    wants_model = words[0] == "track" and "--model" not in words
    done = run(*words, *(["--model", MODEL] if wants_model else []), cwd=folder)
    assert done.returncode == int(case["code"]), done.stderr
    message = done.stderr.splitlines()[-1]
    pattern = "error: " + re.escape(case["message"]).replace("…", ".*")
    assert re.fullmatch(pattern, message), f"{message!r} is not {case['message']!r}"
    assert "Traceback" not in done.stderr
    assert {path: path.read_bytes() for path in before} == before
    if case["code"] == "2":
        assert {path for path in folder.rglob("*") if path.is_file()} == set(before), "a file was written in spite of the error"
        assert not done.stdout


def test_wrong_option_names_the_right_one(tmp_path: Path) -> None:
    done = run("track", "clip.mp4", "--bx", "1,2,3,4", cwd=tmp_path)
    assert done.returncode == 2
    assert "--box" in done.stderr
    assert "Traceback" not in done.stderr


def test_public_errors_have_the_documented_bases() -> None:
    assert issubclass(metatrack.BundleError, ValueError)
    assert issubclass(metatrack.SourceError, OSError)
    assert issubclass(metatrack.DamagedSourceError, metatrack.SourceError)
