"""One colour and line for each tracker, the same in every plot and filmstrip."""

from __future__ import annotations

from collections.abc import Sequence as Seq
from typing import NamedTuple

COLORS = ("#D55E00", "#0072B2", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#882255")
"""Told apart by people with any of the usual forms of colour blindness, on white and on photographs.

Okabe and Ito (Color Universal Design, 2008) without black, which vanishes beside the boxes' dark rims, and with wine (P. Tol's
muted scheme) for their yellow, which is too pale for a line on white.
"""
DASHES: tuple[tuple[float, ...], ...] = ((), (4.0, 2.0), (1.2, 1.6), (6.0, 1.5, 1.2, 1.5))
"""Lengths of dashes and gaps in line widths; the first is solid. Trackers beyond the seventh take the colours again, dashed."""
DASH_STYLES = ("solid", "dashed", "dotted", "double")  # the nearest borders that HTML has


class LineStyle(NamedTuple):
    """How a tracker's lines and boxes are drawn."""

    color: str  # ``#RRGGBB``
    dashes: tuple[float, ...]
    border: str  # one of :data:`DASH_STYLES`

    @property
    def rgb(self) -> tuple[int, int, int]:
        """The colour as numbers in 0..255."""
        red, green, blue = bytes.fromhex(self.color[1:])
        return red, green, blue

    @property
    def key(self) -> str:
        """HTML of a short stroke in this colour and line."""
        return f'<i class="key" style="border-top:4px {self.border} {self.color}"></i>'


def line_styles(trackers: Seq[str], focus: str) -> dict[str, LineStyle]:
    """Of each tracker: the focus has the first colour, then the order that is given counts. Beyond 28 they repeat.

    >>> [style.color for style in line_styles(["a", "b"], "b").values()]
    ['#0072B2', '#D55E00']
    """
    order = [focus, *(tracker for tracker in trackers if tracker != focus)]
    made = {}
    for i, tracker in enumerate(order):
        kind = i // len(COLORS) % len(DASHES)
        made[tracker] = LineStyle(COLORS[i % len(COLORS)], DASHES[kind], DASH_STYLES[kind])
    return {tracker: made[tracker] for tracker in trackers}
