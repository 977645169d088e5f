"""The stock of objects and photographs that a composer draws from."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image as PilImage

from metatrack.arrays import Rng, UInt8
from metatrack.data.opencv import cv2
from metatrack.data.synth.cutouts import MIN_OBJECT_SIDE, Cutout, draw_shape, read_object
from metatrack.data.synth.files import Subset, as_roots, image_files, in_subset, picture_key

WORK_SIDE = 176  # longest side in pixels of the object that one clip warps
BLOB_SIDE = 128  # side in pixels of a shape cut from a photograph
MIN_PHOTO_SIDE = 300
PHOTO_SIDE = 1000  # photographs are kept with their shorter side about this long


class Photographs:
    """Photographs, read when first used, and kept.

    Args:
        backgrounds: folder or folders of photographs.
        subset: the part that is used.
        recolor: share of the squares whose channels are permuted.

    Raises:
        FileNotFoundError: a folder does not exist.
        ValueError: the folders hold nothing of this subset.
    """

    def __init__(self, backgrounds: Path | Iterable[Path], subset: Subset, recolor: float) -> None:
        self.recolor = recolor
        roots = as_roots(backgrounds)
        photos = find_photos(roots)
        self.photo_paths = [path for path in photos if in_subset(path, subset)]
        if not self.photo_paths:
            raise ValueError(
                f"no usable background of subset {subset!r} in {_names(roots)}: needed are photographs of at least "
                f"{MIN_PHOTO_SIDE} px on either side ({len(photos)} before the split)"
            )
        self._photos: dict[int, UInt8] = {}

    def square(self, rng: Rng, low: float, high: float, size: int, detail: float) -> UInt8:
        """A random square of a random photograph, side in [low, high] px (log-uniform), at (size, size, 3) pixels.

        Half of Debian's wallpapers are smooth or clear: up to six squares are tried until one has this much :func:`_detail`.
        Few photographs go a long way: squares are mirrored, some turned by 90 degrees, some with their channels permuted.
        """
        tried: list[tuple[float, UInt8]] = []
        while len(tried) < 6 and not (tried and tried[-1][0] >= detail):
            part = self._part(rng, low, high)
            tried.append((_detail(part), part))
        _, best = max(tried, key=lambda item: item[0])
        out = cv2.resize(best, (size, size), interpolation=cv2.INTER_AREA if best.shape[0] > size else cv2.INTER_LINEAR)
        mirror, turn, recolor, order = rng.random(), rng.random(), rng.random(), rng.permutation(3)
        if mirror < 0.5:
            out = out[:, ::-1]
        if turn < 0.2:
            out = out.transpose(1, 0, 2)
        if recolor < self.recolor:
            out = out[..., order]
        return np.ascontiguousarray(out, np.uint8)

    def _part(self, rng: Rng, low: float, high: float) -> UInt8:
        """A square of a photograph as it is: (side, side, 3), side in [low, high] or what the photograph has."""
        index = int(rng.integers(len(self.photo_paths)))
        if index not in self._photos:
            self._photos[index] = read_photo(self.photo_paths[index])
        photo = self._photos[index]
        height, width = photo.shape[:2]
        side = int(min(height, width, math.exp(rng.uniform(math.log(low), math.log(high)))))
        x, y = int(rng.integers(width - side + 1)), int(rng.integers(height - side + 1))
        return photo[y : y + side, x : x + side]


class Stock(Photographs):
    """Objects (a few hundred small images), which are read at once, beside the photographs.

    Args:
        objects: folder or folders of images with transparency.
        backgrounds, subset, recolor: of :class:`Photographs`; the subset is of the objects too.

    Raises:
        FileNotFoundError, ValueError: see there.
    """

    def __init__(
        self, objects: Path | Iterable[Path], backgrounds: Path | Iterable[Path], subset: Subset, recolor: float
    ) -> None:
        roots = as_roots(objects)
        candidates = [path for path in image_files(roots) if in_subset(path, subset)]
        found = {path: cutout for path in candidates if (cutout := read_object(path)) is not None}
        if not found:
            raise ValueError(
                f"no usable object of subset {subset!r} among {len(candidates)} image files in {_names(roots)}: needed "
                f"are detailed images with transparency, at least {MIN_OBJECT_SIDE} px long"
            )
        self.object_paths = list(found)
        self._objects = list(found.values())
        super().__init__(backgrounds, subset, recolor)

    def thing(self, rng: Rng, blob: float) -> Cutout:
        """With probability ``blob`` a random shape cut from a photograph, else a random object, half of them mirrored."""
        if rng.random() < blob:
            alpha = draw_shape(rng, BLOB_SIDE)
            return Cutout(self.square(rng, 60, 500, BLOB_SIDE, 9.0), alpha)
        cutout = self._objects[int(rng.integers(len(self._objects)))].shrunk(WORK_SIDE)
        return cutout.mirrored() if rng.random() < 0.5 else cutout


def _names(roots: list[Path]) -> str:
    return ", ".join(str(root) for root in roots)


def _detail(part: UInt8) -> float:
    """Mean difference of green between neighbours on a grid of about 48 x 48: cheap, and enough to tell sky from street."""
    step = max(1, part.shape[0] // 48)
    grid = part[::step, ::step, 1].astype(np.int16)
    return float(np.abs(np.diff(grid, axis=0)).mean() + np.abs(np.diff(grid, axis=1)).mean()) / 2


def read_photo(path: Path) -> UInt8:
    """Reads a photograph as (H, W, 3) RGB, its shorter side about 1000 px or less; an ``OSError`` where it cannot be read."""
    shorter = min(_image_size(path) or (0, 0))
    # JPEG decodes at half or quarter size many times faster, and the excess would be thrown away anyway.
    flag = cv2.IMREAD_COLOR
    if path.suffix.lower() in {".jpg", ".jpeg"}:
        if shorter >= 4 * PHOTO_SIDE:
            flag = cv2.IMREAD_REDUCED_COLOR_4
        elif shorter >= 2 * PHOTO_SIDE:
            flag = cv2.IMREAD_REDUCED_COLOR_2
    bgr = cv2.imread(os.fspath(path), flag)
    if bgr is None:
        raise OSError(f"cannot read the photograph {path}: not an image, or of a kind that OpenCV does not know")
    factor = PHOTO_SIDE / min(bgr.shape[:2])
    if factor < 1:
        bgr = cv2.resize(bgr, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def find_photos(roots: Sequence[Path]) -> list[Path]:
    """One file per photograph below the folders: at least 300 px on either side, and of the usual sizes the handiest.

    Files named as previews (``screenshot``, ``preview``, ``thumbnail``) are left out.
    """
    best: dict[str, tuple[tuple[bool, int, str], Path]] = {}
    for path in image_files(roots):
        if path.stem.lower() in {"screenshot", "preview", "thumbnail"}:
            continue
        size = _image_size(path)
        if size is None or min(size) < MIN_PHOTO_SIDE:
            continue
        large = min(size) >= PHOTO_SIDE
        # The smallest that is large enough, else the largest: less to decode.
        rank = (not large, size[0] * size[1] * (1 if large else -1), path.as_posix())
        key = picture_key(path)
        if key not in best or rank < best[key][0]:
            best[key] = (rank, path)
    return sorted((path for _, path in best.values()), key=Path.as_posix)


def _image_size(path: Path) -> tuple[int, int] | None:
    """Width and height from the file's header, or None if it is no image."""
    try:
        with PilImage.open(path) as image:
            return image.size
    except (OSError, ValueError, PilImage.DecompressionBombError):
        return None
