"""What is made of images: crops, cut-outs, photographs, trajectories. Images are ``(H, W, 3)`` uint8 RGB, masks of 0 and 255."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from metatrack import geometry
from metatrack.arrays import Bools, Float32, Float64, UInt8
from metatrack.files import write_atomically
from metatrack.geometry import EXEMPLAR_SIZE, Box, Image, context_side, mean_color, to_center
from metatrack.images import read_image, resize, write_image
from metatrack.video.overlay import draw, filmstrip

SIZE = 330  # side of a crop in pixels, in which the target's context has 127
NEAR_BITS = 7  # fingerprints that differ in so many of 64 bits or fewer are of one object
Crops = list[tuple[Image, Box]]  # a trajectory: crops, and the box in each


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
    """Boxes and masks of the connected parts of a mask's image ``(H, W, 3)``, without those below a fifth of the whole.

    What is brighter than mid grey in any channel is object; ``size`` is height and width of the image that it belongs to.
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


def appearance(patch: UInt8, box: Box) -> Float32:
    """The target in grey, 32 x 32, of mean 0 and deviation 1."""
    x, y, w, h = map(round, box)
    part = cv2.resize(patch[max(0, y) : y + h, max(0, x) : x + w], (32, 32), interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(part, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return np.asarray((grey - grey.mean()) / (grey.std() + 1e-3), np.float32)


def write_trajectory(folder: Path, crops: Crops, quality: int) -> None:
    """Writes a trajectory in GOT-10k's layout, in place of what is in the folder; ``quality`` is JPEG's."""
    shutil.rmtree(folder, ignore_errors=True)
    for k, (patch, _) in enumerate(crops, 1):
        write_image(folder / f"{k:08d}.jpg", patch, quality=quality)
    rows = (",".join(f"{value:.3f}" for value in box) for _, box in crops)
    write_atomically(folder / "groundtruth.txt", "".join(f"{row}\n" for row in rows))


def sheet(folders: Sequence[Path]) -> Image:
    """A contact sheet: a row of eight frames for each trajectory, with the boxes."""
    shown, captions = [], []
    for folder in folders:
        boxes = np.loadtxt(folder / "groundtruth.txt", delimiter=",", ndmin=2)
        for k in np.linspace(0, len(boxes) - 1, 8).astype(int):
            shown.append(draw(read_image(folder / f"{k + 1:08d}.jpg"), boxes[k])[50 : SIZE - 50, 50 : SIZE - 50])
            captions.append(f"{folder.name[-26:]} {k}")
    return filmstrip(shown, columns=8, captions=captions, height=150)
