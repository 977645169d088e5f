"""Text files of numbers, one frame a line: what every tracking benchmark writes, each with separators of its own."""

from __future__ import annotations

import re
from collections.abc import Collection

import numpy as np

from metatrack.arrays import Float64


def parse_rows(text: str, source: object, columns: Collection[int] = (4,)) -> Float64:
    r"""Lines of numbers separated by commas, tabs, blanks or semicolons, in any mixture, to ``(n, k)`` float64.

    Empty lines are skipped; ``NaN`` in any case is a number. Values stay as they stand in the file.

    Args:
        text: the file's contents; a byte order mark is tolerated.
        source: the file's name, for messages.
        columns: the row lengths that are allowed; all rows must have the same.

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
        try:
            row = [float(word) for word in words]
        except ValueError as error:
            raise ValueError(f"{source}, line {number}: {line.strip()!r} is not a row of numbers") from error
        if len(row) not in columns or (rows and len(row) != len(rows[0])):
            expected = len(rows[0]) if rows else " or ".join(map(str, sorted(columns)))
            raise ValueError(f"{source}, line {number}: {len(row)} numbers where {expected} are expected: {line.strip()!r}")
        rows.append(row)
    return np.array(rows, np.float64) if rows else np.empty((0, min(columns)))
