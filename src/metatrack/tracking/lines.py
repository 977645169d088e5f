"""Lines: targets too thin for the trunk, whose place is read off the pixels instead; not in the paper.

A rope or a pole is less than a cell of the template high, so every part of it looks alike to the networks, and the box slides
along it. Its pixels still show its sides and its ends.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from metatrack.arrays import Float32, Floats
from metatrack.geometry import Center
from metatrack.tracking.patches import Patches

MARGIN, REACH = 4, 10
"""Pixels beyond either end that are compared, and pixels by which a line moves between two frames at most."""


class Line(NamedTuple):
    """A line's pixels in its first frame, with its surroundings along x and along y."""

    x: Float32  # (w + 2 MARGIN, h, 3)
    y: Float32  # (h + 2 MARGIN, w, 3)


def line(patches: Patches, center: Center) -> Line:
    """The line as it is in its first frame."""
    return Line(*(_strip(patches, center, axis, MARGIN) for axis in (0, 1)))


def followed(own: Line, patches: Patches, center: Center) -> Center:
    """Where the line is now, at its old size; first across it, where it is steep."""
    for axis in (0, 1) if center.w < center.h else (1, 0):
        seen = _strip(patches, center, axis, MARGIN + REACH)
        windows = np.lib.stride_tricks.sliding_window_view(seen, len(own[axis]), axis=0)  # (2 REACH + 1, m, 3, n)
        costs = np.square(windows - own[axis].transpose(1, 2, 0)).sum((1, 2, 3))
        best = int(np.argmin(costs))
        shift = float(best - REACH)
        if 0 < best < len(costs) - 1:  # the parabola through three points
            before, at, behind = costs[best - 1 : best + 2].tolist()
            shift += 0.5 * (before - behind) / max(before - 2 * at + behind, 1e-9)
        center = center._replace(cx=center.cx + shift) if axis == 0 else center._replace(cy=center.cy + shift)
    return center


def _strip(patches: Patches, center: Center, axis: int, margin: int) -> Float32:
    """The box's pixels ``(n, m, 3)``, along an axis from ``margin`` before it to ``margin`` behind, and across it."""
    place, length = center[axis], center[2 + axis]
    other, across = center[1 - axis], center[3 - axis]
    image = patches.image if axis == 1 else patches.image.swapaxes(0, 1)  # the axis comes first
    steps: Floats = place + np.arange(round(length) + 2 * margin) - (round(length) - 1) / 2 - margin - 0.5
    first = round(other - across / 2)
    lines = np.arange(first, first + max(1, round(across))).clip(0, image.shape[1] - 1)
    low = np.floor(steps).astype(int)
    share = (steps - low).astype(np.float32)[:, None, None]
    rows = [image[(low + k).clip(0, image.shape[0] - 1)][:, lines].astype(np.float32) for k in (0, 1)]
    return np.asarray(rows[0] * (1 - share) + rows[1] * share, np.float32)
