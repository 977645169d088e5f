"""Photographs: the files worth reading, and what is read of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image as PilImage

from metatrack.arrays import UInt8
from metatrack.data.opencv import cv2
from metatrack.data.synth.files import image_files, picture_key

MIN_PHOTO_SIDE = 300
PHOTO_SIDE = 1000  # photographs are kept with their shorter side about this long


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
