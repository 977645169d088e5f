"""Runs one tracker over one sequence: it is given one true box and nothing after, and is never re-initialised."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from metatrack.arrays import Float64
from metatrack.data.sequence import Sequence
from metatrack.geometry import Box, Image, check_box


class Output(Protocol):
    """What a tracker says about a frame; ``metatrack``'s ``Result`` is one."""

    @property
    def box(self) -> Box:
        """Where the target is: ``x, y, w, h`` in pixels, 0-based."""


class TrackerLike(Protocol):
    """What can be evaluated: an object with these two methods. Frames are ``(H, W, 3)`` uint8 RGB."""

    def init(self, frame: Image, box: Box, /) -> object:
        """Learns the target inside ``box`` (``x, y, w, h``, 0-based). What it returns is not looked at."""

    def update(self, frame: Image, /) -> Output:
        """Finds the target in the next frame."""


@runtime_checkable
class ReadsFiles(Protocol):
    """What a tracker may have besides, if it hands frames on to somebody who reads them by himself."""

    def next_file(self, path: Path, /) -> None:
        """Told before ``init`` and each ``update``: the file that holds the frame."""


def run_sequence(
    tracker: TrackerLike,
    sequence: Sequence,
    start: int = 0,
    first_box: Callable[[tuple[int, int]], Box] | None = None,
    on_frame: Callable[[], None] = lambda: None,
) -> tuple[Float64, Float64]:
    """Initialises the tracker in frame ``start`` and follows the target to the end.

    Args:
        first_box: the box for it, given height and width of the frame; None is the true box.

    Returns:
        boxes ``(n - start, 4)``, ``x, y, w, h`` 0-based, of which the first is the given one, and seconds ``(n - start,)`` that
        ``init`` and each ``update`` took. Reading frames is not timed.

    Raises:
        ValueError: the sequence is empty, or the first box is no box inside its frame.
    """
    count = len(sequence) - start
    if count < 1:
        raise ValueError(f"sequence {sequence.name} holds no frame" + (f" after the first {start}" if start else ""))
    boxes, seconds = np.empty((count, 4)), np.empty(count)
    for i in range(count):
        frame = sequence.frame(start + i)
        if isinstance(tracker, ReadsFiles):
            tracker.next_file(sequence.frame_paths[start + i])
        if i == 0:
            size = frame.shape[:2]
            box = check_box(sequence.boxes[start] if first_box is None else first_box(size), size)
            begin = time.perf_counter()
            tracker.init(frame, box)
        else:
            begin = time.perf_counter()
            answer = tracker.update(frame)
        seconds[i] = time.perf_counter() - begin
        found: Any = box if i == 0 else answer
        boxes[i] = getattr(found, "box", found)  # a tracker may answer with the box alone
        on_frame()
    return boxes, seconds
