"""Boxes, overlap and context crops: the one place where coordinates are converted.

Coordinates are continuous and 0-based: pixel ``i`` covers the interval ``[i, i + 1)``, so a box ``(0, 0, 1, 1)`` is exactly
the top-left pixel. In public a box is ``x, y, w, h`` (top-left corner and size, in pixels, float). Inside the tracker a target
is a centre and a size; :func:`to_center` and :func:`from_center` are the only conversions between the two.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from metatrack.arrays import Floats

EXEMPLAR_SIZE = 127  # side in pixels of the target patch x that the network sees (section 3.2.1 of the paper)
PARTS = 7  # points per side of a target's box at which a box head knows its parts
SEARCH_SIZE = 255  # side in pixels of the context patch z that the network sees (section 3.2.1 of the paper)
LEAST_SIDE, MOST_PIXELS = 0.01, 1_000_000
"""Limits of a box that a person gives, in pixels; beyond them arithmetic would fail before tracking does."""
MOST_SHRINK = 16  # pixels a side that a large crop averages over at most: the sum of 16 x 16 still fits 16 bits
Image = npt.NDArray[np.uint8]


class Box(NamedTuple):
    """Axis-aligned rectangle ``x, y, w, h``: top-left corner and size in pixels, 0-based, float."""

    x: float
    y: float
    w: float
    h: float


class Center(NamedTuple):
    """The same rectangle as :class:`Box`, as centre and size: what the tracker computes with."""

    cx: float
    cy: float
    w: float
    h: float


def to_center(box: Sequence[float]) -> Center:
    """``x, y, w, h`` to ``cx, cy, w, h``.

    >>> to_center((10, 20, 4, 6))
    Center(cx=12.0, cy=23.0, w=4.0, h=6.0)
    """
    x, y, w, h = map(float, box)
    return Center(x + w / 2, y + h / 2, w, h)


def from_center(center: Sequence[float]) -> Box:
    """``cx, cy, w, h`` to ``x, y, w, h``.

    >>> from_center((12, 23, 4, 6))
    Box(x=10.0, y=20.0, w=4.0, h=6.0)
    """
    cx, cy, w, h = map(float, center)
    return Box(cx - w / 2, cy - h / 2, w, h)


def check_box(box: Sequence[float], frame_size: tuple[int, int]) -> Box:
    """Validates a box given by a person against a frame of ``(height, width)`` pixels.

    Raises:
        ValueError: the box does not hold four finite numbers, has no area, does not meet the frame, or is in shares of it, as
            ``0.3, 0.2, 0.2, 0.2`` is.
    """
    try:
        x, y, w, h = (float(v) for v in box)
    except (TypeError, ValueError) as error:
        raise ValueError(f"box {box!r} is not four numbers x, y, w, h (top-left corner and size in pixels)") from error
    if not all(math.isfinite(v) for v in (x, y, w, h)):
        raise ValueError(f"box {(x, y, w, h)} holds a value that is not finite; give x, y, w, h in pixels")
    if w <= 0 or h <= 0:
        raise ValueError(f"box {(x, y, w, h)} has no area; width and height must be positive (x, y, w, h, not two corners)")
    height, width = frame_size
    if min(w, h) < LEAST_SIDE or max(map(abs, (x, y, w, h))) > MOST_PIXELS:
        limits = f"sides from {LEAST_SIDE} on and numbers up to {MOST_PIXELS:,} are taken"
        raise ValueError(f"box {(x, y, w, h)} is no box in pixels: {limits}")
    # Less than a pixel in both directions, and not whole: shares of the frame, as detectors give them.
    if w <= 1 and h <= 1 and 0 <= x <= 1 and 0 <= y <= 1 and not all(v.is_integer() for v in (x, y, w, h)):
        pixels = ",".join(f"{value:g}" for value in (x * width, y * height, w * width, h * height))
        raise ValueError(f"box {(x, y, w, h)} looks like shares of the frame; in pixels it would be {pixels}")
    if x >= width or y >= height or x + w <= 0 or y + h <= 0:
        raise ValueError(f"box {(x, y, w, h)} lies outside the frame of {width}x{height} pixels")
    return Box(x, y, w, h)


def as_corners(box: Sequence[float], frame_size: tuple[int, int]) -> Box | None:
    """What a box would be if two corners had been given for it; None if it is more likely what it says.

    A box of which less than two thirds lie in the frame, from a corner in it on, is more likely two corners in the frame.

    >>> as_corners((300, 200, 400, 300), (360, 640))
    Box(x=300.0, y=200.0, w=100.0, h=100.0)
    >>> as_corners((600, 200, 100, 100), (360, 640)) is None  # a target that is half outside
    True
    """
    x, y, w, h = map(float, box)
    height, width = frame_size
    if not (0 <= x < w <= width and 0 <= y < h <= height):
        return None
    inside = (min(x + w, width) - x) * (min(y + h, height) - y)
    return Box(x, y, w - x, h - y) if inside < w * h * 2 / 3 else None


def iou(a: npt.ArrayLike, b: npt.ArrayLike) -> Floats:
    """Intersection over union of boxes ``x, y, w, h``; shapes ``(..., 4)`` broadcast, the result has shape ``(...)``.

    A box with a NaN or without area overlaps nothing.

    >>> float(iou([0, 0, 2, 2], [1, 0, 2, 2]))  # 2 of 6 pixels are shared
    0.3333333333333333
    """
    p, q = np.asarray(a, np.float64), np.asarray(b, np.float64)
    left_top = np.maximum(p[..., :2], q[..., :2])
    right_bottom = np.minimum(p[..., :2] + p[..., 2:], q[..., :2] + q[..., 2:])
    inter = np.prod(np.clip(right_bottom - left_top, 0, None), axis=-1)
    areas = np.prod(np.clip(p[..., 2:], 0, None), axis=-1) + np.prod(np.clip(q[..., 2:], 0, None), axis=-1)
    union = areas - inter
    result = np.divide(inter, union, out=np.zeros(np.shape(inter)), where=union > 0)
    return np.asarray(np.minimum(np.nan_to_num(result, nan=0.0), 1.0))  # rounding may exceed 1


def context_side(w: float, h: float) -> float:
    """Side in image pixels of the square around a ``w x h`` target that becomes the 127 px exemplar.

    SiamFC's context margin: ``sqrt((w + p) (h + p))`` with ``p = (w + h) / 2``.

    >>> context_side(10, 10)
    20.0
    """
    p = (w + h) / 2
    return math.sqrt((w + p) * (h + p))


def mean_color(image: Image) -> tuple[float, float, float]:
    """Mean colour of an ``(H, W, 3)`` image: what fills the part of a crop that lies outside the frame."""
    rows = image.reshape(image.shape[0], -1).sum(0, dtype=np.uint32)  # of each column and channel: numpy is fast along rows
    r, g, b = (rows.reshape(-1, 3).sum(0, dtype=np.float64) / (image.shape[0] * image.shape[1])).tolist()
    return r, g, b


def crop(image: Image, cx: float, cy: float, side: float, size: int, fill: Sequence[float] = (0.0, 0.0, 0.0)) -> Image:
    """Cuts the square of ``side`` image pixels around ``(cx, cy)`` and resamples it to ``(size, size, 3)``, bilinearly.

    Across, the output's coordinate u shows the image's coordinate ``cx - side / 2 + u * side / size`` (both continuous); down,
    the same with ``cy``. What lies outside the image is ``fill``. The input is not changed. A crop that shrinks by 2 or more is
    averaged first, so that a large target does not alias.
    """
    scale = side / size
    left, top = cx - side / 2, cy - side / 2
    shrink = min(int(scale), MOST_SHRINK)
    if shrink >= 2:  # average over shrink x shrink pixels, of the part of the frame that the crop needs alone
        height, width = image.shape[:2]
        x0, y0 = max(0, math.floor(left)), max(0, math.floor(top))
        x1, y1 = min(width, math.ceil(left + side) + shrink), min(height, math.ceil(top + side) + shrink)
        nx, ny = (x1 - x0) // shrink, (y1 - y0) // shrink
        if nx >= 1 and ny >= 1:
            part = image[y0 : y0 + ny * shrink, x0 : x0 + nx * shrink]
            image = _average(part, shrink)
            left, top, scale = (left - x0) / shrink, (top - y0) / shrink, scale / shrink
    # Both axes on their own: rows are mixed first, since a row lies in one piece, and of what is left the columns.
    steps = np.arange(size) + 0.5
    x, across = _taps(left + scale * steps)
    y, down = _taps(top + scale * steps)
    part, x, y = _surrounded(image, x, y, fill)
    rows = np.ascontiguousarray(part).reshape(len(part), -1)
    mixed = _mix(rows[y[0]], rows[y[1]], down[:, None])  # (size, 3 w)
    low, high = (mixed.take(columns.ravel(), axis=1) for columns in 3 * x[..., None] + np.arange(3))
    return _mix(low, high, np.repeat(across, 3)).reshape(size, size, 3)


def warp(image: Image, linear: Floats, offset: Floats, size: int, fill: Sequence[float] = (0.0, 0.0, 0.0)) -> Image:
    """Resamples an image bilinearly to ``(size, size, 3)`` through an affine map; :func:`crop` is the case without a turn.

    Args:
        linear: ``(2, 2)``. The output's coordinate u shows the image's coordinate ``linear @ u + offset`` (x, y, continuous).
        offset: ``(2,)``, in pixels of the image.
    """
    steps = np.arange(size) + 0.5
    (a, b), (c, d) = linear.tolist()
    x, across = _taps((a * steps + b * steps[:, None] + offset[0]).ravel())  # (2, size * size)
    y, down = _taps((c * steps + d * steps[:, None] + offset[1]).ravel())
    part, x, y = _surrounded(image, x, y, fill)
    pixels = np.ascontiguousarray(part).reshape(-1, 3)
    across, down = np.repeat(across, 3), np.repeat(down, 3)
    upper, lower = (
        _mix(pixels.take(row + x[0], axis=0).ravel(), pixels.take(row + x[1], axis=0).ravel(), across)
        for row in y * part.shape[1]
    )
    return _mix(upper, lower, down).reshape(size, size, 3)


def _average(image: Image, shrink: int) -> Image:
    """Means of ``shrink x shrink`` pixels, rounded: ``(ny shrink, nx shrink, 3)`` -> ``(ny, nx, 3)``."""
    ny, nx = image.shape[0] // shrink, image.shape[1] // shrink
    total = image[::shrink].astype(np.uint16)
    for k in range(1, shrink):
        total += image[k::shrink]
    # A pixel is read as a number of 64 bits: three channels of 16, and one without a meaning. Numpy adds those at once, and fast.
    held = np.empty(total.size + 1, np.uint16)
    held[:-1] = total.reshape(-1)
    pixels = np.ndarray((ny, nx, shrink), np.uint64, held.data, strides=(6 * nx * shrink, 6 * shrink, 6))
    total = pixels[..., 0].copy()
    for k in range(1, shrink):
        total += pixels[..., k]
    mean = total.view(np.uint16).reshape(ny, nx, 4)
    mean += shrink**2 // 2
    mean //= shrink**2
    result = np.empty((ny, nx, 3), np.uint8)
    for channel in range(3):  # numpy is slow where the innermost axis has three numbers
        result[..., channel] = mean[..., channel]
    return result


def _taps(places: Floats) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint16]]:
    """For coordinates along an axis: the pixels before and behind each, ``(2, n)``, and the second one's weight in 1/256."""
    fine = np.rint(256 * places - 128).astype(np.int64)  # pixel i has its centre at i + 1/2
    first = fine >> 8
    return np.stack([first, first + 1]), (fine & 255).astype(np.uint16)


