"""Result files: every format read and written."""

import io
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.io import savemat

from metatrack.data.otb import zero_based
from metatrack.data.rows import parse_rows
from metatrack.evaluation.score import formats
from metatrack.evaluation.score.records import Trajectory

NAN = float("nan")
BOXES = np.array([[1.0, 2, 3, 4], [5.25, 6.5, 7, 8]])

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


def read(path):
    return formats.parse_trajectories(path.read_bytes(), path.name)


@pytest.mark.parametrize("runs", [1, 2, 20])
def test_mat_round_trip(tmp_path, runs):
    trajectories = [Trajectory(BOXES + k, start=300 + k, fps=12.5) for k in range(runs)]
    formats.write_mat(tmp_path / "david_X.mat", trajectories)
    back = read(tmp_path / "david_X.mat")
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
    formats.write_json(tmp_path / "David.json", [run], tracker="STRUCK", sequence="David", protocol="ope")
    (record,) = json.loads((tmp_path / "David.json").read_text())
    assert (record["startFrame"], record["endFrame"], record["evalType"], record["resType"]) == (300, 302, "OPE", "rect")
    assert record["res"][2] == [None] * 4  # NaN is not JSON
    (back,) = read(tmp_path / "David.json")
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


# -- GOT-10k and LaSOT


def test_got10k_layout(tmp_path):
    seconds = np.array([0.5, 0.125])
    folder = formats.write_got10k(tmp_path, "MLT", "GOT-10k_Val_000001", BOXES, seconds)
    assert folder == tmp_path / "MLT" / "GOT-10k_Val_000001"
    assert (folder / "GOT-10k_Val_000001_001.txt").read_text() == "1.0000,2.0000,3.0000,4.0000\n5.2500,6.5000,7.0000,8.0000\n"
    assert (folder / "GOT-10k_Val_000001_time.txt").read_text() == "0.50000000\n0.12500000\n"


def test_got10k_mistakes(tmp_path):
    with pytest.raises(ValueError, match="2 boxes but 3 times"):
        formats.write_got10k(tmp_path, "MLT", "a", BOXES, [1, 1, 1])
    assert not list(tmp_path.rglob("*.txt"))  # what is refused leaves nothing behind


def test_lasot_layout(tmp_path):
    path = formats.write_lasot(tmp_path, "MLT", "airplane-1", BOXES)
    assert path == tmp_path / "MLT_tracking_result" / "airplane-1.txt"
    assert read(path)[0].boxes.tolist() == BOXES.tolist()


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
    formats.write_json(folder / "d.json", [Trajectory(boxes)], "t", "s", "ope")
    for path in folder.iterdir():
        np.testing.assert_allclose(read(path)[0].boxes, boxes, rtol=0, atol=1e-9)
