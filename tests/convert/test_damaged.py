"""Damaged files of every format are refused with a sentence, whatever the damage; nothing else is ever raised."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from metatrack.convert.formats import FORMATS, read_tracks
from metatrack.convert.tracks import Mark, Track, Tracks, Video
from metatrack.geometry import Box

TRACKS = Tracks(
    tuple(Track(n, tuple(Mark(k, Box(10 + k, 20, 30, 40), 0.5, keyframe=k == 0) for k in range(3)), "car") for n in (1, 2)),
    Video((640, 360), 25.0, 4, "clip"),
)
TOKENS = [
    b"null",
    b"-1",
    b"1e999",
    b"nan",
    b'"',
    b"{",
    b"]",
    b"\xff",
    b"\0",
    b"99999999999999999999",
    b"true",
    b",,",
    b"<a>",
    b"[]",
    b"\n",
]
TRIES = 40


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Cut, with a token put in, or with a piece taken out or a byte changed."""
    at = rng.randrange(len(data) + 1)
    end = min(len(data), at + rng.randrange(1, 9))
    return rng.choice(
        [
            data[:at],
            data[:at] + rng.choice(TOKENS) + data[end:],
            data[:at] + data[end:],
            data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :],
        ]
    )


@pytest.mark.parametrize("name", FORMATS)
def test_damaged(name: str, tmp_path: Path) -> None:
    if name == "arrow":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"boxes{'' if name == 'otb' or FORMATS[name].folder else FORMATS[name].suffixes[0]}"
    FORMATS[name].write(path, TRACKS)
    files = [path] if path.is_file() else sorted(each for each in path.rglob("*") if each.is_file())
    whole = {file: file.read_bytes() for file in files}
    rng, refused = random.Random(name), 0
    for _ in range(TRIES):
        file = rng.choice(files)
        file.write_bytes(damaged(whole[file], rng))
        try:
            read_tracks(path, rng.choice([name, None]), Video((640, 360)))
        except (ValueError, OSError) as error:
            refused += 1
            assert path.name in str(error) or path.name in str(getattr(error, "filename", "")), str(error)
        file.write_bytes(whole[file])
    assert refused > TRIES / 20
