"""What a part hands back, and how it becomes Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

ABSENT = "-"


class Table(NamedTuple):
    """A table: the first column is text, the others are numbers, but for the last where a row ends in words."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Section:
    """The answer to one question."""

    title: str
    body: Sequence[str | Table]
    data: Any = None
    """What the plot needs of it."""


def markdown(section: Section) -> Iterator[str]:
    """The section's lines."""
    yield from (f"## {section.title}", "")
    for block in section.body:
        if isinstance(block, str):
            yield from (block, "")
            continue
        words = any(len(row[-1]) > 24 for row in block.rows)
        middle = ["---:"] * (len(block.columns) - 1)
        yield _line(block.columns)
        yield _line(["---", *middle[:-1], "---" if words else middle[-1]] if middle else ["---"])
        yield from (_line(row) for row in block.rows)
        yield ""


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def number(value: float) -> str:
    """Three digits, and all those before the point.

    >>> [number(value) for value in (1234.5, 12.345, 0.012345, 0)]
    ['1,234', '12.3', '0.0123', '0']
    """
    if not math.isfinite(value):
        return ABSENT
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}"


def median(values: Sequence[float]) -> float:
    """The middle value; NaN of none."""
    return float(np.median(values)) if len(values) else math.nan


def spread(values: Sequence[float]) -> str:
    """The first and third quartile."""
    low, high = np.percentile(values, [25, 75])
    return f"{number(float(low))} to {number(float(high))}"


def percent(share: float) -> str:
    """A share as a percentage."""
    return f"{100 * share:.1f} %" if math.isfinite(share) else ABSENT
