"""What correlation filters share: windows, labels, the Gaussian kernel at all shifts, and patches of the frame.

Places are ``(row, column)`` of a pixel, 0-based, as the papers' code has them; a box becomes one in :func:`start`. Where the
papers leave a choice (rounding, the side that an even window leans to), it is that of the authors' released code, because the
published results were made with it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from metatrack.arrays import Array, Floats
from metatrack.frames import as_rgb
from metatrack.geometry import Box, Image, check_box

LARGEST = 2.0
"""Largest first box, in sides of the frame. Filters are as large as the target, so a nonsensical box would fill the memory."""


class Found(NamedTuple):
    """What a correlation filter says about one frame."""

    box: Box
    """``x, y, w, h`` in pixels, 0-based, float. It may leave the frame."""
    score: float
    """Height of the response's peak: about 1 where the target looks as it was learned, 0 where nothing is like it. Unbounded."""


class Target(NamedTuple):
    """The target in its first frame, as the papers' code sees it."""

    image: Image  # (H, W, 3)
    row: float  # of the centre: the first pixel's and half of the height, rounded down
    column: float
    height: float
    width: float
    box: Box  # as it was given


def start(frame: Array, box: Sequence[float]) -> Target:
    """Checks a frame and a box ``x, y, w, h``, and takes the target's centre and size from them.

    >>> start(np.zeros((50, 50, 3), np.uint8), (10, 20, 7, 8))[1:5]
    (24.0, 13.0, 8.0, 7.0)

    Raises:
        ValueError: the box has no area, is not finite, lies outside the frame or is far larger; or the frame is no image.
        TypeError: the frame's dtype has no defined meaning.
    """
    image = as_rgb(frame)
    height, width = image.shape[:2]
    x, y, w, h = checked = check_box(box, (height, width))
    if w > LARGEST * width or h > LARGEST * height:
        raise ValueError(f"box {tuple(checked)} is more than {LARGEST:g} times as large as the frame of {width}x{height} pixels")
    return Target(image, y + math.floor(h / 2), x + math.floor(w / 2), h, w, checked)


def box_around(row: float, column: float, height: float, width: float) -> Box:
    """The box that is reported for a place: half a pixel left of the first one for odd sizes, as in all published results."""
    return Box(column - width / 2, row - height / 2, float(width), float(height))


def grey(image: Image) -> Image:
    """RGB ``(..., H, W, 3)`` to its luma ``(..., H, W)``, rounded to uint8 as the papers' code does.

    >>> grey(np.array([[[255, 255, 255], [255, 0, 0], [0, 0, 255]]], np.uint8)).tolist()
    [[255, 76, 29]]
    """
    red, green, blue = (image[..., channel].astype(np.int32) for channel in range(3))
    return np.asarray((9798 * red + 19235 * green + 3735 * blue + (1 << 14)) >> 15, np.uint8)  # 0.299, 0.587, 0.114


def halved(image: Image) -> Image:
    """A grey image ``(H, W)`` at half its size, rounded up, bicubic and smoothed before: Matlab's ``imresize(image, 0.5)``."""
    near, far = np.array([0.5, 1.5]) / 2, np.array([2.5, 3.5]) / 2  # distances from the new pixel's centre, in new pixels
    inner = 1.5 * near**3 - 2.5 * near**2 + 1  # the cubic convolution kernel (Keys 1981, a = -1/2)
    outer = -0.5 * far**3 + 2.5 * far**2 - 4 * far + 2
    line = np.concatenate([outer[::-1], inner[::-1], inner, outer])
    line = (line / line.sum()).astype(np.float32)
    smooth = np.pad(image, ((3, 4), (3, 4)), mode="symmetric").astype(np.float32)
    for axis in (1, 0):
        begins = np.arange(0, image.shape[axis], 2)
        taps = [weight * smooth.take(begins + i, axis) for i, weight in enumerate(line)]
        smooth = np.sum(taps, axis=0, dtype=np.float32)
    return np.asarray(np.clip(np.round(smooth), 0, 255), np.uint8)


def subwindow(image: Image, row: float, column: float, height: int, width: int) -> Image:
    """The patch of ``height x width`` pixels around a place; outside the frame, the pixels at its border are repeated.

    An even side leans towards larger coordinates: the place is pixel ``side / 2 - 1`` of the patch.

    >>> subwindow(np.arange(5, dtype=np.uint8)[None], 0, 1, 1, 4).tolist()
    [[0, 1, 2, 3]]
    """
    rows = np.arange(height) + (math.floor(row) - height // 2 + 1)
    columns = np.arange(width) + (math.floor(column) - width // 2 + 1)
    return image.take(rows, 0, mode="clip").take(columns, 1, mode="clip")


def hann(height: int, width: int) -> Floats:
    """Cosine window ``(height, width)``, 0 at the border and 1 in the middle: what wraps around counts for nothing."""
    return np.outer(np.hanning(height), np.hanning(width))


def gaussian_labels(height: int, width: int, sigma: float) -> Floats:
    """What a filter should answer at each shift of its patch, ``(height, width)``: 1 at shift 0, which is the first element."""
    rows, columns = (np.fft.fftfreq(n, 1 / n) for n in (height, width))  # 0, 1, 2 .. -2, -1
    return np.asarray(np.exp(-0.5 / sigma**2 * np.add.outer(rows**2, columns**2)))


def gaussian_kernel(x: Floats, z: Floats, sigma: float) -> Floats:
    """The Gaussian kernel between ``x`` and ``z`` at all cyclic shifts: features ``(C, H, W)`` twice to ``(H, W)``.

    Element ``(i, j)`` is the kernel between ``x`` and ``z`` moved down by i and right by j. Equation (16) of Henriques et al.
    2012; for several channels, (31) of Henriques et al. 2015. Differences are per element, as in the released code of both.
    """
    zf = np.fft.rfft2(z)
    xf = zf if x is z else np.fft.rfft2(x)
    cross = np.fft.irfft2((xf * zf.conj()).sum(axis=0), s=x.shape[-2:])
    energy = np.vdot(x, x) + np.vdot(z, z)
    distance = np.maximum(0, energy - 2 * cross) / x.size  # rounding may take it below 0
    return np.asarray(np.exp(-distance / sigma**2))


def peak(response: Floats) -> tuple[int, int, float]:
    """Shift of the highest response ``(H, W)``, down and right, and its height; shifts beyond half wrap to negative ones.

    >>> peak(np.array([[0.0, 0, 0, 2], [0, 1, 0, 0]]))
    (0, -1, 2.0)
    """
    index = int(response.argmax())
    row, column = divmod(index, response.shape[1])
    down, right = (i - n if 2 * (i + 1) > n else i for i, n in zip((row, column), response.shape))
    return down, right, float(response[row, column])
