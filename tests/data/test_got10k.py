"""Sequences, and the readers of the GOT-10k layout and of single images."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from metatrack.data.got10k import read_got10k, read_stills
from metatrack.data.sequence import Sequence
from metatrack.geometry import context_side
from tests.conftest import SHARED

REAL = SHARED / "data" / "train"
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason=f"the development data are not at {REAL}")


def make(folder: Path, n: int = 3, truth: str | None = None) -> Path:
    """A sequence of n frames; frame i (1-based) has the colour (10 i, 0, 200) in RGB."""
    folder.mkdir(parents=True)
    for i in range(1, n + 1):
        image = np.full((8, 12, 3), (200, 0, 10 * i), np.uint8)  # BGR
        assert cv2.imwrite(os.fspath(folder / f"{i:08d}.png"), image)
    (folder / "groundtruth.txt").write_text("".join(f"{i},2,3.5,4\n" for i in range(n)) if truth is None else truth)
    return folder


def test_sequences_are_read_in_the_order_of_the_list_and_boxes_stay_0_based(tmp_path: Path) -> None:
    for name in ("b", "a", "unlisted"):
        make(tmp_path / "train" / name)
    (tmp_path / "train" / "list.txt").write_text("b\na\n")
    sequences = read_got10k(tmp_path, "train")
    assert [s.name for s in sequences] == ["b", "a"]
    s = sequences[0]
    assert len(s) == 3 and s.boxes.tolist() == [[0, 2, 3.5, 4], [1, 2, 3.5, 4], [2, 2, 3.5, 4]]
    assert s.absent is None and s.start_frame == 1 and s.attributes == frozenset()
    assert [p.name for p in s.frame_paths] == ["00000001.png", "00000002.png", "00000003.png"]


def test_without_a_list_all_sequences_are_read_and_the_split_may_be_the_root(tmp_path: Path) -> None:
    for name in ("b", "a", ".b.unfinished"):
        make(tmp_path / name)
    (tmp_path / "notes").mkdir()
    assert [s.name for s in read_got10k(tmp_path)] == ["a", "b"]


def test_frames_are_rgb_and_read_when_asked(tmp_path: Path) -> None:
    folder = make(tmp_path / "s")
    (s,) = read_got10k(tmp_path)
    frames = list(s)
    assert [f[0, 0].tolist() for f in frames] == [[10, 0, 200], [20, 0, 200], [30, 0, 200]]
    assert frames[0].shape == (8, 12, 3) and frames[0].dtype == np.uint8
    assert s.frame(-1)[0, 0, 0] == 30
    (folder / "00000002.png").write_bytes(b"damaged")
    (folder / "00000003.png").unlink()
    assert s.frame(0)[0, 0, 0] == 10
    with pytest.raises(OSError, match="frame 1 of sequence s: .*00000002.png cannot be read as an image"):
        s.frame(1)
    with pytest.raises(OSError, match="frame 2 of sequence s: .*00000003.png cannot be read: there is no such file"):
        s.frame(2)
    with pytest.raises(IndexError):
        s.frame(3)


def test_absent_targets_have_no_box(tmp_path: Path) -> None:
    """Covered to the last eighth (1 of 8 is to be seen) is not absent; covered wholly (0) is."""
    folder = make(tmp_path / "s", 6, "1,1,2,2\n1,1,2,2\n1,1,2,2\n1,1,0,2\nnan,nan,nan,nan\n1,1,2,2\n")
    (folder / "absence.label").write_text("0\n1\n0\n0\n0\n0\n")
    (folder / "cover.label").write_text("8\n8\n0\n8\n8\n1\n")
    (s,) = read_got10k(tmp_path)
    assert s.absent is not None and s.absent.tolist() == [False, True, True, False, False, False]
    assert np.isnan(s.boxes).all(1).tolist() == [False, True, True, True, True, False]
    assert s.boxes[0].tolist() == [1, 1, 2, 2]
    (folder / "cover.label").unlink()
    assert read_got10k(tmp_path)[0].absent.tolist() == [False, True, False, False, False, False]


def test_withheld_ground_truth_becomes_nan(tmp_path: Path) -> None:
    make(tmp_path / "s", 4, "1.5,2,3,4\n")
    boxes = read_got10k(tmp_path)[0].boxes
    assert boxes[0].tolist() == [1.5, 2, 3, 4] and np.isnan(boxes[1:]).all() and len(boxes) == 4


def test_errors_name_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere.*is not a folder.*got-10k"):
        read_got10k(tmp_path / "nowhere")
    folder = make(tmp_path / "train" / "a", 4)
    with pytest.raises(FileNotFoundError, match="val is not a folder.*holds the folders train"):
        read_got10k(tmp_path, "val")
    with pytest.raises(FileNotFoundError, match="no sequences.*name one of its folders as the split: train"):
        read_got10k(tmp_path)

    listing = tmp_path / "train" / "list.txt"
    listing.write_text("a\nlost1\nlost2\n")
    with pytest.raises(FileNotFoundError, match="lacks 2 of the 3 sequences of list.txt: lost1, lost2"):
        read_got10k(tmp_path, "train")
    listing.write_text("a\n")

    (folder / "absence.label").write_text("0\n0\n")
    with pytest.raises(ValueError, match="absence.label holds 2 labels, the folder 4 frames"):
        read_got10k(tmp_path, "train")
    (folder / "absence.label").unlink()

    (folder / "00000002.png").rename(tmp_path / "away.png")
    with pytest.raises(FileNotFoundError, match="a lacks 1 frames: 2"):
        read_got10k(tmp_path, "train")
    (tmp_path / "away.png").rename(folder / "00000002.png")
    assert len(read_got10k(tmp_path, "train")) == 1

    truth = folder / "groundtruth.txt"
    truth.write_text("1,2,3,4\n1,2,3,4\n")
    with pytest.raises(ValueError, match="groundtruth.txt holds 2 rows, the folder 4 frames"):
        read_got10k(tmp_path, "train")
    truth.write_text("1,2,3,4\n1,2,3\n")
    with pytest.raises(ValueError, match="groundtruth.txt, line 2"):
        read_got10k(tmp_path, "train")
    truth.unlink()
    with pytest.raises(FileNotFoundError, match="groundtruth.txt is missing"):
        read_got10k(tmp_path, "train")
    for path in folder.iterdir():
        path.unlink()
    truth.write_text("1,2,3,4\n")
    with pytest.raises(FileNotFoundError, match="holds no numbered frames"):
        read_got10k(tmp_path, "train")


def test_a_sequence_checks_its_shapes_and_keeps_its_own_copy() -> None:
    boxes = np.ones((2, 4))
    paths = (Path("1.jpg"), Path("2.jpg"))
    s = Sequence("s", paths, boxes)
    boxes[:] = 7
    assert (s.boxes == 1).all()
    with pytest.raises(ValueError, match="read-only"):
        s.boxes[0, 0] = 3
    with pytest.raises(ValueError, match="s: 1 frames but 2 boxes"):
        Sequence("s", paths[:1], boxes)
    with pytest.raises(ValueError, match=r"shape \(2, 3\)"):
        Sequence("s", paths, boxes[:, :3])
    with pytest.raises(ValueError, match=r"flags of absence of shape \(3,\)"):
        Sequence("s", paths, boxes, absent=np.zeros(3, bool))


def test_stills(tmp_path: Path) -> None:
    make(tmp_path / "x", 2)
    for i in (1, 2):
        (tmp_path / "x" / f"{i:08d}.png").rename(tmp_path / f"{i}.png")
    table = tmp_path / "boxes.csv"
    with pytest.raises(FileNotFoundError, match="boxes.csv is missing"):
        read_stills(tmp_path)
    table.write_text("file,x,y,w,h,class\n2.png,1,2,3,4,dog\n1.png,1.5,2,3,4,cat\n")
    stills = read_stills(tmp_path)
    assert [s.name for s in stills] == ["2", "1"] and [len(s) for s in stills] == [1, 1]
    assert stills[1].boxes.tolist() == [[1.5, 2, 3, 4]] and stills[0].frame(0)[0, 0].tolist() == [20, 0, 200]
    for text, error, message in [
        ("file,x,y,w\n", ValueError, "lacks the columns h"),
        ("file,x,y,w,h\n1.png,1,2,0,4\n", ValueError, "line 2: the box .* has no area"),
        ("file,x,y,w,h\n1.png,1,2,nan,4\n", ValueError, "line 2: not a box of four numbers .*not a finite number"),
        ("file,x,y,w,h\n1.png,1,2,3,4\n2.png,1,2\n", ValueError, "line 3: not a box of four numbers"),
        ("file,x,y,w,h\n9.png,1,2,3,4\n", FileNotFoundError, "9.png is missing, which line 2"),
    ]:
        table.write_text(text)
        with pytest.raises(error, match=message):
            read_stills(tmp_path)


@needs_real
def test_development_trajectories() -> None:
    train, val = (read_got10k(REAL / "got10k", split) for split in ("train", "val"))
    assert (len(train), len(val)) == (312, 75)
    assert not {s.name for s in train} & {s.name for s in val}
    boxes = np.concatenate([s.boxes for s in train + val])
    sides = np.array([context_side(w, h) for _, _, w, h in boxes])
    assert abs(sides - 127).max() < 0.1
    assert all(len(s) >= 2 for s in train + val)
    assert train[0].frame(0).shape == (330, 330, 3)


@needs_real
def test_development_stills() -> None:
    stills = read_stills(REAL / "still")
    assert len(stills) == 1812
    sides = np.array([context_side(*s.boxes[0, 2:]) for s in stills])
    assert abs(sides - 127).max() < 0.1
    assert stills[-1].frame(0).shape == (330, 330, 3)
