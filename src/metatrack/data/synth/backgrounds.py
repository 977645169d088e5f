"""The backgrounds of a clip: a camera that pans over one photograph, or cuts."""

from __future__ import annotations

import math

import numpy as np

from metatrack.arrays import Rng, UInt8
from metatrack.data.opencv import cv2
from metatrack.data.synth.config import ComposerConfig
from metatrack.data.synth.layers import blend, fit, render
from metatrack.data.synth.light import color_tables
from metatrack.data.synth.motion import Motion, walk
from metatrack.data.synth.stock import Stock


def backgrounds(rng: Rng, length: int, stock: Stock, config: ComposerConfig) -> list[UInt8]:
    """Draws the backgrounds of a clip, (size, size, 3) each."""
    cuts = rng.random() < config.background_cuts
    tables = color_tables(rng, length, 0.7 * config.lighting, 0.6)
    if cuts:
        frames = [stock.square(rng, 260, 1000, config.size, 6.0) for _ in range(length)]
    else:
        frames = _pan(rng, length, stock, config)
    return [np.asarray(cv2.LUT(frame, table), np.uint8) for frame, table in zip(frames, tables, strict=True)]


def _pan(rng: Rng, length: int, stock: Stock, config: ComposerConfig) -> list[UInt8]:
    """Views (size, size, 3) of a camera that moves, turns and zooms over one square of a photograph."""
    size = config.size
    margin = int(size * rng.uniform(0.15, 0.8))
    canvas = stock.square(rng, 350, 1000, size + 2 * margin, 6.0)
    if rng.random() < config.clutter:
        for _ in range(int(rng.integers(4, 16))):
            _litter(rng, canvas, stock, config)
    speed = rng.choice([0.5, 4.0, 12.0, 30.0])
    heading = rng.uniform(0, 2 * math.pi)
    limit = 0.9 * margin
    start = rng.uniform(-limit / 2, limit / 2, 2)
    drift = np.arange(length)[:, None] * speed * np.array([math.cos(heading), math.sin(heading)])
    wobble = np.stack([walk(rng, length, start[k], 0.3 * speed + 0.3, -limit, limit) for k in range(2)], 1)
    way = limit - np.abs((wobble + drift + limit) % (4 * limit) - 2 * limit)  # reflected at the canvas' margin
    angle = walk(rng, length, 0.0, 0.01, -0.15, 0.15)
    zoom = np.exp(walk(rng, length, 0.0, 0.015, -0.15, 0.15))
    middle = (size + 2 * margin) / 2
    frames: list[UInt8] = []
    for i in range(length):
        cos, sin = zoom[i] * math.cos(angle[i]), zoom[i] * math.sin(angle[i])
        linear = np.array([[cos, -sin], [sin, cos]])
        offset = middle + way[i] - linear @ np.array([size / 2, size / 2])
        matrix = np.column_stack([linear, offset])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        frame = cv2.warpAffine(canvas, matrix, (size, size), flags=flags, borderMode=cv2.BORDER_REFLECT_101)
        frames.append(np.asarray(frame, np.uint8))
    return frames


def _litter(rng: Rng, canvas: UInt8, stock: Stock, config: ComposerConfig) -> None:
    """Lays a random object somewhere on the canvas, in place: part of the scene, it does not move."""
    size = canvas.shape[0]
    cutout = stock.thing(rng, blob=0.3)
    table = color_tables(rng, 1, config.lighting, 0.0)[0]
    context = config.context * rng.uniform(0.4, 1.5)
    center = rng.uniform(0, size, 2)
    pose = Motion.sample(rng, 1).pose(cutout, 0)
    layer = render(cutout, table, fit(cutout, pose, context, center), size)
    if layer is not None:
        blend(canvas, layer)
