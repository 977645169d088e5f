"""The renderer of clips: from a scene to frames, boxes, visible shares and the picture of object numbers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from metatrack.arrays import Float64, Rng, UInt8
from metatrack.data.clips import MadeClip
from metatrack.data.opencv import cv2
from metatrack.data.render.config import RenderConfig
from metatrack.data.render.scene import CameraView, Mover, Scene, body, draw_scene, look_of, slower
from metatrack.data.render.stage import LARGEST, Light, Outline, Stage
from metatrack.data.render.stock import ModelStock
from metatrack.data.synth.files import Subset, require_subset
from metatrack.data.synth.layers import Layer, blend, paste
from metatrack.data.synth.light import camera, color_tables
from metatrack.data.synth.motion import walk
from metatrack.geometry import context_side

TRIES = 20  # scenes that are drawn, at most, until the target is in full view in the first frame
LEAST_FILLED = 0.2
"""Share of its box that a target fills in the first frame, at least: wires alone are hardly to be told from what is behind."""
LEAST_CONTRAST = 14.0
"""Grey levels, at least, by which the target's mean colour or its spread differs from what surrounds it in the first frame."""
CANVAS = 900  # least side of the background in pixels of the world


@dataclass(frozen=True)
class _Place:
    """Where a body is in a frame."""

    shape: Outline
    center: Float64  # (2,), of the model's centre, in pixels of the frame
    scale: float  # pixels per radius

    @property
    def box(self) -> tuple[float, float, float, float]:
        x, y = self.center + self.scale * self.shape.low
        w, h = self.scale * (self.shape.high - self.shape.low)
        return float(x), float(y), float(w), float(h)


