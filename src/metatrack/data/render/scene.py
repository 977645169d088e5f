"""A scene: models that move through a flat world before a background, and the camera's view of it in each frame.

The world is a plane, x right and y down, in pixels of a frame at zoom 1; objects lie on it one upon the other, by their depth.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from metatrack.arrays import Float64, Rng, UInt8
from metatrack.data.render.config import RenderConfig
from metatrack.data.render.model import Mesh
from metatrack.data.render.motion import bump, drift, exits, rotations, wander
from metatrack.data.render.stage import Look, Outline, Pose, outline
from metatrack.data.render.stock import ModelStock
from metatrack.data.synth.light import color_tables
from metatrack.data.synth.motion import kept_off, walk
from metatrack.geometry import context_side


@dataclass(frozen=True)
class Mover:
    """A model of a clip: how it looks, turns and moves."""

    model: Mesh
    look: Look
    tables: list[UInt8]  # of each frame, (1, 256, 3): see metatrack.data.synth.light.color_table
    poses: list[Pose]
    centers: Float64  # (length, 2), of the model's centre, in the world
    scales: Float64  # (length,), pixels of the world per radius of the model
    depth: int  # what is larger lies in front

    def outline(self, i: int) -> Outline:
        """The posed model in frame i."""
        return outline(self.model, self.poses[i])


@dataclass(frozen=True)
class CameraView:
    """What the camera shows of the world in one frame."""

    center: Float64  # (2,), of the frame, in the world
    zoom: float


@dataclass(frozen=True)
class Scene:
    """The target, what else moves, and the camera's way; views are None where the camera follows the target."""

    target: Mover
    others: list[Mover]
    views: list[CameraView] | None


def draw_scene(rng: Rng, length: int, stock: ModelStock, config: RenderConfig) -> Scene:
    """Draws a scene of ``length`` frames."""
    return _followed(rng, length, stock, config) if config.follow else _filmed(rng, length, stock, config)


def slower(length: int) -> float:
    """Factor of the steps of random walks in long clips, so that they go as far in the whole as in one of 18 frames."""
    return min(1.0, math.sqrt(18 / length))


def look_of(rng: Rng, model: Mesh, stock: ModelStock, config: RenderConfig) -> Look:
    """Its own materials, or a photograph wrapped about it."""
    wrapped = rng.random() < (config.wrapped if model.textures else 0.75)
    photo = stock.square(rng, 60, 500, 256, 9.0) if wrapped else None
    amount = rng.uniform(0.5, 0.95) if model.textures else rng.uniform(0.35, 0.95)
    return Look(photo, float(amount), float(rng.uniform(0.4, 1.5)), float(0.5 * rng.random() ** 2))


def body(
    rng: Rng, length: int, model: Mesh, look: Look, centers: Float64, context: float, depth: int, config: RenderConfig
) -> Mover:
    """A model that turns, acts and comes nearer or goes away; in its first frame its context side is ``context``."""
    tumbling = 0.1 if model.skin is not None else 0.3
    turned = rotations(rng, length, config.spin, tumbling)
    distance = float(math.exp(rng.uniform(math.log(2.5), math.log(12))))
    action, start = int(rng.integers(64)), float(rng.uniform(0, 64))
    pace = float(rng.uniform(0.3, 1.3)) * min(1.0, config.spin + 0.2)
    poses = [Pose(turned[i], distance, action, start + pace * i) for i in range(length)]
    growth = np.exp(walk(rng, length, 0.0, rng.choice((0.003, 0.012, 0.035)) * math.sqrt(slower(length)), -0.9, 0.9))
    first = outline(model, poses[0])
    scales = context / max(context_side(*(first.high - first.low)), 0.05) * growth / growth[0]
    tables = color_tables(rng, length, 0.6 * config.lighting, 0.7 * slower(length))
    return Mover(model, look, tables, poses, centers, scales, depth)


def _rival(rng: Rng, target: Mesh, look: Look, stock: ModelStock, config: RenderConfig) -> tuple[Mesh, Look]:
    """Another object's model and look: the target's double, the same model with another surface, or any other model."""
    kind = rng.random()
    if kind < 0.7 * config.doubles:
        return target, look
    if kind < config.doubles:
        return target, look_of(rng, target, stock, config)
    model = stock.model(rng)
    return model, look_of(rng, model, stock, config)


