"""Result files of strangers: what unpacks to too much, what takes a parser down, what lies about its size."""

from __future__ import annotations

import io
import random
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest

from metatrack.evaluation.score import formats, mat
from metatrack.evaluation.score.formats import parse_trajectories, result_files, write_mat
from metatrack.evaluation.score.records import Trajectory

pytest.importorskip("scipy")


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A file of two runs."""
    path = tmp_path_factory.mktemp("mat") / "Deer.mat"
    write_mat(path, [Trajectory(np.arange(20.0).reshape(5, 4) + 1, 3, 12.5), Trajectory(np.full((5, 4), np.nan))])
    return path.read_bytes()


def packed(unpacked: int) -> bytes:
    """A .mat with one element that unpacks to so many zeros."""
    head = struct.pack("<IIIIII", 6, 8, 6, 0, 5, 8) + struct.pack("<iiHH4sII", unpacked // 8, 1, 1, 1, b"x\0\0\0", 9, unpacked)
    body = zlib.compress(struct.pack("<II", 14, len(head) + unpacked) + head + bytes(unpacked))
    return b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H", 0x0100) + b"IM" + struct.pack("<II", 15, len(body)) + body


def test_what_is_in_a_mat_comes_back_through_the_process(good: bytes) -> None:
    first, second = parse_trajectories(good, "Deer.mat")
    assert np.array_equal(first.boxes, np.arange(20.0).reshape(5, 4) + 1)
    assert (first.start, first.fps) == (3, 12.5)
    assert second.boxes.shape == (5, 4) and np.isnan(second.boxes).all() and second.fps is None


def test_what_unpacks_to_too_much_is_refused_before_it_is_parsed() -> None:
    data = packed(mat.MOST_UNPACKED + 8)
    assert len(data) < 1 << 20
    with pytest.raises(ValueError, match=r"Deer\.mat unpacks to more than \d+ bytes"):
        parse_trajectories(data, "Deer.mat")


def test_damaged_copies_are_read_or_refused(good: bytes) -> None:
    rng, refused = random.Random(7), 0
    for _ in range(150):
        changed = bytearray(good)
        for _ in range(rng.choice((1, 2, 8))):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
        try:
            parse_trajectories(bytes(changed[: rng.choice((len(changed), rng.randrange(len(changed))))]), "Deer.mat")
        except ValueError as error:
            assert str(error).startswith("Deer.mat")
            refused += 1
    assert refused > 50


def test_a_process_that_is_gone_is_replaced(good: bytes) -> None:
    assert parse_trajectories(good, "Deer.mat")
    mat._readers[0].process.kill()
    mat._readers[0].process.wait()
    assert len(parse_trajectories(good, "Deer.mat")) == 2


def test_a_process_that_does_not_answer_is_given_up(good: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    if mat._readers:
        mat._readers.pop().end()
    monkeypatch.setattr(mat, "PATIENCE", 0.0)  # it takes longer to start
    with pytest.raises(ValueError, match=r"Deer\.mat is damaged: whoever reads it (was killed by signal|ended with)"):
        parse_trajectories(good, "Deer.mat")
    monkeypatch.undo()
    assert len(parse_trajectories(good, "Deer.mat")) == 2


@pytest.mark.parametrize("text", ["[" * 100_000, "1", f'{{"res": [{"9" * 5000}]}}', '{"res": [[1, 2], [3]]}', "\xff"])
def test_json_that_holds_no_boxes(text: str) -> None:
    with pytest.raises(ValueError, match=r"Deer\.json"):
        parse_trajectories(text.encode("latin-1"), "Deer.json")


def archive(path: Path, files: dict[str, bytes], how: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", how) as made:
        for name, data in files.items():
            made.writestr(name, data)
    return path


def test_unpacked_bytes_are_counted_over_all_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = archive(tmp_path / "r.zip", {f"{i}.txt": b"1,2,3,4\n" * 100 for i in range(5)})
    assert len(list(result_files(path))) == 5
    monkeypatch.setattr(formats, "MAX_UNPACKED", 3000)
    with pytest.raises(ValueError, match=r"r\.zip: its result files unpack to more than 3000 bytes"):
        list(result_files(path))


def test_a_file_that_lies_about_its_size_unpacks_to_no_more(tmp_path: Path) -> None:
    path = archive(tmp_path / "r.zip", {"Deer.txt": bytes(50 << 20)})
    data = path.read_bytes()
    (tmp_path / "l.zip").write_bytes(data.replace(struct.pack("<I", 50 << 20), struct.pack("<I", 10)))
    with pytest.raises(ValueError, match=r"l\.zip: Deer\.txt cannot be unpacked"):
        list(result_files(tmp_path / "l.zip"))
    with pytest.raises(ValueError, match=r"r\.zip: Deer\.txt has 52428800 bytes"):
        list(result_files(path))


def test_uncommon_packing_is_refused(tmp_path: Path) -> None:
    for how in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        with pytest.raises(ValueError, match="packed in an uncommon way; pack the archive anew"):
            list(result_files(archive(tmp_path / f"{how}.zip", {"Deer.txt": b"1,2,3,4\n"}, how)))


def test_damaged_archives_are_read_or_refused(tmp_path: Path) -> None:
    good, rng = archive(tmp_path / "r.zip", {f"{i}.txt": b"1,2,3,4\n" * 20 for i in range(3)}).read_bytes(), random.Random(5)
    for _ in range(300):
        changed = bytearray(good)
        for _ in range(rng.choice((1, 3))):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
        (tmp_path / "d.zip").write_bytes(bytes(changed))
        try:
            list(result_files(tmp_path / "d.zip"))
        except ValueError as error:
            assert "d.zip" in str(error)


def test_text_that_is_no_text(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"Deer\.txt, line 1: the text is not in UTF-8 but in UTF-16"):
        parse_trajectories("1,2,3,4\n".encode("utf-16"), "Deer.txt")
    assert np.isnan(parse_trajectories(b"1,2,3,inf\n", "Deer.txt")[0].boxes[0, 3])
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    with pytest.raises(ValueError, match="unknown kind of result file"):
        parse_trajectories(buffer.getvalue(), "Deer.npy")
