"""Distractors: what looks like the target and is not. Where they are is remembered, so that they are not taken for it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from metatrack.arrays import Floats
from metatrack.tracking.checked import Checked, Share

PEAK_FROM, MOST_PEAKS = 0.25, 4
"""Probability from which a further peak is a distractor, and how many of them are kept."""
REACH = 0.7
"""Two places closer than this, in units of the target's size (root of its area), are one."""
KEPT = 5
"""Frames for which a distractor that is not seen is remembered."""
TRUSTED = 20
"""Frames without the target after which any of the distractors may be it."""


@dataclass(frozen=True)
class DistractorSettings(Checked):
    """What is done about distractors; they are seen by a box head alone."""

    factor: Share = 0.1
    """On the score of a place that is nearer to a known distractor than to the target's last place; 1 ignores distractors."""
    min_score: Share = 0.5
    """Score of the target from which something new that looks like it is a distractor: below, it may be the target."""


class Distractor(NamedTuple):
    """Something that looks like the target."""

    x: float  # its centre, in image pixels
    y: float
    seen: int  # number of the frame in which it was last seen


def remembered(
    known: Sequence[Distractor], now: Sequence[Distractor], reach: float, frame: int, certain: bool
) -> list[Distractor]:
    """Known distractors after a frame.

    Args:
        known: from earlier frames.
        now: places that look like the target in this frame.
        reach: pixels within which two places are one.
        frame: number of this frame.
        certain: whether the target itself is surely seen; if not, places that were not known before may be the target.
    """
    if not certain:
        now = [place for place in now if any(_same_place(place, old, reach) for old in known)]
    kept = [old for old in known if frame - old.seen <= KEPT and not any(_same_place(old, place, reach) for place in now)]
    return [*now, *kept]


def _same_place(a: Distractor, b: Distractor, reach: float) -> bool:
    return math.hypot(a.x - b.x, a.y - b.y) <= reach


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
