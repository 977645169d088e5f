"""The readers other than OTB's and GOT-10k's, each on a small tree in the benchmark's exact layout."""

import math

import cv2
import numpy as np
import pytest

from metatrack.data import datasets, folders, lasot, nfs, tcolor128, uav123
from metatrack.data.datasets import attribute_titles, read_dataset
from metatrack.data.regions import parse_region, polygons_to_boxes


def frames(folder, numbers, digits, suffix=".jpg"):
    """Empty files with the names of frames: reading a data set must open no image."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        (folder / f"{number:0{digits}d}{suffix}").touch()


def write(path, *lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


# -- by name


@pytest.mark.parametrize(
    ("name", "known"), [("LaSOT", "lasot"), ("GOT-10k", "got10k"), ("TColor-128", "tcolor128"), ("tc128", "tcolor128")]
)
def test_names(name, known):
    assert datasets.data_set(name) == known


@pytest.mark.parametrize(("name", "hint"), [("lassot", "'lasot'"), ("uav132", "'uav123'"), ("imagenet", "known are otb, got10k")])
def test_a_misspelt_name(tmp_path, name, hint):
    with pytest.raises(ValueError, match=f"unknown data set '{name}'; .*{hint}"):
        read_dataset(name, tmp_path)


def test_subsets(tmp_path):
    with pytest.raises(ValueError, match="did you mean 'OTB100'"):
        read_dataset("otb", tmp_path, "OTB-100")
    with pytest.raises(ValueError, match="choose one of test, train, all, extension"):
        read_dataset("lasot", tmp_path, "xyzw")
    with pytest.raises(ValueError, match="plain has no subsets"):
        read_dataset("plain", tmp_path, "test")
    with pytest.raises(FileNotFoundError, match="holds no anno/UAV20L"):
        read_dataset("uav123", tmp_path, "uav20l")


@pytest.mark.parametrize("name", ["otb", "got10k", "lasot", "uav123", "nfs", "tcolor128", "vot", "plain"])
def test_a_root_that_is_none_and_one_that_is_empty(tmp_path, name):
    source = "images" if name == "plain" else "http"  # where to get it, or how to make it
    for root in (tmp_path / "nothing", tmp_path):
        with pytest.raises(FileNotFoundError, match=f"(?s){root.name}.*{source}"):
            read_dataset(name, root)


# -- LaSOT


def make_lasot(
    root, name="airplane-1", rows=("11,21,5,6", "1,1,5,6", "3,4,0,0"), full="0,0,0", out="0,1,0", images=3, flat=False
):
    folder = root / name if flat else root / name.rpartition("-")[0] / name
    frames(folder / "img", range(1, images + 1), 8)
    write(folder / "groundtruth.txt", "11,21,5,6", "1,1,5,6", "3,4,0,0")
    write(folder / "full_occlusion.txt", "0,0,0")
    write(folder / "out_of_view.txt", "0,1,0")
    return folder


def test_lasot_lists():
    sizes = {subset: len(lasot.lasot_names(subset)) for subset in lasot.SUBSETS}
    assert sizes == {"test": 280, "train": 1120, "all": 1400, "extension": 150}
    assert set(lasot.lasot_names("test")) | set(lasot.lasot_names("train")) == set(lasot.lasot_names("all"))
    assert lasot.lasot_names("test")[:4] == ["airplane-1", "airplane-9", "airplane-13", "airplane-15"]
    assert list(attribute_titles("lasot")) == "IV POC DEF MB CM ROT BC VC SV FOC FM OV LR ARC".split()


@pytest.mark.parametrize("flat", [False, True])
def test_lasot(tmp_path, flat):
    make_lasot(tmp_path, flat=flat)
    make_lasot(tmp_path, "wingsuit-10", flat=flat, images=4)  # of the extension; an image after the last row is left out
    (sequence, extension) = read_dataset("lasot", tmp_path)
    assert (sequence.name, len(sequence), sequence.frame_paths[2].name) == ("airplane-1", 3, "00000003.jpg")
    # the file counts from 1; frame 2 is out of view, frame 3 has no area
    np.testing.assert_array_equal(sequence.boxes, [[10, 20, 5, 6], [np.nan] * 4, [np.nan] * 4])
    assert sequence.absent.tolist() == [False, True, False]
    assert sequence.attributes == {"POC", "ROT", "SV", "LR"}  # 0,1,0,0,0,1,0,0,1,0,0,0,1,0 in the toolkit
    assert (len(extension), extension.attributes) == (3, frozenset())


def test_lasot_names_what_is_missing(tmp_path):
    folder = make_lasot(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"lacks 279 of the 280 sequences of the list test: airplane-9, airplane-13"):
        read_dataset("lasot", tmp_path, "test")
    assert [s.name for s in read_dataset("lasot", tmp_path, "test", allow_partial=True)] == ["airplane-1"]
    (folder / "img" / "00000002.jpg").unlink()
    with pytest.raises(FileNotFoundError, match="airplane-1: .* lacks 1 frames: 2. LaSOT: http"):
        read_dataset("lasot", tmp_path)
    frames(folder / "img", [2], 8)
    write(folder / "out_of_view.txt", "0,1")
    with pytest.raises(ValueError, match="out_of_view.txt holds 2 entries; 3 flags"):
        read_dataset("lasot", tmp_path)
    (folder / "out_of_view.txt").unlink()
    with pytest.raises(FileNotFoundError, match="out_of_view.txt is missing"):
        read_dataset("lasot", tmp_path)


# -- UAV123


def test_uav123_table():
    targets = uav123.uav123_targets()
    assert (len(targets), len(uav123.uav123_targets("UAV20L"))) == (123, 20)
    assert sum(end - start + 1 for _, start, end in targets.values()) == 112_578  # as the paper states
    assert uav123.uav123_targets("UAV20L")["bird1"] == ("bird1", 1, 2437)
    # parts of a video lie one after another
    parts = [targets[name] for name in ("uav1_1", "uav1_2", "uav1_3")]
    assert parts == [("uav1", 1, 1555), ("uav1", 1555, 2377), ("uav1", 2473, 3469)]


def make_uav(root, name, subset="UAV123"):
    folder, start, end = uav123.uav123_targets(subset)[name]
    frames(root / "data_seq" / "UAV123" / folder, range(start, end + 1), 6)
    rows = [f"{k},{2 * k},10,20" for k in range(start, end + 1)]
    rows[-1] = "NaN,NaN,NaN,NaN"
    write(root / "anno" / subset / f"{name}.txt", *rows)
    write(root / "anno" / subset / "att" / f"{name}.txt", "1,0,0,1,0,0,0,0,0,0,0,1")


def test_uav123_cuts_sequences_out_of_longer_videos(tmp_path):
    for name in ("truck4_1", "truck4_2"):  # frames 1-577 and 577-1261 of one video
        make_uav(tmp_path, name)
    first, second = read_dataset("uav123", tmp_path)
    assert (first.name, len(first), first.frame_paths[-1].name) == ("truck4_1", 577, "000577.jpg")
    assert (second.frame_paths[0].name, second.start_frame, len(second)) == ("000577.jpg", 577, 685)
    assert second.boxes[0].tolist() == [577, 1154, 10, 20]
    assert np.isnan(second.boxes[-1]).all() and second.absent.nonzero()[0].tolist() == [684]
    assert second.attributes == {"SV", "FM", "SOB"}


def test_uav20l_and_what_is_missing(tmp_path):
    make_uav(tmp_path, "uav1", "UAV20L")
    with pytest.raises(FileNotFoundError, match="lacks 19 of the 20 sequences of UAV20L: bike1, bird1"):
        read_dataset("uav123", tmp_path, "UAV20L")
    (long,) = read_dataset("uav123", tmp_path, "UAV20L", allow_partial=True)
    assert (long.name, len(long)) == ("uav1", 3469)
    write(tmp_path / "anno" / "UAV20L" / "uav1.txt", "1,2,3,4")
    with pytest.raises(ValueError, match=r"holds 1 boxes, the benchmark states 3469 \(frames 1 to 3469 of uav1\)"):
        read_dataset("uav123", tmp_path, "UAV20L", allow_partial=True)


# -- NfS


def make_nfs(root, name, rate, images, rows):
    frames(root / name / rate / name, range(1, images + 1), 5)
    lines = [f'0 {10 * k} 20 {10 * k + 30} 60 {k} 0 1 0 "soccer ball"' for k in range(rows)]
    write(root / name / rate / f"{name}.txt", *lines)


@pytest.mark.parametrize(("rows", "step"), [(5, 1), (40, 8), (38, 8), (4, 1), (6, 1)])
def test_nfs_takes_every_eighth_row_where_the_file_has_them_all(tmp_path, rows, step):
    make_nfs(tmp_path, "bee", "30", 5, rows)
    (bee,) = read_dataset("nfs", tmp_path)
    assert len(bee) == min(5, rows) and bee.frame_paths[0].name == "00001.jpg"
    # columns are id xmin ymin xmax ymax ...
    np.testing.assert_array_equal(bee.boxes, [(10 * step * i, 20, 30, 40) for i in range(len(bee))])


def test_nfs_lists_and_damage(tmp_path):
    assert (len(nfs.nfs_frames()), sum(nfs.nfs_frames().values())) == (100, 47_953)
    make_nfs(tmp_path, "zebra_fish", "240", 9, 9)
    with pytest.raises(FileNotFoundError, match="lacks 99 of the 100 sequences of 240 frames per second: Gymnastics"):
        read_dataset("nfs", tmp_path, "240")
    assert len(read_dataset("nfs", tmp_path, "240", allow_partial=True)[0]) == 9
    with pytest.raises(FileNotFoundError, match="lacks 100"):
        read_dataset("nfs", tmp_path)  # nothing at 30
    make_nfs(tmp_path, "zebra_fish", "30", 5, 12)
    with pytest.raises(ValueError, match="holds 12 boxes for 5 frames"):
        read_dataset("nfs", tmp_path)
    write(tmp_path / "zebra_fish" / "30" / "zebra_fish.txt", "0 1 2 3")
    with pytest.raises(ValueError, match="line 1: '0 1 2 3' does not begin with id, xmin"):
        read_dataset("nfs", tmp_path)


# -- TColor-128


def make_tcolor(root, folder, span="6,8", rows=3, frames_name=None):
    frames(root / folder / "img", range(1, 10), 4)
    write(root / folder / f"{frames_name or folder}_frames.txt", span)
    write(root / folder / f"{folder}_gt.txt", *[f"{k},2,30,40" for k in range(rows)])
    write(root / folder / f"{folder}_att.txt", "SV, OCC  fm")


@pytest.mark.parametrize("folder", ["Yo-yos_ce1", "Yo_yos_ce1"])
def test_tcolor128(tmp_path, folder):
    make_tcolor(tmp_path, folder, frames_name=folder.lower())
    (sequence,) = read_dataset("tcolor128", tmp_path)
    assert (sequence.name, sequence.start_frame) == ("Yo-yos_ce1", 6)
    assert [path.name for path in sequence.frame_paths] == ["0006.jpg", "0007.jpg", "0008.jpg"]
    assert sequence.boxes.tolist() == [[0, 2, 30, 40], [1, 2, 30, 40], [2, 2, 30, 40]]
    assert sequence.attributes == {"SV", "OCC", "FM"}


def test_tcolor128_damage(tmp_path):
    assert len(set(tcolor128.tcolor128_names())) == 129
    make_tcolor(tmp_path, "Bee_ce", span="6,9")
    with pytest.raises(ValueError, match="holds 3 boxes, but Bee_ce_frames.txt states the frames 6 to 9"):
        read_dataset("tcolor128", tmp_path)
    write(tmp_path / "Bee_ce" / "Bee_ce_frames.txt", "8,10")
    with pytest.raises(FileNotFoundError, match="lacks 1 frames: 10"):
        read_dataset("tcolor128", tmp_path)
    (tmp_path / "Bee_ce" / "Bee_ce_frames.txt").unlink()
    with pytest.raises(FileNotFoundError, match="Bee_ce_frames.txt is missing"):
        read_dataset("tcolor128", tmp_path)
    with pytest.raises(FileNotFoundError, match="lacks 128 of the 129"):
        read_dataset("tcolor128", tmp_path, "tcolor128")


# -- VOT


def test_vot_old_layout(tmp_path):
    frames(tmp_path / "ball", range(1, 5), 8)
    write(tmp_path / "ball" / "groundtruth.txt", "0,0,10,0,10,5,0,5", "1,2,11,2,11,9,1,9,0,4", "nan,nan,nan,nan,nan,nan,nan,nan")
    write(tmp_path / "ball" / "occlusion.tag", 0, 1, 0)
    write(tmp_path / "ball" / "camera_motion.tag", 0, 0, 0)
    (ball,) = read_dataset("vot", tmp_path)
    np.testing.assert_array_equal(ball.boxes, [[0, 0, 10, 5], [0, 2, 11, 7], [np.nan] * 4, [np.nan] * 4])
    assert ball.absent.tolist() == [False, False, True, True]
    assert ball.attributes == {"occlusion"}


def test_vot_workspace_with_several_targets(tmp_path):
    folder = tmp_path / "sequences" / "cat"
    frames(folder / "left", range(0, 3), 8)
    write(folder / "sequence", "name=cat", "channels.color=left/%08d.jpg", "length=3")
    write(folder / "groundtruth_a.txt", "m10,20,3,2,1,1,2,1,1", "0", "1,2,3,4")
    write(folder / "groundtruth_b.txt", "1,2,3,4")
    write(tmp_path / "sequences" / "list.txt", "cat")
    a, b = read_dataset("vot", tmp_path)
    assert (a.name, b.name, a.frame_paths[0].parent.name, a.start_frame) == ("cat-a", "cat-b", "left", 0)
    np.testing.assert_array_equal(a.boxes, [[11, 20, 1, 2], [np.nan] * 4, [1, 2, 3, 4]])
    assert b.absent.tolist() == [False, True, True]


def test_vot_damage(tmp_path):
    frames(tmp_path / "cat" / "color", range(1, 3), 8)
    write(tmp_path / "cat" / "groundtruth.txt", "1,2,3,4", "1,2,x,4")
    with pytest.raises(ValueError, match="groundtruth.txt, line 2: '1,2,x,4' is no region"):
        read_dataset("vot", tmp_path)
    write(tmp_path / "cat" / "groundtruth.txt", *["1,2,3,4"] * 3)
    with pytest.raises(ValueError, match="holds 3 lines, the sequence 2 frames"):
        read_dataset("vot", tmp_path)
    write(tmp_path / "cat" / "groundtruth.txt", *["1,2,3,4"] * 2)
    write(tmp_path / "list.txt", "cat", "dog")
    with pytest.raises(FileNotFoundError, match="lacks 1 of the 2 sequences of list.txt: dog"):
        read_dataset("vot", tmp_path)
    assert len(read_dataset("vot", tmp_path, allow_partial=True)) == 1
    write(tmp_path / "cat" / "sequence", "channels.color=../../secret/%08d.jpg")
    with pytest.raises(ValueError, match="leads out of"):
        read_dataset("vot", tmp_path, allow_partial=True)


@pytest.mark.parametrize(
    "line",
    ["m1,2,3", "m0,0,2,2,5", "m0,0,2,2,-1,2", "m0,0,100000,100000,1", "1,2,3", "1,2,3,4,5"]
    + ["m0,0,5,5" + f",{2**62}" * 4, f"m0,0,5,5,{2**70}"],  # in 64 bits the first sums to 0
)
def test_regions_that_are_none(line):
    with pytest.raises(ValueError, match=r"mask|polygons"):
        parse_region(line)


def test_regions():
    assert all(map(math.isnan, parse_region("m0,0,0,0,0")))  # VOT's empty mask
    assert parse_region("1.5,2,3,4") == (1.5, 2, 3, 4)
    assert polygons_to_boxes([[3, 9, 1, 5, 4, 6]]).tolist() == [[1, 5, 3, 4]]


# -- plain folders


def test_plain_folder(tmp_path):
    folder = tmp_path / "mine"
    for k in (1, 2, 10):
        folder.mkdir(exist_ok=True)
        cv2.imwrite(str(folder / f"frame{k}.png"), np.full((8, 8, 3), k, np.uint8))
    write(folder / "whatever.txt", "1 2 3 4", "nan nan nan nan", "5\t6\t7\t8")
    (mine,) = read_dataset("plain", folder)
    assert mine.name == "mine" and [int(frame[0, 0, 0]) for frame in mine] == [1, 2, 10]  # 10 after 2
    np.testing.assert_array_equal(mine.boxes, [[1, 2, 3, 4], [np.nan] * 4, [5, 6, 7, 8]])
    write(folder / "more.txt", "")
    with pytest.raises(ValueError, match=r"several text files \(more.txt, whatever.txt\)"):
        read_dataset("plain", folder)
    write(folder / "groundtruth.txt", "1,2,3,4")
    np.testing.assert_array_equal(read_dataset("plain", folder)[0].boxes[:, 0], [1, np.nan, np.nan])
    write(folder / "groundtruth.txt", *["1,2,3,4"] * 2)
    with pytest.raises(ValueError, match="holds 2 boxes, its folder 3 images"):
        read_dataset("plain", folder)


def test_plain_folders_and_tables(tmp_path):
    frames(tmp_path / "b" / "img", range(1, 4), 4)
    write(tmp_path / "b" / "boxes.csv", "frame,x,y,w,h,score,lost", "0,1,2,3,4,1.0,0", "2,5,6,7,8,0.5,0")
    frames(tmp_path / "a", range(1, 3), 4)
    write(tmp_path / "a" / "boxes.txt", "0,0,4,0,4,4,0,4", "1,1,5,1,5,5,1,5")
    (tmp_path / "notes").mkdir()
    a, b = read_dataset("plain", tmp_path)
    assert (a.name, b.name, a.boxes.tolist()) == ("a", "b", [[0, 0, 4, 4], [1, 1, 4, 4]])
    np.testing.assert_array_equal(b.boxes[:, 2], [3, np.nan, 7])
    write(tmp_path / "b" / "boxes.csv", "frame,x,y,w,h", "3,1,2,3,4")
    with pytest.raises(ValueError, match="for frame 3; the folder's 3 images are the frames 0 to 2"):
        read_dataset("plain", tmp_path)


def test_plain_table_with_ids(tmp_path):
    frames(tmp_path / "img", range(1, 4), 4)
    table, header = tmp_path / "boxes.csv", "frame,id,x,y,w,h,score,lost"
    write(table, header, "0,car,1,2,3,4,1.0,0", "2,car,5,6,7,8,0.5,0")
    np.testing.assert_array_equal(read_dataset("plain", tmp_path)[0].boxes, [[1, 2, 3, 4], [np.nan] * 4, [5, 6, 7, 8]])
    write(table, header, "0,car,1,2,3,4,1.0,0", "0,7,2,2,3,4,1.0,0", "1,car,1,2,3,4,0.9,0")
    with pytest.raises(
        ValueError, match=r"boxes\.csv holds the boxes of 2 targets, with the ids car, 7; .* keep the lines of one"
    ):
        read_dataset("plain", tmp_path)
    write(table, header, *(f"0,{i},1,2,3,4,1.0,0" for i in range(30)))
    with pytest.raises(ValueError, match=r"of 30 targets, with the ids 0, .*, 19, \.\.\.; "):
        read_dataset("plain", tmp_path)
    write(table, header, "0,car,1,2,3,4,1.0,0", "1")  # half a line, as a killed run may leave it
    with pytest.raises(ValueError, match="is not a row of a table"):
        read_dataset("plain", tmp_path)


def test_long_lists_are_cut(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"lacks 30 of the 30 sequences: 0, .*, 19, \.\.\.\. here"):
        folders.choose(tmp_path, [str(i) for i in range(30)], (), None, False, "here")
