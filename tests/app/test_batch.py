"""``metatrack batch``: a list of real videos, some broken, done once, whatever interrupts it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from metatrack.app.batch_job import BatchFolder, ListedVideo, read_list
from metatrack.cli import main
from metatrack.evaluation.run.folder import Unit
from metatrack.geometry import Box
from metatrack.video import BoxWriter, VideoWriter, read_boxes
from tests.conftest import Scene

MODEL = "lite"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Two videos of a disc, one that is cut off, and a text that is none."""
    folder = tmp_path_factory.mktemp("videos")
    for name, seed in (("a", 0), ("b", 1)):
        scene = Scene(seed, size=(120, 160))
        with VideoWriter(folder / f"{name}.mp4", 25.0) as film:
            for i in range(12):
                film.write(scene.frame(i)[:120, :160])
    whole = (folder / "a.mp4").read_bytes()
    (folder / "cut.mp4").write_bytes(whole[: len(whole) // 3])
    (folder / "text.mp4").write_text("this is no video")
    return folder


BOX = "60,40,30,30"


def write_list(folder: Path, *lines: str, name: str = "list.csv") -> Path:
    path = folder / name
    path.write_text("\n".join(lines) + "\n")
    return path


def batch(listing: Path, out: Path, *words: str) -> int:
    return main(["batch", str(listing), "--out", str(out), "--jobs", "1", *words])


def test_a_broken_video_stops_no_other(folder, tmp_path, capsys) -> None:
    listing = write_list(folder, f"cut.mp4,{BOX}", f"a.mp4,{BOX}", f"text.mp4,{BOX}", f"missing.mp4,{BOX}", f"b.mp4,{BOX},2")
    assert batch(listing, tmp_path / "out", "--json") == 1
    out, err = capsys.readouterr()
    summary = json.loads(out)
    assert {row["name"]: row["status"] for row in summary["results"]} == {
        "cut": "failed",
        "a": "done",
        "text": "failed",
        "missing": "failed",
        "b": "done",
    }
    assert "FAILED: 3 of 5 videos; the others are done. Repeat the call to try again" in err
    assert err.count("missing.mp4 does not exist") == 2  # at once, and at the end
    assert [row.frame for row in read_boxes(tmp_path / "out/boxes/a.csv")] == list(range(12))
    assert [row.frame for row in read_boxes(tmp_path / "out/boxes/b.csv")] == list(range(2, 12))
    rows = {row["name"]: row for row in csv.DictReader((tmp_path / "out/summary.csv").open())}
    assert rows["a"]["frames"] == "12" and rows["b"]["frames"] == "10" and "does not exist" in rows["missing"]["reason"]
    assert json.loads((tmp_path / "out/summary.json").read_text()) == summary


def test_it_equals_track_and_goes_on(folder, tmp_path, capsys, monkeypatch) -> None:
    listing = write_list(folder, "source,name,frame,x,y,w,h", f"a.mp4,first,0,{BOX}", f"late.mp4,second,,{BOX}", name="head.csv")
    out = tmp_path / "out"
    assert batch(listing, out) == 1
    made = (out / "boxes/first.csv").read_bytes()
    table = tmp_path / "track.csv"
    assert main(["track", str(folder / "a.mp4"), "--box", BOX, "--threads", "1", "--boxes", str(table)]) == 0
    assert table.read_bytes() == made
    stamp = (out / "videos/first.json").stat().st_mtime_ns
    (folder / "late.mp4").write_bytes((folder / "b.mp4").read_bytes())
    assert batch(listing, out) == 0
    assert (out / "videos/first.json").stat().st_mtime_ns == stamp and len(read_boxes(out / "boxes/second.csv")) == 12
    assert not list((out / "errors").iterdir()) and not list((out / "locks").iterdir())
    # Another box is another result; another model is another batch.
    write_list(folder, "source,name,frame,x,y,w,h", "a.mp4,first,0,50,30,40,40", name="head.csv")
    assert batch(listing, out) == 0
    assert "first was tracked from other boxes" in capsys.readouterr().err and (out / "boxes/first.csv").read_bytes() != made
    assert batch(listing, out, "--no-adapt") == 2
    assert "holds results of another batch (adapt: True, now False)" in capsys.readouterr().err
    (folder / "late.mp4").unlink()


def test_several_targets_from_rows_and_from_a_file(folder, tmp_path) -> None:
    with BoxWriter(folder / "first.csv", ids=True) as table:
        table.write(3, (60, 40, 30, 30), 1.0, target="cup")
        table.write(5, (20, 20, 30, 30), 1.0, target="hat")
        table.write(6, (21, 20, 30, 30), 0.9, target="hat")
    listing = write_list(folder, "source,x,y,w,h,boxes", f"a.mp4,{BOX},", "a.mp4,10,10,30,30,", "b.mp4,,,,,first.csv")
    assert batch(listing, tmp_path / "out", "--quiet") == 0
    rows = read_boxes(tmp_path / "out/boxes/a.csv")
    assert [(row.frame, row.target) for row in rows] == [(i, target) for i in range(12) for target in (1, 2)]
    rows = read_boxes(tmp_path / "out/boxes/b.csv")
    there = [(3, "cup"), (4, "cup"), *((i, target) for i in range(5, 12) for target in ("cup", "hat"))]
    assert [(row.frame, row.target) for row in rows] == there


def test_boxes_that_do_not_fit(folder, tmp_path, capsys) -> None:
    (folder / "none.csv").write_text("frame,x,y,w,h,score,lost\n")
    lines = [f"a.mp4,{BOX},50,late", "a.mp4,900,900,30,30,0,outside", f"a.mp4,{BOX},0,fine"]
    listing = write_list(folder, *lines, "b.mp4,none.csv", "cut.mp4,gone.csv")
    assert batch(listing, tmp_path / "out", "--quiet") == 1
    out, err = capsys.readouterr()
    assert out == "" and "late: " in err and "none at start=50" in err
    assert "outside: box (900.0, 900.0, 30.0, 30.0) lies outside the frame of 160x120 pixels" in err
    assert "b: " in err and "none.csv holds no box" in err and "gone.csv" in err
    assert (tmp_path / "out/boxes/fine.csv").is_file()


def test_what_was_tracked_before_the_damage_is_kept(folder, tmp_path) -> None:
    pictures = folder / "pictures"
    pictures.mkdir()
    from metatrack.images import write_image

    for i in range(6):
        write_image(pictures / f"{i}.png", Scene(2, size=(120, 160)).frame(i)[:120, :160])
    (pictures / "4.png").write_bytes((pictures / "4.png").read_bytes()[:200])
    listing = write_list(folder, f"pictures,{BOX}", name="pictures.csv")
    assert batch(listing, tmp_path) == 1
    assert [row.frame for row in read_boxes(tmp_path / "partial/pictures.csv")] == [0, 1, 2, 3]
    assert "4 frames were tracked before" in (tmp_path / "errors/pictures.txt").read_text()
    write_image(pictures / "4.png", Scene(2, size=(120, 160)).frame(4)[:120, :160])
    assert batch(listing, tmp_path) == 0
    assert len(read_boxes(tmp_path / "boxes/pictures.csv")) == 6 and not list((tmp_path / "partial").iterdir())


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "lists no video"),
        (["a.mp4"], "line 1: 1 cells; a row is source,x,y,w,h"),
        (["a.mp4,1,2,3"], "line 1: 4 cells"),
        (["a.mp4,1,2,x,4"], "line 1, w: 'x' is not a number"),
        (["a.mp4,1,2,0,4"], "line 1: the box 1,2,0,4 has no area"),
        (["a.mp4,1,2,3,4,-1"], "line 1, frame: -1 is not a number from 0"),
        (["source,x,y,w,h,nmae", "a.mp4,1,2,3,4,n"], "there is no column 'nmae'; did you mean 'name'?"),
        (["source,x,y,w,h", ",1,2,3,4"], "line 2: no source"),
        (["source,x,y,w,h,name", "a.mp4,1,2,3,4,a/b"], "'a/b' cannot be the name of a file; give"),
        (["source,x,y,w,boxes", "a.mp4,1,2,3,"], "line 2: no h; give x,y,w,h of the target"),
        (["source,x,y,w,h,boxes", "a.mp4,1,2,3,4,b.csv"], "line 2: boxes and x, y, w, h"),
        (["x/a.mp4,1,2,3,4", "y/a.mp4,1,2,3,4"], "line 2: .*and that of line 1 would both be called 'a'"),
        (["a.mp4,b.csv", "a.mp4,c.csv"], "line 2: a is in line 1 already"),
    ],
)
def test_lists_that_cannot_be_used(lines, message, tmp_path) -> None:
    with pytest.raises(ValueError, match=message):
        read_list(write_list(tmp_path, *lines))


