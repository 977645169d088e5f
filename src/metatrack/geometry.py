"""Boxes, overlap and context crops: the one place where coordinates are converted.

Coordinates are continuous and 0-based: pixel ``i`` covers the interval ``[i, i + 1)``, so a box ``(0, 0, 1, 1)`` is exactly
the top-left pixel. In public a box is ``x, y, w, h`` (top-left corner and size, in pixels, float). Inside the tracker a target
is a centre and a size; :func:`to_center` and :func:`from_center` are the only conversions between the two.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

EXEMPLAR_SIZE = 127
"""Side in pixels of the target patch x that the network sees (section 3.2.1 of the paper)."""
PARTS = 7
"""Points per side of a target's box at which a box head knows its parts."""
SEARCH_SIZE = 255
"""Side in pixels of the context patch z that the network sees (section 3.2.1 of the paper)."""

Image = npt.NDArray[np.uint8]
Array = npt.NDArray[np.floating]


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
        ValueError: the box does not hold four finite numbers, has no area, or does not meet the frame.
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
    if x >= width or y >= height or x + w <= 0 or y + h <= 0:
        raise ValueError(f"box {(x, y, w, h)} lies outside the frame of {width}x{height} pixels")
    return Box(x, y, w, h)


def iou(a: npt.ArrayLike, b: npt.ArrayLike) -> Array:
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
    r, g, b, _ = cv2.mean(image)
    return r, g, b


def crop(image: Image, cx: float, cy: float, side: float, size: int, fill: Sequence[float] = (0.0, 0.0, 0.0)) -> Image:
    """Cuts the square of ``side`` image pixels around ``(cx, cy)`` and resamples it to ``(size, size, 3)``, bilinearly.

    The image's coordinate of the output's coordinate u (both continuous) is
    ``cx - side / 2 + u * side / size``. What lies outside
    the image is ``fill``. The input is not changed. A crop that shrinks by 2 or more is averaged first, so that a large target
    does not alias.
    """
    scale = side / size
    left, top = cx - side / 2, cy - side / 2
    shrink = int(scale)
    if shrink >= 2:  # average over shrink x shrink pixels, of the part of the frame that the crop needs alone
        height, width = image.shape[:2]
        x0, y0 = max(0, math.floor(left)), max(0, math.floor(top))
        x1, y1 = min(width, math.ceil(left + side) + shrink), min(height, math.ceil(top + side) + shrink)
        nx, ny = (x1 - x0) // shrink, (y1 - y0) // shrink
        if nx >= 1 and ny >= 1:
            part = image[y0 : y0 + ny * shrink, x0 : x0 + nx * shrink]
            image = np.asarray(cv2.resize(part, (nx, ny), interpolation=cv2.INTER_AREA), np.uint8)
            left, top, scale = (left - x0) / shrink, (top - y0) / shrink, scale / shrink
    return _resample(image, (scale, 0.0, left), (0.0, scale, top), size, fill)


def warp(image: Image, linear: Array, offset: Array, size: int, fill: Sequence[float] = (0.0, 0.0, 0.0)) -> Image:
    """Resamples an image bilinearly to ``(size, size, 3)`` through an affine map.

    Args:
        image: ``(H, W, 3)`` uint8.
        linear: ``(2, 2)``, and
        offset: ``(2,)``: the output's coordinate u shows the image's coordinate ``linear @ u + offset`` (x, y, both continuous).
        size: side of the output in pixels.
        fill: colour of what lies outside the image.
    """
    (a, b), (c, d) = linear.tolist()
    x, y = offset.tolist()
    return _resample(image, (a, b, x), (c, d, y), size, fill)


def _resample(
    image: Image,
    across: tuple[float, float, float],
    down: tuple[float, float, float],
    size: int,
    fill: Sequence[float],
) -> Image:
    """:func:`warp` with the rows of its map: the output's (u, v) shows the image's x = a u + b v + c, and y likewise."""
    bounds = []
    for (a, b, c), most in ((across, image.shape[1]), (down, image.shape[0])):
        low, high = c + size * (min(a, 0) + min(b, 0)), c + size * (max(a, 0) + max(b, 0))
        bounds.append((max(0, math.floor(low) - 2), min(most, math.ceil(high) + 2)))
    (x0, x1), (y0, y1) = bounds
    if x0 >= x1 or y0 >= y1:
        return np.full((size, size, 3), np.round(fill), np.uint8)
    # OpenCV warps four channels in half the time of three (5.0), so a fourth is added, to what is needed alone.
    part = cv2.cvtColor(image[y0:y1, x0:x1], cv2.COLOR_RGB2RGBA)
    # OpenCV's matrices map pixel centres, hence the halves.
    matrix = np.array([(a, b, c + (a + b) / 2 - 0.5 - first) for (a, b, c), first in ((across, x0), (down, y0))])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    result = cv2.warpAffine(part, matrix, (size, size), flags=flags, borderMode=cv2.BORDER_CONSTANT, borderValue=(*fill, 0.0))
    return np.asarray(cv2.cvtColor(result, cv2.COLOR_RGBA2RGB), np.uint8)


def window_start(cells: int, window: int) -> int:
    """First cell of a feature map's window around the centre of its patch, along one axis.

    A padded trunk has its cells at pixels 0, 8, 16 ..., so a patch's centre (pixel 63 or 127) lies a cell behind the map's;
    a trunk without padding has no margin to choose from. Training and run time both call this: their windows must be the same.

    >>> window_start(15, 7), window_start(31, 23), window_start(24, 24)
    (5, 5, 0)
    """
    margin = cells - window
    return min(margin // 2 + 1, margin)
