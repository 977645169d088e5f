"""Where a tracker is started: OPE, TRE and SRE of Wu, Lim, Yang (Online Object Tracking: A Benchmark, CVPR 2013).

OPE (one pass): once, in the first frame, with the true box. TRE (temporal robustness): up to 20 times, in frames spread over the
sequence, with the true box there, each to the end. SRE (spatial robustness): 12 times in the first frame, with the box shifted by
a tenth of the target's size (to the four sides; or with one corner pulled out) or scaled by 0.8, 0.9, 1.1, 1.2.

The numbers follow the toolkit's ``splitSeqTRE`` and ``shiftInitBB``, their rounding included; the starting frames of TRE are
tested against results that SiamFC's authors published for it. Boxes are x, y, w, h in pixels, 0-based; the toolkit's are 1-based,
so they are moved by 1 and back for its rounding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence as Seq
from typing import Literal

import numpy as np

from metatrack.arrays import Float64
from metatrack.data.sequence import Sequence
from metatrack.geometry import Box

Protocol = Literal["ope", "tre", "sre"]
TRE_RUNS = 20
TRE_LEAST = 20  # frames that a run of TRE has at least
SRE_SHIFTS = (
    *("left", "right", "up", "down", "topLeft", "topRight", "bottomLeft", "bottomRight"),
    *("scale_8", "scale_9", "scale_11", "scale_12"),
)
"""The toolkit's names of the 12 ways, in its order."""
Spans = Seq[tuple[int, int]]


def first_frames(protocol: Protocol, sequence: Sequence, omit: Spans = ()) -> list[int]:
    """Index (0-based) of the frame in which each run starts; run k of the evaluation is entry k - 1.

    Args:
        omit: spans of frames in which no run of TRE starts, first and last frame by the data set's own numbers
            (``OtbTarget.omit``).
    """
    if protocol == "ope":
        return [0]
    if protocol == "sre":
        return [0] * len(SRE_SHIFTS)
    return _tre(sequence.boxes, [(a - sequence.start_frame, b - sequence.start_frame) for a, b in omit])


def first_box(protocol: Protocol, sequence: Sequence, run: int, start: int, frame_size: tuple[int, int]) -> Box:
    """The box that run ``run`` (from 1) is given in frame ``start``; ``frame_size`` is height and width in pixels."""
    box = Box(*(float(value) for value in sequence.boxes[start]))
    return box if protocol != "sre" else shifted(box, SRE_SHIFTS[run - 1], frame_size)


def shifted(box: Box, shift: str, frame_size: tuple[int, int]) -> Box:
    """A box as one of :data:`SRE_SHIFTS` (else a ``ValueError``) changes it, rounded and cut on two sides as the toolkit does.

    >>> shifted(Box(10, 20, 30, 40), "left", (100, 100))
    Box(x=7.0, y=20.0, w=30.0, h=40.0)
    >>> shifted(Box(10, 20, 30, 40), "scale_12", (100, 100))
    Box(x=7.0, y=16.0, w=36.0, h=48.0)
    """
    if shift not in SRE_SHIFTS:
        raise ValueError(f"unknown shift {shift!r}; known are {', '.join(SRE_SHIFTS)}")
    x, y, w, h = box.x + 1, box.y + 1, box.w, box.h
    if shift.startswith("scale_"):
        ratio = int(shift.removeprefix("scale_")) / 10
        x, y, w, h = (_round(v) for v in (x + w / 2 - ratio * w / 2, y + h / 2 - ratio * h / 2, ratio * w, ratio * h))
    elif shift in ("left", "right"):
        x += math.ceil(0.1 * w) * (1 if shift == "right" else -1)
    elif shift in ("up", "down"):
        y += math.ceil(0.1 * h) * (1 if shift == "down" else -1)
    else:  # a corner is pulled outwards; the others stay
        right, bottom = x + w - 1, y + h - 1
        if "Left" in shift:
            x = _round(x - 0.1 * w)
        else:
            right = _round(right + 0.1 * w)
        if "top" in shift:
            y = _round(y - 0.1 * h)
        else:
            bottom = _round(bottom + 0.1 * h)
        w, h = right - x + 1, bottom - y + 1
    x, y = max(x, 1.0), max(y, 1.0)
    w, h = min(w, frame_size[1] - x + 1), min(h, frame_size[0] - y + 1)
    return Box(float(x - 1), float(y - 1), float(w), float(h))


def _tre(boxes: Float64, omit: Spans) -> list[int]:
    """The toolkit's choice among the frames whose box is known and does not begin left of or above the frame."""
    usable = np.array(np.isfinite(boxes).all(axis=1) & (boxes > [-1, -1, 0, 0]).all(axis=1))
    for first, last in omit:
        usable[max(first, 0) : max(last + 1, 0)] = False
    candidates = np.flatnonzero(usable)
    count = int((candidates <= len(boxes) - TRE_LEAST).sum())  # those with enough frames to come
    if not count:  # a video this short has no room for more than one run
        return [0]
    step = count / (TRE_RUNS - 1)
    # The small number keeps 1 + k * step from falling below an integer that it is.
    places = [math.floor(1 + k * step + 1e-9) for k in range(TRE_RUNS) if 1 + k * step <= count + 1e-9]
    return [int(candidates[place - 1]) for place in [*places, count]]


def _round(value: float) -> float:
    """Halves away from zero, as Matlab; Python rounds them to even."""
    return math.copysign(math.floor(abs(value) + 0.5), value)
