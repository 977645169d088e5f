"""Result files: every format read and written, and published files scored."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.io import savemat

from metatrack.data import regions
from metatrack.data.otb import one_based, otb_targets, zero_based
from metatrack.data.rows import parse_rows
from metatrack.evaluation.score import formats, metrics
from metatrack.evaluation.score.formats import Trajectory

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data" / "otb"
NAN = float("nan")
BOXES = np.array([[1.0, 2, 3, 4], [5.25, 6.5, 7, 8]])

# Success AUC on TB-100 of ../shared/data/README.md. STAPLE has none there: 0.5987 is what this evaluator first said of it.
EXPECTED = {
    "CSK__zhangzheng": 0.3824,
    "DSST__zhangzheng": 0.4705,
    "KCF_GaussHog__zhangzheng": 0.4771,
    "MEEM__zhangzheng": 0.5387,
    "SRDCF__zhangzheng": 0.5976,
    "STAPLE__danho47": 0.5987,
    "STRUCK__jwlim": 0.4611,
    "SiamFC-3s__cfnet17": 0.5821,
    "SiamRPN++__soarkey": 0.6953,
    "TLD__zhangzheng": 0.4056,
}


@pytest.fixture(scope="module")
def truth():
    """Ground truth of TB-100, 0-based, on the frames that count."""
    if not (SHARED / "results").is_dir():
        pytest.skip(f"no published OTB results at {SHARED}")
    files = {t: SHARED / "meta" / "groundtruth" / f"{t.name}.txt" for t in otb_targets()}
    return {t.name: zero_based(parse_rows(file.read_text(), file))[t.skip :] for t, file in files.items()}


@pytest.mark.parametrize("name", EXPECTED)
def test_published_results_give_their_published_scores(name, truth):
    found = formats.load_otb(SHARED / "results" / f"{name}.zip")
    assert found.keys() == truth.keys()
    scores = [metrics.auc(metrics.success_curve(metrics.overlaps(found[n].boxes, truth[n]))) for n in truth]
    assert np.mean(scores) == pytest.approx(EXPECTED[name], abs=0.0005)


@pytest.mark.parametrize(
    ("name", "subset", "published"),
    [("KCF_GaussHog__zhangzheng", "OTB50", 0.403), ("KCF_GaussHog__zhangzheng", "OTB2013", 0.514)]
    + [("SiamFC-3s__cfnet17", "OTB50", 0.516), ("SiamFC-3s__cfnet17", "OTB2013", 0.608), ("SRDCF__zhangzheng", "OTB50", 0.539)],
)
def test_the_lists_give_their_published_scores(name, subset, published, truth):
    """Success AUC as the papers print it, to three decimals (notes/paper-notes.md)."""
    found = formats.load_otb(SHARED / "results" / f"{name}.zip")
    names = [target.name for target in otb_targets(subset)]
    scores = [metrics.auc(metrics.success_curve(metrics.overlaps(found[n].boxes, truth[n]))) for n in names]
    assert np.mean(scores) == pytest.approx(published, abs=0.001)


@pytest.mark.parametrize(("name", "published"), [("SiamFC-3s__cfnet17", 0.771), ("DSST__zhangzheng", 0.693)])
def test_published_precision(name, published, truth):
    """P@20 on TB-100 as the papers print it (notes/paper-notes.md)."""
    found = formats.load_otb(SHARED / "results" / f"{name}.zip")
    scores = [metrics.precision_at(metrics.center_errors(found[n].boxes, truth[n])) for n in truth]
    assert np.mean(scores) == pytest.approx(published, abs=0.001)


# -- rows of text


@pytest.mark.parametrize(
    "text",
    ["1,2,3,4\n5.25,6.5,7,8\n", "1\t2\t3\t4\r\n5.25\t6.5\t7\t8", "1 2 3 4\n\n 5.25  6.5 7 8 \n", "1;2;3;4\n5.25, 6.5,7 8,\n"]
    + ["\ufeff1,2,3,4\n5.25,6.5,7,8", "1e0,2E0,3.0,4.\n5.25,6.5,7,8"],
)
def test_text_of_any_separator(text):
    (run,) = formats.parse_trajectories(text.encode(), "Deer.txt")
    assert run.boxes.tolist() == BOXES.tolist() and run.start is None and run.fps is None


def test_nan_rows_of_text():
    (run,) = formats.parse_trajectories(b"1,2,3,4\nNaN,NaN,nan,NaN\n", "Deer.txt")
    assert np.isnan(run.boxes[1]).all() and run.boxes[0].tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2,3,4\n1,2,x,4\n", r"Deer.txt, line 2: '1,2,x,4' is not a row of numbers"),
        ("1,2,3\n", r"Deer.txt, line 1: 3 numbers where 4 or 8 are expected"),
        ("1,2,3,4\n\n1,2,3,4,5,6,7,8\n", r"line 3: 8 numbers where 4 are expected"),
    ],
)
def test_text_that_is_no_boxes(text, message):
    with pytest.raises(ValueError, match=message):
        formats.parse_trajectories(text.encode(), "Deer.txt")


def test_no_row_at_all():
    assert parse_rows("\n \n", "x", columns=(8, 4)).shape == (0, 4)


# -- polygons


def test_polygons_to_boxes():
    # a diamond around (5, 5): x 3..7, y 2..8; and a box written as its corners
    diamond, box = [5, 2, 7, 5, 5, 8, 3, 5], [1, 2, 4, 2, 4, 6, 1, 6]
    assert regions.polygons_to_boxes([diamond, box]).tolist() == [[3, 2, 4, 6], [1, 2, 3, 4]]
    assert regions.polygons_to_boxes([[0, 0, 4, 0, 0, 3]]).tolist() == [[0, 0, 4, 3]]  # a triangle
    (run,) = formats.parse_trajectories(b"1,2,4,2,4,6,1,6\n", "VOT.txt")
    assert run.boxes.tolist() == [[1, 2, 3, 4]]


@pytest.mark.parametrize("shape", [(2, 4), (2, 7), (8,)])
def test_polygons_need_corners(shape):
    with pytest.raises(ValueError, match="three or more corners"):
        regions.polygons_to_boxes(np.zeros(shape))


# -- .mat and .json


def mat(**content):
    buffer = io.BytesIO()
    savemat(buffer, content)
    return buffer.getvalue()


def cell(*records):
    """A MATLAB cell of structs."""
    array = np.empty((1, len(records)), dtype=object)
    array[0, :] = records
    return array


@pytest.mark.parametrize("runs", [1, 2, 20])
def test_mat_round_trip(tmp_path, runs):
    trajectories = [Trajectory(BOXES + k, start=300 + k, fps=12.5) for k in range(runs)]
    formats.write_mat(tmp_path / "david_X.mat", trajectories)
    back = formats.read_trajectories(tmp_path / "david_X.mat")
    assert [(t.boxes.tolist(), t.start, t.fps) for t in back] == [(t.boxes.tolist(), t.start, t.fps) for t in trajectories]


def test_mat_written_has_the_toolkits_fields(tmp_path):
    from scipy.io import loadmat

    formats.write_mat(tmp_path / "x.mat", [Trajectory(BOXES, start=300)])
    written = loadmat(tmp_path / "x.mat")["results"]
    assert written.shape == (1, 1) and written.dtype == object  # a cell, as results{1} needs
    assert set(written[0, 0].dtype.names) == {"type", "res", "len", "fps", "annoBegin", "startFrame"}
    assert written[0, 0]["type"][0, 0][0] == "rect" and written[0, 0]["annoBegin"][0, 0].item() == 300


def test_mat_of_integers_and_of_one_row():
    # KCF's files hold uint16; subtracting 1 from 0 must not wrap
    (run,) = formats.parse_trajectories(mat(results=cell({"type": "rect", "res": np.array([[0, 0, 3, 4]], np.uint16)})), "a.mat")
    assert run.boxes.dtype == np.float64 and zero_based(run.boxes).tolist() == [[-1, -1, 3, 4]]


def test_mat_of_four_corners():
    # one frame is two lines: the x of the corners, then their y
    record = {"type": "4corner", "res": np.array([[5.0, 7, 5, 3], [2, 5, 8, 5], [1, 4, 4, 1], [2, 2, 6, 6]])}
    (run,) = formats.parse_trajectories(mat(results=cell(record)), "a.mat")
    assert run.boxes.tolist() == [[3, 2, 4, 6], [1, 2, 3, 4]]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"no mat", "not a readable .mat"),
        (mat(other=1), "no results with a field 'res'"),
        (mat(results=cell({"len": 2})), "no results with a field 'res'"),
        (mat(results=cell({"type": "ivtAff", "res": BOXES})), "type 'ivtAff' cannot be read"),
        (mat(results=cell({"type": "4corner", "res": np.ones((3, 4))})), r"4corner results of shape \(3, 4\)"),
        (mat(results=cell({"type": "rect", "res": np.ones((3, 5))})), r"boxes of shape \(3, 5\)"),
        (mat(results=cell({"type": "rect", "res": "text"})), "not an array of numbers"),
    ],
)
def test_mat_that_is_no_result(data, message):
    with pytest.raises(ValueError, match=message):
        formats.parse_trajectories(data, "a.mat")


def test_every_truncation_of_a_mat_file_is_a_value_error(tmp_path):
    formats.write_mat(tmp_path / "x.mat", [Trajectory(BOXES, fps=1.0)])
    whole = (tmp_path / "x.mat").read_bytes()
    for length in range(0, len(whole) - 1, 7):
        with pytest.raises(ValueError, match="x.mat"):
            formats.parse_trajectories(whole[:length], "x.mat")


def test_json_round_trip(tmp_path):
    run = Trajectory(np.vstack([BOXES, [NAN] * 4]), start=300, fps=10.0)
    formats.write_json(tmp_path / "David.json", [run], tracker="STRUCK", sequence="David")
    (record,) = json.loads((tmp_path / "David.json").read_text())
    assert (record["startFrame"], record["endFrame"], record["evalType"], record["resType"]) == (300, 302, "OPE", "rect")
    assert record["res"][2] == [None] * 4  # NaN is not JSON
    (back,) = formats.read_trajectories(tmp_path / "David.json")
    np.testing.assert_array_equal(back.boxes, run.boxes)
    assert (back.start, back.fps) == (300, 10.0)


@pytest.mark.parametrize(
    "data",
    [
        b"{",
        b"[]",
        b"[1]",
        b"3",
        b'[{"res": [[1, 2], [3]]}]',
        b'[{"res": {}}]',
        b'[{"res": [[1, 2, 3, 1%s]]}]' % (b"0" * 400),
        b"\xff\xfe",
        b"[" * 10**5,
    ],
)
def test_json_that_is_no_result(data):
    with pytest.raises(ValueError, match="a.json"):
        formats.parse_trajectories(data, "a.json")


def test_unknown_suffix():
    with pytest.raises(ValueError, match="known are .mat, .json, .txt, .csv"):
        formats.parse_trajectories(b"", "a.npz")


# -- folders and archives


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
    found = formats.load_otb(tmp_path)
    fact = next(t for t in otb_targets() if t.name == name)
    assert list(found) == [name] and found[name].boxes.shape == (len(fact.frames), 4)
    assert found[name].boxes[0].tolist() == [first, 0, 5, 6]  # row 1 of the file, 1-based, is at x = 0


def test_rows_that_are_too_many_or_too_few(tmp_path):
    (tmp_path / "Deer.txt").write_text(text(rows(70)))
    boxes = formats.load_otb(tmp_path)["Deer"].boxes
    assert boxes.shape == (71, 4) and np.isnan(boxes[70]).all() and np.isfinite(boxes[:70]).all()
    (tmp_path / "Deer.txt").write_text(text(rows(72)))
    with pytest.raises(ValueError, match="Deer.txt holds 72 boxes, but Deer has 71 frames"):
        formats.load_otb(tmp_path)


def test_a_row_that_is_no_box_repeats_the_one_before(tmp_path):
    lines = rows(71)
    lines[3:5] = NAN
    (tmp_path / "Deer_TLD.txt").write_text(text(lines))
    assert formats.load_otb(tmp_path)["Deer"].boxes[2:6, 0].tolist() == [2, 2, 2, 5]


def test_a_zip_and_its_folder_give_the_same(tmp_path):
    folder = tmp_path / "folder" / "deeper"
    folder.mkdir(parents=True)
    (folder / "deer_X.txt").write_text(text(rows(71)))
    (folder / "readme.md").write_text("no result")
    formats.write_mat(folder / "Boy_X.mat", [Trajectory(rows(602), fps=9.0)])
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for path in folder.iterdir():
            archive.write(path, f"../{path.name}")  # a name that would leave the folder, were anything unpacked
    from_zip, from_folder = formats.load_otb(tmp_path / "x.zip"), formats.load_otb(tmp_path / "folder")
    assert list(from_zip) == list(from_folder) == ["Boy", "Deer"]
    for name in from_zip:
        np.testing.assert_array_equal(from_zip[name].boxes, from_folder[name].boxes)
    assert from_zip["Boy"].fps == 9.0


def test_two_files_of_one_target_are_refused(tmp_path):
    for name in ("Deer.txt", "deer_X.txt"):
        (tmp_path / name).write_text(text(rows(71)))
    with pytest.raises(ValueError, match="two files are about Deer"):
        formats.load_otb(tmp_path)


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
        lambda: formats.read_trajectories(tmp_path / "Deer.txt"),
    ):
        with pytest.raises(ValueError, match="at most 1000 are read"):
            read()


# -- GOT-10k and LaSOT


def test_got10k_layout(tmp_path):
    seconds = np.array([0.5, 0.125])
    folder = formats.write_got10k(tmp_path, "MLT", "GOT-10k_Val_000001", BOXES, seconds)
    assert folder == tmp_path / "MLT" / "GOT-10k_Val_000001"
    assert (folder / "GOT-10k_Val_000001_001.txt").read_text() == "1.0000,2.0000,3.0000,4.0000\n5.2500,6.5000,7.0000,8.0000\n"
    assert (folder / "GOT-10k_Val_000001_time.txt").read_text() == "0.50000000\n0.12500000\n"
    formats.write_got10k(tmp_path, "MLT", "GOT-10k_Val_000001", BOXES + 1, seconds * 2, run=2)
    (one, time1), (two, time2) = formats.read_got10k(folder)
    np.testing.assert_array_equal([one, two], [BOXES, BOXES + 1])
    np.testing.assert_array_equal([time1, time2], [seconds, seconds * 2])
    formats.write_got10k(tmp_path, "MLT", "GOT-10k_Val_000001", BOXES, seconds * 4, run=1)  # a run anew begins the times anew
    assert formats.read_got10k(folder)[1][1] is None


def test_got10k_mistakes(tmp_path):
    with pytest.raises(ValueError, match="2 boxes but 3 times"):
        formats.write_got10k(tmp_path, "MLT", "a", BOXES, [1, 1, 1])
    with pytest.raises(ValueError, match="the 1 runs before this one"):
        formats.write_got10k(tmp_path, "MLT", "a", BOXES, [1, 1], run=2)
    assert not list(tmp_path.rglob("*.txt"))  # a refused run leaves nothing behind
    with pytest.raises(FileNotFoundError, match="holds no a_001.txt"):
        formats.read_got10k(tmp_path / "MLT" / "a")


def test_lasot_layout(tmp_path):
    path = formats.write_lasot(tmp_path, "MLT", "airplane-1", BOXES)
    assert path == tmp_path / "MLT_tracking_result" / "airplane-1.txt"
    assert {k: v.tolist() for k, v in formats.read_lasot(path.parent).items()} == {"airplane-1": BOXES.tolist()}


# -- writing


@given(
    hnp.arrays(np.float64, st.tuples(st.integers(1, 8), st.just(4)), elements=st.floats(-5000, 5000).map(lambda v: round(v, 4)))
)
@settings(max_examples=40, deadline=None)
def test_any_boxes_survive_all_formats(tmp_path_factory, boxes):
    folder = tmp_path_factory.mktemp("formats")
    formats.write_txt(folder / "a.txt", boxes)
    formats.write_txt(folder / "b.csv", boxes, separator="\t")
    formats.write_mat(folder / "c.mat", [Trajectory(boxes)])
    formats.write_json(folder / "d.json", [Trajectory(boxes)], "t", "s")
    for path in folder.iterdir():
        np.testing.assert_allclose(formats.read_trajectories(path)[0].boxes, boxes, rtol=0, atol=1e-9)
    np.testing.assert_allclose(zero_based(one_based(boxes)), boxes, atol=1e-9)
