"""Regions other than boxes, as the text files of benchmarks state them: polygons and masks, to the boxes around them."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from metatrack.arrays import Float64
from metatrack.data.numbers import MOST, whole_number

MAX_MASK = 10**8  # pixels of a mask that is read, at most: ten times a frame of 4K, so that a damaged file cannot fill memory


def polygons_to_boxes(polygons: npt.ArrayLike) -> Float64:
    """Smallest upright box around each polygon: ``(n, 2 k)`` corners ``x1, y1, x2, y2, ..`` to ``(n, 4)`` ``x, y, w, h``.

    The OTB toolkit's convention for corners. (VOT's reference box of equal area is another matter.)

    Raises:
        ValueError: the rows do not hold three or more corners.
    """
    corners = np.asarray(polygons, np.float64)
    if corners.ndim != 2 or corners.shape[1] < 6 or corners.shape[1] % 2:
        raise ValueError(f"polygons of shape {corners.shape} are not rows of three or more corners x1, y1, x2, y2, ...")
    xs, ys = corners[:, 0::2], corners[:, 1::2]
    left, top = xs.min(axis=1), ys.min(axis=1)
    return np.stack([left, top, xs.max(axis=1) - left, ys.max(axis=1) - top], axis=1)


def parse_region(text: str) -> tuple[float, float, float, float]:
    """A line of VOT's format to the box around it, ``x, y, w, h``; NaN where it states none.

    Four numbers are a box, six or more the corners of a polygon, ``m`` and numbers a mask (``mx0,y0,w,h`` and the lengths of runs
    of 0 and 1 in turn, row by row inside that box). One number, a NaN, or an empty mask says that there is no target.

    >>> parse_region("1,2,5,2,5,4,1,4")
    (1.0, 2.0, 4.0, 2.0)
    >>> parse_region("m10,20,3,2,1,1,2,1,1")  # .#. over .#.
    (11.0, 20.0, 1.0, 2.0)

    Raises:
        ValueError: the line has none of these forms.
    """
    nothing = (math.nan,) * 4
    if text[:1] == "m":
        return _mask_box([whole_number(word, "a mask", least=-MOST) for word in text[1:].split(",")]) or nothing
    values = [float(word) for word in text.split(",")]
    if len(values) == 1 or any(math.isnan(value) for value in values):
        return nothing
    if any(abs(value) > MOST for value in values):
        raise ValueError("a number in it lies beyond any image")
    if len(values) == 4:
        return values[0], values[1], values[2], values[3]
    x, y, w, h = polygons_to_boxes([values])[0].tolist()
    return x, y, w, h


def _mask_box(numbers: list[int]) -> tuple[float, float, float, float] | None:
    """The smallest box around a mask's pixels; None if it has none."""
    if len(numbers) < 5 or min(numbers[2:]) < 0:
        raise ValueError("a mask is x0, y0, w, h and lengths of runs, none of them negative")
    x0, y0, w, h = numbers[:4]
    runs, total = numbers[4:], sum(numbers[4:])  # Python's integers: numpy's may wrap around, to a sum that looks possible
    if w * h > MAX_MASK or total > w * h:
        raise ValueError(f"the runs of a mask of {w} x {h} pixels sum to {total}; at most {min(w * h, MAX_MASK)} are possible")
    left, top, right, bottom = w, h, 0, 0
    start = 0
    for i, run in enumerate(runs):
        end = start + run
        if i % 2 and run:  # pixels start .. end - 1 belong to the target, row by row
            first, last = start // w, (end - 1) // w
            top, bottom = min(top, first), last + 1
            left = min(left, start % w if first == last else 0)
            right = max(right, (end - 1) % w + 1 if first == last else w)
        start = end
    return (float(x0 + left), float(y0 + top), float(right - left), float(bottom - top)) if bottom else None
