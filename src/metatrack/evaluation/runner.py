"""Runs one tracker over one sequence, as the benchmarks do: OPE, one pass evaluation.

OPE (Wu, Lim, Yang, CVPR 2013): the tracker is given the true box of the first frame and nothing after; it is never
re-initialised, however far it drifts.
"""

from __future__ import annotations

import time
from typing import Protocol

import numpy as np
import numpy.typing as npt

from metatrack.data.sequence import Sequence
from metatrack.geometry import Box, Image, check_box


class Output(Protocol):
    """What a tracker says about a frame; ``metatrack``'s ``Result`` is one."""

    @property
    def box(self) -> Box:
        """Where the target is: ``x, y, w, h`` in pixels, 0-based."""


class Tracker(Protocol):
    """What can be evaluated: an object with these two methods. Frames are ``(H, W, 3)`` uint8 RGB."""

    def init(self, frame: Image, box: Box, /) -> object:
        """Learns the target inside ``box`` (``x, y, w, h``, 0-based). What it returns is not looked at."""

    def update(self, frame: Image, /) -> Output:
        """Finds the target in the next frame."""


def run_sequence(tracker: Tracker, sequence: Sequence) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Initialises the tracker on the sequence's first box and follows it to the end.

    Returns:
        boxes ``(n, 4)``, ``x, y, w, h`` 0-based, of which the first is the given one (the OTB convention: the first frame
        counts, as a hit), and seconds ``(n,)`` that ``init`` and each ``update`` took. Reading frames is not timed.

    Raises:
        ValueError: the sequence is empty, or its first box is no box inside its first frame.
    """
    count = len(sequence)
    if not count:
        raise ValueError(f"sequence {sequence.name} holds no frame")
    boxes, seconds = np.empty((count, 4)), np.empty(count)
    for i in range(count):
        frame = sequence.frame(i)
        if i == 0:
            box = check_box(sequence.boxes[0], frame.shape[:2])
            start = time.perf_counter()
            tracker.init(frame, box)
        else:
            start = time.perf_counter()
            box = tracker.update(frame).box
        seconds[i] = time.perf_counter() - start
        boxes[i] = box
    return boxes, seconds
