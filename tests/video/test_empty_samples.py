"""Entries of an mp4 that hold no bytes: the picture before them stays, which is no damage."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from metatrack.video import DamagedSourceError, open_source
from tests.video.clips import read, write_video


def last_sample_made(path: Path, size: int) -> Path:
    """The same mp4, whose table of sizes says another size for the last sample."""
    data = bytearray(path.read_bytes())
    table = data.index(b"stsz") + 4  # then: version and flags, one size for all, count, sizes
    (count,) = struct.unpack_from(">I", data, table + 8)
    struct.pack_into(">I", data, table + 12 + 4 * (count - 1), size)
    path.write_bytes(data)
    return path


def test_a_sample_of_no_bytes_is_no_damage(tmp_path: Path) -> None:
    path = last_sample_made(write_video(tmp_path / "a.mp4", count=20, codec="mpeg4"), 0)
    numbers, error = read(path)
    assert error is None
    assert numbers == list(range(19))
    with open_source(path) as source:
        assert source.frame_count == 19


def test_a_sample_of_too_few_bytes_is(tmp_path: Path) -> None:
    path = last_sample_made(write_video(tmp_path / "a.mp4", count=20, codec="mpeg4"), 1)
    _, error = read(path)
    assert isinstance(error, DamagedSourceError)


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_whole_it_has_them_all(tmp_path: Path, codec: str) -> None:
    assert read(write_video(tmp_path / "a.mp4", count=20, codec=codec)) == (list(range(20)), None)
