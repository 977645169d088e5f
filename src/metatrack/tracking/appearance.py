"""The appearance of a target, as a box head compares it with a context, and how it follows the target's changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from metatrack.arrays import Array, Bools, Float32
from metatrack.geometry import EXEMPLAR_SIZE, PARTS, Center, context_side
from metatrack.tracking.checked import Checked, Count, Share
from metatrack.tracking.lines import Line
from metatrack.tracking.opinion import FirstLook


@dataclass(frozen=True)
class TemplateUpdateSettings(Checked):
    """How the template follows the target's appearance; with a box head, since the paper keeps the first frame's."""

    share: Share = 0.5
    """Weight of the target's recent appearance in the template, against the first; 0 keeps the first for ever."""
    rate: Share = 0.3
    """Weight of a frame's appearance in the recent one."""
    interval: Count = 5
    """Frames between updates."""
    min_score: Share = 0.6
    """Score from which a frame's appearance is taken."""


class Known(NamedTuple):
    """Which of a target's cells and parts lie in the frame, along x and along y; what does not is no part of the target."""

    cells: tuple[Bools, Bools]  # (k,), (k,): of the template
    parts: tuple[Bools, Bools]  # (7,), (7,)


class Appearance(NamedTuple):
    """What a target looks like: all that is compared with a context."""

    template: Float32  # (1, C, k, k)
    parts: Float32  # (1, C, 7, 7): points of the box, from edge to edge
    known: Known | None = None  # None: all of it

    def mix(self, other: Appearance, share: float) -> Appearance:
        """The weighted mean; ``share`` is the other's. What one of the two does not know is the other's alone."""
        if self.known is None and other.known is None:
            rest = 1 - share
            return Appearance(rest * self.template + share * other.template, rest * self.parts + share * other.parts)
        cells, parts = _shares(self.known, other.known, share, self.template.shape[-1])
        return Appearance(
            self.template + cells * (other.template - self.template),
            self.parts + parts * (other.parts - self.parts),
            self.known if other.known else None,
        )

    def repeated(self) -> Appearance:
        """What is not known is filled with the nearest that is."""
        if self.known is None:
            return self
        (x, y), (u, v) = self.known
        cells, parts = (_nearest(y)[:, None], _nearest(x)), (_nearest(v)[:, None], _nearest(u))
        return self._replace(template=self.template[..., cells[0], cells[1]], parts=self.parts[..., parts[0], parts[1]])


def _shares(own: Known | None, other: Known | None, share: float, cells: int) -> tuple[Float32, Float32]:
    """The other's share in every cell of the template and in every part: ``(k, k)``, ``(7, 7)``."""
    result = []
    for i, count in enumerate((cells, PARTS)):
        mine, its = (np.ones((count, count), bool) if each is None else np.outer(each[i][1], each[i][0]) for each in (own, other))
        result.append(np.where(mine, np.where(its, share, 0), 1).astype(np.float32))
    return result[0], result[1]


def _nearest(known: Bools) -> Array:
    """Index of the nearest True of each element; of itself where there is none."""
    places = np.arange(len(known))
    there = np.flatnonzero(known)
    return np.asarray(places if not len(there) else there[np.abs(places[:, None] - there).argmin(1)])


def known_of(center: Center, width: int, height: int, cells: int, stride: int) -> Known | None:
    """What of a target a frame of so many pixels shows; None where it shows all.

    Args:
        center: the target, in image pixels.
        width, height: of the frame.
        cells: k, cells per side of the template.
        stride: pixels of the template's patch per cell.
    """
    cell = context_side(center.w, center.h) * stride / EXEMPLAR_SIZE
    steps, points = np.arange(cells) - cells // 2, np.linspace(-0.5, 0.5, PARTS)
    found = []
    for line in ([steps * cell] * 2, [points * center.w, points * center.h]):
        x, y = center.cx + line[0], center.cy + line[1]
        found.append(((x >= 0) & (x <= width), (y >= 0) & (y <= height)))
    whole = all(each.all() for each in found[1])
    return None if whole else Known(*found)


@dataclass
class BoxAppearance:
    """A target's appearance through time."""

    now: Appearance  # what contexts are compared with
    first: Appearance  # of the first frame, whose box was given
    recent: Appearance  # running mean of later frames
    size: Float32  # (1, 2): width and height of the target in the first patch, in pixels
    bias: tuple[float, float] = (1.0, 1.0)  # factors by which the head takes the target too wide and too high
    line: Line | None = None  # its profiles, where it is too thin for the trunk
    look: FirstLook | None = None  # what a second opinion goes by; None asks for none

    def follow(self, seen: Appearance, settings: TemplateUpdateSettings) -> None:
        """Lets the template follow what the target looks like in a frame."""
        self.recent = self.recent.mix(seen, settings.rate)
        self.now = self.first.mix(self.recent, settings.share).repeated()