def _followed(rng: Rng, length: int, stock: ModelStock, config: RenderConfig) -> Scene:
    """The camera holds the target in the middle; the others stay in the world, go along with the target, or cross its way."""
    model = stock.model(rng)
    look = look_of(rng, model, stock, config)
    way = drift(rng, length, (0.3, 3.0, 10.0, 25.0))
    side = config.context
    target = body(rng, length, model, look, way, side, 0, config)
    others = []
    for _ in range(int(rng.integers(0, config.distractors + 1))):
        other, its_look = _rival(rng, model, look, stock, config)
        bearing, away = rng.uniform(0, 2 * math.pi), side * rng.uniform(0.6, 1.4)
        start = away * np.array([math.cos(bearing), math.sin(bearing)])
        kind = rng.random()
        if kind < 0.35:
            path, depth = start + drift(rng, length, (0.0, 1.0)), -1
        elif kind < 0.8:
            relative = start + drift(rng, length, (0.3, 2.0, 5.0))
            path, depth = way + kept_off(relative, 0.55 * side), int(rng.choice((-1, 1)))
        else:
            path, depth = way + _crossing(rng, length, side), -1
        others.append(body(rng, length, other, its_look, path, side * rng.uniform(0.6, 1.4), depth, config))
    if rng.random() < config.occluded:
        others.append(_occluder(rng, way, stock, config))
    return Scene(target, others, None)


def _crossing(rng: Rng, length: int, side: float) -> Float64:
    """A straight way (length, 2) about the target that passes over its place at some time, in 4 to 14 frames per context side."""
    bearing, moment = rng.uniform(0, 2 * math.pi), rng.uniform(0.2, 1.0) * length
    speed = side / rng.uniform(4, 14)
    along = np.array([math.cos(bearing), math.sin(bearing)])
    aside = rng.normal(0, 0.2 * side) * np.array([-along[1], along[0]])
    return np.asarray((np.arange(length) - moment)[:, None] * speed * along + aside)


def _occluder(rng: Rng, way: Float64, stock: ModelStock, config: RenderConfig) -> Mover:
    """Something in front of the target for a few frames: it passes over it, or comes from a side, covers part of it, and goes."""
    length, side = len(way), config.context
    model = stock.model(rng)
    if rng.random() < 0.6:
        path = way + _crossing(rng, length, side)
    else:
        bearing = rng.uniform(0, 2 * math.pi)
        share = bump(length, rng.uniform(0.1, 0.8) * length, rng.uniform(2, 5), rng.uniform(0, 0.3) * length)
        distance = side * (2.2 - share * rng.uniform(1.55, 1.9))
        path = way + distance[:, None] * np.array([math.cos(bearing), math.sin(bearing)])
    context = side * rng.uniform(0.5, 1.4)
    return body(rng, length, model, look_of(rng, model, stock, config), path, context, 2, config)


def _filmed(rng: Rng, length: int, stock: ModelStock, config: RenderConfig) -> Scene:
    """The camera wanders; the target leaves the frame and returns, its doubles stay about, and it passes behind things."""
    width, height = config.size
    spread = math.log1p(config.context_spread)
    side = config.context * math.exp(rng.uniform(-spread, spread))
    camera = np.array([width, height]) / 2 + wander(
        rng, length, np.full(2, -400.0), np.full(2, 400.0), rng.choice((0.1, 0.6, 1.5))
    )
    zoom = np.exp(walk(rng, length, 0.0, 0.003, -0.2, 0.2))
    views = [CameraView(camera[i], float(zoom[i])) for i in range(length)]

    def in_frame(speed: float, margin: float) -> Float64:
        limit = np.array([width, height]) - margin
        return wander(rng, length, np.full(2, margin), np.maximum(limit, margin + 1), speed)

    def to_world(way: Float64) -> Float64:
        return np.asarray(camera + (way - np.array([width, height]) / 2) / zoom[:, None])

    model = stock.model(rng)
    look = look_of(rng, model, stock, config)
    way = in_frame(rng.choice((0.4, 1.0, 2.0)), 0.8 * side)
    if config.exits:
        way = exits(rng, way, int(rng.integers(1, config.exits + 1)), config.size, 1.2 * side)
    target = body(rng, length, model, look, to_world(way), side, 0, config)
    others = []
    for k in range(int(rng.integers(1, config.distractors + 1)) if config.distractors else 0):
        other, its_look = (model, look) if k == 0 else _rival(rng, model, look, stock, config)  # one double at least
        path = to_world(in_frame(rng.choice((0.3, 0.8, 1.6)), 0.0))
        others.append(body(rng, length, other, its_look, path, side * rng.uniform(0.7, 1.3), int(rng.choice((-1, 1))), config))
    if rng.random() < config.occluded:
        for _ in range(int(rng.integers(1, 3))):
            moment = int(rng.integers(length // 6, length))
            place = to_world(way)[moment] + rng.normal(0, 0.2 * side, 2)
            cover = stock.model(rng)
            its_look = look_of(rng, cover, stock, config)
            still = RenderConfig(**{**vars(config), "spin": 0.0})
            others.append(
                body(rng, length, cover, its_look, np.repeat(place[None], length, 0), side * rng.uniform(0.8, 2.0), 2, still)
            )
    return Scene(target, others, views)
