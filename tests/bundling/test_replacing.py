"""Export replaces a bundle and nothing else, and a kill leaves the old one or the new one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import metatrack
from metatrack import BundleError
from metatrack.claims import claim
from metatrack.runtime.bundle import open_bundle

pytest.importorskip("onnx", reason="export needs the train extra")

from metatrack.bundling.replacing import check_replaceable, replacing_bundle  # noqa: E402

MODELS = Path(metatrack.__file__).parent / "models"


def fill(folder: Path, model: str = "lite-no-meta") -> None:
    shutil.copytree(MODELS / model, folder, dirs_exist_ok=True)


def name_of(folder: Path) -> str:
    return str(open_bundle(folder).card["name"])


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_new_bundle_and_then_another_in_its_place(tmp_path: Path) -> None:
    out = tmp_path / "models" / "mine"
    for model in ("lite-no-meta", "paper"):
        with replacing_bundle(out) as made:
            fill(made, model)
            assert out.exists() == (model == "paper")
        assert name_of(out) == model
        assert names(out.parent) == ["mine"]


@pytest.mark.parametrize("other", ["thesis.txt", ".git", "weights.bin", "embed.onnx.bak"])
def test_a_folder_that_holds_anything_else_is_left_alone(tmp_path: Path, other: str) -> None:
    out = tmp_path / "mine"
    fill(out)
    (out / other).write_text("years of work", encoding="utf-8")
    before = names(out)
    with pytest.raises(ValueError, match=f"it holds {other}"), replacing_bundle(out):
        pytest.fail("the work has begun")
    assert names(out) == before
    assert names(tmp_path) == ["mine"]


@pytest.mark.parametrize("card", [None, b"", b'{"name": "mine"}', b"[]", b"\xff"])
def test_files_without_a_card_of_a_bundle_are_no_bundle(tmp_path: Path, card: bytes | None) -> None:
    (tmp_path / "embed.onnx").write_bytes(b"mine")
    if card is not None:
        (tmp_path / "card.json").write_bytes(card)
    with pytest.raises(ValueError, match=r"it has no card\.json of one"):
        check_replaceable(tmp_path)


def test_a_folder_with_the_name_of_a_graph(tmp_path: Path) -> None:
    fill(tmp_path / "mine")
    (tmp_path / "mine" / "adapt.onnx").mkdir()
    with pytest.raises(ValueError, match=r"it holds adapt\.onnx"):
        check_replaceable(tmp_path / "mine")


def test_a_file_and_places_that_are_free(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="is a file"):
        check_replaceable(tmp_path / "file")
    check_replaceable(tmp_path / "empty")
    check_replaceable(tmp_path / "new")


def test_what_comes_into_the_folder_during_the_export_is_kept(tmp_path: Path) -> None:
    out = tmp_path / "mine"
    fill(out)
    with pytest.raises(ValueError, match=r"it holds notes\.txt"), replacing_bundle(out) as made:
        fill(made, "paper")
        (out / "notes.txt").write_text("new", encoding="utf-8")
    assert (out / "notes.txt").is_file()
    assert names(tmp_path) == ["mine"]


def test_an_error_leaves_the_old_bundle(tmp_path: Path) -> None:
    out = tmp_path / "mine"
    fill(out)
    with pytest.raises(MemoryError), replacing_bundle(out) as made:
        fill(made, "paper")
        raise MemoryError
    assert name_of(out) == "lite-no-meta"
    assert names(tmp_path) == ["mine"]


def test_a_rename_that_fails_puts_the_old_bundle_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "mine"
    fill(out)
    rename, calls = os.replace, []

    def second_fails(source: Path, target: Path) -> None:
        calls.append(target)
        if len(calls) == 2:
            raise PermissionError("in use")
        rename(source, target)

    monkeypatch.setattr(os, "replace", second_fails)
    with pytest.raises(PermissionError), replacing_bundle(out) as made:
        fill(made, "paper")
    assert name_of(out) == "lite-no-meta"
    assert names(tmp_path) == ["mine"]


KILLED = """
import os, shutil, sys
from pathlib import Path
from metatrack.bundling import replacing
out, model, when = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
rename, done = os.replace, []
def kill_after(*paths):
    rename(*paths)
    done.append(paths)
    if len(done) == when: os._exit(9)
replacing.os.replace = kill_after
with replacing.replacing_bundle(out) as made:
    shutil.copytree(model, made, dirs_exist_ok=True)
    if when == 0: os._exit(9)
"""


@pytest.mark.parametrize(("when", "left"), [(0, "lite-no-meta"), (1, None), (2, "paper")])
def test_killed_at_any_moment(tmp_path: Path, when: int, left: str | None) -> None:
    """While the new one is made, between the two renames, and before the old one is removed."""
    out = tmp_path / "mine"
    fill(out)
    done = subprocess.run([sys.executable, "-c", KILLED, str(out), str(MODELS / "paper"), str(when)], check=False)  # noqa: S603
    assert done.returncode == 9
    if left is None:
        with pytest.raises(BundleError, match=r"an export into it was interrupted; rename .*\.old to it"):
            open_bundle(out)
    else:
        assert name_of(out) == left
    with pytest.raises(KeyboardInterrupt), replacing_bundle(out):
        assert name_of(out) == (left or "lite-no-meta")  # put back, before anything is made
        raise KeyboardInterrupt
    assert name_of(out) == (left or "lite-no-meta")
    assert names(tmp_path) == ["mine"]


def test_two_exports_do_not_mix(tmp_path: Path) -> None:
    out = tmp_path / "mine"
    with replacing_bundle(out) as made:
        fill(made)
        with pytest.raises(BlockingIOError, match="is being written by another run"), replacing_bundle(out):
            pytest.fail("both have begun")
    assert name_of(out) == "lite-no-meta"
    with claim(tmp_path / ".mine.lock") as ours:
        assert ours  # it has been given back


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    fill(tmp_path / "real")
    try:
        (tmp_path / "mine").symlink_to(tmp_path / "real", target_is_directory=True)
    except OSError as error:
        pytest.skip(f"no links here: {error}")
    with replacing_bundle(tmp_path / "mine") as made:
        fill(made, "paper")
    assert (tmp_path / "mine").is_symlink()
    assert name_of(tmp_path / "real") == name_of(tmp_path / "mine") == "paper"
