"""Folders and archives of result files: which file is about which target, and which rows about which frames."""

import json
import zipfile

import numpy as np
import pytest

from metatrack.data.otb import otb_targets
from metatrack.evaluation.score import formats
from metatrack.evaluation.score.imports import ResultSource, load_results
from metatrack.evaluation.score.records import Trajectory
from tests.evaluation.helpers import published_results

NAN = float("nan")
BOXES = np.array([[1.0, 2, 3, 4], [5.25, 6.5, 7, 8]])


@pytest.mark.parametrize(
    ("stem", "target"),
    [
        ("tiger1_CSK", "Tiger1"),
        ("dog1_KCF_GaussHog", "Dog1"),
        ("Dog_KCF_GaussHog", "Dog"),
        ("Skating2.1_DSST", "Skating2-1"),
        ("Skating2_2_siamfc3s", "Skating2-2"),
        ("jogging-1_KCF_GaussHog", "Jogging-1"),
        ("Car24", "Car24"),
        ("Human4.1", None),  # of the sequence's two targets TB-100 counts the second
        ("Jogging", None),
        ("Jogging.3", None),
        ("Dog1x", None),
    ],
)
def test_match_target(stem, target):
    assert formats.match_target(stem, [t.name for t in otb_targets()]) == target


def text(boxes):
    return "\n".join(",".join(map(str, row)) for row in boxes)


def rows(count):
    """``(count, 4)``, 1-based, row k starting with k + 1."""
    return np.column_stack([np.arange(1, count + 1), np.ones(count), np.full(count, 5), np.full(count, 6)])


@pytest.mark.parametrize(
    ("name", "count", "first"),
    [("Deer", 71, 0), ("Tiger1", 354, 5), ("Tiger1", 349, 0), ("Diving", 231, 0), ("Football1", 81, 0), ("David", 471, 0)],
)
def test_rows_meet_the_frames_that_count(tmp_path, name, count, first):
    (tmp_path / f"{name}.txt").write_text(text(rows(count)))
    found = published_results(tmp_path)
    fact = next(t for t in otb_targets() if t.name == name)
    assert list(found) == [name] and found[name].boxes.shape == (len(fact.frames), 4)
    assert found[name].boxes[0].tolist() == [first, 0, 5, 6]  # row 1 of the file, 1-based, is at x = 0


def test_rows_that_are_too_many_or_too_few(tmp_path):
    (tmp_path / "Deer.txt").write_text(text(rows(70)))
    boxes = published_results(tmp_path)["Deer"].boxes
    assert boxes.shape == (71, 4) and np.isnan(boxes[70]).all() and np.isfinite(boxes[:70]).all()
    (tmp_path / "Deer.txt").write_text(text(rows(72)))
    with pytest.raises(ValueError, match="Deer.txt holds 72 boxes, but Deer has 71 frames"):
        published_results(tmp_path)


def test_a_row_that_is_no_box_repeats_the_one_before(tmp_path):
    lines = rows(71)
    lines[3:5] = NAN
    (tmp_path / "Deer_TLD.txt").write_text(text(lines))
    assert published_results(tmp_path)["Deer"].boxes[2:6, 0].tolist() == [2, 2, 2, 5]


def test_a_zip_and_its_folder_give_the_same(tmp_path):
    folder = tmp_path / "folder" / "deeper"
    folder.mkdir(parents=True)
    (folder / "deer_X.txt").write_text(text(rows(71)))
    (folder / "readme.md").write_text("no result")
    formats.write_mat(folder / "Boy_X.mat", [Trajectory(rows(602), fps=9.0)])
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for path in folder.iterdir():
            archive.write(path, f"../{path.name}")  # a name that would leave the folder, were anything unpacked
    from_zip, from_folder = published_results(tmp_path / "x.zip"), published_results(tmp_path / "folder")
    assert list(from_zip) == list(from_folder) == ["Boy", "Deer"]
    for name in from_zip:
        np.testing.assert_array_equal(from_zip[name].boxes, from_folder[name].boxes)
    assert from_zip["Boy"].seconds.tolist() == [1 / 9] * 602


def test_two_files_of_one_target_are_refused(tmp_path):
    for name in ("Deer.txt", "deer_X.txt"):
        (tmp_path / name).write_text(text(rows(71)))
    with pytest.raises(ValueError, match="two files are about Deer"):
        published_results(tmp_path)


def test_sources_that_are_none(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        list(formats.result_files(tmp_path / "nowhere"))
    (tmp_path / "x.zip").write_bytes(b"no zip")
    with pytest.raises(ValueError, match=r"neither a folder nor a \.zip"):
        list(formats.result_files(tmp_path / "x.zip"))


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (b"7,8,9,9", b"7,8,9,8", "Bad CRC-32"),
        (b"PK\x01\x02\x14\x03\x14\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01", "encrypted"),  # the flag of the directory
    ],
)
def test_archives_that_are_damaged_or_encrypted(tmp_path, place, value, message):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("Deer.txt")
        info.create_system = 3
        archive.writestr(info, "7,8,9,9\n")
    data = path.read_bytes()
    assert data.count(place) == 1
    path.write_bytes(data.replace(place, value))
    with pytest.raises(ValueError, match=f"x.zip: Deer.txt cannot be unpacked .*{message}"):
        list(formats.result_files(path))


@pytest.mark.parametrize("value", ["fast", [1, 2], [], None, NAN, {}, 10**400])
def test_a_speed_or_a_start_that_is_none(value):
    record = {"res": [[1, 2, 3, 4]], "fps": value, "startFrame": value}
    (run,) = formats.parse_trajectories(json.dumps([record]).encode(), "a.json")
    assert (run.fps, run.start) == (None, None)


def test_a_file_too_large_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(formats, "MAX_BYTES", 1000)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("Deer.txt", " " * 100_000)
    (tmp_path / "Deer.txt").write_text(" " * 1001)
    for read in (
        lambda: list(formats.result_files(tmp_path / "bomb.zip")),
        lambda: list(formats.result_files(tmp_path)),
        lambda: load_results(ResultSource("x", (tmp_path / "Deer.txt",)), [], "plain"),
    ):
        with pytest.raises(ValueError, match="at most 1000 are read"):
            read()
