"""DSST: a correlation filter for the place, and another, over sizes, for the scale.

Danelljan, Häger, Shahbaz Khan and Felsberg: Accurate Scale Estimation for Robust Visual Tracking, BMVC 2014.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from metatrack.arrays import Floats, Spectrum
from metatrack.compared.correlation import Found, Target, box_around, gaussian_labels, grey, hann, peak, subwindow
from metatrack.compared.follower import Follower
from metatrack.compared.hog import hog
from metatrack.compared.patches import rounded, scale_limits
from metatrack.geometry import Image
from metatrack.opencv import require_opencv

cv2 = require_opencv("DSST")

PADDING = 1.0
"""Context around the target, in its sizes: the window is twice as large."""
REGULARIZATION = 0.01
"""Lambda of both filters."""
LEARNING_RATE = 0.025
"""Weight of each new frame in both filters (eta of the paper)."""
OUTPUT_SIGMA = 1 / 16
"""Width of the translation filter's labels, in sizes of the target."""
SCALES = 33
"""Sizes that are looked at (S of the paper)."""
SCALE_STEP = 1.02
"""Ratio between neighbouring ones (a of the paper)."""
SCALE_SIGMA = 1 / 4 * SCALES / math.sqrt(33)
"""Width of the scale filter's labels, in steps."""
SCALE_AREA = 512
"""Largest area in pixels to which the target is shrunk for the scale filter."""
SCALE_CELL = 4
"""Side of its HOG cells in pixels. The translation filter's are single pixels."""

STEPS = np.arange(SCALES) - SCALES // 2
FACTORS = SCALE_STEP**STEPS
"""Sizes that are looked at, relative to the last one: ``(33,)``."""
SCALE_LABELS: Spectrum = np.fft.rfft(np.exp(-0.5 * STEPS**2 / SCALE_SIGMA**2)).astype(np.complex64)[:, None]
"""What the scale filter should answer at each of them, as a spectrum ``(17, 1)``."""
SCALE_WINDOW = np.hanning(SCALES).astype(np.float32)[:, None]
"""Fades out the smallest and the largest, ``(33, 1)``."""


@dataclass
class Filter:
    """A discriminative correlation filter of several channels, as a fraction: equation (4)."""

    numerator: Spectrum
    """``A``, with an axis of channels."""
    denominator: Floats
    """``B``, shared by the channels."""
    channels: int
    """Number of the axis of channels."""

    @classmethod
    def of(cls, labels: Spectrum, sample: Spectrum, channels: int) -> Filter:
        """The filter that answers ``labels`` to one sample. It is stored conjugated, so that (6) needs no conjugation."""
        return cls(labels * sample.conj(), (sample.real**2 + sample.imag**2).sum(axis=channels), channels)

    def learn(self, new: Filter) -> None:
        """Running means of both parts: equations (5a) and (5b)."""
        self.numerator += np.float32(LEARNING_RATE) * (new.numerator - self.numerator)
        self.denominator += np.float32(LEARNING_RATE) * (new.denominator - self.denominator)

    def respond(self, sample: Spectrum) -> Spectrum:
        """The response's spectrum: equation (6)."""
        return np.asarray((self.numerator * sample).sum(axis=self.channels) / (self.denominator + np.float32(REGULARIZATION)))


@dataclass
class PlacedWindows:
    """Where the target is, and the windows in which it is looked at. Sizes are heights and widths."""

    row: int  # of the target's centre
    column: int
    base: tuple[int, int]  # the target at scale 1, in pixels
    scale: float
    limits: tuple[float, float]  # of the scale
    window: tuple[int, int]  # of the translation filter, to which patches of all scales are resized
    scale_window: tuple[int, int]  # of the scale filter
    hann: Floats  # (h, w) of the translation filter
    labels: Spectrum  # (h, w // 2 + 1) of the translation filter


@dataclass
class ScaleModel:
    """Everything that belongs to one target."""

    view: PlacedWindows
    translation: Filter  # numerator (28, h, w // 2 + 1)
    scaling: Filter  # numerator (17, D)


