"""A frame, as the tracker sees it: square patches around places."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from metatrack.arrays import UInt8
from metatrack.geometry import EXEMPLAR_SIZE, Center, Image, context_side, crop, mean_color


class Patches:
    """Cuts patches out of one RGB frame ``(H, W, 3)``; what lies outside it is its mean colour."""

    def __init__(self, image: Image) -> None:
        self.image = image
        self.height, self.width = image.shape[:2]
        self.size = (self.width, self.height)

    def cut(self, cx: float, cy: float, side: float, size: int) -> Image:
        """The square of ``side`` image pixels around ``(cx, cy)``, as ``(size, size, 3)``."""
        inside = side / 2 <= cx <= self.width - side / 2 and side / 2 <= cy <= self.height - side / 2
        return crop(self.image, cx, cy, side, size, (0.0, 0.0, 0.0) if inside else self._mean_color)

    def target(self, center: Center, scales: Sequence[float] = (1.0,)) -> UInt8:
        """A target's patches for templates, one for each scale: ``(m, 127, 127, 3)``."""
        side = context_side(center.w, center.h)
        return np.stack([self.cut(center.cx, center.cy, side / scale, EXEMPLAR_SIZE) for scale in scales])

    def inside(self, center: Center) -> Center:
        """The target, its centre moved into the frame if it has left it: so its box always meets the frame."""
        return center._replace(cx=min(max(center.cx, 0.0), float(self.width)), cy=min(max(center.cy, 0.0), float(self.height)))

    @cached_property
    def _mean_color(self) -> tuple[float, float, float]:
        """Of every 8th pixel."""
        return mean_color(np.ascontiguousarray(self.image[::8, ::8]))
