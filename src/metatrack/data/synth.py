"""Synthetic clips: cut-out objects pasted on photographs, for training where no licensed footage is at hand.

Any folder of images with transparency gives the objects and any folder of photographs gives the backgrounds
(:mod:`metatrack.data.material` fetches both from Debian's archive). A clip shows one object through time, in the form in which
the networks are trained: the target is near the centre of a square frame and its context side
(:func:`metatrack.geometry.context_side`) is close to 127 pixels, so that a sampler needs no further scaling.

Coordinates are continuous and 0-based, as in :mod:`metatrack.geometry`: pixel i covers ``[i, i + 1)``.
"""

from __future__ import annotations

import hashlib
import json
import math
import multiprocessing
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image as PilImage

from metatrack.geometry import context_side

Subset = Literal["train", "val", "all"]
U8 = npt.NDArray[np.uint8]
F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
Rng = np.random.Generator

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})
TRAIN_SHARE = 0.85
"""Share of the objects, and of the backgrounds, that the subset ``train`` may use; ``val`` has the rest."""
OBJECT_SIDE = 256
"""Objects are kept with their longest side at most this long: twice what a frame ever shows of them."""
WORK_SIDE = 176
"""Longest side in pixels of the object that one clip warps."""
MIN_OBJECT_SIDE = 48
MIN_PHOTO_SIDE = 300
PHOTO_SIDE = 1000
"""Photographs are kept with their shorter side about this long."""
SUPERSAMPLE = 2
"""Layers are warped at this multiple of the frame's resolution, then averaged: soft edges, and boxes exact to half a pixel."""


@dataclass(frozen=True)
class ComposerConfig:
    """What the clips look like. Probabilities are per clip unless said otherwise."""

    size: int = 400
    """Side of the square frames, in pixels."""
    context: float = 127.0
    """Context side of the target, in pixels, before jitter."""
    scale_jitter: float = 0.04
    """The context side of each frame is multiplied by a uniform factor within 1 +- this."""
    shift: float = 8.0
    """The centre of the box is within this many pixels of the frame's centre, on either axis."""
    blob: float = 0.25
    """The target is a piece of a photograph, not a cut-out object: shapes and textures that are no category at all."""
    background_cuts: float = 0.35
    """Each frame has a background of its own: nothing but the target ties the frames together."""
    clutter: float = 0.35
    """A background that pans is strewn with 4-15 further objects that belong to the scene."""
    distractors: int = 3
    """At most this many other objects; their number is uniform from 0."""
    occluded: float = 0.35
    """Clips with an occluder."""
    occluded_frames: float = 0.25
    """Share of the frames of such a clip in which the occluder covers 20-60 % of the target; never the first frame."""
    lighting: float = 1.0
    """Strength of the changes of colour and light of target and background; 0 keeps the material's own colours."""
    degrade: float = 1.0
    """Multiplies the probabilities of blur, noise, JPEG, low resolution and grey."""

    def __post_init__(self) -> None:
        """Checks the ranges.

        Raises:
            ValueError: a value makes no sense.
        """
        for name in ("blob", "background_cuts", "clutter", "occluded", "occluded_frames"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}={getattr(self, name)} is not a probability; give a value from 0 to 1")
        for name in ("distractors", "lighting", "degrade", "shift"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}={getattr(self, name)} is negative")
        if not 0 <= self.scale_jitter < 0.5:
            raise ValueError(f"scale_jitter={self.scale_jitter} is not in [0, 0.5)")
        if self.context <= 0 or self.size < 2 * self.context:
            raise ValueError(f"size={self.size} is less than twice context={self.context}: the target would leave the frame")


# --- material ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cutout:
    """An object with transparency. Its own coordinates have their origin at the middle of the image and unit one pixel."""

    color: U8  # (h, w, 3) RGB, not premultiplied
    alpha: U8  # (h, w), 255 = opaque
    hull: F64  # (n, 2) corners of the convex hull of alpha > 0.5, own coordinates


def _hull(alpha: U8) -> F64:
    """Convex hull of ``alpha > 0.5`` as corners of pixels, about the image's middle: (n, 2)."""
    # The ends of each row hold all corners of the hull: far fewer points than the mask.
    solid = alpha > 127
    rows = np.flatnonzero(solid.any(1))
    left, right = solid[rows].argmax(1), alpha.shape[1] - solid[rows, ::-1].argmax(1)
    ends = np.concatenate([np.column_stack([x, rows + dy]) for x in (left, right) for dy in (0, 1)]).astype(np.float32)
    outline = np.asarray(cv2.convexHull(ends), np.float64).reshape(-1, 2)
    return np.asarray(outline - np.array([alpha.shape[1] / 2, alpha.shape[0] / 2]))


def _cutout(color: U8, alpha: U8) -> Cutout:
    return Cutout(np.ascontiguousarray(color), np.ascontiguousarray(alpha), _hull(alpha))


