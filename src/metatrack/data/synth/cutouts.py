"""Objects with transparency: what is usable of the images found, and shapes that are drawn."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from metatrack.arrays import Float64, Rng, UInt8
from metatrack.data.opencv import cv2

OBJECT_SIDE = 256  # objects are kept with their longest side at most this long: twice what a frame ever shows of them
MIN_OBJECT_SIDE = 48


@dataclass(frozen=True)
class Cutout:
    """An object with transparency. Its own coordinates have their origin at the middle of the image and unit one pixel."""

    color: UInt8  # (h, w, 3) RGB, not premultiplied
    alpha: UInt8  # (h, w), 255 = opaque

    @cached_property
    def hull(self) -> Float64:
        """Corners (n, 2) of the convex hull of ``alpha > 0.5``, own coordinates."""
        # The ends of each row hold all corners of the hull: far fewer points than the mask.
        solid = self.alpha > 127
        rows = np.flatnonzero(solid.any(1))
        left, right = solid[rows].argmax(1), solid.shape[1] - solid[rows, ::-1].argmax(1)
        ends = np.concatenate([np.column_stack([x, rows + dy]) for x in (left, right) for dy in (0, 1)]).astype(np.float32)
        outline = np.asarray(cv2.convexHull(ends), np.float64).reshape(-1, 2)
        return np.asarray(outline - np.array([solid.shape[1] / 2, solid.shape[0] / 2]))

    def mirrored(self) -> Cutout:
        return Cutout(np.ascontiguousarray(self.color[:, ::-1]), np.ascontiguousarray(self.alpha[:, ::-1]))

    def shrunk(self, longest: int) -> Cutout:
        """The object with its longest side at most this long."""
        factor = longest / max(self.alpha.shape)
        if factor >= 1:
            return self
        width, height = (max(1, round(n * factor)) for n in self.alpha.shape[::-1])
        # Colours are weighted by alpha: hidden colours of clear pixels must not bleed in.
        opacity = self.alpha.astype(np.float32) / 255
        small = cv2.resize(np.dstack([self.color * opacity[..., None], opacity]), (width, height), interpolation=cv2.INTER_AREA)
        straight = small[..., :3] / np.maximum(small[..., 3:], 1e-3)
        return Cutout(np.clip(np.rint(straight), 0, 255).astype(np.uint8), np.rint(small[..., 3] * 255).astype(np.uint8))


def read_object(path: Path) -> Cutout | None:
    """Reads an image with transparency as an object, or None where it is of no use as a target.

    Kept are images whose opaque part (alpha > 0.5), after removal of a fringe of one pixel in full resolution where light or
    dark mattes hide,

    - is at least 48 px long and 24 px wide, no thinner than 1 : 4.5, and covers 12-98 % of its bounding rectangle (thin line
      art is nearly empty, a full rectangle has no usable alpha);
    - is detailed: at least 40 different colours of 4 bits per channel and a grey standard deviation of 10 or more inside, which
      letters, digits, notes and flat symbols do not reach (they have 1 to 30 colours; photographs 100 to 500);
    - has texture: a Laplacian above 2 grey levels in at least 15 % of its inside (flat cartoons have 1-15 %).
    """
    found = cv2.imread(os.fspath(path), cv2.IMREAD_UNCHANGED)
    if found is None or found.ndim != 3 or found.shape[2] != 4 or found.dtype not in (np.uint8, np.uint16):
        return None
    raw = np.asarray(found // 257 if found.dtype == np.uint16 else found, np.uint8)
    alpha = raw[..., 3]
    if max(alpha.shape) > OBJECT_SIDE // 2:  # in a small image one pixel is too much of the object
        alpha = np.asarray(cv2.erode(alpha, np.ones((3, 3), np.uint8)), np.uint8)
    x, y, w, h = cv2.boundingRect((alpha > 127).astype(np.uint8))
    if max(w, h) < MIN_OBJECT_SIDE or min(w, h) < MIN_OBJECT_SIDE // 2 or max(w, h) > 4.5 * min(w, h):
        return None
    color = np.ascontiguousarray(raw[y : y + h, x : x + w, 2::-1])
    cutout = Cutout(color, np.ascontiguousarray(alpha[y : y + h, x : x + w])).shrunk(OBJECT_SIDE)
    return cutout if _is_detailed(cutout) else None


def _is_detailed(cutout: Cutout) -> bool:
    """Whether the opaque part fills enough of the image and has the colours and the texture that :func:`read_object` demands."""
    solid = cutout.alpha > 127
    if not 0.12 <= solid.mean() <= 0.98:
        return False
    pixels = cutout.color[solid].astype(np.int32) >> 4
    colors = np.unique(pixels @ np.array([1, 16, 256])).size
    gray = cv2.cvtColor(cutout.color, cv2.COLOR_RGB2GRAY)
    inside = cv2.erode(solid.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    if colors < 40 or inside.sum() < 200 or gray[inside].std() < 10:
        return False
    return bool((np.abs(cv2.Laplacian(gray, cv2.CV_32F))[inside] > 2).mean() >= 0.15)


def draw_shape(rng: Rng, side: int) -> UInt8:
    """The alpha (side, side) of a random polygon or rounded shape with a soft edge."""
    if rng.random() < 0.5:  # corners
        n = int(rng.integers(3, 10))
        angles = np.sort((np.arange(n) + rng.uniform(-0.35, 0.35, n)) * 2 * math.pi / n)
        radius = rng.uniform(0.6, 1.0, n)
    else:  # an ellipse with a few waves
        angles = np.linspace(0, 2 * math.pi, 48, endpoint=False)
        radius = np.ones_like(angles)
        for k in range(2, 6):
            radius = radius + rng.normal(0, 0.35 / k) * np.cos(k * angles + rng.uniform(0, 2 * math.pi))
        radius = np.clip(radius, 0.3, 2.0)
    points = np.column_stack([np.cos(angles), np.sin(angles)]) * radius[:, None]
    points[:, 0] *= math.exp(rng.uniform(-0.6, 0.6))
    points -= (points.min(0) + points.max(0)) / 2
    points *= (side / 2 - 6) / np.abs(points).max()
    alpha = np.zeros((side, side), np.uint8)
    outline = np.rint((points + side / 2) * 16).astype(np.int32)
    cv2.fillPoly(alpha, [outline], (255,), lineType=cv2.LINE_AA, shift=4)
    return np.asarray(cv2.GaussianBlur(alpha, (0, 0), rng.uniform(0.6, 1.6)), np.uint8)
