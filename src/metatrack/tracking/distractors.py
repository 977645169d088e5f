"""Distractors: what looks like the target and is not. Each is followed, so as not to be taken for it; not in the paper."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from metatrack.arrays import Floats
from metatrack.tracking.checked import Checked, Share

PEAK_FROM, MOST_PEAKS = 0.25, 4  # probability from which a further peak is a distractor, and how many of them are kept
REACH = 0.7  # two places closer than this, in units of the target's size (root of its area), are one
KEPT, MOST_KEPT = 5, 30
"""Frames for which a distractor that is not seen is remembered, and one that was seen for long: half as long, up to so many."""
TRUSTED = 20
"""Frames without the target after which a distractor may be it, unless it was seen for as many, and still is."""
STEADY = 0.5  # weight of earlier frames in a distractor's velocity


@dataclass(frozen=True)
class DistractorSettings(Checked):
    """What is done about distractors; they are seen by a box head alone."""

    factor: Share = 0.1
    """On the score of a place that is nearer to a known distractor than to the target's last place; 1 ignores distractors."""
    min_score: Share = 0.5
    """Score of the target from which something new that looks like it is a distractor: below, it may be the target."""


@dataclass(frozen=True)
class ExclusionSettings(Checked):
    """Of several targets, no two are one thing: for a MultiTracker of a model with a box head."""

    overlap: Share = 0.5
    """Overlap (IoU) of two targets' boxes from which they are taken to lie on one thing, where they stay for some frames: the one
    that looks less like itself yields. 1: targets know nothing of each other."""


class Distractor(NamedTuple):
    """Something that looks like the target, and how it has moved."""

    x: float  # its centre, in image pixels
    y: float
    seen: int  # number of the frame in which it was last seen
    vx: float = 0.0  # pixels a frame
    vy: float = 0.0
    frames: int = 1  # in which it was seen

    def at(self, frame: int) -> tuple[float, float]:
        """Where it is expected; one that has not been seen for some frames, no further than it would be after :data:`KEPT`."""
        steps = min(frame - self.seen, KEPT)
        return self.x + steps * self.vx, self.y + steps * self.vy

    def again(self, place: Distractor) -> Distractor:
        """The same, seen at another place in a later frame."""
        steps = max(place.seen - self.seen, 1)
        vx, vy = (STEADY * v + (1 - STEADY) * d / steps for v, d in ((self.vx, place.x - self.x), (self.vy, place.y - self.y)))
        return Distractor(place.x, place.y, place.seen, vx, vy, self.frames + 1)

    def expired(self, frame: int) -> bool:
        """Whether it has not been seen for too long."""
        return frame - self.seen > min(KEPT + self.frames // 2, MOST_KEPT)

    def certain(self, frame: int) -> bool:
        """Whether it is beyond doubt something else than the target: it was seen beside it for long, and still is."""
        return self.frames >= TRUSTED and frame - self.seen <= KEPT


def remembered(
    known: Sequence[Distractor], now: Sequence[Distractor], reach: float, frame: int, certain: bool
) -> list[Distractor]:
    """Known distractors after a frame: who was where, and where each is now.

    Args:
        now: places that look like the target in this frame.
        reach: pixels within which a place is that where a known one is expected.
        certain: whether the target itself is surely seen; if not, places that were not known before may be the target.
    """
    pairs = sorted(
        (gap, i, k)
        for i, place in enumerate(now)
        for k, old in enumerate(known)
        if (gap := math.dist(old.at(frame), place[:2])) <= reach
    )
    found: dict[int, int] = {}
    for _, i, k in pairs:  # the nearest first, each once
        if i not in found and k not in found.values():
            found[i] = k
    near = {i for _, i, _ in pairs}  # a second peak of one that is there already is nothing new
    seen = [known[found[i]].again(place) for i, place in enumerate(now) if i in found]
    new = [place for i, place in enumerate(now) if certain and i not in near]
    return [*seen, *new, *(old for k, old in enumerate(known) if k not in found.values() and not old.expired(frame))]


def further_peaks(probability: Floats, centers: Floats, chosen: tuple[int, int], reach: float) -> tuple[tuple[float, float], ...]:
    """Places of peaks other than the chosen one, the highest first.

    Args:
        probability: ``(r, r)``.
        centers: ``(r, r, 2)``, x and y of the box that each position sees, in cells.
        chosen: row and column of the target.
        reach: cells by which peaks are apart from the chosen one and from each other.
    """
    high = probability >= PEAK_FROM
    high[chosen] = True
    if high.sum() == 1:
        return ()
    own, candidates = centers[chosen], centers[high]
    height = probability[high]
    height[np.hypot(*(candidates - own).T) <= reach] = 0
    places: list[tuple[float, float]] = []
    while len(places) < MOST_PEAKS:
        best = int(np.argmax(height))
        if height[best] < PEAK_FROM:
            break
        place = candidates[best]
        places.append((float(place[0]), float(place[1])))
        height[np.hypot(*(candidates - place).T) <= reach] = 0
    return tuple(places)
