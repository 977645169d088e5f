"""Boxes of a target through a scene, as far as two different trackers agree there and back.

Both trackers follow the target from its first box as long as their boxes overlap; then both go back from the mean of where they
ended. Where they arrive at the first box again, the mean of all four boxes of each frame is its label.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from metatrack.arrays import Float64
from metatrack.geometry import Box, Image, iou
from metatrack.tracking.tracker import Tracker
from tools.collect.pictures import covered

LEAST = 0.7
"""Overlap of two boxes that agree."""
INSIDE = 0.95
"""Share of a box that is in the frame, at least."""
LEAST_SCORE = 0.3
"""Of our tracker, under which it does not claim to see its target."""
FEWEST = 3
"""Frames beside the first over which trackers must agree in one direction of time."""


class Follower(Protocol):
    """What is asked of a tracker."""

    def init(self, frame: Image, box: Sequence[float], /) -> None:
        """Starts on a target."""

    def update(self, frame: Image, /) -> Any:
        """Finds it in the next frame: an answer with ``.box``; NaN where it is not found."""


class Own:
    """Our tracker, which says nothing where it is not sure."""

    def __init__(self, model: str = "lite") -> None:
        self._tracker = Tracker(model, adapt=False, threads=1)

    def init(self, frame: Image, box: Sequence[float]) -> None:
        """Starts on a target."""
        self._tracker.init(frame, box)

    def update(self, frame: Image) -> _Answer:
        """The target's box, or NaN."""
        found = self._tracker.update(frame)
        sure = not found.lost and found.score >= LEAST_SCORE
        return _Answer(found.box if sure else Box(*(float("nan"),) * 4))


class _Answer(NamedTuple):
    box: Box


Pair = tuple[Follower, Follower]


def together(pair: Pair, frames: Sequence[Image], box: Sequence[float], near: Float64 | None = None) -> Float64:
    """Boxes of both trackers from the first frame on, until they disagree: ``(2, n, 4)``, n >= 1.

    Args:
        pair: the trackers.
        frames: the first holds the target at ``box``.
        box: ``x, y, w, h``.
        near: ``(len(frames), 4)`` with which their mean must agree too, where given.
    """
    height, width = frames[0].shape[:2]
    whole = Box(0.0, 0.0, float(width), float(height))
    for tracker in pair:
        tracker.init(frames[0], tuple(box))
    rows: list[list[Sequence[float]]] = [[box, box]]
    for i, frame in enumerate(frames[1:], 1):
        one, other = (Box(*map(float, tracker.update(frame).box)) for tracker in pair)
        if iou(one, other) < LEAST or min(covered(one, whole), covered(other, whole)) < INSIDE:
            break
        if near is not None and iou(np.mean([one, other], axis=0), near[i]) < LEAST:
            break
        rows.append([one, other])
    return np.array(rows, np.float64).swapaxes(0, 1)


def one_way(pair: Pair, frames: Sequence[Image], box: Sequence[float], back: bool = True) -> Float64:
    """Boxes from the first frame on, as far as the trackers agree there and back: ``(n, 4)``, n >= 1, the first is ``box``.

    Where they do not come back, half of the way is tried. Without ``back`` they need not come back.
    """
    there = together(pair, frames, box)
    if not back:
        return np.asarray(there.mean(0), np.float64)
    while (n := there.shape[1]) > FEWEST:
        end = there[:, -1].mean(0)
        again = together(pair, frames[n - 1 :: -1], end, there.mean(0)[::-1])
        if again.shape[1] == n:
            boxes = np.concatenate([there, again[:, ::-1]]).mean(0)
            boxes[0] = box
            return np.asarray(boxes, np.float64)
        there = there[:, : n // 2]
    return there[0, :1]


def followed(pair: Pair, frames: Sequence[Image], at: int, box: Sequence[float], back: bool = True) -> tuple[int, Float64]:
    """Boxes of a target that is at ``box`` in frame ``at``, towards both ends of a scene: index of the first, and ``(n, 4)``."""
    later = one_way(pair, frames[at:], box, back)
    earlier = one_way(pair, frames[at::-1], box, back)
    return at - len(earlier) + 1, np.concatenate([earlier[:0:-1], later])
