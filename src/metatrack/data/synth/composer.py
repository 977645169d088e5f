"""The composer of clips: the target, its background, distractors beside it, and what hides it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from metatrack.arrays import Float64, Rng, UInt8
from metatrack.data.clips import MadeClip
from metatrack.data.opencv import cv2
from metatrack.data.synth.config import ComposerConfig
from metatrack.data.synth.cutouts import Cutout
from metatrack.data.synth.files import Subset, require_subset
from metatrack.data.synth.layers import Actor, Layer, blend, coverage, fit, render
from metatrack.data.synth.light import camera, color_table, color_tables
from metatrack.data.synth.motion import Motion, kept_off, walk
from metatrack.data.synth.stock import Stock


class Composer:
    """Composes clips of one object through time from a folder of objects and a folder of photographs.

    Args:
        objects: folder or folders, searched through, of images with transparency; see
            :func:`metatrack.data.synth.cutouts.read_object` for what is used.
        backgrounds: folder or folders of photographs; see :func:`metatrack.data.synth.stock.find_photos`.
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
        require_subset(subset)
        self.config = config or ComposerConfig()
        self.subset = subset
        self.stock = Stock(objects, backgrounds, subset, recolor=0.2 * min(1.0, self.config.lighting))

    @property
    def materials(self) -> list[Path]:
        return [*self.stock.object_paths, *self.stock.photo_paths]

    def recipe(self) -> dict[str, Any]:
        return {
            "subset": self.subset,
            "config": vars(self.config),
            "objects": len(self.stock.object_paths),
            "backgrounds": len(self.stock.photo_paths),
        }

    def clip(self, rng: Rng, length: int) -> MadeClip:
        """Composes one clip of ``length`` frames; the same state of ``rng`` gives the same clip.

        Raises:
            ValueError: length is less than 1, or the config's shift moves the target out of the frame.
            OSError: a photograph cannot be read.
        """
        if length < 1:
            raise ValueError(f"length={length}: a clip has at least one frame")
        # A generator for each part, so that switching one part off leaves the others as they were.
        seeds = rng.integers(0, 2**63, size=5)
        rng_target, rng_back, rng_distract, rng_cover, rng_look = (np.random.default_rng(seed) for seed in seeds)
        stock, config, size = self.stock, self.config, self.config.size

        target = self._target(rng_target, length)
        targets = [self._visible(target, i) for i in range(length)]
        frames = draw_backgrounds(rng_back, length, stock, config)
        distractors = draw_distractors(rng_distract, target, stock, config)
        covers = draw_covers(rng_cover, targets, stock, config)
        finish = camera(rng_look, length, size, config.degrade)

        for i, frame in enumerate(frames):
            for layer in [*(other.layer(i, size) for other in distractors), targets[i], covers[i]]:
                if layer is not None:
                    blend(frame, layer)
        boxes = np.array([layer.box for layer in targets], np.float64)
        return MadeClip([finish(frame, i) for i, frame in enumerate(frames)], boxes)

    def _target(self, rng: Rng, length: int) -> Actor:
        config = self.config
        cutout = self.stock.thing(rng, config.blob)
        motion = Motion.sample(rng, length)
        tables = color_tables(rng, length, config.lighting, 1.0)
        jitter = rng.uniform(-1, 1, size=(length, 3))
        centers = config.size / 2 + config.shift * jitter[:, :2]
        contexts = config.context * (1 + config.scale_jitter * jitter[:, 2])
        return Actor(cutout, tables, motion, contexts, centers)

    def _visible(self, target: Actor, i: int) -> Layer:
        layer = target.layer(i, self.config.size, exact=True)
        if layer is None:
            raise ValueError(f"the target lies outside the frame: shift={self.config.shift} is too much for it")
        return layer


def draw_backgrounds(rng: Rng, length: int, stock: Stock, config: ComposerConfig) -> list[UInt8]:
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


def draw_distractors(rng: Rng, target: Actor, stock: Stock, config: ComposerConfig) -> list[Actor]:
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


def draw_covers(rng: Rng, targets: list[Layer], stock: Stock, config: ComposerConfig) -> list[Layer | None]:
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
