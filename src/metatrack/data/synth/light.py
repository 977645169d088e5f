"""Colour, blur and noise over time: the light on things, and what a camera does to frames."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from metatrack.arrays import Float32, Float64, Rng, UInt8
from metatrack.data.opencv import cv2
from metatrack.data.synth.motion import walk


def color_table(gain: Float64, brightness: float, contrast: float, gamma: float) -> UInt8:
    """Table (1, 256, 3) of a colour change: gamma, contrast about mid grey, brightness in grey levels, gain (3,) per channel."""
    level = (np.arange(256) / 255.0) ** gamma
    level = (level - 0.5) * contrast + 0.5 + brightness / 255
    table = np.rint(np.clip(level[:, None] * gain, 0, 1) * 255)
    return np.asarray(table[None], np.uint8)


def color_tables(rng: Rng, length: int, strength: float, drift: float) -> list[UInt8]:
    """Tables (1, 256, 3) of colour changes that drift over a clip; strength scales how far they are from no change."""
    s, d = strength, strength * drift
    cast = np.stack([walk(rng, length, s * rng.normal(0, 0.08), d * 0.02, -0.3, 0.3) for _ in range(3)], 1)  # (length, 3)
    light = walk(rng, length, s * rng.normal(0, 0.15), d * 0.06, -0.6, 0.35)
    offset = walk(rng, length, s * rng.normal(0, 10), d * 4, -35, 35)
    contrast = walk(rng, length, s * rng.normal(0, 0.12), d * 0.04, -0.5, 0.3)
    gamma = walk(rng, length, s * rng.normal(0, 0.15), d * 0.05, -0.5, 0.5)
    return [color_table(np.exp(cast[i] + light[i]), offset[i], math.exp(contrast[i]), math.exp(gamma[i])) for i in range(length)]


def camera(rng: Rng, length: int, size: int | tuple[int, int], degrade: float) -> Callable[[UInt8, int], UInt8]:
    """How the camera spoils the frames of a clip, of this side or width and height: a function (frame, i) -> frame.

    ``degrade`` multiplies the probabilities of blur, smear, low resolution, grey, noise and JPEG.
    """
    width, height = (size, size) if isinstance(size, int) else size
    soft = rng.random() < 0.25 * degrade
    sigma = walk(rng, length, rng.uniform(0.4, 1.4), 0.2, 0.3, 2.2)
    smear = rng.random() < 0.2 * degrade
    taps = rng.integers(3, 12, length)
    smeared = rng.random(length) < 0.5
    bearing = walk(rng, length, rng.uniform(0, math.pi), 0.3, -99.0, 99.0)
    coarse = rng.random() < 0.2 * degrade
    shrink = walk(rng, length, math.exp(rng.uniform(math.log(1.4), math.log(4.5))), 0.1, 1.3, 5.0)
    gray = rng.random() < 0.08 * degrade
    noisy = rng.random() < 0.3 * degrade
    # One field of noise, of which each frame shows another part: cheaper than a field per frame.
    grain = rng.normal(0, math.exp(rng.uniform(0.3, 2.3)), (height + 64, width + 64, 3)).astype(np.int16) if noisy else None
    shifts = rng.integers(0, 64, (length, 2))
    packed = rng.random() < 0.25 * degrade
    quality = rng.integers(15, 70, length)

    def finish(frame: UInt8, i: int) -> UInt8:
        out: Any = frame
        if soft:
            out = cv2.GaussianBlur(out, (0, 0), sigma[i])
        if smear and smeared[i]:
            out = cv2.filter2D(out, -1, _line(int(taps[i]), bearing[i]))
        if coarse:
            coarser = (round(width / shrink[i]), round(height / shrink[i]))
            small = cv2.resize(out, coarser, interpolation=cv2.INTER_AREA)
            out = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
        if gray:
            out = cv2.cvtColor(cv2.cvtColor(out, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        if grain is not None:
            y, x = shifts[i]
            part = grain[y : y + height, x : x + width]
            out = cv2.add(out, part[..., :1].repeat(3, 2) if gray else part, dtype=cv2.CV_8U)
        if packed:
            _, data = cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, int(quality[i])])
            out = cv2.imdecode(data, cv2.IMREAD_COLOR)
        return np.asarray(out, np.uint8)

    return finish


def _line(length: int, angle: float) -> Float32:
    """Kernel (length, length) of a motion blur along a direction; its sum is 1."""
    kernel = np.zeros((length, length), np.float32)
    along = np.linspace(-(length - 1) / 2, (length - 1) / 2, 4 * length)
    x = np.rint(along * math.cos(angle) + (length - 1) / 2).astype(int)
    y = np.rint(along * math.sin(angle) + (length - 1) / 2).astype(int)
    np.add.at(kernel, (y, x), 1.0)
    return np.asarray(kernel / kernel.sum(), np.float32)
