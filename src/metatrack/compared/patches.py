"""Patches of a frame around a target, at several scales, as SRDCF, DeepSRDCF and C-COT take them.

Their rounding is part of what they publish, and kept: a target's place is a pixel, ``floor(corner) + floor(size / 2)``; the box
that is reported has the size ``floor(base * scale)`` and begins ``floor(size / 2)`` before the place; a patch has sides of
``round(window * scale)`` pixels. Places and sizes are (row, column) and (height, width), 0-based.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from metatrack.arrays import Float32, Float64
from metatrack.compared.correlation import Target, subwindow
from metatrack.geometry import Box, Image

LEAST_WINDOW = 5.0
"""The target never becomes so small that its window has a side shorter than this, in pixels."""


@dataclass
class TargetPlace:
    """Where a target is, and how large."""

    row: int
    column: int
    base: tuple[float, float]
    """Height and width at scale 1, in pixels."""
    scale: float
    limits: tuple[float, float] = (0.0, math.inf)
    """Least and largest scale."""

    @classmethod
    def of(cls, target: Target, scale: float = 1.0) -> TargetPlace:
        """The place of a target whose given size is that at ``scale``."""
        top, left = target.row - math.floor(target.height / 2), target.column - math.floor(target.width / 2)
        row, column = (math.floor(a) + math.floor(b / 2) for a, b in ((top, target.height), (left, target.width)))
        return cls(row, column, (target.height / scale, target.width / scale), scale)

    def move(self, down: float, right: float, factor: float) -> None:
        """Moves by pixels, rounded to whole ones, and changes the scale by a factor, within its limits."""
        self.row += rounded(down)
        self.column += rounded(right)
        self.scale = min(max(self.scale * factor, self.limits[0]), self.limits[1])

    def box(self) -> Box:
        """The box that is reported.

        >>> TargetPlace(24, 13, (8.0, 7.0), 1.0).box()
        Box(x=10.0, y=20.0, w=7.0, h=8.0)
        """
        height, width = (max(1, math.floor(side * self.scale)) for side in self.base)
        return Box(float(self.column - width // 2), float(self.row - height // 2), float(width), float(height))


def scale_factors(count: int, step: float) -> Float64:
    """``count`` factors, ``step`` apart, around 1.

    >>> scale_factors(3, 2.0).tolist()
    [0.5, 1.0, 2.0]
    """
    return np.asarray(step ** (np.arange(count) - float((count - 1) // 2)))


def scale_limits(
    window: tuple[float, float], base: tuple[float, float], frame: tuple[int, ...], step: float
) -> tuple[float, float]:
    """Least and largest scale, as powers of ``step``: the window keeps 5 pixels a side, the target does not outgrow the frame."""
    least = math.ceil(math.log(max(LEAST_WINDOW / side for side in window), step))
    largest = math.floor(math.log(min(frame[0] / base[0], frame[1] / base[1]), step))
    return step**least, step**largest


def pyramid(image: Image, place: TargetPlace, window: tuple[int, int], factors: Iterable[float], smooth: bool = True) -> Image:
    """What is around a place at its scale times each factor: ``(N, h, w, 3)`` uint8, all of the window's size."""
    return np.stack([_patch(image, place, window, place.scale * float(factor), smooth) for factor in factors])


def _patch(image: Image, place: TargetPlace, window: tuple[int, int], scale: float, smooth: bool) -> Image:
    height, width = (max(2, rounded(side * scale)) for side in window)
    return resized(subwindow(image, place.row, place.column, height, width), window, smooth)


def resized(image: Image, size: tuple[int, int], smooth: bool = True) -> Image:
    """An image ``(H, W, C)`` uint8 at another size: means over areas where it shrinks, bilinear where it grows.

    Args:
        image: what is resized.
        size: height and width.
        smooth: False interpolates where it shrinks, too, so that pixels may be passed over.
    """
    if image.shape[:2] == size:
        return image
    rows, columns = (resampling(before, after, smooth) for before, after in zip(image.shape, size))
    planes = rows @ image.transpose(2, 0, 1).astype(np.float32) @ columns.T
    return np.ascontiguousarray(np.rint(planes).clip(0, 255).astype(np.uint8).transpose(1, 2, 0))


@lru_cache(maxsize=64)
def resampling(before: int, after: int, smooth: bool = True) -> Float32:
    """The matrix ``(after, before)`` that resizes a line of pixels: each row's sum is 1.

    >>> (resampling(3, 2) * 3).round().tolist()
    [[2.0, 1.0, 0.0], [0.0, 1.0, 2.0]]
    >>> resampling(2, 4).tolist()
    [[1.0, 0.0], [0.75, 0.25], [0.25, 0.75], [0.0, 1.0]]
    """
    ratio = before / after
    pixels = np.arange(before)
    if ratio > 1 and smooth:
        low = np.arange(after)[:, None] * ratio  # new pixel i covers [i, i + 1) * ratio
        weights = np.maximum(np.minimum(low + ratio, pixels + 1) - np.maximum(low, pixels), 0) / ratio
    else:
        centre = np.clip((np.arange(after) + 0.5) * ratio - 0.5, 0, before - 1)
        weights = np.maximum(1 - np.abs(centre[:, None] - pixels), 0)
    matrix: Float32 = weights.astype(np.float32)
    matrix.setflags(write=False)  # it is shared
    return matrix


def rounded(value: float) -> int:
    """To the nearest integer, halves away from zero.

    >>> rounded(-2.5), rounded(0.49)
    (-3, 0)
    """
    return int(math.copysign(math.floor(abs(value) + 0.5), value))
