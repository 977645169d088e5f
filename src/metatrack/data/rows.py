"""Text files of numbers, one frame a line: what every tracking benchmark writes, each with separators of its own."""

from __future__ import annotations

import codecs
import csv
import math
import re
from array import array
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np

from metatrack.arrays import Float64
from metatrack.files import require_size

MOST_BYTES = 32 << 20  # a larger file is no text of a benchmark: the largest there is has 2 MB
_DECIMAL_COMMA = re.compile(r"[-+]?[0-9]+,[0-9]+")


def read_text(path: Path) -> str:
    """The text of a file from outside, without a byte order mark.

    Raises:
        OSError: it cannot be read.
        ValueError: it is too large, or not in UTF-8.
    """
    require_size(path, MOST_BYTES, "such text file")
    return decode_text(path.read_bytes(), path)


def decode_text(data: bytes, source: object) -> str:
    r"""As :func:`read_text`, of a file's contents.

    >>> decode_text(b"\xef\xbb\xbf1,2,3,4", "boxes.txt")
    '1,2,3,4'

    Raises:
        ValueError: see there; the message names the line.
    """
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in data[:4]:
        raise ValueError(f"{source}, line 1: the text is not in UTF-8 but in UTF-16 or UTF-32; save it as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{source}, line {line}: the text is not in UTF-8 ({error.reason}); save it as UTF-8") from error


def parse_rows(text: str, source: object, columns: Collection[int] = (4,), infinite: bool = False) -> Float64:
    r"""Lines of numbers separated by commas, tabs, blanks or semicolons, in any mixture, to ``(n, k)`` float64.

    Empty lines are skipped; ``NaN`` in any case is a number. Values stay as they stand in the file.

    Args:
        text: the file's contents; a byte order mark is tolerated.
        source: the file's name, for messages.
        columns: the row lengths that are allowed; all rows must have the same.
        infinite: take infinities, as a tracker's results may hold them; a benchmark's files never do.

    Returns:
        ``(n, k)``; of a text without a line, ``(0, k)`` with the smallest allowed k.

    Raises:
        ValueError: a line holds something else; the message names the file and the line.

    >>> parse_rows("1,2,3,4\n5\t6 7;  8\n", "boxes.txt").tolist()
    [[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]
    """
    text = text.removeprefix("\ufeff")
    values, width, count = array("d"), 0, 0  # no list of lists, which would take thirty times as much memory
    for found in re.finditer(r"[^\r\n]+", text):
        words = [word for word in re.split(r"[\s,;]+", found[0]) if word]
        if not words:
            continue
        try:
            row = _row(found[0], words, infinite)
            if len(row) not in columns or (count and len(row) != width):
                expected = width if count else " or ".join(map(str, sorted(columns)))
                raise ValueError(f"{len(row)} numbers where {expected} are expected: {_shown(found[0])}")
        except ValueError as error:
            raise ValueError(f"{source}, line {_line_at(text, found.start())}: {error}") from error
        values.extend(row)
        width, count = len(row), count + 1
    return np.array(values, np.float64).reshape(count, width) if count else np.empty((0, min(columns)))


def _row(line: str, words: list[str], infinite: bool) -> list[float]:
    if _has_decimal_commas(line):
        raise ValueError(f"{_shown(line)} has decimal commas; write 1.5 for 1,5, and commas between numbers")
    try:
        row = [float(word) for word in words]
    except ValueError:
        raise ValueError(f"{_shown(line)} is not a row of numbers") from None
    if not infinite and any(math.isinf(value) for value in row):
        raise ValueError(f"{_shown(line)} holds a number that is not finite")
    return row


def _line_at(text: str, place: int) -> int:
    """The number of the line, as an editor counts, whichever ends the lines have."""
    return max(text.count("\n", 0, place), text.count("\r", 0, place)) + 1


class Reader(Protocol):
    """One of the csv module's, which knows where it is."""

    @property
    def line_num(self) -> int: ...


@contextmanager
def refused_table(path: object, reader: Reader) -> Iterator[None]:
    """What the csv module refuses, an overlong field say, as a ``ValueError`` that names the file and the line."""
    try:
        yield
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: not a row of a table ({error})") from error


def _has_decimal_commas(line: str) -> bool:
    """Whether commas stand for points: other separators part four fields (or one), and commas stand within them.

    Four pairs might be a polygon's corners, too; they are refused, since nobody could tell.
    """
    if line.count(",") == 0:
        return False
    fields = [field for field in re.split(r"[\s;]+", line.strip()) if field]
    decimal = [bool(_DECIMAL_COMMA.fullmatch(field)) for field in fields]
    plain = all(there or re.fullmatch(r"[-+]?[0-9]+|nan", field, re.IGNORECASE) for there, field in zip(decimal, fields))
    return (len(fields) == 4 and any(decimal) and plain) or (len(fields) == 1 and bool(re.fullmatch(r"0,0[0-9]+", line.strip())))


def _shown(line: str) -> str:
    """A line for a message, not more of it than a person reads."""
    text = line.strip()
    return repr(text if len(text) <= 100 else f"{text[:100]} ...")
