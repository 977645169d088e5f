"""Pixels of a sample: cut out of its frame, warped, coloured, covered."""

from __future__ import annotations

import math
from collections.abc import Sequence as Seq
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from PIL import Image as Pillow

from metatrack.arrays import Bools, Float64
from metatrack.data.sequence import Sequence
from metatrack.geometry import EXEMPLAR_SIZE, SEARCH_SIZE, Image, context_side, mean_color
from metatrack.opencv import require_opencv

SIZE_JITTER, SHAPE_JITTER = 0.18, 0.10
"""Standard deviation of the logarithm of the change of size, and of aspect, between template and context."""

OPENCV: Any = None
"""OpenCV where it is installed: samples are made in half of the time, and differ by a grey level (OpenCV 4: by a few)."""
with suppress(ImportError):  # none, or one that lacks a library of the system
    OPENCV = require_opencv("fast sampling")

FRAMED_SIDES, FRAMED_SHIFT = (0.5, 1.4), 0.3
"""A rectangle that stands for a target's: least and longest side, and how far off its centre may be, in the target's sides."""


class Framing(NamedTuple):
    """A rectangle that is fixed to another: its centre, from the other's, and its sides, as shares of the other's sides."""

    x: float
    y: float
    w: float
    h: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Framing:
        """A random one: with sides and centre within :data:`FRAMED_SIDES` and :data:`FRAMED_SHIFT`."""
        w, h = np.exp(rng.uniform(math.log(FRAMED_SIDES[0]), math.log(FRAMED_SIDES[1]), 2)).tolist()
        x, y = rng.uniform(-FRAMED_SHIFT, FRAMED_SHIFT, 2).tolist()
        return cls(x, y, w, h)

    def of(self, boxes: Float64) -> Float64:
        """The rectangles that are fixed to boxes ``(n, 4)``, of x, y, w, h.

        >>> Framing(0.25, 0.0, 0.5, 1.0).of(np.array([[10.0, 20.0, 40.0, 30.0]]))  # the right half
        array([[30., 20., 20., 30.]])
        """
        sides = boxes[:, 2:] * (self.w, self.h)
        middles = boxes[:, :2] + boxes[:, 2:] * (0.5 + self.x, 0.5 + self.y)
        return np.concatenate([middles - sides / 2, sides], axis=1)


class View(NamedTuple):
    """A frame and where its target is."""

    frame: Image
    cx: float
    cy: float
    w: float
    h: float

    @classmethod
    def of(cls, sequence: Sequence, index: int) -> View:
        """Frame ``index`` of a trajectory, from 0, which is read now."""
        x, y, w, h = sequence.boxes[index]
        return cls(sequence.frame(index), x + w / 2, y + h / 2, w, h)

    def framed(self, framing: Framing | None) -> View:
        """The same frame with another rectangle as its target, or as it is."""
        if framing is None:
            return self
        x, y, w, h = framing
        return View(self.frame, self.cx + x * self.w, self.cy + y * self.h, self.w * w, self.h * h)


