"""Files: one step, natural order, names that stay inside."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metatrack import files
from metatrack.files import inside, natural_order, replacing, same_file, write_atomically


@pytest.mark.parametrize("data", [b"new\r\n", "new\r\n", np.frombuffer(b"new\r\n", np.uint8)])
def test_the_bytes_arrive(tmp_path: Path, data: object) -> None:
    path = tmp_path / "folder" / "file.txt"
    write_atomically(path, data)  # type: ignore[arg-type]
    assert path.read_bytes() == b"new\r\n"
    assert os.listdir(path.parent) == ["file.txt"]


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    path = tmp_path / "file.txt"
    write_atomically(path, "old")

    def fail(*_: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(OSError, match="the disk is full"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file.txt"]


def test_an_error_in_the_block_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "video.mp4"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as part:
        assert part.suffix == ".mp4"
        part.write_text("half")
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == ["video.mp4"]
    assert path.read_text() == "old"


def test_two_writers_have_files_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 240 + ".txt")
    with replacing(path) as one, replacing(path) as other:
        assert one != other
        one.write_text("one")
        other.write_text("other")
    assert path.read_text() == "one"
    assert len(os.listdir(tmp_path)) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights on Windows")
def test_what_a_link_points_to_is_replaced(tmp_path: Path) -> None:
    real, link = tmp_path / "real.txt", tmp_path / "link.txt"
    real.write_text("old")
    link.symlink_to(real)
    write_atomically(link, "new")
    assert link.is_symlink()
    assert real.read_text() == "new"


def test_on_windows_an_open_target_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, real, tries = tmp_path / "file.txt", os.replace, []

    def replace(part: Path, target: Path) -> None:
        tries.append(target)
        if len(tries) < 3:
            raise PermissionError("somebody has it open")
        real(part, target)

    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(files, "WAITS", (0.0,) * 4)
    monkeypatch.setattr(os, "replace", replace)
    write_atomically(path, "new")
    assert len(tries) == 3
    assert path.read_text() == "new"
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(PermissionError("for ever")))
    with pytest.raises(PermissionError, match="for ever"):
        write_atomically(path, "newer")
    assert path.read_text() == "new"


def test_numbers_sort_by_value() -> None:
    names = ["img10.jpg", "IMG2.jpg", "img1.jpg", "9.jpg", "010.jpg", "a"]
    assert sorted(names, key=natural_order) == ["9.jpg", "010.jpg", "a", "img1.jpg", "IMG2.jpg", "img10.jpg"]


@given(st.lists(st.text()))
def test_all_names_can_be_sorted(names: list[str]) -> None:
    assert sorted(sorted(names), key=natural_order) == sorted(reversed(names), key=natural_order)


@pytest.mark.parametrize(
    "name",
    ["", "..", "../x", "a/../../x", "/etc/passwd", "C:x", "C:\\x", "\\x", "\\\\host\\share\\x", "..\\x", "a\\..\\..\\x", "a\0b"],
)
def test_names_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"^list\.txt, line 3: "):
        inside(tmp_path, name, "list.txt, line 3")


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_whatever_is_let_through_is_inside(name: str) -> None:
    root = Path("folder")
    try:
        path = inside(root, name)
    except ValueError:
        return
    assert os.path.abspath(path).startswith(os.path.abspath(root))


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights on Windows")
def test_links(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "there").mkdir(parents=True)
    (root / "near").symlink_to("there")
    (root / "far").symlink_to(tmp_path)
    (root / "loop").symlink_to("loop")
    assert inside(root, "near/1.jpg") == root / "near" / "1.jpg"
    with pytest.raises(ValueError, match="is a link to"):
        inside(root, "far/1.jpg")
    inside(root, "loop")  # leads nowhere: reading it fails
    link = tmp_path / "link"
    link.symlink_to(root)
    assert inside(link, "there") == link / "there"


def test_one_file_by_several_names(tmp_path: Path) -> None:
    one, other = tmp_path / "a.mp4", tmp_path / "b.mp4"
    one.write_bytes(b"1")
    other.write_bytes(b"1")
    (tmp_path / "hard.mp4").hardlink_to(one)
    (tmp_path / "soft.mp4").symlink_to(one)
    (tmp_path / "folder").symlink_to(tmp_path)
    for name in ("a.mp4", "hard.mp4", "soft.mp4", "folder/a.mp4", "./a.mp4"):
        assert same_file(one, tmp_path / name), name
    assert not same_file(one, other)
    assert not same_file(one, None)
    assert same_file(tmp_path / "new.mp4", tmp_path / "folder" / "new.mp4")
