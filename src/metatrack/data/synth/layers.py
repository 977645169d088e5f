"""Objects as they lie on frames."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from metatrack.arrays import Float32, Float64, UInt8
from metatrack.data.opencv import cv2
from metatrack.data.synth.cutouts import Cutout
from metatrack.data.synth.motion import Motion
from metatrack.geometry import context_side

SUPERSAMPLE = 2
"""Layers are warped at this multiple of the frame's resolution, then averaged: soft edges, and boxes exact to half a pixel."""


@dataclass(frozen=True)
class Layer:
    """An object as it lies on the frame: premultiplied colours in the rectangle whose top-left pixel is (x, y)."""

    x: int
    y: int
    rgb: Float32  # (h, w, 3), 0-255, premultiplied by alpha
    alpha: Float32  # (h, w), 0-1
    box: tuple[float, float, float, float]  # x, y, w, h: tight about alpha > 0.5 in the supersampled layer

    def moved(self, dx: int, dy: int) -> Layer:
        """The layer moved by whole pixels; it may then reach beyond the frame."""
        x, y, w, h = self.box
        return replace(self, x=self.x + dx, y=self.y + dy, box=(x + dx, y + dy, w, h))


@dataclass(frozen=True)
class Actor:
    """An object of a clip: how it looks and where it is in each frame."""

    cutout: Cutout
    tables: list[UInt8]  # of each frame, (1, 256, 3): see metatrack.data.synth.light.color_table
    motion: Motion
    contexts: Float64  # (length,), context side in pixels
    centers: Float64  # (length, 2), x and y of the box's centre in pixels

    def layer(self, i: int, size: int, *, exact: bool = False) -> Layer | None:
        """The object in frame i of size x size pixels; None where nothing of it is left inside.

        The hull alone says where the box will be, unless thin parts (a tail, an antenna) fade away when the object shrinks: with
        ``exact`` the placement is then corrected by the box that came out.
        """
        cutout = self.motion.bent(self.cutout, i)
        context, center = self.contexts[i], self.centers[i]
        place = fit(cutout, self.motion.pose(cutout, i), context, center)
        for _ in range(4 if exact else 1):
            layer = render(cutout, self.tables[i], place, size)
            if layer is None:
                break
            x, y, w, h = layer.box
            middle = np.array([x + w / 2, y + h / 2])
            correction = _onto(middle, (w, h), context, center)
            if abs(correction[0, 0] - 1) < 0.01 and np.abs(middle - center).max() < 0.5:
                break
            place = correction @ place
        return layer


def fit(cutout: Cutout, pose: Float64, context: float, center: Float64) -> Float64:
    """The pose, scaled and moved so that the hull's box has this context side and centre: a homography (3, 3)."""
    points = np.column_stack([cutout.hull, np.ones(len(cutout.hull))]) @ pose.T  # (n, 3)
    points = points[:, :2] / points[:, 2:]
    low, high = points.min(0), points.max(0)
    return np.asarray(_onto((low + high) / 2, high - low, context, center) @ pose)


def _onto(middle: Float64, sides: Sequence[float] | Float64, context: float, center: Float64) -> Float64:
    """Homography (3, 3) that takes a box of this middle (2,), width and height to this context side and centre (2,)."""
    scale = context / context_side(*sides)
    return np.array([[scale, 0, center[0] - scale * middle[0]], [0, scale, center[1] - scale * middle[1]], [0, 0, 1]])


def render(cutout: Cutout, table: UInt8, place: Float64, size: int) -> Layer | None:
    """Warps an object onto a frame of size x size pixels; None where nothing of it is left inside."""
    h, w = cutout.alpha.shape
    corners = np.array([[-w / 2, -h / 2, 1], [w / 2, -h / 2, 1], [-w / 2, h / 2, 1], [w / 2, h / 2, 1]]) @ place.T
    corners = corners[:, :2] / corners[:, 2:]
    x0, y0 = (max(0, math.floor(v) - 1) for v in corners.min(0))
    x1, y1 = (min(size, math.ceil(v) + 1) for v in corners.max(0))
    if x1 - x0 < 4 or y1 - y0 < 4:
        return None
    n = SUPERSAMPLE
    # From pixel indices of the object (centres at +0.5, origin in the middle) to pixel indices of the supersampled layer.
    source = np.array([[1, 0, 0.5 - w / 2], [0, 1, 0.5 - h / 2], [0, 0, 1]])
    target = np.array([[n, 0, -n * x0 - 0.5], [0, n, -n * y0 - 0.5], [0, 0, 1]])
    opacity = cutout.alpha.astype(np.float32) * np.float32(1 / 255)
    premultiplied = np.dstack([cv2.LUT(cutout.color, table) * opacity[..., None], opacity])  # (h, w, 4)
    fine = cv2.warpPerspective(premultiplied, target @ place @ source, (n * (x1 - x0), n * (y1 - y0)), flags=cv2.INTER_LINEAR)
    left, top, width, height = cv2.boundingRect((fine[..., 3] > 0.5).astype(np.uint8))
    if width < n or height < n:
        return None
    coarse = cv2.resize(fine, (x1 - x0, y1 - y0), interpolation=cv2.INTER_AREA)
    box = (x0 + left / n, y0 + top / n, width / n, height / n)
    return Layer(x0, y0, np.asarray(coarse[..., :3], np.float32), np.asarray(coarse[..., 3], np.float32), box)


def _common(shape: tuple[int, ...], layer: Layer, x: int = 0, y: int = 0) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """What an image of this shape, its corner at (x, y), shares with a layer: rows and columns of the image, and of the layer."""
    height, width = layer.alpha.shape
    rows, own_rows = _shared(y, shape[0], layer.y, height)
    columns, own_columns = _shared(x, shape[1], layer.x, width)
    return (rows, columns), (own_rows, own_columns)


def _shared(a: int, a_length: int, b: int, b_length: int) -> tuple[slice, slice]:
    """What the intervals [a, a + a_length) and [b, b + b_length) share, counted from the start of either.

    >>> _shared(0, 10, 7, 5), _shared(0, 10, -5, 3)
    ((slice(7, 10, None), slice(0, 3, None)), (slice(0, 0, None), slice(5, 5, None)))
    """
    start = max(a, b)
    stop = max(start, min(a + a_length, b + b_length))
    return slice(start - a, stop - a), slice(start - b, stop - b)


def blend(frame: UInt8, layer: Layer) -> None:
    """Lays the layer over the frame, in place; what reaches beyond the frame is cut off."""
    place, own = _common(frame.shape, layer)
    part = frame[place]
    mixed = part * (1 - layer.alpha[own])[..., None] + layer.rgb[own]
    part[...] = np.clip(mixed + 0.5, 0, 255).astype(np.uint8)


def paste(numbers: UInt8, layer: Layer, number: int) -> None:
    """Writes a number where the layer is opaque by more than half, in place: numbers (h, w) of the frame's objects."""
    place, own = _common(numbers.shape, layer)
    numbers[place][layer.alpha[own] > 0.5] = number


def coverage(target: Layer, cover: Layer) -> float:
    """Share of the target's opacity that the cover hides."""
    place, own = _common(target.alpha.shape, cover, target.x, target.y)
    hidden = float(np.vdot(target.alpha[place], cover.alpha[own]))
    return hidden / max(float(target.alpha.sum()), 1e-6)
