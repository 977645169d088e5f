"""Text files of numbers, one frame a line: what every tracking benchmark writes, each with separators of its own."""

from __future__ import annotations

import codecs
import csv
import math
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from metatrack.arrays import Float64

MOST_BYTES = 64 << 20
"""A larger file is no text of a benchmark: the largest there is has 2 MB."""
_DECIMAL_COMMA = re.compile(r"[-+]?[0-9]+,[0-9]+")


def read_text(path: Path) -> str:
    """The text of a file from outside, without a byte order mark.

    Raises:
        OSError: it cannot be read.
        ValueError: it is too large, or not in UTF-8.
    """
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise ValueError(f"{path}: {size} bytes are no such text file; at most {MOST_BYTES} are read")
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
    rows: list[list[float]] = []
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), start=1):
        words = [word for word in re.split(r"[\s,;]+", line) if word]
        if not words:
            continue
        if _has_decimal_commas(line):
            raise ValueError(
                f"{source}, line {number}: {_shown(line)} has decimal commas; write 1.5 for 1,5, and commas between numbers"
            )
        try:
            row = [float(word) for word in words]
        except ValueError as error:
            raise ValueError(f"{source}, line {number}: {_shown(line)} is not a row of numbers") from error
        if not infinite and any(math.isinf(value) for value in row):
            raise ValueError(f"{source}, line {number}: {_shown(line)} holds a number that is not finite")
        if len(row) not in columns or (rows and len(row) != len(rows[0])):
            expected = len(rows[0]) if rows else " or ".join(map(str, sorted(columns)))
            raise ValueError(f"{source}, line {number}: {len(row)} numbers where {expected} are expected: {_shown(line)}")
        rows.append(row)
    return np.array(rows, np.float64) if rows else np.empty((0, min(columns)))


@contextmanager
def refused_table(path: object, reader: csv.DictReader[str]) -> Iterator[None]:
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
