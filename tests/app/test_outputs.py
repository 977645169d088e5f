"""Nothing of the user's is destroyed: outputs are checked, all of them, before the first is opened."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from metatrack.app.outputs import check_outputs
from metatrack.app.problem import Problem
from metatrack.images import write_image
from metatrack.video import BoxWriter, VideoWriter, read_boxes

CLIP = resources.files("metatrack") / "assets" / "demo.mp4"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A clip, a folder of images, and an older table."""
    (tmp_path / "clip.mp4").write_bytes(CLIP.read_bytes())
    (tmp_path / "images").mkdir()
    for i in range(3):
        write_image(tmp_path / "images" / f"{i}.png", np.full((8, 8, 3), i, np.uint8))
    with BoxWriter(tmp_path / "old.csv") as table:
        table.write(0, (1, 2, 3, 4), 1.0)
    return tmp_path


def state(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["clip.mp4", "hard.mp4", "soft.mp4"])
@pytest.mark.parametrize("by_address", [False, True])
def test_the_source_by_any_name(folder: Path, name: str, by_address: bool) -> None:
    (folder / "hard.mp4").hardlink_to(folder / "clip.mp4")
    (folder / "soft.mp4").symlink_to(folder / "clip.mp4")
    before = state(folder)
    source = (folder / "clip.mp4").as_uri() if by_address else str(folder / "clip.mp4")
    with pytest.raises(Problem, match="is the source itself"):
        check_outputs(source, folder / name, None)
    with pytest.raises(Problem, match="is the source itself"):
        check_outputs(source, None, folder / name)
    assert state(folder) == before


@pytest.mark.parametrize("name", ["images/0.png", "images/new.jpg", "link.csv"])
def test_images_of_the_source(folder: Path, name: str) -> None:
    (folder / "link.csv").hardlink_to(folder / "images" / "1.png")
    with pytest.raises(Problem, match="image of the source"):
        check_outputs(folder / "images", folder / name, None)


def test_a_table_inside_the_folder_of_images_is_fine(folder: Path) -> None:
    check_outputs(folder / "images", folder / "images" / "boxes.csv", None)


@pytest.mark.parametrize("video", ["out.avi", "no/out.mp4", "images", "old.csv"])
def test_a_refused_video_leaves_the_older_table(folder: Path, video: str) -> None:
    before = state(folder)
    with pytest.raises(Problem, match=video.split("/")[0]):
        check_outputs(folder / "clip.mp4", folder / "old.csv", folder / video)
    assert state(folder) == before


def test_what_was_meant_as_an_input_is_not_replaced(folder: Path) -> None:
    (folder / "groundtruth.txt").write_text("1,2,3,4\n")
    with pytest.raises(Problem, match="is no table that metatrack wrote"):
        check_outputs(folder / "clip.mp4", folder / "groundtruth.txt", None)
    check_outputs(folder / "clip.mp4", folder / "old.csv", None)
    (folder / "empty.csv").touch()
    check_outputs(folder / "clip.mp4", folder / "empty.csv", None)


def test_an_older_table_stays_until_the_first_line(folder: Path) -> None:
    old = (folder / "old.csv").read_bytes()
    with pytest.raises(RuntimeError), BoxWriter(folder / "old.csv"):
        assert (folder / "old.csv").read_bytes() == old
        raise RuntimeError
    assert (folder / "old.csv").read_bytes() == old
    with BoxWriter(folder / "old.csv") as table:
        assert (folder / "old.csv").read_bytes() == old
        table.write(7, (1, 2, 3, 4), 0.5)
        assert [row.frame for row in read_boxes(folder / "old.csv")] == [7]
    assert sorted(path.name for path in folder.iterdir()) == ["clip.mp4", "images", "old.csv"]


def test_one_table_has_one_writer(folder: Path) -> None:
    with BoxWriter(folder / "new.csv") as first:
        first.write(0, (1, 2, 3, 4), 1.0)
        with pytest.raises(OSError, match=r"new\.csv is being written by another run"):
            BoxWriter(folder / "new.csv")
        first.write(1, (1, 2, 3, 4), 1.0)
    assert [row.frame for row in read_boxes(folder / "new.csv")] == [0, 1]
    with BoxWriter(folder / "new.csv") as second:
        second.write(5, (1, 2, 3, 4), 1.0)
    assert [row.frame for row in read_boxes(folder / "new.csv")] == [5]


def test_of_two_that_begin_together_one_is_refused(folder: Path) -> None:
    first, second = BoxWriter(folder / "new.csv"), BoxWriter(folder / "new.csv")
    first.write(0, (1, 2, 3, 4), 1.0)
    with pytest.raises(OSError, match="is being written by another run"):
        second.write(9, (1, 2, 3, 4), 1.0)
    first.close()
    assert [row.frame for row in read_boxes(folder / "new.csv")] == [0]