def _surrounded(
    image: Image, x: npt.NDArray[np.int64], y: npt.NDArray[np.int64], fill: Sequence[float]
) -> tuple[Image, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The part of an image that columns ``x`` and rows ``y`` need, with ``fill`` around it where they leave the image.

    Returns:
        The part, and the columns and rows as they are numbered in it.
    """
    height, width = image.shape[:2]
    x, y = np.clip(x, -1, width), np.clip(y, -1, height)  # a single line of fill does for all that lies outside
    x0, x1, y0, y1 = int(x.min()), int(x.max()) + 1, int(y.min()), int(y.max()) + 1
    part = image[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)]
    if x0 < 0 or y0 < 0 or x1 > width or y1 > height:
        line = np.tile(np.round(fill).astype(np.uint8), (x1 - x0, 1))
        whole = np.repeat(line[None], y1 - y0, axis=0)
        whole[max(-y0, 0) :, max(-x0, 0) :][: part.shape[0], : part.shape[1]] = part
        part = whole
    return part, x - x0, y - y0


def _mix(first: Image, second: Image, weight: npt.NDArray[np.uint16]) -> Image:
    """Values of 0..255 by the second's weight in 1/256, rounded. 16 bits hold all of it: 255 * 256 + 128."""
    result = first.astype(np.uint16)
    result *= 256 - weight
    other = second.astype(np.uint16)
    other *= weight
    result += other
    result += np.uint16(128)
    result >>= 8
    return result.astype(np.uint8)


def window_start(cells: int, window: int) -> int:
    """First cell of a feature map's window around the centre of its patch, along one axis.

    A padded trunk has its cells at pixels 0, 8, 16 ..., so a patch's centre (pixel 63 or 127) lies a cell behind the map's;
    a trunk without padding has no margin to choose from. Training and run time both call this: their windows must be the same.

    >>> window_start(15, 7), window_start(31, 23), window_start(24, 24)
    (5, 5, 0)
    """
    margin = cells - window
    return min(margin // 2 + 1, margin)
