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

EXEMPLAR_SIZE = 127
"""Side in pixels of the target patch x that the network sees (section 3.2.1 of the paper)."""
PARTS = 7
"""Points per side of a target's box at which a box head knows its parts."""
SEARCH_SIZE = 255
"""Side in pixels of the context patch z that the network sees (section 3.2.1 of the paper)."""

MOST_SHRINK = 16
"""Pixels a side that a large crop averages over at most: the sum of 16 x 16 still fits 16 bits."""

Image = npt.NDArray[np.uint8]
Array = npt.NDArray[np.floating]
Words = npt.NDArray[np.uint16]


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
    rows = image.reshape(image.shape[0], -1).sum(0, dtype=np.uint32)  # of each column and channel: numpy is fast along rows
    r, g, b = (rows.reshape(-1, 3).sum(0, dtype=np.float64) / (image.shape[0] * image.shape[1])).tolist()
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
    return _resample(image, left, top, scale, size, np.round(fill).astype(np.uint8))


def warp(image: Image, linear: Array, offset: Array, size: int, fill: Sequence[float] = (0.0, 0.0, 0.0)) -> Image:
    """Resamples an image bilinearly to ``(size, size, 3)`` through an affine map; :func:`crop` is the case without a turn.

    Args:
        image: ``(H, W, 3)`` uint8.
        linear: ``(2, 2)``, and
        offset: ``(2,)``: the output's coordinate u shows the image's coordinate ``linear @ u + offset`` (x, y, both continuous).
        size: side of the output in pixels.
        fill: colour of what lies outside the image.
    """
    height, width = image.shape[:2]
    u = np.arange(size) + 0.5
    places = []
    for row, start, most in zip(linear, offset, (width, height), strict=True):
        place = row[0] * u[None, :] + row[1] * u[:, None] + (start - 0.5)  # (size, size) pixel centres, hence the halves
        np.maximum(place, -1.0, out=place)
        places.append(np.minimum(place, float(most), out=place))
    first = [np.floor(place).astype(np.intp) for place in places]
    x0, y0 = (int(each.min()) for each in first)
    x1, y1 = (int(each.max()) + 2 for each in first)
    part = np.empty((y1 - y0, x1 - x0, 3), np.uint8)
    if x0 < 0 or y0 < 0 or x1 > width or y1 > height:  # with a line of the fill, or two, wherever the image ends
        part[:] = np.round(fill)
    left, top = max(x0, 0), max(y0, 0)
    inner = image[top : min(y1, height), left : min(x1, width)]
    part[top - y0 : top - y0 + inner.shape[0], left - x0 : left - x0 + inner.shape[1]] = inner
    pixels = _four_channels(part).view(np.uint64).reshape(-1)
    across, down = (np.round((place - each) * 128).astype(np.uint16) for place, each in zip(places, first, strict=True))
    index = (first[1] - y0) * part.shape[1] + (first[0] - x0)
    mixed = [
        _mix(pixels.take(line).view(np.uint16), pixels.take(line + 1).view(np.uint16), np.repeat(across, 4, axis=1), bits=9)
        for line in (index, index + part.shape[1])
    ]
    return _three_channels(_mix(mixed[0], mixed[1], np.repeat(down, 4, axis=1), bits=8).reshape(size, size, 4))


def _average(image: Image, shrink: int) -> Image:
    """Means of ``shrink x shrink`` pixels, rounded: ``(ny shrink, nx shrink, 3)`` -> ``(ny, nx, 3)``."""
    ny, nx = image.shape[0] // shrink, image.shape[1] // shrink
    total = image[::shrink].astype(np.uint16)
    for k in range(1, shrink):
        total += image[k::shrink]
    # A pixel is a number of 64 bits, see _four_channels; its lowest three sixteens are added at once, as none overflows.
    held = np.empty(total.size + 1, np.uint16)
    held[:-1] = total.reshape(-1)
    pixels = np.ndarray((ny, nx, shrink), np.uint64, held.data, strides=(6 * nx * shrink, 6 * shrink, 6))
    total = pixels[..., 0].copy()
    for k in range(1, shrink):
        total += pixels[..., k]
    mean = total.view(np.uint16).reshape(ny, nx, 4)
    mean += shrink**2 // 2
    mean //= shrink**2
    return _three_channels(mean)


