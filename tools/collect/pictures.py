"""What is made of an image: crops, cut-outs, photographs. Images are ``(H, W, 3)`` uint8 RGB, masks ``(H, W)`` of 0 and 255."""

from __future__ import annotations

import cv2
import numpy as np

from metatrack import geometry
from metatrack.arrays import Bools, Float64, UInt8
from metatrack.geometry import EXEMPLAR_SIZE, Box, context_side, mean_color, to_center
from metatrack.images import resize

SIZE = 330
"""Side of a crop in pixels, in which the target's context has 127."""
NEAR_BITS = 7
"""Fingerprints that differ in so many of 64 bits or fewer are of one object."""


def crop(image: UInt8, box: Box) -> tuple[UInt8, Box]:
    """The crop around a box, filled up with the image's mean, and the box in it."""
    center, side = to_center(box), context_side(box.w, box.h)
    scale = EXEMPLAR_SIZE / side
    made = geometry.crop(image, center.cx, center.cy, SIZE / scale, SIZE, mean_color(image))
    w, h = box.w * scale, box.h * scale
    return made, Box(SIZE / 2 - w / 2, SIZE / 2 - h / 2, w, h)


def covered(a: Box, b: Box) -> float:
    """The share of ``a`` that ``b`` covers."""
    across = min(a.x + a.w, b.x + b.w) - max(a.x, b.x)
    down = min(a.y + a.h, b.y + b.h) - max(a.y, b.y)
    return max(0.0, across) * max(0.0, down) / (a.w * a.h + 1e-9)


def share_of_image(box: Box, shape: tuple[int, ...]) -> float:
    """How much of the crop around a box is image, not filler."""
    center, side = to_center(box), context_side(box.w, box.h) * SIZE / EXEMPLAR_SIZE
    square = Box(center.cx - side / 2, center.cy - side / 2, side, side)
    return covered(square, Box(0.0, 0.0, float(shape[1]), float(shape[0])))


class Seen:
    """Fingerprints of crops so far: whether each cell of an 8 x 9 grid is brighter than the one to its left."""

    def __init__(self) -> None:
        self._known: Bools = np.zeros((0, 64), np.bool_)

    def near(self, made: UInt8) -> bool:
        """Whether a crop like it was there before; if not, it is kept."""
        grey = cv2.resize(cv2.cvtColor(made[70:260, 70:260], cv2.COLOR_RGB2GRAY), (9, 8), interpolation=cv2.INTER_AREA)
        bits = (grey[:, 1:] > grey[:, :-1]).ravel()
        if (self._known != bits).sum(1).min(initial=64) <= NEAR_BITS:
            return True
        self._known = np.vstack([self._known, bits])
        return False


def parts(mask: UInt8, size: tuple[int, int]) -> list[tuple[Box, UInt8]]:
    """Boxes and masks of the connected parts of a mask's image, without those below a fifth of the whole.

    Args:
        mask: ``(H, W, 3)``; what is brighter than mid grey in any channel is object.
        size: height and width of the image that it belongs to.
    """
    object_ = (mask.max(2) > 127).astype(np.uint8)
    if object_.shape != size:
        object_ = np.asarray(cv2.resize(object_, size[::-1], interpolation=cv2.INTER_NEAREST), np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(object_, connectivity=8)
    total = stats[1:, cv2.CC_STAT_AREA].sum()
    large = [i for i in range(1, len(stats)) if stats[i, cv2.CC_STAT_AREA] > 0.2 * total]
    return [(Box(*map(float, stats[i, :4])), (labels == i).astype(np.uint8) * np.uint8(255)) for i in large]


def filled(polygons: list[Float64], size: tuple[int, ...]) -> UInt8 | None:
    """Polygons as a mask of a size (height, width); None of those that are rectangles in disguise."""
    if sum(map(len, polygons)) < 12:
        return None
    mask = np.zeros(size, np.uint8)
    cv2.fillPoly(mask, [np.round(corners).astype(np.int32) for corners in polygons], (255,))
    return mask


def cutout(image: UInt8, mask: UInt8) -> UInt8 | None:
    """The object with transparency ``(h, w, 4)``, its edge softened, 256 px at most; None if it will not do."""
    x, y, w, h = cv2.boundingRect((mask > 127).astype(np.uint8))
    left, top, right, bottom = max(0, x - 2), max(0, y - 2), x + w + 2, y + h + 2
    alpha, colors = mask[top:bottom, left:right], image[top:bottom, left:right]
    height, width = alpha.shape
    if (mask > 127).sum() < 900 or min(width, height) < 28 or max(width / height, height / width) > 6:
        return None
    if not 0.12 <= (alpha > 127).mean() <= 0.93:  # scattered crumbs, or a box
        return None
    scale = 256 / max(width, height)
    if scale < 1:
        size = max(1, round(width * scale)), max(1, round(height * scale))
        colors, alpha = (np.asarray(cv2.resize(each, size, interpolation=cv2.INTER_AREA), np.uint8) for each in (colors, alpha))
    soft = cv2.GaussianBlur(cv2.erode(alpha, np.ones((3, 3), np.uint8)), (3, 3), 0)  # pulled in by a pixel: no halo
    return np.dstack([colors, np.asarray(soft, np.uint8)])


def photo(image: UInt8) -> UInt8 | None:
    """A whole photograph, 800 px at most; None if it is small, long or empty."""
    height, width = image.shape[:2]
    if min(height, width) < 480 or max(height, width) > 2.2 * min(height, width) or image.std() < 25:
        return None
    scale = min(1.0, 800 / max(height, width))
    return resize(image, (round(width * scale), round(height * scale)))
