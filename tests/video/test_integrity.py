"""The watch on damage that decoders do not report, on made packets and made containers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import pytest

from metatrack.video import DamagedSourceError
from metatrack.video._decode import Decoder
from metatrack.video._integrity import ZERO_RUN, ZeroRunScanner, missing_bytes

BROKEN = av.InvalidDataError(1094995529, "Invalid data")
GONE = av.error.TimeoutError(110, "Connection timed out")


class Script:
    """Stands in for a container and its packets: a number is a good frame, an error is raised by the decoder."""

    def __init__(self, *steps: Any, end: BaseException | None = None) -> None:
        self.steps, self.end = steps, end

    def demux(self, _: Any) -> Iterator[Any]:
        for i, step in enumerate(self.steps):
            yield ScriptedPacket(i, step)
        if self.end is not None:
            raise self.end
        yield ScriptedPacket(len(self.steps), None)

    def decoder(self, live: bool = False, ragged: bool = False) -> Decoder:
        decoder = Decoder.__new__(Decoder)
        vars(decoder).update(label="script", live=live, missing_bytes=0, container=self, decoded=0, suspect=None)
        vars(decoder).update(_zeros=ZeroRunScanner("none", None), _indexed=False, _ragged=ragged)
        vars(decoder).update(
            stream=SimpleNamespace(codec_context=SimpleNamespace(has_b_frames=False), frames=0, decode=lambda _: [])
        )
        return decoder


class ScriptedPacket(SimpleNamespace):
    def __init__(self, i: int, step: Any) -> None:
        super().__init__(size=step is not None, pts=i, dts=i, is_discard=False, is_corrupt=False, step=step)

    def __bytes__(self) -> bytes:
        return b"data"

    def decode(self) -> list[Any]:
        if isinstance(self.step, BaseException):
            raise self.step
        return [] if self.step is None else [SimpleNamespace(pts=self.pts, is_corrupt=False, interlaced_frame=False)]


def run(decoder: Decoder) -> tuple[int, str | None]:
    count = 0
    try:
        for _ in decoder.frames():
            count += 1
        decoder.check(ended=False)
    except DamagedSourceError as error:
        return count, str(error)
    return count, None


def test_what_a_broadcast_may_be_torn_at() -> None:
    assert run(Script(0, 1, 2, BROKEN).decoder(ragged=True)) == (3, None)
    count, error = run(Script(0, 1, BROKEN, 3, 4).decoder(ragged=True))
    assert count == 2 and error is not None and "past its first 2 frames" in error
    count, error = run(Script(0, 1, 2, BROKEN).decoder())
    assert count == 3 and error is not None


def test_a_live_stream_passes_over_broken_packets_and_reports_a_broken_line() -> None:
    assert run(Script(BROKEN, 1, BROKEN, BROKEN, 4, 5).decoder(live=True)) == (3, None)
    for end in (GONE, BROKEN):  # of the demuxer: nothing comes any more, and that is not the stream's end
        count, error = run(Script(0, 1, end=end).decoder(live=True))
        assert count == 2 and error is not None and "check the camera and the network" in error


def unit(kind: int, payload: bytes) -> bytes:
    body = bytes([0x60 | kind]) + payload
    return len(body).to_bytes(4, "big") + body


AVCC = bytes([1, 100, 0, 31, 0xFF, 0xE1, 0, 0])  # 4-byte lengths
RUN = b"\x11" + bytes(ZERO_RUN) + b"\x11"


@pytest.mark.parametrize(
    ("packet", "found"),
    [
        (unit(1, b"\x11" * 40), False),
        (unit(1, RUN), True),
        (unit(5, b"\x11" * 9) + unit(1, RUN), True),
        (unit(1, b"\x11" + bytes(ZERO_RUN - 1) + b"\x11"), False),
        (unit(1, b"\x11" + bytes(500)), False),  # padding at the end
        (unit(6, RUN) + unit(1, b"\x11" * 40), False),  # a message that an encoder forgot to escape
        (unit(1, bytes(10)) + bytes(100), False),
        (b"\xff\xff\xff\xff" + bytes(30), False),
        (b"", False),
    ],
)
def test_runs_of_zeros(packet: bytes, found: bool) -> None:
    assert ZeroRunScanner("h264", AVCC).finds(packet) is found
    assert not ZeroRunScanner("vp9", AVCC).finds(packet)
    assert not ZeroRunScanner("h264", b"\0\0\0\1\x67").finds(packet)  # start codes: zeros may stand between units
    assert not ZeroRunScanner("h264", None).finds(packet)


def test_runs_of_zeros_in_hevc() -> None:
    scanner = ZeroRunScanner("hevc", bytes([1] + [0] * 20 + [0xFF, 0]))
    for kind, found in ((1, True), (21, True), (39, False)):  # two kinds of slices, and a message
        body = bytes([kind << 1, 1]) + RUN
        assert scanner.finds(len(body).to_bytes(4, "big") + body) is found


def box(kind: bytes, payload: bytes, length: int | None = None) -> bytes:
    return (len(payload) + 8 if length is None else length).to_bytes(4, "big") + kind + payload


EBML = b"\x1a\x45\xdf\xa3\x84abcd\x18\x53\x80\x67"
FTYP = box(b"ftyp", b"isom" * 4)


@pytest.mark.parametrize(
    ("content", "missing"),
    [
        (FTYP + box(b"mdat", b"x" * 50), 0),
        (FTYP + box(b"mdat", b"x" * 50, 58 + 7), 7),
        (FTYP + b"\0\0\0\1mdat" + (16 + 50 + 9).to_bytes(8, "big") + b"x" * 50, 9),
        (FTYP + box(b"mdat", b"x" * 50, 0), 0),  # "to the end of the file"
        (FTYP + box(b"mdat", b"x" * 50) + b"junk that is no box", 0),
        (FTYP + box(b"mdat", b"x" * 50) + box(b"free", b"x" * 20, 999), 0),  # no picture is lost
        (b"RIFF" + (54).to_bytes(4, "little") + b"AVI " + b"x" * 50, 0),
        (b"RIFF" + (54 + 8).to_bytes(4, "little") + b"AVI " + b"x" * 50, 0),  # counts its header
        (b"RIFF" + (54 + 100).to_bytes(4, "little") + b"AVI " + b"x" * 50, 100 - 9),
        ((b"RIFF" + (55).to_bytes(4, "little") + b"AVI " + b"x" * 52) * 2, 0),  # padded to an even length
        (b"RIFF" + (55).to_bytes(4, "little") + b"AVI " + b"x" * 52 + b"RIFF" + (99).to_bytes(4, "little"), 100 - 9),
        (b"RIFF" + b"\xff\xff\xff\xff" + b"AVI " + b"x" * 50, 0),
        (b"RIFF" + bytes(4) + b"AVI " + b"x" * 50, 0),
        (EBML + b"\x40\x32" + b"x" * 50, 0),  # 14 bits: 50
        (EBML + b"\x40\x40" + b"x" * 50, 14),  # 14 bits: 64
        (EBML + b"\x01" + b"\xff" * 7 + b"x" * 50, 0),  # left open
        (b"GIF89a" + b"x" * 50, 0),
        (b"", 0),
    ],
)
def test_missing_bytes(tmp_path: Path, content: bytes, missing: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    assert missing_bytes(path) == missing
