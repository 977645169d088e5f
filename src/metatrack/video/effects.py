"""Frames made of frames and boxes: a target made unreadable, and a view that follows it. Nothing here changes its input."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from metatrack.geometry import Box, Image, to_center
from metatrack.images import resize

CELLS = 6  # colours that are left of a hidden region, along its longer side


def grown(box: Box, share: float) -> Box:
    """A box with a margin of that share of its width and height on each side.

    >>> grown(Box(10, 20, 10, 20), 0.5)
    Box(x=5.0, y=10.0, w=20.0, h=40.0)
    """
    return Box(box.x - share * box.w, box.y - share * box.h, (1 + 2 * share) * box.w, (1 + 2 * share) * box.h)


def hide(frame: Image, boxes: Iterable[Box]) -> Image:
    """A copy of a frame in which what lies in the boxes cannot be made out: at most ``CELLS x CELLS`` colours of it are left.

    A blur could be undone in part; means over large cells hold no more than they show. What of a box lies outside the frame is
    not seen.
    """
    result = np.array(frame, order="C")
    height, width = frame.shape[:2]
    for box in boxes:
        x0, y0 = max(0, int(np.floor(box.x))), max(0, int(np.floor(box.y)))
        x1, y1 = min(width, int(np.ceil(box.x + box.w))), min(height, int(np.ceil(box.y + box.h)))
        if x0 >= x1 or y0 >= y1:
            continue
        part = frame[y0:y1, x0:x1]
        cell = max(part.shape[:2]) / CELLS
        few = [max(1, round(side / cell)) for side in (x1 - x0, y1 - y0)]
        result[y0:y1, x0:x1] = resize(resize(part, few), (x1 - x0, y1 - y0))
    return result


class CropView:
    """The square that a clip shows which follows a target: twice its larger side, moving and growing smoothly."""

    ROOM = 2.0
    """Side of the square against the target's larger side."""
    MOVES, GROWS = 0.5, 0.05
    """Weights of a frame's place, and of its size, in the running means."""

    def __init__(self, first: Box) -> None:
        self.cx, self.cy, w, h = to_center(first)
        self.side = self.ROOM * max(w, h)

    def follow(self, box: Box) -> None:
        """Takes in where the target is in a frame."""
        cx, cy, w, h = to_center(box)
        self.cx += self.MOVES * (cx - self.cx)
        self.cy += self.MOVES * (cy - self.cy)
        self.side += self.GROWS * (self.ROOM * max(w, h) - self.side)