def test_one_video_has_one_writer(folder: Path) -> None:
    picture = np.zeros((16, 16, 3), np.uint8)
    with VideoWriter(folder / "new.mp4") as first:
        with pytest.raises(OSError, match=r"new\.mp4 is being written by another run"):  # before a frame has come
            VideoWriter(folder / "new.mp4")
        first.write(picture)
    (folder / "link.mp4").symlink_to(folder / "new.mp4")
    with VideoWriter(folder / "link.mp4") as second:
        second.write(picture)
        with pytest.raises(OSError, match=r"new\.mp4 is being written by another run"):  # by its other name
            VideoWriter(folder / "new.mp4")
    assert (folder / "link.mp4").is_symlink()
    assert sorted(path.name for path in folder.iterdir()) == ["clip.mp4", "images", "link.mp4", "new.mp4", "old.csv"]


def test_a_video_that_is_never_begun_holds_nothing(folder: Path) -> None:
    VideoWriter(folder / "new.mp4")
    VideoWriter(folder / "new.mp4").close()
    assert sorted(path.name for path in folder.iterdir()) == ["clip.mp4", "images", "old.csv"]


@pytest.mark.parametrize("name", ["out.mp4", "out.png", "out.json", "out.csv.gz"])
def test_a_table_is_not_called_something_else(folder: Path, name: str) -> None:
    with pytest.raises(Problem, match=r"does not end in \.csv or \.txt; name the table boxes\.csv"):
        check_outputs(folder / "clip.mp4", folder / name, None)
    for good in ("out.csv", "out.TXT", "out"):
        check_outputs(folder / "clip.mp4", folder / good, None)


@pytest.mark.parametrize("letter", ["a", "\N{CJK UNIFIED IDEOGRAPH-6F22}"])
def test_names_as_long_as_they_may_be(folder: Path, letter: str) -> None:
    stem = letter * (251 // len(letter.encode()))
    with BoxWriter(folder / f"{stem}.csv") as table:
        table.write(0, (1, 2, 3, 4), 1.0)
    with VideoWriter(folder / f"{stem}.mp4") as video:
        video.write(np.zeros((16, 16, 3), np.uint8))
    assert {path.name for path in folder.glob(f"{letter}*")} == {f"{stem}.csv", f"{stem}.mp4"}


def test_a_folder_that_cannot_be_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("metatrack.files.tempfile.TemporaryFile", refuse)
    with pytest.raises(Problem, match=r"boxes\.csv cannot be written: no file can be made in .*Permission denied"):
        check_outputs(folder / "clip.mp4", folder / "boxes.csv", None)


def test_space_is_left_as_it_was(folder: Path) -> None:
    shutil.rmtree(folder / "images")
    check_outputs(folder / "clip.mp4", folder / "new.csv", folder / "new.mp4")
    assert sorted(path.name for path in folder.iterdir()) == ["clip.mp4", "old.csv"]


def test_a_pipe_or_a_device_is_not_replaced(folder: Path) -> None:
    if not hasattr(os, "mkfifo"):
        pytest.skip("no pipes with names on this system")
    os.mkfifo(folder / "pipe.csv")
    os.mkfifo(folder / "pipe.mp4")
    for table, video in ((folder / "pipe.csv", None), (None, folder / "pipe.mp4")):
        with pytest.raises(Problem, match="it is a device or a pipe"):
            check_outputs(folder / "clip.mp4", table, video)
    with pytest.raises(OSError, match="it is a device or a pipe"):
        BoxWriter(folder / "pipe.csv")


def test_a_link_that_leads_nowhere_makes_no_folders(folder: Path) -> None:
    (folder / "link.csv").symlink_to(folder / "nowhere" / "x.csv")
    with pytest.raises(Problem, match=r"link\.csv cannot be written: it is a link to .*nowhere"):
        check_outputs(folder / "clip.mp4", folder / "link.csv", None)
    assert not (folder / "nowhere").exists()


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_only_our_own_video_is_replaced(folder: Path, suffix: str) -> None:
    holiday, ours = folder / f"holiday{suffix}", folder / f"ours{suffix}"
    shutil.copy(folder / "clip.mp4", holiday)
    with pytest.raises(Problem, match="exists and is no video that metatrack wrote"):
        check_outputs(folder / "images", None, holiday)
    with VideoWriter(ours) as video:
        video.write(np.zeros((16, 16, 3), np.uint8))
    check_outputs(folder / "images", None, ours)


@pytest.mark.skipif(os.name != "posix", reason="a limit on the size of files is POSIX'")
def test_a_disk_that_is_full_is_told_with_the_table_s_name(folder: Path) -> None:
    code = f"""
import resource
from metatrack.video import BoxWriter
resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600))
with BoxWriter({str(folder / "new.csv")!r}) as table:
    for k in range(100):
        table.write(k, (1, 2, 3, 4), 0.5)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "new.csv is whole up to the line before" in done.stderr.splitlines()[-1]
    assert len(read_boxes(folder / "new.csv")) > 10