def test_what_a_list_says(tmp_path) -> None:
    lines = ["\ufeffSource, X, Y, W, H, Frame", "# a note", "", "a b.mp4, 1, 2.5, 3, 4, 7", "rtsp://host/clip.mp4,1,2,3,4,"]
    one, two = read_list(write_list(tmp_path, *lines))
    assert one == ListedVideo("a b", str((tmp_path / "a b.mp4").resolve()), {7: {1: Box(1.0, 2.5, 3.0, 4.0)}})
    assert two.source == "rtsp://host/clip.mp4" and two.name == "clip" and list(two.given) == [0]


def test_damaged_facts_are_made_again(tmp_path) -> None:
    folder, unit = BatchFolder(tmp_path), Unit("lite", "a", 1, 0, 0)
    path = folder.file("videos", unit)
    path.parent.mkdir()
    path.write_text("{")
    assert folder.is_done(unit) and folder.forget_others(ListedVideo("a", "/a.mp4", {}), unit) and not folder.is_done(unit)


def test_interrupted_it_still_has_a_summary(folder, tmp_path, monkeypatch) -> None:
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("metatrack.app.batch.carry_out", interrupt)
    assert batch(write_list(folder, f"a.mp4,{BOX}", name="one.csv"), tmp_path) == 130
    assert json.loads((tmp_path / "summary.json").read_text())["waiting"] == 1


def test_jobs_must_be_some(folder, tmp_path, capsys) -> None:
    assert main(["batch", str(folder / "list.csv"), "--out", str(tmp_path), "--jobs", "0"]) == 2
    assert "--jobs 0" in capsys.readouterr().err