@dataclass(frozen=True)
class Augmentation:
    """The augmentation that template and search of one pair share; the rest is drawn for each crop.

    Position and scale are NEVER jittered here: a pair of the right scale has exactly that, or the network learns to ignore scale.
    """

    flip: bool
    gray: bool
    rotation: float
    stretch: float

    @classmethod
    def draw(cls, rng: np.random.Generator, still: bool) -> Augmentation:
        """A random one; two crops of a single image are told apart by stronger warps."""
        return cls(
            flip=bool(rng.random() < 0.5),
            gray=bool(rng.random() < 0.15),
            rotation=20.0 if still else 6.0,
            stretch=0.12 if still else 0.03,
        )

    def template(self, view: View, factors: Seq[float], rng: np.random.Generator) -> list[Image]:
        """Target patches at several context sides (times ``factors``) that differ in nothing else."""
        warp = self.warp(rng)
        state = rng.bit_generator.state
        patches = []
        for factor in factors:
            rng.bit_generator.state = state
            patches.append(self.color(self.cut(view, factor, np.zeros(2), EXEMPLAR_SIZE, warp), rng))
        return patches

    def search(self, view: View, shift: Float64, rng: np.random.Generator) -> Image:
        """A context patch in which the target is ``shift`` pixels off the centre."""
        return self.color(self.cut(view, 1.0, shift, SEARCH_SIZE, self.warp(rng)), rng)

    def warp(self, rng: np.random.Generator) -> Float64:
        """A rotation and an area-preserving change of aspect, 2x2."""
        angle = math.radians(rng.uniform(-self.rotation, self.rotation))
        stretch = math.exp(rng.uniform(-self.stretch, self.stretch))
        c, s = math.cos(angle), math.sin(angle)
        return np.array([[c, -s], [s, c]]) @ np.diag([stretch, 1 / stretch])

    def cut(self, view: View, factor: float, shift: Float64, size: int, warp: Float64, beyond: Image | None = None) -> Image:
        """As :func:`metatrack.geometry.crop`, with a warp around the target, the flip, and the scene ``beyond`` the border."""
        scale = context_side(view.w, view.h) * factor / EXEMPLAR_SIZE  # image pixels per patch pixel
        frame, cx, cy = view.frame, view.cx, view.cy
        shrink = int(scale)
        if shrink >= 2:
            height, width = frame.shape[0] // shrink, frame.shape[1] // shrink
            frame = np.asarray(Pillow.fromarray(frame).reduce(shrink))[:height, :width]
            cx, cy, scale = cx / shrink, cy / shrink, scale / shrink
        linear = scale * warp
        if self.flip:
            linear = linear @ np.diag([-1.0, 1.0])
        # The patch's coordinate u shows the image at target + linear (u - size / 2 - shift).
        offset = np.array([cx, cy]) - linear @ (shift + size / 2)
        patch = resample(frame, linear, offset, size, mean_color(frame))
        if beyond is not None:
            patch = np.where(within(frame, linear, offset, size)[..., None], patch, resized(beyond, size))
        return patch

    def color(self, patch: Image, rng: np.random.Generator) -> Image:
        """Gain per channel, contrast, blur, low resolution and noise."""
        if rng.random() < 0.12:
            patch = motion_blur(patch, int(rng.integers(3, 10)), rng.uniform(0, math.pi))
        if rng.random() < 0.15:  # a target of few pixels
            size = patch.shape[0]
            patch = resized(resized(patch, max(16, int(size * rng.uniform(0.2, 0.6)))), size)
        if self.gray:
            patch = np.asarray(Pillow.fromarray(patch).convert("L").convert("RGB"))
        gain = np.exp(rng.normal(0, 0.12) + (0 if self.gray else rng.normal(0, 0.05, 3))) * np.ones(3)
        contrast = math.exp(rng.normal(0, 0.12))
        table = np.clip(((np.arange(256) - 128) * contrast + 128) * gain[:, None] + rng.normal(0, 6), 0, 255)
        patch = np.array(Pillow.fromarray(patch).point(table.astype(np.uint8).ravel().tolist()))
        if rng.random() < 0.1:
            noise = rng.normal(0, rng.uniform(2, 10), patch.shape).astype(np.float32)
            patch = np.clip(patch + noise, 0, 255).astype(np.uint8)
        return patch


def resample(image: Image, linear: Float64, offset: Float64, size: int, fill: Seq[float] = (0, 0, 0)) -> Image:
    """As :func:`metatrack.geometry.warp`, in less than half of its time; at the image's border nothing is blended.

    With OpenCV, where it is installed, in a tenth: there the outermost half pixel is blended.
    """
    (a, b), (c, d) = linear.tolist()
    x, y = offset.tolist()
    colour = tuple(round(value) for value in fill)
    if OPENCV is not None:
        # Its pixels lie on whole numbers; those of the image's and the patch's coordinates half a pixel further.
        half = np.array([a + b, c + d]) / 2 - 0.5
        matrix = np.array([[a, b, x + half[0]], [c, d, y + half[1]]])
        flags = OPENCV.INTER_LINEAR | OPENCV.WARP_INVERSE_MAP
        return np.asarray(OPENCV.warpAffine(image, matrix, (size, size), flags=flags, borderValue=colour))
    warped = Pillow.fromarray(image).transform(
        (size, size), Pillow.Transform.AFFINE, (a, b, x, c, d, y), Pillow.Resampling.BILINEAR, fillcolor=colour
    )
    return np.asarray(warped)