def _three_channels(pixels: Words) -> Image:
    """``(h, w, 4)`` -> ``(h, w, 3)``: a channel at a time, since numpy is slow where the innermost axis has three numbers."""
    result = np.empty((*pixels.shape[:2], 3), np.uint8)
    for channel in range(3):
        result[..., channel] = pixels[..., channel]
    return result


class _Taps(NamedTuple):
    """The two pixels that each pixel of the output lies between, along one axis."""

    first: npt.NDArray[np.intp]  # (size,), inside the image
    second: npt.NDArray[np.intp]
    share: npt.NDArray[np.uint16]  # (size,) weight of the second, in 128ths
    no_first: npt.NDArray[np.bool_]  # (size,) whether the first lies outside the image
    no_second: npt.NDArray[np.bool_]

    @classmethod
    def along(cls, start: float, scale: float, size: int, length: int) -> _Taps:
        """Those of an axis of ``length`` pixels, whose coordinate at the output's coordinate u is ``start + scale * u``."""
        place = np.clip(start + scale * (np.arange(size) + 0.5) - 0.5, -2, length + 1)  # pixel centres, hence the halves
        first = np.floor(place).astype(np.intp)
        share = np.round((place - first) * 128).astype(np.uint16)
        second = first + 1
        outside = [(index < 0) | (index >= length) for index in (first, second)]
        return cls(first.clip(0, length - 1), second.clip(0, length - 1), share, *outside)


def _resample(image: Image, left: float, top: float, scale: float, size: int, fill: npt.NDArray[np.uint8]) -> Image:
    """Bilinear, one axis after the other, in whole numbers of 16 bits: exact to a grey level, and fast in numpy.

    The first axis leaves 9 bits (twice the grey level), the second 8; with weights in 128ths neither sum exceeds 16 bits. Pixels
    have four channels meanwhile, so that one is a number of 32 or 64 bits: numpy gathers those four times as fast as three.
    """
    height, width = image.shape[:2]
    down, across = _Taps.along(top, scale, size, height), _Taps.along(left, scale, size, width)
    x0, x1 = int(across.first[0]), int(across.second[-1]) + 1
    above, below = (image[rows, x0:x1] for rows in (down.first, down.second))  # (size, n, 3)
    above[down.no_first], below[down.no_second] = fill, fill
    mixed = _mix(_four_channels(above), _four_channels(below), down.share[:, None], bits=9)  # (size, 4 n)
    pixels = mixed.view(np.uint64)  # (size, n)
    before, behind = (pixels.take(columns - x0, 1) for columns in (across.first, across.second))  # (size, size)
    outside = (2 * np.append(fill, 0).astype(np.uint16)).view(np.uint64)
    before[:, across.no_first], behind[:, across.no_second] = outside, outside
    mixed = _mix(before.view(np.uint16), behind.view(np.uint16), np.repeat(across.share, 4), bits=8)
    return _three_channels(mixed.reshape(size, size, 4))


def _mix(a: Words, b: Words, share: Words, bits: int) -> Words:
    """``a + (b - a) share / 128``, rounded to a number of bits where ``a`` and ``b`` have one less or one more; changes both.

    Differences are taken modulo 2^16, which the sum undoes.
    """
    drop = 6 if bits == 9 else 8
    b -= a
    b *= share
    a <<= 7
    a += b
    a += 1 << (drop - 1)
    a >>= drop
    return a


def _four_channels(rows: Image) -> Words:
    """``(size, n, 3)`` -> ``(size, 4 n)``: numbers of 32 bits read at steps of three bytes; each fourth byte has no meaning."""
    size, n, _ = rows.shape
    held = np.empty(rows.size + 1, np.uint8)
    held[:-1] = rows.reshape(-1)
    pixels = np.ndarray((size * n,), np.uint32, held.data, strides=(3,))
    return pixels.copy().view(np.uint8).reshape(size, 4 * n).astype(np.uint16)


def window_start(cells: int, window: int) -> int:
    """First cell of a feature map's window around the centre of its patch, along one axis.

    A padded trunk has its cells at pixels 0, 8, 16 ..., so a patch's centre (pixel 63 or 127) lies a cell behind the map's;
    a trunk without padding has no margin to choose from. Training and run time both call this: their windows must be the same.

    >>> window_start(15, 7), window_start(31, 23), window_start(24, 24)
    (5, 5, 0)
    """
    margin = cells - window
    return min(margin // 2 + 1, margin)