class Renderer:
    """Renders clips of one model through time, before photographs and among other models.

    Args:
        models: folder or folders of packed models (``metatrack data models``).
        backgrounds: folder or folders of photographs; see :func:`metatrack.data.synth.stock.find_photos`.
        subset: ``train`` or ``val`` use disjoint parts (85 : 15, by a hash of the name) of models and backgrounds.
        config: what the clips look like.

    Raises:
        FileNotFoundError: a folder does not exist.
        ValueError: a folder holds nothing usable, or nothing of this subset.
    """

    def __init__(
        self,
        models: Path | Iterable[Path],
        backgrounds: Path | Iterable[Path],
        *,
        subset: Subset = "all",
        config: RenderConfig | None = None,
    ) -> None:
        require_subset(subset)
        self.config = config or RenderConfig()
        self.subset = subset
        self.stock = ModelStock(models, backgrounds, subset, recolor=0.2 * min(1.0, self.config.lighting))
        self.stage = Stage()

    @property
    def materials(self) -> list[Path]:
        return [*self.stock.paths, *self.stock.photo_paths]

    def recipe(self) -> dict[str, Any]:
        """What the clips' bytes depend on, beside the files; a :class:`NoOpenGLError` where none works without a display."""
        return {
            "subset": self.subset,
            "config": vars(self.config),
            "models": len(self.stock.paths),
            "backgrounds": len(self.stock.photo_paths),
            "renderer": self.stage.gl.renderer,  # what OpenGL calls itself: other versions give other bytes
        }

    def clip(self, rng: Rng, length: int) -> MadeClip:
        """Renders one clip.

        Boxes are of the whole target, where it is hidden or outside the frame too; the visible share is of its pixels in the
        picture of object numbers; the numbers are 0 for the background, 1 for the target, and 2 and more for the others.

        Raises:
            ValueError: length is less than 1.
            OSError: a model or a photograph cannot be read.
            NoOpenGLError: there is no OpenGL that works without a display.
        """
        if length < 1:
            raise ValueError(f"length={length}: a clip has at least one frame")
        for _ in range(TRIES):
            found = self._attempt(np.random.default_rng(rng.integers(0, 2**63)), length)
            if found is not None:
                return found
        raise ValueError(f"in {TRIES} scenes the target was not in full view in the first frame: fewer occluders are needed")

    def _attempt(self, rng: Rng, length: int) -> MadeClip | None:
        """One clip; None where the target is not in full view in the first frame, which is all that is drawn then."""
        seeds = rng.integers(0, 2**63, size=5)
        rng_scene, rng_back, rng_light, rng_look, rng_view = (np.random.default_rng(seed) for seed in seeds)
        config = self.config
        scene = draw_scene(rng_scene, length, self.stock, config)
        views = scene.views or self._following(rng_view, scene.target)
        canvas = self._canvas(rng_back)
        lights = _lights(rng_light, length, config)
        shadow = config.shadows > rng_light.random()
        tables = color_tables(rng_back, length, 0.7 * config.lighting, 0.6 * slower(length))
        finish = camera(rng_look, length, config.size, config.degrade)
        self.stage.gl.surround(np.asarray(cv2.resize(canvas, (128, 128), interpolation=cv2.INTER_AREA), np.uint8))
        frames: list[UInt8] = []
        numbers: list[UInt8] = []
        boxes, visible = np.empty((length, 4)), np.empty(length)
        for i, view in enumerate(views):
            frame = np.asarray(cv2.LUT(_background(canvas, view, config.size), tables[i]), np.uint8)
            ids, boxes[i], visible[i] = self._draw(scene, i, view, lights[i], shadow, frame)
            if i == 0 and not (visible[0] >= 0.97 and _tells_apart(frame, ids, boxes[0])):
                return None
            frames.append(finish(frame, i))
            numbers.append(ids)
        return MadeClip(frames, boxes, visible, numbers)

    def _following(self, rng: Rng, target: Mover) -> list[CameraView]:
        """Views that hold the target's box in the middle, at the context side of the config."""
        config, views = self.config, []
        jitter = rng.uniform(-1, 1, (len(target.poses), 3))
        for i, (dx, dy, ds) in enumerate(jitter):
            shape = target.outline(i)
            low, high = (target.scales[i] * edge for edge in (shape.low, shape.high))
            zoom = config.context * (1 + config.scale_jitter * ds) / context_side(*(high - low))
            middle = target.centers[i] + (low + high) / 2
            views.append(CameraView(middle - config.shift * np.array([dx, dy]) / zoom, zoom))
        return views

    def _canvas(self, rng: Rng) -> UInt8:
        """The background (side, side, 3), strewn with models that do not move where the config wants it."""
        config = self.config
        side = max(CANVAS, round(1.5 * max(config.size)))
        canvas = self.stock.square(rng, 350, 1000, side, 6.0)
        if rng.random() >= config.clutter:
            return canvas
        light = _lights(rng, 1, config)[0]
        self.stage.gl.surround(np.asarray(cv2.resize(canvas, (128, 128), interpolation=cv2.INTER_AREA), np.uint8))
        for _ in range(int(rng.integers(3, 11))):
            model = self.stock.model(rng)
            look, center = look_of(rng, model, self.stock, config), rng.uniform(0.1, 0.9, (1, 2)) * side
            thing = body(rng, 1, model, look, center, config.context * rng.uniform(0.4, 1.5), 0, config)
            place = _place(thing, 0, CameraView(np.full(2, side / 2), 1.0), (side, side))
            layer = self._layer(thing, 0, place, light)
            if layer is not None:
                blend(canvas, layer)
        return canvas

    def _layer(self, thing: Mover, i: int, place: _Place, light: Light) -> Layer | None:
        layer = self.stage.layer(thing.model, place.shape, thing.poses[i], thing.look, light, place.center, place.scale)
        if layer is None:
            return None
        # Premultiplied colours pass through the table as they would undiluted: divided, looked up, multiplied.
        opacity = layer.alpha[..., None]
        straight = np.clip(layer.rgb / np.maximum(opacity, 1 / 255) + 0.5, 0, 255).astype(np.uint8)
        tinted = cv2.LUT(straight, thing.tables[i]).astype(np.float32) * opacity
        return replace(layer, rgb=tinted)

    def _draw(
        self, scene: Scene, i: int, view: CameraView, light: Light, shadow: bool, frame: UInt8
    ) -> tuple[UInt8, tuple[float, float, float, float], float]:
        """Draws frame i in place; returns the numbers of its objects, the target's box, and its visible share."""
        config = self.config
        ids = np.zeros(frame.shape[:2], np.uint8)
        things = [(scene.target, 1), *((other, k + 2) for k, other in enumerate(scene.others))]
        box, whole = (0.0, 0.0, 0.0, 0.0), 0
        for thing, number in sorted(things, key=lambda item: item[0].depth):  # stable: the target before others of its depth
            place = _place(thing, i, view, config.size)
            if number == 1:
                box = place.box
            x, y, w, h = place.box
            if number > 1 and (x > config.size[0] or y > config.size[1] or x + w < 0 or y + h < 0):
                continue
            layer = self._layer(thing, i, place, light)
            if layer is None:
                continue
            if number == 1:
                box, whole = layer.box, int((layer.alpha > 0.5).sum())
            if shadow:
                blend(frame, _shadow(layer, light))
            blend(frame, layer)
            paste(ids, layer, number)
        return ids, box, float((ids == 1).sum() / whole) if whole else 0.0


