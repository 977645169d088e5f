"""Median flow: a box moves as most of its points do, of those that come back to where they were.

Kalal, Mikolajczyk and Matas: Forward-Backward Error: Automatic Detection of Tracking Failures, ICPR 2010. Optical flow is
OpenCV's (pyramidal Lucas and Kanade).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from metatrack.arrays import Float32
from metatrack.geometry import Box, Image
from metatrack.opencv import require_opencv

cv2 = require_opencv("TLD's optical flow")


POINTS = 10
"""Along each side of the box."""
MARGIN = 5
"""Pixels between them and the box's border."""
LARGEST_ERROR = 10.0
"""Median of the forward-backward errors, in pixels, at which the box is lost."""
PATCH = 10
"""Side in pixels of the surroundings of a point that are compared."""
LEVELS = 5
WINDOW = 9
"""Side in pixels of the window of the optical flow."""


def follow(before: Image, after: Image, box: Box) -> Box | None:
    """Where a box of one grey frame ``(H, W)`` is in the next one; None where it is lost."""
    points = _points(box)
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 20, 0.03)
    settings: dict[str, Any] = {"winSize": (WINDOW, WINDOW), "maxLevel": LEVELS, "criteria": criteria}
    there, found, _ = cv2.calcOpticalFlowPyrLK(before, after, points[:, None], points[:, None].copy(), **settings)
    back, returned, _ = cv2.calcOpticalFlowPyrLK(after, before, there, points[:, None].copy(), **settings)
    kept = (found.ravel() > 0) & (returned.ravel() > 0)
    if not kept.any():
        return None
    start, end = points[kept], np.asarray(there, np.float32)[kept, 0]
    error = np.linalg.norm(np.asarray(back, np.float32)[kept, 0] - start, axis=1)
    likeness = correlation(surroundings(before, start), surroundings(after, end))
    if np.median(error) > LARGEST_ERROR:
        return None
    good = (error <= np.median(error)) & (likeness >= np.median(likeness))
    return moved(box, start[good], end[good])


def _points(box: Box) -> Float32:
    """A grid of points inside the box, ``(100, 2)`` as x, y of pixels whose first is 0."""
    x, y = (np.linspace(begin + MARGIN, begin + size - 1 - MARGIN, POINTS) for begin, size in ((box.x, box.w), (box.y, box.h)))
    return np.stack(np.meshgrid(x, y), axis=2).reshape(-1, 2).astype(np.float32)


def moved(box: Box, start: Float32, end: Float32) -> Box | None:
    """The box moved by the median of the points' ways, and enlarged by the median ratio of their distances to each other.

    >>> moved(Box(0, 0, 10, 10), np.float32([[0, 0], [4, 0], [0, 4]]), np.float32([[1, 2], [9, 2], [1, 10]]))
    Box(x=-4.0, y=-3.0, w=20.0, h=20.0)
    """
    if not len(start):
        return None
    right, down = np.median(end - start, axis=0)
    ratio = 1.0
    first, second = np.triu_indices(len(start), 1)
    before = np.linalg.norm(start[first] - start[second], axis=1)
    if (apart := before > 0).any():
        ratio = float(np.median(np.linalg.norm(end[first] - end[second], axis=1)[apart] / before[apart]))
    if ratio <= 0:
        return None
    width, height = box.w * ratio, box.h * ratio
    x, y = box.x + right - (width - box.w) / 2, box.y + down - (height - box.h) / 2
    return Box(float(x), float(y), width, height)


def surroundings(image: Image, points: Float32) -> Float32:
    """Patches ``(n, 10 * 10)`` around points ``(n, 2)``, bilinear; outside the frame its border is repeated."""
    offsets = np.arange(PATCH, dtype=np.float32) - (PATCH - 1) / 2
    x = np.clip(points[:, :1] + offsets, 0, image.shape[1] - 1)[:, None]  # (n, 1, 10)
    y = np.clip(points[:, 1:] + offsets, 0, image.shape[0] - 1)[:, :, None]  # (n, 10, 1)
    left, top = np.floor(x).astype(np.intp), np.floor(y).astype(np.intp)
    right, bottom = np.minimum(left + 1, image.shape[1] - 1), np.minimum(top + 1, image.shape[0] - 1)
    dx, dy = x - left, y - top
    upper = image[top, left] * (1 - dx) + image[top, right] * dx
    lower = image[bottom, left] * (1 - dx) + image[bottom, right] * dx
    return np.asarray((upper * (1 - dy) + lower * dy).reshape(len(points), -1), np.float32)


def correlation(a: Float32, b: Float32) -> Float32:
    """Normalised cross-correlation of each patch ``(n, k)`` with its partner, in -1..1; 0 where one is flat."""
    a, b = (patches - patches.mean(axis=1, keepdims=True) for patches in (a, b))
    length = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    return np.asarray((a * b).sum(axis=1) / np.maximum(length, 1e-6), np.float32)
