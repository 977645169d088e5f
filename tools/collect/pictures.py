"""What is made of an image: crops, cut-outs, photographs. Images are ``(H, W, 3)`` uint8 BGR, masks ``(H, W)`` of 0 and 255."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np

from metatrack.arrays import Float64, UInt8
from metatrack.files import write_atomically

SIZE, CONTEXT = 330, 127.0
"""Side of a crop, and of the target's context in it, in pixels."""
MOST_FILLER = 0.75
"""Share of a crop that may lie outside its image."""
NEAR_BITS = 7
"""Fingerprints that differ in so many bits or fewer are of one object."""

Shape: TypeAlias = "UInt8 | list[Float64] | None"
"""A mask, polygons of ``(k, 2)`` corners, or nothing."""


def write(path: Path, image: UInt8, quality: int = 0) -> None:
    """Writes an image by its suffix.

    Raises:
        OSError: the file cannot be written.
    """
    ok, data = cv2.imencode(path.suffix, image, [cv2.IMWRITE_JPEG_QUALITY, quality] if quality else [])
    if not ok:
        raise OSError(f"{path} cannot be written: OpenCV cannot encode it")
    write_atomically(path, np.asarray(data, np.uint8))


def crop(
    image: UInt8, box: tuple[float, float, float, float], mean: tuple[float, ...]
) -> tuple[UInt8, tuple[float, float, float, float]] | None:
    """The crop around a box, filled up with ``mean``, and the box in it; None if too little of it is image."""
    x, y, w, h = box
    margin = (w + h) / 2
    scale = CONTEXT / np.sqrt((w + margin) * (h + margin))
    cx, cy = x + w / 2, y + h / 2
    half = SIZE / 2 / scale
    height, width = image.shape[:2]
    across, down = min(width, cx + half) - max(0, cx - half), min(height, cy + half) - max(0, cy - half)
    if max(0, across) * max(0, down) / (2 * half) ** 2 < 1 - MOST_FILLER:
        return None
    source, sx, sy = image, 1.0, 1.0
    if scale < 0.5:  # shrunk first, or warpAffine would alias
        size = max(1, round(width * scale)), max(1, round(height * scale))
        source = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
        sx, sy = size[0] / width, size[1] / height
    # Pixel centres: u = (i + 0.5) / scale + left - 0.5 in the image, then through the shrinking.
    left, top = cx - half, cy - half
    matrix = np.array([[sx / scale, 0, (0.5 / scale + left) * sx - 0.5], [0, sy / scale, (0.5 / scale + top) * sy - 0.5]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    made = cv2.warpAffine(source, matrix, (SIZE, SIZE), flags=flags, borderMode=cv2.BORDER_CONSTANT, borderValue=mean)
    return np.asarray(made, np.uint8), ((x - left) * scale, (y - top) * scale, w * scale, h * scale)


def fingerprint(made: UInt8) -> int:
    """64 bits of a crop's middle: whether each cell of an 8 x 9 grid is brighter than the one to its left."""
    grey = cv2.resize(cv2.cvtColor(made[70:260, 70:260], cv2.COLOR_BGR2GRAY), (9, 8), interpolation=cv2.INTER_AREA)
    return int("".join("1" if bit else "0" for bit in (grey[:, 1:] > grey[:, :-1]).ravel()), 2)


class Seen:
    """Fingerprints so far."""

    def __init__(self) -> None:
        self._codes = np.zeros(0, np.uint64)

    def near(self, code: int) -> bool:
        """Whether one like it was there before; if not, it is kept."""
        if len(self._codes):
            bits = np.unpackbits((self._codes ^ np.uint64(code)).view(np.uint8).reshape(-1, 8), axis=1).sum(1)
            if bits.min() <= NEAR_BITS:
                return True
        self._codes = np.append(self._codes, np.uint64(code))
        return False


def binary(mask: UInt8, size: tuple[int, int]) -> UInt8:
    """The image of a mask as a mask of a size (height, width): what is brighter than mid grey in any channel is object."""
    if mask.ndim == 3:
        mask = mask[..., :3].max(2)
    made = (mask > 127).astype(np.uint8) * np.uint8(255)
    if made.shape != size:
        made = np.asarray(cv2.resize(made, (size[1], size[0]), interpolation=cv2.INTER_NEAREST), np.uint8)
    return made


def parts(mask: UInt8) -> list[tuple[tuple[float, float, float, float], UInt8]]:
    """Boxes and masks of the connected parts, without those below a fifth of the whole."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats((mask > 127).astype(np.uint8), connectivity=8)
    total = max(1, stats[1:, 4].sum()) if count > 1 else 1
    found = []
    for i in range(1, count):
        if stats[i, 4] > 0.2 * total:
            x, y, w, h = map(float, stats[i, :4])
            found.append(((x, y, w, h), np.where(labels == i, mask, 0).astype(np.uint8)))
    return found


def as_mask(shape: Shape, size: tuple[int, ...]) -> UInt8 | None:
    """A shape in an image of a size (height, width); None of polygons that are rectangles in disguise."""
    if not isinstance(shape, list):
        return shape
    if sum(map(len, shape)) < 12:
        return None
    mask = np.zeros(size, np.uint8)
    cv2.fillPoly(mask, [np.round(corners).astype(np.int32) for corners in shape], (255,))
    return mask


def cutout(image: UInt8, mask: UInt8) -> UInt8 | None:
    """The object with transparency ``(h, w, 4)``, its edge softened, 256 px at most; None if it will not do."""
    ys, xs = np.where(mask > 127)
    if len(xs) < 900:
        return None
    height, width = mask.shape
    left, top = max(0, xs.min() - 2), max(0, ys.min() - 2)
    right, bottom = min(width, xs.max() + 3), min(height, ys.max() + 3)
    w, h = right - left, bottom - top
    if min(w, h) < 28 or max(w / h, h / w) > 6:
        return None
    alpha, colors = mask[top:bottom, left:right], image[top:bottom, left:right]
    if not 0.12 <= (alpha > 127).mean() <= 0.93:  # scattered crumbs, or a box
        return None
    scale = 256 / max(alpha.shape)
    if scale < 1:
        size = max(1, round(alpha.shape[1] * scale)), max(1, round(alpha.shape[0] * scale))
        colors, alpha = (np.asarray(cv2.resize(each, size, interpolation=cv2.INTER_AREA), np.uint8) for each in (colors, alpha))
    soft = cv2.GaussianBlur(cv2.erode(alpha, np.ones((3, 3), np.uint8)), (3, 3), 0)  # pulled in by a pixel: no halo
    return np.dstack([colors, np.asarray(soft, np.uint8)])


def photo(image: UInt8) -> UInt8 | None:
    """A whole photograph, 800 px at most; None if it is small, long or empty."""
    height, width = image.shape[:2]
    if min(height, width) < 480 or max(height, width) > 2.2 * min(height, width) or image.std() < 25:
        return None
    scale = 800 / max(height, width)
    if scale >= 1:
        return image
    size = round(width * scale), round(height * scale)
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
