"""Text files of numbers as other programs and other countries save them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metatrack.data import regions
from metatrack.data.datasets import read_dataset
from metatrack.data.folders import gaps
from metatrack.data.got10k import read_got10k, read_stills
from metatrack.data.rows import parse_rows, read_text


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_another_encoding_is_named(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "boxes.txt").write_bytes("1,2,3,4\n5,6,7,8\n".encode(encoding))
    with pytest.raises(ValueError, match=r"boxes\.txt, line 1: the text is not in UTF-8 but in UTF-16 or UTF-32; save it as"):
        read_text(tmp_path / "boxes.txt")


def test_bytes_that_are_no_text_are_named_with_their_line(tmp_path: Path) -> None:
    (tmp_path / "boxes.txt").write_bytes(b"1,2,3,4\n5,6,7,8\n\xff,6,7,8\n")
    with pytest.raises(ValueError, match=r"boxes\.txt, line 3: the text is not in UTF-8"):
        read_text(tmp_path / "boxes.txt")


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "boxes.txt").write_bytes(b"\xef\xbb\xbf1,2,3,4\r\n")
    assert parse_rows(read_text(tmp_path / "boxes.txt"), "boxes.txt").tolist() == [[1, 2, 3, 4]]


@pytest.mark.parametrize("line", ["1,5;2,5;30,25;4,0", "1,5\t2\t30,25\t4", "1,5 2,5 30,25 4,0", "100;2,5;30;40"])
@pytest.mark.parametrize("columns", [(4,), (4, 8), (4, *range(6, 41, 2))])
def test_decimal_commas_are_named(line: str, columns: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"a\.txt, line 2: .* has decimal commas; write 1\.5 for 1,5"):
        parse_rows(f"\n{line}\n", "a.txt", columns)


def test_a_time_with_a_decimal_comma_is_named() -> None:
    with pytest.raises(ValueError, match="line 1: .* has decimal commas"):
        parse_rows("0,05\n0,04\n", "a_time.txt", range(1, 101))


@pytest.mark.parametrize("word", ["inf", "-Infinity", "1e999", "9" * 400])
def test_what_is_not_finite_is_named(word: str) -> None:
    with pytest.raises(ValueError, match=r"a\.txt, line 2: .* not finite"):
        parse_rows(f"1,2,3,4\n1,2,3,{word}\n", "a.txt")
    assert parse_rows(f"1,2,3,{word}\n", "a.txt", infinite=True).shape == (1, 4)


def test_a_number_in_a_name_sizes_no_list(tmp_path: Path) -> None:
    assert gaps([1, 2, 4, 10**9]) == (10**9 - 4, ["3", "5-999999999"])
    for name in ("1", "100000000", "9" * 200):
        (tmp_path / "s").mkdir(exist_ok=True)
        (tmp_path / "s" / f"{name}.jpg").touch()
    (tmp_path / "s" / "groundtruth.txt").write_text("1,2,3,4\n1,2,3,4\n")
    for data_set in ("got10k", "vot"):
        with pytest.raises(FileNotFoundError, match="lacks 99999998 frames.*: 2-99999999"):
            read_dataset(data_set, tmp_path)


@pytest.mark.parametrize("name", ["../s", "/etc", "..", "a/../../s"])
def test_a_list_names_nothing_outside(tmp_path: Path, name: str) -> None:
    (tmp_path / "s").mkdir()
    root = tmp_path / "root"
    root.mkdir()
    (root / "list.txt").write_text(f"{name}\n")
    (root / "inner").mkdir()
    (root / "inner" / "groundtruth.txt").write_text("1,2,3,4\n")
    for data_set in ("got10k", "vot"):
        with pytest.raises(ValueError, match=r"list\.txt: '.*' leads out of"):
            read_dataset(data_set, root)
    (root / "boxes.csv").write_text(f"file,x,y,w,h\n{name},1,2,3,4\n")
    with pytest.raises(ValueError, match=r"boxes\.csv, line 2: '.*' leads out of"):
        read_stills(root)


@pytest.mark.parametrize("text", ['file,x,y,w,h\n"' + "a" * 200_000 + '",1,2,3,4\n', "file,x,y,w,h\na.png,1,2,3,1e999\n"])
def test_a_table_of_stills_that_is_damaged(tmp_path: Path, text: str) -> None:
    (tmp_path / "boxes.csv").write_text(text)
    with pytest.raises(ValueError, match=r"boxes\.csv, line \d"):
        read_stills(tmp_path)


def test_labels_that_are_no_numbers(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "1.jpg").touch()
    (tmp_path / "s" / "groundtruth.txt").write_text("1,2,3,4\n")
    for text in ("nan\n", "inf\n"):
        (tmp_path / "s" / "absence.label").write_text(text)
        with pytest.raises(ValueError, match=r"absence\.label"):
            read_got10k(tmp_path)


@pytest.mark.parametrize(
    "text",
    [f"m{'9' * 400},0,1,1,0,1", "m0,0,1e3,1,0,1", "m0,0,0,0,0,1", "1,2,3,inf", "1,2,1e308,4,5,-1e308", f"{'9' * 400},1,1,1"],
)
def test_regions_beyond_all_bounds(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        regions.parse_region(text)


@given(st.integers(1, 9), st.integers(1, 9), st.data())
def test_the_box_of_a_mask_is_that_of_its_pixels(w: int, h: int, data: st.DataObject) -> None:
    runs = data.draw(st.lists(st.integers(0, 12), min_size=1, max_size=12).filter(lambda runs: sum(runs) <= w * h))
    flat = np.zeros(w * h, bool)
    flat[: sum(runs)] = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    ys, xs = np.nonzero(flat.reshape(h, w))
    box = regions.parse_region("m" + ",".join(map(str, (5, -7, w, h, *runs))))
    if len(ys):
        assert box == (5 + xs.min(), -7 + ys.min(), xs.max() - xs.min() + 1, ys.max() - ys.min() + 1)
    else:
        assert np.isnan(box).all()
