"""The OTB reader, on trees made in the benchmark's exact layout and on real data where it is present."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from metatrack.data import otb
from metatrack.data.datasets import attribute_titles
from tests.conftest import SHARED

OTB = SHARED / "data" / "otb"
needs_data = pytest.mark.skipif(not (OTB / "sequences").is_dir(), reason=f"no OTB sequences at {OTB}")


def target(name):
    return next(t for t in otb.otb_targets() if t.name == name)


def make(root, name, folder=None, separator=",", image=True):
    """Writes one target as the archive has it; box k of the file is ``(k, 2 k, 10, 20)``, k counted from 1. Frames are empty
    files (listing must not read them) except the first."""
    fact = target(name)
    place = root / (folder or fact.folder)
    (place / "img").mkdir(parents=True, exist_ok=True)
    numbers = range(fact.start, fact.video_end + 1)
    for number in numbers:
        (place / "img" / f"{number:04d}.jpg").touch()
    if image:
        cv2.imwrite(str(place / "img" / f"{fact.frames[0]:04d}.jpg"), np.full((48, 64, 3), (255, 0, 0), np.uint8))
    rows = [separator.join(map(str, (k, 2 * k, 10, 20))) for k in range(1, fact.rows + 1)]
    (place / fact.truth).write_text("\n".join(rows) + "\n")
    return place


# -- the table of facts


def test_the_lists_have_the_published_sizes():
    assert [len(otb.otb_targets(s)) for s in ("OTB100", "OTB50", "OTB2013")] == [100, 50, 51]
    names = {t.name for t in otb.otb_targets()}
    assert {t.name for s in otb.SUBSETS for t in otb.otb_targets(s)} == names
    # TB-100 is 100 targets of 98 sequences
    assert len({t.folder for t in otb.otb_targets()}) == 98
    assert {"Jogging-1", "Jogging-2", "Skating2-1", "Skating2-2", "Human4-2"} <= names


def test_the_quirks():
    david, tiger = target("David"), target("Tiger1")
    assert (david.frames[0], david.frames[-1], david.rows) == (300, 770, 471)
    assert target("BlurCar4").start == 18
    assert (tiger.rows, len(tiger.frames), tiger.frames[0]) == (354, 349, 6)
    assert [(t.rows, t.video_end) for t in (target("Football1"), target("Diving"))] == [(74, 81), (215, 231)]
    assert (target("Jogging-2").folder, target("Jogging-2").truth) == ("Jogging", "groundtruth_rect.2.txt")
    # 59,040 is TB-100's published number of frames: of all targets' rows
    assert sum(t.rows for t in otb.otb_targets()) == 59_040


def test_attributes():
    assert list(attribute_titles("otb")) == "IV SV OCC DEF MB FM IPR OPR OV BC LR".split()
    assert target("Basketball").attributes == {"IV", "OCC", "DEF", "OPR", "BC"}
    assert all(t.attributes and t.attributes <= set(attribute_titles("otb")) for t in otb.otb_targets())


def test_unknown_subset():
    with pytest.raises(ValueError, match="OTB100, OTB50, OTB2013"):
        otb.otb_targets("OTB99")  # type: ignore[arg-type]


def test_no_frame_and_no_box_is_in_the_package():
    facts = json.loads(Path(otb.__file__).with_name("otb.json").read_text())
    assert set(facts) == {"source", "get_it_from", "attributes", "subsets", "targets"}
    keys = {key for fact in facts["targets"].values() for key in fact}
    assert keys == {"start", "end", "skip", "video_end", "folder", "truth", "attributes", "omit"}


# -- reading


@pytest.mark.parametrize("separator", [",", "\t", " ", ", ", "  ", ";"])
def test_separators_and_origin(tmp_path, separator):
    make(tmp_path, "Skiing", separator=separator)
    (skiing,) = otb.read_otb(tmp_path)
    assert skiing.name == "Skiing" and skiing.attributes == target("Skiing").attributes
    assert len(skiing.frame_paths) == 81 and skiing.boxes.shape == (81, 4)
    assert skiing.boxes.dtype == np.float64
    # the file's first row is 1, 2, 10, 20 where the first pixel is 1; ours counts from 0
    assert skiing.boxes[0].tolist() == [0, 1, 10, 20]
    assert skiing.boxes[80].tolist() == [80, 161, 10, 20]
    assert skiing.frame_paths[0].name == "0001.jpg"
    frame = skiing.frame(0)
    assert frame.shape == (48, 64, 3) and frame[..., 2].mean() > 200  # written as pure blue, read as RGB


def test_zero_based():
    rows = np.array([[1.0, 1, 5, 6], [3, 7, 5, 6]])
    assert otb.zero_based(rows).tolist() == [[0, 0, 5, 6], [2, 6, 5, 6]]


def test_frames_and_rows_of_the_odd_sequences(tmp_path):
    for name in ("David", "Diving", "Football1", "Tiger1", "BlurCar4"):
        make(tmp_path, name, image=False)
    read = {s.name: s for s in otb.read_otb(tmp_path)}
    assert list(read) == ["BlurCar4", "David", "Diving", "Football1", "Tiger1"]
    spans = {n: (s.frame_paths[0].stem, s.frame_paths[-1].stem, len(s.boxes)) for n, s in read.items()}
    assert spans == {
        "BlurCar4": ("0018", "0397", 380),
        "David": ("0300", "0770", 471),
        "Diving": ("0001", "0215", 215),
        "Football1": ("0001", "0074", 74),
        "Tiger1": ("0006", "0354", 349),
    }
    # Tiger1's first box that counts is row 6: 6, 12 in the file
    assert read["Tiger1"].boxes[0].tolist() == [5, 11, 10, 20]
    assert {n: s.start_frame for n, s in read.items()} == {n: int(first) for n, (first, _, _) in spans.items()}
    assert read["David"].boxes[0].tolist() == [0, 1, 10, 20]


def test_two_targets_of_one_sequence_share_its_frames(tmp_path):
    make(tmp_path, "Jogging-1", image=False)
    place = make(tmp_path, "Jogging-2", image=False)
    (place / "groundtruth_rect.2.txt").write_text("5 6 7 8\n" * 307)
    one, two = otb.read_otb(tmp_path)
    assert (one.name, two.name) == ("Jogging-1", "Jogging-2")
    assert one.frame_paths == two.frame_paths
    assert one.boxes[0].tolist() == [0, 1, 10, 20] and two.boxes[0].tolist() == [4, 5, 7, 8]


@pytest.mark.parametrize(("name", "folder"), [("FaceOcc1", "Faceocc1"), ("Jogging-2", "Jogging-2")])
def test_folder_names_of_other_copies(tmp_path, name, folder):
    make(tmp_path, name, folder=folder, image=False)
    assert [s.name for s in otb.read_otb(tmp_path)] == [name]


def test_a_row_without_area_is_unknown(tmp_path):
    place = make(tmp_path, "Deer", image=False)
    truth = place / "groundtruth_rect.txt"
    truth.write_text("\n".join(truth.read_text().splitlines()[:-1]) + "\n0,0,0,0\n")
    (deer,) = otb.read_otb(tmp_path)
    assert np.isnan(deer.boxes[-1]).all() and np.isfinite(deer.boxes[:-1]).all()


# -- saying what is missing


def test_a_subset_that_is_not_all_there_names_what_is_missing(tmp_path):
    make(tmp_path, "Deer", image=False)
    make(tmp_path, "Jogging-1", image=False)
    with pytest.raises(FileNotFoundError) as error:
        otb.read_otb(tmp_path, "OTB2013")
    text = str(error.value)
    assert "lacks 49 of the 51 targets of OTB2013" in text
    assert "Basketball" in text and "Woman" in text and "Deer" not in text
    assert "ground truth of Jogging-2" in text
    assert "cvlab.hanyang.ac.kr" in text and "allow_partial" in text
    assert [s.name for s in otb.read_otb(tmp_path, "OTB2013", allow_partial=True)] == ["Deer", "Jogging-1"]
    assert otb.read_otb(tmp_path, "OTB2013", allow_partial=True)[0].name == "Deer"


def test_a_subset_reads_its_own_targets_alone(tmp_path):
    for fact in otb.otb_targets("OTB50"):
        make(tmp_path, fact.name, image=False)
    make(tmp_path, "Jogging-1", image=False)  # of OTB-2013, not of OTB-50
    assert [s.name for s in otb.read_otb(tmp_path, "OTB50")] == [t.name for t in otb.otb_targets("OTB50")]
    assert len(otb.read_otb(tmp_path)) == 51


@pytest.mark.parametrize("subset", [None, "OTB50"])
@pytest.mark.parametrize("allow_partial", [False, True])
def test_nothing_at_all_is_an_error_in_every_case(tmp_path, subset, allow_partial):
    with pytest.raises(FileNotFoundError, match="lacks"):
        otb.read_otb(tmp_path, subset, allow_partial=allow_partial)
    with pytest.raises(FileNotFoundError, match="is not a folder"):
        otb.read_otb(tmp_path / "nowhere", subset, allow_partial=allow_partial)


def test_missing_frames_are_named(tmp_path):
    place = make(tmp_path, "Deer", image=False)
    for number in (3, 7, 8, 9):
        (place / "img" / f"{number:04d}.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"Deer: .*img lacks 4 frames: 3, 7-9\."):
        otb.read_otb(tmp_path)
    shutil.rmtree(place / "img")
    with pytest.raises(FileNotFoundError, match=r"img holds no numbered frames"):
        otb.read_otb(tmp_path)


def test_a_damaged_ground_truth_is_named(tmp_path):
    place = make(tmp_path, "Deer", image=False)
    truth = place / "groundtruth_rect.txt"
    whole = truth.read_text()
    truth.write_text(whole.replace("\n3,6,10,20\n", "\n3,6,ten,20\n"))
    with pytest.raises(ValueError, match=r"groundtruth_rect.txt, line 3: '3,6,ten,20'"):
        otb.read_otb(tmp_path)
    truth.write_text(whole + "1,1,2,2\n")
    with pytest.raises(ValueError, match="holds 72 boxes, the benchmark states 71"):
        otb.read_otb(tmp_path)


# -- real data


@needs_data
def test_real_sequences():
    sequences = {s.name: s for s in otb.read_otb(OTB / "sequences")}
    assert len(sequences) == 15
    # Biker 142, CarScale 252, Couple 140, Crossing 120, David 471, Diving 215, DragonBaby 113, Football1 74, Freeman1 326,
    # Girl 500, Human7 250, Jogging 2 x 307, MotorRolling 164, Skiing 81
    assert sum(len(s.frame_paths) for s in sequences.values()) == 3462
    assert sequences["David"].boxes[0].tolist() == [128, 79, 64, 78]  # 129,80,64,78 in the file
    assert sequences["Girl"].boxes[0].tolist() == [56, 20, 31, 45]  # tabs and carriage returns
    for sequence in sequences.values():
        height, width = sequence.frame(0).shape[:2]
        x, y, w, h = sequence.boxes[0]
        assert 0 <= x < x + w <= width and 0 <= y < y + h <= height
    with pytest.raises(FileNotFoundError, match="lacks 85 of the 100 targets"):
        otb.read_otb(OTB / "sequences", "OTB100")


@pytest.mark.skipif(not (OTB / "meta").is_dir(), reason=f"no OTB meta data at {OTB}")
def test_the_table_agrees_with_the_ground_truth_of_all_targets():
    for fact in otb.otb_targets():
        lines = (OTB / "meta" / "groundtruth" / f"{fact.name}.txt").read_text().split("\n")
        assert len([line for line in lines if line.strip()]) == fact.rows, fact.name
