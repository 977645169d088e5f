"""Other objects of a clip: distractors beside the target, and what hides it."""

from __future__ import annotations

import math

import numpy as np

from metatrack.arrays import Float64, Rng, UInt8
from metatrack.data.opencv import cv2
from metatrack.data.synth.config import ComposerConfig
from metatrack.data.synth.cutouts import Cutout
from metatrack.data.synth.layers import Actor, Layer, coverage
from metatrack.data.synth.light import color_table, color_tables
from metatrack.data.synth.motion import Motion, kept_off, walk
from metatrack.data.synth.stock import Stock


def distractors(rng: Rng, target: Actor, stock: Stock, config: ComposerConfig) -> list[Actor]:
    """Up to ``config.distractors`` other objects; half of them look like the target."""
    length = len(target.tables)
    found: list[Actor] = []
    for _ in range(int(rng.integers(0, config.distractors + 1))):
        cutout, tables = _rival(rng, target, stock, config)
        context = config.context * rng.uniform(0.6, 1.4)
        # Not nearer than this: a double upon the target would be a wrong label, and the target's centre stays free.
        nearest = 0.42 * context + 0.2 * config.context
        path = _path(rng, length, config.size, nearest)
        found.append(Actor(cutout, tables, Motion.sample(rng, length), np.full(length, context), path))
    return found


def _rival(rng: Rng, target: Actor, stock: Stock, config: ComposerConfig) -> tuple[Cutout, list[UInt8]]:
    """What a distractor looks like: the object, and its colours over the clip."""
    kind = rng.random()
    if kind < 0.3:  # the same object in other colours
        order = rng.permutation(3)
        tint = color_table(np.exp(rng.normal(0, 0.3, 3)), rng.normal(0, 20), math.exp(rng.normal(0, 0.2)), 1.0)
        color = cv2.LUT(np.ascontiguousarray(target.cutout.color[..., order]), tint)
        return Cutout(np.asarray(color, np.uint8), target.cutout.alpha), target.tables
    if kind < 0.5:  # its double: only pose and place differ
        return (target.cutout.mirrored() if rng.random() < 0.5 else target.cutout), target.tables
    cutout = stock.thing(rng, blob=0.3)
    return cutout, color_tables(rng, len(target.tables), config.lighting, 1.0)


def _path(rng: Rng, length: int, size: int, nearest: float) -> Float64:
    """Centres (length, 2) in pixels of something that crosses the frame, at least ``nearest`` from the frame's centre."""
    radius = rng.uniform(nearest, 0.5 * size)
    bearing = rng.uniform(0, 2 * math.pi)
    start = size / 2 + radius * np.array([math.cos(bearing), math.sin(bearing)])
    speed = rng.choice([0.5, 3.0, 10.0])
    heading = rng.uniform(0, 2 * math.pi)
    way = np.array([math.cos(heading), math.sin(heading)]) * speed
    path = start + np.arange(length)[:, None] * way + np.cumsum(rng.normal(0, 0.3 * speed, (length, 2)), 0)
    return np.asarray(size / 2 + kept_off(path - size / 2, nearest))


def covers(rng: Rng, targets: list[Layer], stock: Stock, config: ComposerConfig) -> list[Layer | None]:
    """The occluder of each frame, or None: in one run of frames it comes from one side and hides 20-60 % of the target."""
    length = len(targets)
    found: list[Layer | None] = [None] * length
    if rng.random() >= config.occluded or config.occluded_frames == 0 or length < 2:
        return found
    count = min(length - 1, max(1, round(config.occluded_frames * length)))
    first = int(rng.integers(1, length - count + 1))
    cutout = stock.thing(rng, blob=0.6)
    table = color_tables(rng, 1, config.lighting, 0.0)[0]
    motion = Motion.sample(rng, length)
    context = config.context * rng.uniform(0.8, 1.5)
    bearings = walk(rng, length, rng.uniform(0, 2 * math.pi), 0.1, -99.0, 99.0)
    shares = walk(rng, length, rng.uniform(0.25, 0.55), 0.06, 0.22, 0.58)
    middles = np.array([(x + w / 2, y + h / 2) for x, y, w, h in (target.box for target in targets)])
    occluder = Actor(cutout, [table] * length, motion, np.full(length, context), middles)
    for i in range(first, first + count):
        layer = occluder.layer(i, config.size)
        if layer is not None:
            found[i] = _pulled_aside(layer, targets[i], bearings[i], shares[i], context + config.context)
    return found


def _pulled_aside(cover: Layer, target: Layer, bearing: float, share: float, farthest: float) -> Layer | None:
    """The cover, moved along a direction until it hides this share of the target; None where that is not 20-60 %."""
    toward = np.array([math.cos(bearing), math.sin(bearing)])

    def at(distance: float) -> Layer:
        dx, dy = (int(v) for v in np.rint(distance * toward))
        return cover.moved(dx, dy)

    near, far = 0.0, farthest
    for _ in range(8):  # the farther, the less it hides
        middle = (near + far) / 2
        near, far = (middle, far) if coverage(target, at(middle)) > share else (near, middle)
    result = at(far)
    return result if 0.2 <= coverage(target, result) <= 0.6 else None