def _tells_apart(frame: UInt8, ids: UInt8, box: Float64) -> bool:
    """Whether a target (number 1) fills enough of its box and differs from its surroundings."""
    x, y, w, h = box
    own = ids == 1
    if own.sum() < LEAST_FILLED * w * h:
        return False
    around = np.zeros_like(own)
    around[max(0, int(y - h / 3)) : int(y + 4 * h / 3), max(0, int(x - w / 3)) : int(x + 4 * w / 3)] = True
    inside, outside = frame[own].astype(np.float64), frame[around & ~own].astype(np.float64)
    if len(outside) == 0:
        return True
    means = np.abs(inside.mean(0) - outside.mean(0)).max()
    spreads = np.abs(inside.std(0) - outside.std(0)).max()
    return bool(max(means, spreads) >= LEAST_CONTRAST)


def _place(thing: Mover, i: int, view: CameraView, size: tuple[int, int]) -> _Place:
    """Where a body is in the frame; what would be larger than a layer can be is kept at that size."""
    shape = thing.outline(i)
    scale = float(thing.scales[i] * view.zoom)
    scale = min(scale, (LARGEST - 4) / float(max(shape.high - shape.low)))
    return _Place(shape, (thing.centers[i] - view.center) * view.zoom + np.array(size) / 2, scale)


def _background(canvas: UInt8, view: CameraView, size: tuple[int, int]) -> UInt8:
    """What the view shows of the canvas (side, side, 3), whose middle is the world's origin; mirrored beyond its edges."""
    zoom, middle = view.zoom, np.array(canvas.shape[1::-1]) / 2
    # From the frame's pixel indices to the canvas' (centres at + 0.5).
    offset = middle + view.center - np.array(size) / 2 / zoom + 0.5 / zoom - 0.5
    matrix = np.array([[1 / zoom, 0, offset[0]], [0, 1 / zoom, offset[1]]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(canvas, matrix, size, flags=flags, borderMode=cv2.BORDER_REFLECT_101), np.uint8)


def _shadow(layer: Layer, light: Light) -> Layer:
    """The soft shadow of an object on what is behind it: its silhouette, moved away from the light and blurred."""
    h, w = layer.alpha.shape
    reach = max(2, round(0.12 * min(w, h)))
    wide = cv2.copyMakeBorder(layer.alpha, reach, reach, reach, reach, cv2.BORDER_CONSTANT, value=0)
    soft = cv2.blur(cv2.blur(wide, (reach + 1, reach + 1)), (reach + 1, reach + 1))
    dx, dy = round(-light.direction[0] * 1.2 * reach), round(light.direction[1] * 0.9 * reach)
    alpha = np.asarray(soft, np.float32) * np.float32(min(0.55, 0.4 * float(light.sun.mean())))
    return Layer(layer.x - reach + dx, layer.y - reach + dy, np.zeros((*alpha.shape, 3), np.float32), alpha, layer.box)


def _lights(rng: Rng, length: int, config: RenderConfig) -> list[Light]:
    """Light over a clip: it drifts, and in one clip of six the sun goes or comes at one moment."""
    strength, pace = config.lighting, config.lighting * slower(length)
    around = walk(rng, length, rng.uniform(-2.5, 2.5), 0.04 * pace, -9.0, 9.0)
    height = walk(rng, length, rng.uniform(0.3, 1.3), 0.03 * pace, 0.15, 1.45)
    power = np.exp(walk(rng, length, strength * rng.normal(-0.1, 0.35), 0.05 * pace, -1.2, 0.7))
    ambient = np.exp(walk(rng, length, strength * rng.normal(0.0, 0.2), 0.03 * pace, -0.6, 0.5))
    warmth = rng.normal(0, 0.08 * strength)
    jump, moment, factor = rng.random() < strength / 6, rng.integers(1, length + 1), rng.choice((0.15, 0.4, 2.0))
    if jump:
        power[moment:] *= factor
    toward = np.stack([np.cos(height) * np.sin(around), np.sin(height), np.cos(height) * np.cos(around)], 1)
    toward[:, 2] = 0.4 + 0.6 * toward[:, 2]  # rather from the camera's side: what is lit from behind alone is a silhouette
    toward /= np.linalg.norm(toward, axis=1, keepdims=True)
    color = np.exp([warmth, 0.0, -warmth])
    return [Light(toward[i], power[i] * color, float(0.85 * ambient[i])) for i in range(length)]