class DSST(Follower[ScaleModel]):
    """Two filters: one finds the centre, one then finds the size, whose ratio of height to width stays.

    Fractions of a pixel of the first box are dropped.

    The filters have an element for each pixel of the window, so large targets are slow, as they are in the paper.

    >>> frame = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    >>> tracker = DSST()
    >>> tracker.init(frame, (60, 40, 30, 30))
    >>> tracker.update(np.roll(frame, (2, -3), axis=(0, 1))).box
    Box(x=57.0, y=42.0, w=30.0, h=30.0)
    """

    @classmethod
    def identity(cls) -> dict[str, Any]:
        """What decides its boxes besides this package."""
        return {"opencv": cv2.__version__}

    def learn_first(self, target: Target) -> ScaleModel:
        base = (max(1, int(target.height)), max(1, int(target.width)))
        window = (max(4, math.floor(base[0] * (1 + PADDING))), max(4, math.floor(base[1] * (1 + PADDING))))
        shrink = min(1.0, math.sqrt(SCALE_AREA / (base[0] * base[1])))
        least = 2 * SCALE_CELL  # HOG needs two cells
        sigma = math.sqrt(base[0] * base[1]) * OUTPUT_SIGMA
        view = PlacedWindows(
            math.floor(target.row),
            math.floor(target.column),
            base,
            1.0,
            scale_limits(window, base, target.image.shape[:2], SCALE_STEP),
            window,
            (max(least, int(base[0] * shrink)), max(least, int(base[1] * shrink))),
            hann(*window).astype(np.float32),
            np.fft.rfft2(gaussian_labels(*window, sigma)).astype(np.complex64),
        )
        return ScaleModel(view, *_filters(view, target.image))

    def follow(self, model: ScaleModel, image: Image) -> Found:
        view = model.view
        response = model.translation.respond(_translation_sample(view, image))
        down, right, score = peak(np.fft.irfft2(response, s=view.window))
        view.row += rounded(down * view.scale)
        view.column += rounded(right * view.scale)

        scales = np.fft.irfft(model.scaling.respond(_scale_sample(view, image)), n=SCALES)
        low, high = view.limits
        view.scale = min(max(view.scale * float(FACTORS[scales.argmax()]), low), high)

        translation, scaling = _filters(view, image)
        model.translation.learn(translation)
        model.scaling.learn(scaling)
        height, width = (max(1, math.floor(side * view.scale)) for side in view.base)
        return Found(box_around(view.row, view.column, height, width), score)


def _filters(view: PlacedWindows, image: Image) -> tuple[Filter, Filter]:
    """The translation and the scale filter of one frame."""
    translation = Filter.of(view.labels, _translation_sample(view, image), channels=0)
    return translation, Filter.of(SCALE_LABELS, _scale_sample(view, image), channels=1)


def _translation_sample(view: PlacedWindows, image: Image) -> Spectrum:
    """Grey and 27 channels of HOG around the target, at its scale: spectra ``(28, h, w // 2 + 1)``."""
    patch = _patch(image, view, view.window, view.scale, view.window)
    features = np.empty((28, *view.window), np.float32)
    features[0] = grey(patch) / np.float32(255) - np.float32(0.5)
    features[1:] = hog(patch[None], 1)[0, :27]
    return np.fft.rfft2(features * view.hann)


def _scale_sample(view: PlacedWindows, image: Image) -> Spectrum:
    """HOG of the target at 33 scales, a signal over scales for each of D features: spectra ``(17, D)``."""
    patches = [_patch(image, view, view.base, view.scale * factor, view.scale_window) for factor in FACTORS]
    features = hog(np.stack(patches), SCALE_CELL).reshape(SCALES, -1)
    return np.fft.rfft(features * SCALE_WINDOW, axis=0)


def _patch(image: Image, view: PlacedWindows, size: tuple[int, int], scale: float, to: tuple[int, int]) -> Image:
    """What is around the target in a window of ``size`` (height, width) times ``scale``, resized ``to`` another."""
    height, width = (max(1, math.floor(side * scale)) for side in size)
    patch = subwindow(image, view.row, view.column, height, width)
    if patch.shape[:2] == to:
        return patch
    how = cv2.INTER_LINEAR if to[1] > width else cv2.INTER_AREA
    return np.asarray(cv2.resize(patch, (to[1], to[0]), interpolation=how), np.uint8)