def within(image: Image, linear: Float64, offset: Float64, size: int) -> Bools:
    """Which pixels of a patch of :func:`resample`, and their neighbours, show the image: ``(size, size)``."""
    steps = np.arange(size) + 0.5
    inside = np.ones((size, size), bool)
    for (across, down), start, length in zip(linear.tolist(), offset.tolist(), image.shape[1::-1], strict=True):
        place = start + (across * steps)[None, :] + (down * steps)[:, None]
        margin = abs(across) + abs(down) + 0.5  # OpenCV blends the outermost half pixel
        inside &= (place > margin) & (place < length - margin)
    return inside


def resized(image: Image, size: int) -> Image:
    """The whole image as ``(size, size, 3)``: averaged where it shrinks, bilinear where it grows."""
    filter_ = Pillow.Resampling.BOX if min(image.shape[:2]) >= size else Pillow.Resampling.BILINEAR
    return np.asarray(Pillow.fromarray(image).resize((size, size), filter_))


def motion_blur(patch: Image, length: int, angle: float) -> Image:
    """The mean of a patch along a line.

    Args:
        patch: ``(h, w, 3)``; behind its border lies its mirror image.
        length: of the line in pixels.
        angle: of the line in radians.
    """
    steps = np.linspace(-0.5, 0.5, length) * (length - 1)
    places = {(round(step * math.sin(angle)), round(step * math.cos(angle))) for step in steps.tolist()}
    margin = length // 2
    padded = np.pad(patch, ((margin, margin), (margin, margin), (0, 0)), mode="reflect")
    height, width = patch.shape[:2]
    total = np.zeros(patch.shape, np.uint16)
    for dy, dx in places:
        total += padded[margin + dy : margin + dy + height, margin + dx : margin + dx + width]
    return ((total + len(places) // 2) // len(places)).astype(np.uint8)


def apparent_size(view: View, linear: Float64) -> Float64:
    """Width and height in patch pixels of a view's target cut with a warp: of the ellipse in its box, tight under any turn.

    >>> apparent_size(View(np.zeros((1, 1, 3), np.uint8), 0, 0, 20.0, 20.0), np.eye(2)).round(2)
    array([63.5, 63.5])
    """
    scale = context_side(view.w, view.h) / EXEMPLAR_SIZE
    to_patch = np.linalg.inv(scale * linear)
    spread = to_patch @ np.diag([view.w**2, view.h**2]) @ to_patch.T
    return np.asarray(np.sqrt(np.diag(spread)))


def jitter(rng: np.random.Generator, strength: float) -> Float64:
    """A random change of size and shape, as a warp: image pixels per patch pixel, 2x2."""
    grow, shape = np.exp(rng.normal(0, SIZE_JITTER * strength)), np.exp(rng.normal(0, SHAPE_JITTER * strength))
    return np.diag([1 / (grow * shape), shape / grow])


def cover(patch: Image, center: Float64, size: Float64, rng: np.random.Generator) -> Image:
    """Lays a rectangle of the patch's other parts over a side of the target: up to 45 % of its width or height."""
    height, width = patch.shape[:2]
    w, h = (size * (rng.uniform(0.2, 0.45), rng.uniform(0.6, 1.2))[:: rng.choice((-1, 1))]).clip(4, 120).astype(int)
    side = rng.choice((-1, 1), 2)
    x, y = (center + side * (size - (w, h)) / 2 - (w / 2, h / 2)).astype(int)
    u, v = rng.integers(0, width - w), rng.integers(0, height - h)
    x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + w, width), min(y + h, height)
    if x1 <= x0 or y1 <= y0:
        return patch
    result = patch.copy()
    result[y0:y1, x0:x1] = patch[v : v + y1 - y0, u : u + x1 - x0]
    return result