def _resize_cutout(color: U8, alpha: U8, longest: int) -> tuple[U8, U8]:
    """Shrinks to ``longest`` pixels, weighting colours by alpha: hidden colours of clear pixels must not bleed in."""
    factor = longest / max(alpha.shape)
    if factor >= 1:
        return color, alpha
    width, height = (max(1, round(n * factor)) for n in alpha.shape[::-1])
    opacity = alpha.astype(np.float32) / 255
    small = cv2.resize(np.dstack([color * opacity[..., None], opacity]), (width, height), interpolation=cv2.INTER_AREA)
    straight = small[..., :3] / np.maximum(small[..., 3:], 1e-3)
    return np.clip(np.rint(straight), 0, 255).astype(np.uint8), np.rint(small[..., 3] * 255).astype(np.uint8)


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
    color, alpha = _resize_cutout(raw[y : y + h, x : x + w, 2::-1], alpha[y : y + h, x : x + w], OBJECT_SIDE)
    solid = alpha > 127
    if not 0.12 <= solid.mean() <= 0.98:
        return None
    pixels = color[solid].astype(np.int32) >> 4
    colors = np.unique(pixels @ np.array([1, 16, 256])).size
    gray = cv2.cvtColor(np.ascontiguousarray(color), cv2.COLOR_RGB2GRAY)
    inside = cv2.erode(solid.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    if colors < 40 or inside.sum() < 200 or gray[inside].std() < 10:
        return None
    if (np.abs(cv2.Laplacian(gray, cv2.CV_32F))[inside] > 2).mean() < 0.15:
        return None
    return _cutout(color, alpha)


def read_photo(path: Path) -> U8:
    """Reads a photograph as (H, W, 3) RGB, its shorter side about 1000 px or less.

    Raises:
        OSError: the file is not a readable image.
    """
    width, height = _image_size(path) or (0, 0)
    # JPEG decodes at half or quarter size many times faster, and the excess would be thrown away anyway.
    flag = cv2.IMREAD_COLOR
    if path.suffix.lower() in {".jpg", ".jpeg"}:
        if min(width, height) >= 4 * PHOTO_SIDE:
            flag = cv2.IMREAD_REDUCED_COLOR_4
        elif min(width, height) >= 2 * PHOTO_SIDE:
            flag = cv2.IMREAD_REDUCED_COLOR_2
    bgr = cv2.imread(os.fspath(path), flag)
    if bgr is None:
        raise OSError(f"cannot read the photograph {path}: not an image, or of a kind that OpenCV does not know")
    factor = PHOTO_SIDE / min(bgr.shape[:2])
    if factor < 1:
        bgr = cv2.resize(bgr, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def _image_size(path: Path) -> tuple[int, int] | None:
    """Width and height from the file's header, or None if it is no image."""
    try:
        with PilImage.open(path) as image:
            return image.size
    except (OSError, ValueError, PilImage.DecompressionBombError):
        return None


def picture_key(path: Path) -> str:
    """Name of the picture in a file: the same for the files that hold it in other sizes, mirrored, or as a night version.

    Wallpaper packages name files by their size alone (``Autumn/contents/images/2560x1600.jpg``): then the folder names it.

    >>> picture_key(Path("wallpapers/Autumn/contents/images/2560x1600.jpg"))
    'autumn'
    >>> picture_key(Path("nature/Elephants_3840x2160.jpg")) == picture_key(Path("Elephants.jpg"))
    True
    >>> picture_key(Path("gnome/wood-d.webp"))
    'wood'
    """
    stem = path.stem
    if re.fullmatch(r"\d+x\d+", stem):
        names = [part for part in path.parts[:-1] if part not in {"contents", "images", "images_dark"}]
        stem = names[-1] if names else stem
    stem = re.sub(r"[-_ ]*\d{3,5}x\d{3,5}", "", stem.lower())
    return re.sub(r"[-_](l|d|light|dark|mirror|flip|left|right)$", "", stem)


def in_subset(path: Path, subset: Subset) -> bool:
    """Whether a file belongs to a subset: by a hash of :func:`picture_key`, the same on every machine and for every folder."""
    if subset == "all":
        return True
    # The name alone, not the folder: unpacked elsewhere, an object stays on its side of the split.
    digest = hashlib.blake2b(picture_key(path).encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") / 2**64 < TRAIN_SHARE) == (subset == "train")


def _files(roots: Sequence[Path]) -> list[Path]:
    """All image files below the folders, sorted, so that the order does not depend on the file system."""
    for root in roots:
        if not root.is_dir():
            raise FileNotFoundError(f"{root} is not a folder; `metatrack.data.material.fetch_material` fetches usable material")
    found = {path for root in roots for path in root.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES}
    return sorted(found, key=lambda path: (path.name, path.as_posix()))


def find_photos(roots: Sequence[Path]) -> list[Path]:
    """One file per photograph below the folders: at least 300 px on either side, and of the usual sizes the handiest.

    Files named as previews (``screenshot``, ``preview``, ``thumbnail``) are left out.
    """
    best: dict[str, tuple[tuple[bool, int, str], Path]] = {}
    for path in _files(roots):
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
    return [path for _, path in sorted(best.values(), key=lambda item: item[1].as_posix())]


# --- randomness that moves smoothly ----------------------------------------------------------------------------------------


def _walk(rng: Rng, length: int, start: float, step: float, low: float, high: float) -> F64:
    """A random walk of ``length`` values within [low, high]: its steps are normal and are reflected at the limits."""
    values = np.empty(length)
    value = start
    for i in range(length):
        value = 2 * low - value if value < low else 2 * high - value if value > high else value
        value = min(max(value, low), high)
        values[i] = value
        value += step * float(rng.standard_normal())
    return values


def _lut(gain: npt.ArrayLike, brightness: float, contrast: float, gamma: float) -> U8:
    """Table (1, 256, 3) of a colour change: gamma, contrast about mid grey, brightness in grey levels, gain per channel."""
    level = (np.arange(256) / 255.0) ** gamma
    level = (level - 0.5) * contrast + 0.5 + brightness / 255
    table = np.rint(np.clip(level[:, None] * np.asarray(gain)[None, :], 0, 1) * 255)
    return np.asarray(table[None], np.uint8)


def _luts(rng: Rng, length: int, strength: float, drift: float) -> list[U8]:
    """Tables (1, 256, 3) of colour changes that drift over a clip; strength scales how far they are from no change."""
    s, d = strength, strength * drift
    cast = np.stack([_walk(rng, length, s * rng.normal(0, 0.08), d * 0.02, -0.3, 0.3) for _ in range(3)], 1)  # (length, 3)
    light = _walk(rng, length, s * rng.normal(0, 0.15), d * 0.06, -0.6, 0.35)
    offset = _walk(rng, length, s * rng.normal(0, 10), d * 4, -35, 35)
    contrast = _walk(rng, length, s * rng.normal(0, 0.12), d * 0.04, -0.5, 0.3)
    gamma = _walk(rng, length, s * rng.normal(0, 0.15), d * 0.05, -0.5, 0.5)
    return [_lut(np.exp(cast[i] + light[i]), offset[i], math.exp(contrast[i]), math.exp(gamma[i])) for i in range(length)]


@dataclass(frozen=True)
class Motion:
    """The pose of one object over a clip; arrays of shape (length,)."""

    angle: F64  # radians, in the image plane
    shear: F64
    log_aspect: F64  # log of width over height, on top of the object's own
    tilt_x: F64  # perspective: relative change of depth across the object
    tilt_y: F64
    bend: F64  # amplitude of a sideways sine, relative to the object's side; 0 = rigid
    phase: F64  # of that sine, radians

    @classmethod
    def sample(cls, rng: Rng, length: int) -> Motion:
        """Draws a motion: mostly gentle, sometimes a fast rotation, strong change of aspect, or bending."""
        upright = rng.random() < 0.75
        start = rng.normal(0, math.radians(10)) if upright else rng.uniform(-math.pi, math.pi)
        angle = _walk(rng, length, start, math.radians(rng.choice([0.5, 2.0, 5.0])), -9.0, 9.0)
        if rng.random() < 0.2:
            angle = angle + np.arange(length) * math.radians(rng.choice([-1, 1]) * rng.uniform(8, 35))
        elastic = rng.random() < 0.2
        aspect = _walk(rng, length, rng.normal(0, 0.12), 0.15 if elastic else 0.03, -0.6, 0.6)
        soft = rng.random() < 0.3
        bend = _walk(rng, length, rng.uniform(0.02, 0.08), 0.015, 0.0, 0.1) if soft else np.zeros(length)
        return cls(
            angle=angle,
            shear=_walk(rng, length, rng.normal(0, 0.1), 0.03, -0.35, 0.35),
            log_aspect=aspect,
            tilt_x=_walk(rng, length, rng.normal(0, 0.1), 0.04, -0.3, 0.3),
            tilt_y=_walk(rng, length, rng.normal(0, 0.1), 0.04, -0.3, 0.3),
            bend=bend,
            phase=_walk(rng, length, rng.uniform(-3, 3), 0.6, -20.0, 20.0),
        )

    def matrix(self, i: int, side: float) -> F64:
        """Homography (3, 3) of frame i about the origin, for an object of ``side`` pixels."""
        cos, sin = math.cos(self.angle[i]), math.sin(self.angle[i])
        stretch = math.exp(self.log_aspect[i] / 2)
        linear = np.array([[cos, -sin], [sin, cos]]) @ np.array([[1, self.shear[i]], [0, 1]]) @ np.diag([stretch, 1 / stretch])
        result = np.eye(3)
        result[:2, :2] = linear
        result[2, :2] = self.tilt_x[i] / side, self.tilt_y[i] / side
        return result


def _bent(cutout: Cutout, amplitude: float, phase: float) -> Cutout:
    """The object bent by a sideways sine along its height and width: (h, w) grows by a margin that holds it."""
    if amplitude == 0:
        return cutout
    h, w = cutout.alpha.shape
    pad = math.ceil(amplitude * max(h, w)) + 1
    y, x = np.arange(h + 2 * pad, dtype=np.float32), np.arange(w + 2 * pad, dtype=np.float32)
    sway = np.float32(amplitude * w) * np.sin(y * np.float32(2 * math.pi / h) + np.float32(phase))
    wave = np.float32(amplitude * 0.5 * h) * np.sin(x * np.float32(2 * math.pi / w) + np.float32(1.7 * phase))
    map_x = np.ascontiguousarray(x[None, :] - pad + sway[:, None])
    map_y = np.ascontiguousarray(y[:, None] - pad + wave[None, :])
    # Colours beyond the object's edge are replicated, so only alpha decides where it ends.
    color = cv2.remap(cutout.color, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    alpha = cv2.remap(cutout.alpha, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
    return _cutout(np.asarray(color, np.uint8), np.asarray(alpha, np.uint8))


# --- layers ----------------------------------------------------------------------------------------------------------------


@dataclass
class Layer:
    """An object as it lies on the frame: premultiplied colours in the rectangle whose top-left pixel is (x, y)."""

    x: int
    y: int
    rgb: F32  # (h, w, 3), 0-255, premultiplied by alpha
    alpha: F32  # (h, w), 0-1
    box: tuple[float, float, float, float]  # x, y, w, h: tight about alpha > 0.5 in the supersampled layer


def _fit(cutout: Cutout, pose: F64, context: float, cx: float, cy: float) -> F64:
    """The pose, scaled and moved so that the hull's box has this context side and centre: a homography (3, 3)."""
    points = np.column_stack([cutout.hull, np.ones(len(cutout.hull))]) @ pose.T  # (n, 3)
    points = points[:, :2] / points[:, 2:]
    low, high = points.min(0), points.max(0)
    scale = context / context_side(*(high - low))
    middle = (low + high) / 2
    place = np.array([[scale, 0, cx - scale * middle[0]], [0, scale, cy - scale * middle[1]], [0, 0, 1]])
    return np.asarray(place @ pose)


def _render(cutout: Cutout, lut: U8, place: F64, size: int) -> Layer | None:
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
    premultiplied = np.dstack([cv2.LUT(cutout.color, lut) * opacity[..., None], opacity])  # (h, w, 4)
    fine = cv2.warpPerspective(premultiplied, target @ place @ source, (n * (x1 - x0), n * (y1 - y0)), flags=cv2.INTER_LINEAR)
    left, top, width, height = cv2.boundingRect((fine[..., 3] > 0.5).astype(np.uint8))
    if width < n or height < n:
        return None
    coarse = cv2.resize(fine, (x1 - x0, y1 - y0), interpolation=cv2.INTER_AREA)
    box = (x0 + left / n, y0 + top / n, width / n, height / n)
    return Layer(x0, y0, np.asarray(coarse[..., :3], np.float32), np.asarray(coarse[..., 3], np.float32), box)


def _blend(frame: U8, layer: Layer) -> None:
    """Lays the layer over the frame, in place."""
    h, w = layer.alpha.shape
    part = frame[layer.y : layer.y + h, layer.x : layer.x + w]
    mixed = part * (1 - layer.alpha)[..., None] + layer.rgb
    part[...] = np.clip(mixed + 0.5, 0, 255).astype(np.uint8)


def _coverage(target: Layer, cover: Layer, dx: int, dy: int) -> float:
    """Share of the target's opacity that the cover hides when moved by (dx, dy) pixels."""
    x, y = cover.x + dx, cover.y + dy
    (th, tw), (ch, cw) = target.alpha.shape, cover.alpha.shape
    x0, y0 = max(target.x, x), max(target.y, y)
    x1, y1 = min(target.x + tw, x + cw), min(target.y + th, y + ch)
    if x1 <= x0 or y1 <= y0:
        return 0.0
    t = target.alpha[y0 - target.y : y1 - target.y, x0 - target.x : x1 - target.x]
    c = cover.alpha[y0 - y : y1 - y, x0 - x : x1 - x]
    return float(np.vdot(t, c)) / max(float(target.alpha.sum()), 1e-6)


def _moved(layer: Layer, dx: int, dy: int, size: int) -> Layer | None:
    """The layer moved by whole pixels and cut at the frame's edges."""
    x, y = layer.x + dx, layer.y + dy
    h, w = layer.alpha.shape
    x0, y0, x1, y1 = max(0, x), max(0, y), min(size, x + w), min(size, y + h)
    if x1 <= x0 or y1 <= y0:
        return None
    part = (slice(y0 - y, y1 - y), slice(x0 - x, x1 - x))
    bx, by, bw, bh = layer.box
    return Layer(x0, y0, layer.rgb[part], layer.alpha[part], (bx + dx, by + dy, bw, bh))


# --- the composer ----------------------------------------------------------------------------------------------------------


@dataclass
class _Distractor:
    """Another object of the clip."""

    cutout: Cutout
    luts: list[U8]
    motion: Motion
    context: float
    path: F64  # (length, 2), centre in pixels


class Composer:
    """Composes clips of one object through time from a folder of objects and a folder of photographs.

    Objects (a few hundred small images) are read at once; photographs are read when first used, and kept.

    Args:
        objects: folder or folders, searched through, of images with transparency; see :func:`read_object` for what is used.
        backgrounds: folder or folders of photographs; see :func:`find_photos`.
        subset: ``train`` or ``val`` use disjoint parts (85 : 15, by a hash of the file's name) of objects and backgrounds.
        config: what the clips look like.

    Raises:
        FileNotFoundError: a folder does not exist.
        ValueError: a folder holds nothing usable, or nothing of this subset.
    """

    def __init__(
        self,
        objects: Path | Iterable[Path],
        backgrounds: Path | Iterable[Path],
        *,
        subset: Subset = "all",
        config: ComposerConfig | None = None,
    ) -> None:
        if subset not in ("train", "val", "all"):
            raise ValueError(f"unknown subset {subset!r}; it is 'train', 'val' or 'all'")
        self.config = config or ComposerConfig()
        self.subset = subset
        object_roots = _roots(objects)
        photo_roots = _roots(backgrounds)
        candidates = [path for path in _files(object_roots) if in_subset(path, subset)]
        read = [(path, read_object(path)) for path in candidates]
        self.object_paths = [path for path, cutout in read if cutout is not None]
        self._objects = [cutout for _, cutout in read if cutout is not None]
        if not self._objects:
            raise ValueError(
                f"no usable object of subset {subset!r} among {len(candidates)} image files in {_names(object_roots)}: needed "
                f"are detailed images with transparency, at least {MIN_OBJECT_SIDE} px long"
            )
        photos = find_photos(photo_roots)
        self.photo_paths = [path for path in photos if in_subset(path, subset)]
        if not self.photo_paths:
            raise ValueError(
                f"no usable background of subset {subset!r} in {_names(photo_roots)}: needed are photographs of at least "
                f"{MIN_PHOTO_SIDE} px on either side ({len(photos)} before the split)"
            )
        self._photos: dict[int, U8] = {}

    def clip(self, rng: Rng, length: int) -> tuple[list[U8], F64]:
        """Composes one clip.

        Args:
            rng: source of all randomness: the same state gives the same clip.
            length: number of frames, at least 1.

        Returns:
            frames: ``length`` images (size, size, 3) uint8, RGB.
            boxes: (length, 4) float64, x, y, w, h in pixels, 0-based: the whole target, where it is occluded too.

        Raises:
            ValueError: length is less than 1.
            OSError: a photograph cannot be read.
        """
        if length < 1:
            raise ValueError(f"length={length}: a clip has at least one frame")
        # A generator for each part, so that switching one part off leaves the others as they were.
        seeds = rng.integers(0, 2**63, size=5)
        rng_target, rng_back, rng_distract, rng_cover, rng_look = (np.random.default_rng(seed) for seed in seeds)
        config = self.config
        size = config.size

        cutout = self._target(rng_target)
        motion = Motion.sample(rng_target, length)
        luts = _luts(rng_target, length, config.lighting, 1.0)
        jitter = rng_target.uniform(-1, 1, size=(length, 3))
        centers = size / 2 + config.shift * jitter[:, :2]
        contexts = config.context * (1 + config.scale_jitter * jitter[:, 2])
        targets = [self._place(cutout, luts[i], motion, i, contexts[i], x, y, exact=True) for i, (x, y) in enumerate(centers)]

        backgrounds = self._backgrounds(rng_back, length)
        distractors = self._distractors(rng_distract, length, cutout, luts)
        covers = self._covers(rng_cover, targets)
        finish = self._look(rng_look, length)

        frames: list[U8] = []
        boxes = np.empty((length, 4))
        for i, (frame, target, cover) in enumerate(zip(backgrounds, targets, covers, strict=True)):
            for other in distractors:
                x, y = other.path[i]
                try:
                    layer = self._place(other.cutout, other.luts[i], other.motion, i, other.context, x, y)
                except ValueError:  # it has left the frame
                    continue
                _blend(frame, layer)
            _blend(frame, target)
            if cover is not None:
                _blend(frame, cover)
            frames.append(finish(frame, i))
            boxes[i] = target.box
        return frames, boxes

    # -- parts of a clip --

    def _place(
        self, cutout: Cutout, lut: U8, motion: Motion, i: int, context: float, cx: float, cy: float, *, exact: bool = False
    ) -> Layer:
        """The object in its pose of frame i, with this context side, its box's centre at (cx, cy).

        The hull alone says where the box will be, unless thin parts (a tail, an antenna) fade away when the object shrinks: with
        ``exact`` the placement is then corrected by the box that came out.

        Raises:
            ValueError: nothing of the object is inside the frame.
        """
        shaped = _bent(cutout, float(motion.bend[i]), float(motion.phase[i]))
        place = _fit(shaped, motion.matrix(i, float(max(shaped.alpha.shape))), context, cx, cy)
        attempt = 0
        while True:
            layer = _render(shaped, lut, place, self.config.size)
            if layer is None:
                raise ValueError("the object lies outside the frame")
            x, y, w, h = layer.box
            scale = context / context_side(w, h)
            mx, my = x + w / 2, y + h / 2
            attempt += 1
            if not exact or attempt == 4 or (abs(scale - 1) < 0.01 and max(abs(mx - cx), abs(my - cy)) < 0.5):
                return layer
            place = np.array([[scale, 0, cx - scale * mx], [0, scale, cy - scale * my], [0, 0, 1]]) @ place

    def _photo(self, rng: Rng) -> U8:
        index = int(rng.integers(len(self.photo_paths)))
        if index not in self._photos:
            self._photos[index] = read_photo(self.photo_paths[index])
        return self._photos[index]

    def _crop(self, rng: Rng, low: float, high: float, size: int, detail: float) -> U8:
        """A random square of a random photograph, side in [low, high] px (log-uniform), at size x size pixels.

        Half of Debian's wallpapers are smooth or clear: up to six squares are tried until one has this much :func:`_detail`.
        Few photographs go a long way: squares are mirrored, some turned by 90 degrees, some with their channels permuted.
        """
        best: U8 | None = None
        best_detail = -1.0
        for _ in range(6):
            photo = self._photo(rng)
            height, width = photo.shape[:2]
            limit = min(height, width)
            side = int(min(limit, math.exp(rng.uniform(math.log(low), math.log(high)))))
            x, y = int(rng.integers(width - side + 1)), int(rng.integers(height - side + 1))
            part = photo[y : y + side, x : x + side]
            found = _detail(part)
            if found > best_detail:
                best, best_detail = part, found
            if found >= detail:
                break
        assert best is not None  # noqa: S101 - the loop runs at least once
        out = cv2.resize(best, (size, size), interpolation=cv2.INTER_AREA if best.shape[0] > size else cv2.INTER_LINEAR)
        mirror, turn, recolor, order = rng.random(), rng.random(), rng.random(), rng.permutation(3)
        if mirror < 0.5:
            out = out[:, ::-1]
        if turn < 0.2:
            out = out.transpose(1, 0, 2)
        if recolor < 0.2 * min(1.0, self.config.lighting):
            out = out[..., order]
        return np.ascontiguousarray(out, np.uint8)

    def _object(self, rng: Rng) -> Cutout:
        """A random object at the size a clip works with, mirrored in half of the cases."""
        cutout = self._objects[int(rng.integers(len(self._objects)))]
        color, alpha = _resize_cutout(cutout.color, cutout.alpha, WORK_SIDE)
        if rng.random() < 0.5:
            color, alpha = color[:, ::-1], alpha[:, ::-1]
        return _cutout(color, alpha)

    def _blob(self, rng: Rng) -> Cutout:
        """A random polygon or rounded shape cut from a photograph, with a soft edge."""
        side = 128
        angles = np.linspace(0, 2 * math.pi, 48, endpoint=False)
        if rng.random() < 0.5:  # corners
            n = int(rng.integers(3, 10))
            corner = np.sort((np.arange(n) + rng.uniform(-0.35, 0.35, n)) * 2 * math.pi / n)
            angles, radius = corner, rng.uniform(0.6, 1.0, n)
        else:  # an ellipse with a few waves
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
        alpha = np.asarray(cv2.GaussianBlur(alpha, (0, 0), rng.uniform(0.6, 1.6)), np.uint8)
        return _cutout(self._crop(rng, 60, 500, side, 9.0), alpha)

    def _target(self, rng: Rng) -> Cutout:
        return self._blob(rng) if rng.random() < self.config.blob else self._object(rng)

    def _backgrounds(self, rng: Rng, length: int) -> list[U8]:
        """The backgrounds of a clip, (size, size, 3) each: a camera that pans over one photograph, or cuts."""
        size = self.config.size
        cuts = rng.random() < self.config.background_cuts
        luts = _luts(rng, length, 0.7 * self.config.lighting, 0.6)
        if cuts:
            return [np.asarray(cv2.LUT(self._crop(rng, 260, 1000, size, 6.0), luts[i])) for i in range(length)]
        # The square is the whole way of the camera; its middle part alone decides how detailed it is.
        margin = int(size * rng.uniform(0.15, 0.8))
        canvas = self._crop(rng, 350, 1000, size + 2 * margin, 6.0)
        if rng.random() < self.config.clutter:
            for _ in range(int(rng.integers(4, 16))):
                self._litter(rng, canvas)
        speed = rng.choice([0.5, 4.0, 12.0, 30.0])
        heading = rng.uniform(0, 2 * math.pi)
        limit = 0.9 * margin
        start = rng.uniform(-limit / 2, limit / 2, 2)
        drift = np.arange(length)[:, None] * speed * np.array([math.cos(heading), math.sin(heading)])
        wobble = np.stack([_walk(rng, length, start[k], 0.3 * speed + 0.3, -limit, limit) for k in range(2)], 1)
        way = limit - np.abs((wobble + drift + limit) % (4 * limit) - 2 * limit)  # reflected at the canvas' margin
        angle = _walk(rng, length, 0.0, 0.01, -0.15, 0.15)
        zoom = np.exp(_walk(rng, length, 0.0, 0.015, -0.15, 0.15))
        middle = (size + 2 * margin) / 2
        frames: list[U8] = []
        for i in range(length):
            cos, sin = zoom[i] * math.cos(angle[i]), zoom[i] * math.sin(angle[i])
            linear = np.array([[cos, -sin], [sin, cos]])
            offset = middle + way[i] - linear @ np.array([size / 2, size / 2])
            matrix = np.column_stack([linear, offset])
            frame = cv2.warpAffine(
                canvas, matrix, (size, size), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REFLECT_101
            )
            frames.append(np.asarray(cv2.LUT(frame, luts[i]), np.uint8))
        return frames

    def _litter(self, rng: Rng, canvas: U8) -> None:
        """Lays a random object somewhere on the canvas, in place: part of the scene, it does not move."""
        cutout = self._blob(rng) if rng.random() < 0.3 else self._object(rng)
        lut = _luts(rng, 1, self.config.lighting, 0.0)[0]
        side = self.config.context * rng.uniform(0.4, 1.5)
        x, y = rng.uniform(0, canvas.shape[0], 2)
        motion = Motion.sample(rng, 1)
        layer = _render(cutout, lut, _fit(cutout, motion.matrix(0, float(max(cutout.alpha.shape))), side, x, y), canvas.shape[0])
        if layer is not None:
            _blend(canvas, layer)

    def _distractors(self, rng: Rng, length: int, target: Cutout, luts: list[U8]) -> list[_Distractor]:
        """Up to three other objects; half of them look like the target."""
        size, context = self.config.size, self.config.context
        found: list[_Distractor] = []
        for _ in range(int(rng.integers(0, self.config.distractors + 1))):
            kind = rng.random()
            if kind < 0.3:  # the same object in other colours
                order = rng.permutation(3)
                tint = _lut(np.exp(rng.normal(0, 0.3, 3)), rng.normal(0, 20), math.exp(rng.normal(0, 0.2)), 1.0)
                color = cv2.LUT(np.ascontiguousarray(target.color[..., order]), tint)
                cutout = _cutout(np.asarray(color, np.uint8), target.alpha)
                own = luts
            elif kind < 0.5:  # its double: only pose and place differ
                flip = rng.random() < 0.5
                cutout = _cutout(target.color[:, ::-1], target.alpha[:, ::-1]) if flip else target
                own = luts
            else:
                cutout = self._blob(rng) if rng.random() < 0.3 else self._object(rng)
                own = _luts(rng, length, self.config.lighting, 1.0)
            side = context * rng.uniform(0.6, 1.4)
            # Not nearer than this: a double upon the target would be a wrong label, and the target's centre stays free.
            nearest = 0.42 * side + 0.2 * context
            radius = rng.uniform(nearest, 0.5 * size)
            bearing = rng.uniform(0, 2 * math.pi)
            start = size / 2 + radius * np.array([math.cos(bearing), math.sin(bearing)])
            speed = rng.choice([0.5, 3.0, 10.0])
            heading = rng.uniform(0, 2 * math.pi)
            way = np.array([math.cos(heading), math.sin(heading)]) * speed
            path = start + np.arange(length)[:, None] * way + np.cumsum(rng.normal(0, 0.3 * speed, (length, 2)), 0)
            away = path - size / 2
            distance = np.maximum(np.hypot(away[:, 0], away[:, 1]), 1e-6)
            path = size / 2 + away * (np.maximum(distance, nearest) / distance)[:, None]
            found.append(_Distractor(cutout, own, Motion.sample(rng, length), side, path))
        return found

    def _covers(self, rng: Rng, targets: list[Layer]) -> list[Layer | None]:
        """The occluder of each frame, or None: in one run of frames it comes from one side and hides 20-60 %."""
        length = len(targets)
        covers: list[Layer | None] = [None] * length
        if rng.random() >= self.config.occluded or length < 2:
            return covers
        config = self.config
        count = min(length - 1, max(1, round(config.occluded_frames * length))) if config.occluded_frames > 0 else 0
        first = int(rng.integers(1, length - count + 1))
        cutout = self._blob(rng) if rng.random() < 0.6 else self._object(rng)
        lut = _luts(rng, 1, config.lighting, 0.0)[0]
        motion = Motion.sample(rng, length)
        side = config.context * rng.uniform(0.8, 1.5)
        bearings = _walk(rng, length, rng.uniform(0, 2 * math.pi), 0.1, -99.0, 99.0)
        shares = _walk(rng, length, rng.uniform(0.25, 0.55), 0.06, 0.22, 0.58)
        for i in range(first, first + count):
            bx, by, bw, bh = targets[i].box
            layer = self._place(cutout, lut, motion, i, side, bx + bw / 2, by + bh / 2)
            toward = np.array([math.cos(bearings[i]), math.sin(bearings[i])])
            near, far = 0.0, float(side + config.context)
            for _ in range(8):  # the farther, the less it hides
                middle = (near + far) / 2
                dx, dy = (int(v) for v in np.rint(middle * toward))
                near, far = (middle, far) if _coverage(targets[i], layer, dx, dy) > shares[i] else (near, middle)
            dx, dy = (int(v) for v in np.rint(far * toward))
            if 0.2 <= _coverage(targets[i], layer, dx, dy) <= 0.6:
                covers[i] = _moved(layer, dx, dy, config.size)
        return covers

    def _look(self, rng: Rng, length: int) -> Callable[[U8, int], U8]:
        """How the camera spoils the frames of this clip: a function (frame, i) -> frame."""
        d, size = self.config.degrade, self.config.size
        soft = rng.random() < 0.25 * d
        sigma = _walk(rng, length, rng.uniform(0.4, 1.4), 0.2, 0.3, 2.2)
        smear = rng.random() < 0.2 * d
        taps = rng.integers(3, 12, length)
        smeared = rng.random(length) < 0.5
        bearing = _walk(rng, length, rng.uniform(0, math.pi), 0.3, -99.0, 99.0)
        coarse = rng.random() < 0.2 * d
        shrink = _walk(rng, length, math.exp(rng.uniform(math.log(1.4), math.log(4.5))), 0.1, 1.3, 5.0)
        gray = rng.random() < 0.08 * d
        noisy = rng.random() < 0.3 * d
        grain = rng.normal(0, math.exp(rng.uniform(0.3, 2.3)), (size + 64, size + 64, 3)).astype(np.int16) if noisy else None
        shifts = rng.integers(0, 64, (length, 2))
        packed = rng.random() < 0.25 * d
        quality = rng.integers(15, 70, length)

        def finish(frame: U8, i: int) -> U8:
            out: Any = frame
            if soft:
                out = cv2.GaussianBlur(out, (0, 0), sigma[i])
            if smear and smeared[i]:
                out = cv2.filter2D(out, -1, _line(int(taps[i]), bearing[i]))
            if coarse:
                side = round(size / shrink[i])
                small = cv2.resize(out, (side, side), interpolation=cv2.INTER_AREA)
                out = cv2.resize(small, (size, size), interpolation=cv2.INTER_LINEAR)
            if gray:
                out = cv2.cvtColor(cv2.cvtColor(out, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
            if grain is not None:
                y, x = shifts[i]
                part = grain[y : y + size, x : x + size]
                out = cv2.add(out, part[..., :1].repeat(3, 2) if gray else part, dtype=cv2.CV_8U)
            if packed:
                _, data = cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, int(quality[i])])
                out = cv2.imdecode(data, cv2.IMREAD_COLOR)
            return np.asarray(out, np.uint8)

        return finish


def _roots(value: Path | Iterable[Path]) -> list[Path]:
    return [Path(value)] if isinstance(value, str | os.PathLike) else [Path(item) for item in value]


def _names(roots: Sequence[Path]) -> str:
    return ", ".join(str(root) for root in roots)


def _detail(part: U8) -> float:
    """Mean difference of green between neighbours on a grid of about 48 x 48: cheap, and enough to tell sky from street."""
    step = max(1, part.shape[0] // 48)
    grid = part[::step, ::step, 1].astype(np.int16)
    return float(np.abs(np.diff(grid, axis=0)).mean() + np.abs(np.diff(grid, axis=1)).mean()) / 2


def _line(length: int, angle: float) -> F32:
    """Kernel (length, length) of a motion blur along a direction; its sum is 1."""
    kernel = np.zeros((length, length), np.float32)
    along = np.linspace(-(length - 1) / 2, (length - 1) / 2, 4 * length)
    x = np.rint(along * math.cos(angle) + (length - 1) / 2).astype(int)
    y = np.rint(along * math.sin(angle) + (length - 1) / 2).astype(int)
    np.add.at(kernel, (y, x), 1.0)
    return np.asarray(kernel / kernel.sum(), np.float32)


# --- writing clips ---------------------------------------------------------------------------------------------------------

_worker: tuple[Composer, Path, int, int, str, int] | None = None


def _start(*work: Any) -> None:
    """Starts a worker process: one thread each, since the processes fill the cores already."""
    global _worker
    cv2.setNumThreads(1)
    _worker = work


def _work(index: int) -> None:
    if _worker is None:
        raise RuntimeError("the worker process was not started by write_clips")
    _write_clip(*_worker, index)


def _clip_name(prefix: str, index: int) -> str:
    return f"{prefix}-{index:06d}"


def _write_clip(composer: Composer, folder: Path, length: int, seed: int, prefix: str, quality: int, index: int) -> None:
    """Writes one clip into a temporary folder and renames it: a clip is there whole or not at all."""
    final = folder / _clip_name(prefix, index)
    frames, boxes = composer.clip(np.random.default_rng([seed, index]), length)
    part = Path(tempfile.mkdtemp(prefix=f".{final.name}.", dir=folder))
    try:
        for i, frame in enumerate(frames):
            path = part / f"{i + 1:08d}.jpg"
            ok = cv2.imwrite(os.fspath(path), cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
            if not ok:
                raise OSError(f"cannot write {path}")
        rows = [",".join(f"{v:.4f}" for v in box) for box in boxes]
        (part / "groundtruth.txt").write_text("\n".join(rows) + "\n", encoding="ascii")
        part.chmod(0o755)  # mkdtemp's 0700 would keep others from reading the clip
        os.replace(part, final)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def _write_text(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)


def write_clips(
    composer: Composer,
    out: Path,
    clips: int,
    length: int,
    seed: int,
    *,
    split: str = "train",
    name_prefix: str = "synth",
    quality: int = 92,
    processes: int = 1,
) -> Path:
    """Writes clips in GOT-10k layout: ``<out>/<split>/<prefix>-000000/00000001.jpg ...``, ``groundtruth.txt``, ``list.txt``.

    Clip i depends on ``[seed, i]``, the length, and the composer's material and config alone: the same call gives the same
    bytes, whatever was there before and however many processes write. Clips that exist are skipped, so that a call that was
    interrupted is resumed by repeating it, and more clips are added by a larger ``clips``.

    Returns:
        The folder ``<out>/<split>``.

    Raises:
        ValueError: the folder holds clips that were made with another seed, length, config or material.
        OSError: a photograph cannot be read, or a file cannot be written.
    """
    if clips < 1 or length < 1 or processes < 1:
        raise ValueError(f"clips={clips}, length={length} and processes={processes} must be at least 1")
    folder = Path(out) / split
    folder.mkdir(parents=True, exist_ok=True)
    material = hashlib.sha256()
    for path in [*composer.object_paths, *composer.photo_paths]:
        material.update(f"{path.name}:{path.stat().st_size}\n".encode())
    recipe = {
        "seed": seed, "length": length, "quality": quality, "subset": composer.subset, "config": vars(composer.config),
        "objects": len(composer.object_paths), "backgrounds": len(composer.photo_paths), "material": material.hexdigest()[:16],
    }  # fmt: skip
    text = json.dumps(recipe, indent=1) + "\n"
    note = folder / f"{name_prefix}.json"
    if note.exists() and note.read_text(encoding="utf-8") != text:
        raise ValueError(
            f"{folder} holds clips {name_prefix!r} of another recipe than this call's; delete the folder, or choose another "
            f"name_prefix (recipe: {note})"
        )
    _write_text(note, text)
    missing = [i for i in range(clips) if not (folder / _clip_name(name_prefix, i) / "groundtruth.txt").is_file()]
    work = (composer, folder, length, seed, name_prefix, quality)
    if processes == 1:
        for index in missing:
            _write_clip(*work, index)
    elif missing:
        # "spawn" where others fork: a fork copies the locks of OpenCV's threads in whatever state they are in.
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(processes, mp_context=spawn, initializer=_start, initargs=work) as pool:
            for _ in pool.map(_work, missing, chunksize=4):
                pass
    names = sorted(path.parent.name for path in folder.glob("*/groundtruth.txt") if not path.parent.name.startswith("."))
    _write_text(folder / "list.txt", "".join(f"{name}\n" for name in names))
    return folder
