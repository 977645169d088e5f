"""Damage that decoders do not report: a file that ends too early, and a stretch of zeros in the middle of a frame.

Both tests prove damage from the format's own rules and stay silent where they cannot, so a healthy file never fails them.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

ZERO_RUN = 16
"""Zero bytes in a row that prove damage inside a slice. The standards forbid 3; an encoder that forgets the escape byte makes
3 or 4 by chance but never 16, and a lost disk or network block is 512 or more."""
_RIFF_SLACK = 9  # some writers count the 8 bytes of the header, or a padding byte, into the size of a RIFF chunk


def missing_bytes(path: Path) -> int:
    """How many bytes the container announces beyond the end of its file: mp4/mov, avi and mkv/webm; 0 for all others.

    0 also where the size was left open, as a recorder does that was killed, or one that writes to a network.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        head = file.read(12)
        if head[4:8] in (b"ftyp", b"styp", b"moov", b"mdat", b"free", b"skip", b"wide"):
            end = _mp4_end(file, size)
        elif head[:4] == b"RIFF":
            end = _riff_end(file, size)
        elif head[:4] == b"\x1a\x45\xdf\xa3":
            end = _matroska_end(file)
        else:
            end = 0
    return max(0, end - size)


def _mp4_end(file: BinaryIO, size: int) -> int:
    """The end of the last box with picture data. Other boxes do not count: junk behind the last one is common and harmless."""
    offset = end = 0
    while offset + 16 <= size:
        file.seek(offset)
        head = file.read(16)
        length, kind = int.from_bytes(head[:4], "big"), head[4:8]
        if length == 1:  # the 64-bit form
            length = int.from_bytes(head[8:], "big")
        if length < 8:  # 0: to the end of the file, whatever that is
            break
        offset += length
        if kind == b"mdat":
            end = offset
    return end


def _riff_end(file: BinaryIO, size: int) -> int:
    """The end of the last RIFF chunk (an avi above 1 GB has several)."""
    offset = 0
    while offset + 8 <= size:
        file.seek(offset)
        head = file.read(8)
        length = int.from_bytes(head[4:], "little")
        if head[:4] != b"RIFF" or length in (0, 0x7FFFFFFF, 0xFFFFFFFF):  # the last three: never filled in
            break
        offset += 8 + length + length % 2
    return offset - _RIFF_SLACK


def _matroska_end(file: BinaryIO) -> int:
    """The end of the segment, which is the whole file but for its header."""
    file.seek(4)
    header = _vint(file)
    if header is None:
        return 0
    file.seek(header, 1)
    if file.read(4) != b"\x18\x53\x80\x67":
        return 0
    segment = _vint(file)
    return 0 if segment is None else file.tell() + segment


def _vint(file: BinaryIO) -> int | None:
    """An EBML size at the file's position: the leading zeros of the first byte say how many bytes follow. All ones: left open."""
    first = file.read(1)
    if not first or first[0] == 0:
        return None
    more = 8 - first[0].bit_length()
    value = int.from_bytes(bytes([first[0] & (0x7F >> more)]) + file.read(more), "big")
    return None if value == (1 << (7 * (more + 1))) - 1 else value


class ZeroRunScanner:
    """Finds runs of zeros inside H.264 and HEVC slices, where the standards forbid them (emulation prevention, 7.4.1 of both).

    Decoders read such a stretch as valid arithmetic code: most often the picture is wrong from there on and nothing is said.
    Only the length-prefixed form of mp4, mov and mkv is scanned; elsewhere zeros may stand between the units.
    """

    def __init__(self, codec: str, extradata: bytes | None) -> None:
        self.hevc = codec == "hevc"
        self.prefix = 0  # bytes of a unit's length; 0: nothing to scan
        place = 21 if self.hevc else 4  # of the prefix's length in the codec's header
        if codec in ("h264", "hevc") and extradata and extradata[0] == 1 and len(extradata) > place:
            self.prefix = 1 + (extradata[place] & 3)

    def finds(self, packet: bytes) -> bool:
        """Whether a slice of the packet holds a run of at least :data:`ZERO_RUN` zeros that is not at its end (padding)."""
        run = bytes(ZERO_RUN)
        if not self.prefix or run not in packet:
            return False
        offset = 0
        while offset + self.prefix < len(packet):
            begin = offset + self.prefix
            offset = begin + int.from_bytes(packet[offset:begin], "big")
            unit = packet[begin:offset].rstrip(b"\0")
            if unit and self._is_slice(unit[0]) and run in unit:
                return True
        return False

    def _is_slice(self, header: int) -> bool:
        """H.264: types 1 to 5, and 0, which no encoder writes. Messages do not count: some encoders forget to escape them."""
        return (header >> 1 & 0x3F) < 32 if self.hevc else header & 0x1F <= 5
