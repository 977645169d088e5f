"""How models and cameras move: rotations, ways through the world, what passes in front. Lengths are in pixels of the world."""

from __future__ import annotations

import math

import numpy as np

from metatrack.arrays import Float64, Rng
from metatrack.data.synth.motion import walk

TURNS = (1.5, 5.0, 12.0)  # degrees per frame: slow, as most things that are filmed turn; fast; and as a thing in a hand turns


def about_x(angle: float) -> Float64:
    """Rotation (3, 3) in radians: positive shows more of a model's top."""
    cos, sin = math.cos(angle), math.sin(angle)
    return np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])


def about_y(angle: float) -> Float64:
    """Rotation (3, 3) about the vertical."""
    cos, sin = math.cos(angle), math.sin(angle)
    return np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])


def about_z(angle: float) -> Float64:
    """Rotation (3, 3) in the picture, counter-clockwise where y is up."""
    cos, sin = math.cos(angle), math.sin(angle)
    return np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])


def about(axis: Float64, angle: float) -> Float64:
    """Rotation (3, 3) about any axis, by Rodrigues' formula."""
    x, y, z = axis / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross)


def rotations(rng: Rng, length: int, spin: float, tumbling: float) -> Float64:
    """Rotations (length, 3, 3) of one model: upright on a turning ground, or, for this share of clips, tumbling."""
    rate = math.radians(rng.choice(TURNS, p=(0.45, 0.37, 0.18))) * spin * rng.choice((-1, 1))
    steps = rate * np.exp(rng.normal(0, 0.3)) * (1 + 0.5 * rng.standard_normal(length))
    angles = rng.uniform(0, 2 * math.pi) + np.cumsum(steps)
    wobble = math.radians(1.5) * spin
    lift = walk(rng, length, math.radians(rng.uniform(-3, 40)), wobble, math.radians(-12), math.radians(65))
    roll = walk(rng, length, rng.normal(0, math.radians(6)), wobble, math.radians(-30), math.radians(30))
    if rng.random() < tumbling:
        axis, start = rng.normal(0, 1, 3), about(rng.normal(0, 1, 3), rng.uniform(0, 2 * math.pi))
        return np.stack([about_x(lift[i]) @ about(axis, angles[i]) @ start for i in range(length)])
    return np.stack([about_z(roll[i]) @ about_x(lift[i]) @ about_y(angles[i]) for i in range(length)])


def drift(rng: Rng, length: int, speeds: tuple[float, ...]) -> Float64:
    """A way (length, 2) from the origin: one of these speeds in pixels per frame, a heading that changes slowly, and unrest."""
    speed = rng.choice(speeds)
    heading = walk(rng, length, rng.uniform(0, 2 * math.pi), 0.12, -99.0, 99.0)
    steps = speed * np.column_stack([np.cos(heading), np.sin(heading)]) + rng.normal(0, 0.15 * speed + 0.2, (length, 2))
    steps[0] = 0
    return np.asarray(np.cumsum(steps, 0))


def wander(rng: Rng, length: int, low: Float64, high: Float64, speed: float) -> Float64:
    """A smooth way (length, 2) that stays within ``low`` and ``high`` (2,) and is turned back at them."""
    window = np.hanning(25)[1:-1]
    spread = rng.normal(0, 1, (length + len(window) - 1, 2))
    velocity = np.stack([np.convolve(spread[:, k], window / np.sqrt((window**2).sum()), "valid") for k in range(2)], 1)
    way = rng.uniform(low, high) + np.cumsum(speed * velocity, 0)
    return folded(way, low, high)


def folded(way: Float64, low: Float64, high: Float64) -> Float64:
    """A way reflected at its limits, as often as it takes.

    >>> folded(np.array([[-1.0], [3.0], [11.0]]), np.array([0.0]), np.array([10.0])).ravel().tolist()
    [1.0, 3.0, 9.0]
    """
    span = np.maximum(high - low, 1e-9)
    return np.asarray(low + span - np.abs((way - low) % (2 * span) - span))


def smooth_step(x: Float64) -> Float64:
    """0 up to 0, 1 from 1 on, and smooth between."""
    x = np.clip(x, 0, 1)
    return np.asarray(x * x * (3 - 2 * x))


def bump(length: int, start: float, rise: float, hold: float) -> Float64:
    """0, then over ``rise`` frames up to 1 for ``hold`` frames, and down again: (length,)."""
    t = np.asarray(np.arange(length) - start, np.float64)
    return np.asarray(smooth_step(t / rise) * smooth_step((2 * rise + hold - t) / rise))


def exits(rng: Rng, way: Float64, count: int, size: tuple[int, int], reach: float) -> Float64:
    """A way (length, 2) in a frame's coordinates that leaves the frame ``count`` times for 8-40 frames; not in its first 25.

    Args:
        rng, count: source of chance, and how often it leaves.
        way: where the target would be without.
        size: width and height of the frame.
        reach: distance of the centre beyond the border at which nothing is to be seen any more.
    """
    length = len(way)
    out = way.copy()
    room = (length - 30) / max(count, 1)
    for k in range(count):
        rise, hold = rng.uniform(9, 24), rng.uniform(8, 40)
        start = 25 + k * room + rng.uniform(0, max(1.0, room - 2 * rise - hold))
        share = bump(length, start, rise, hold)[:, None]
        axis, side = int(rng.integers(2)), int(rng.integers(2))
        goal = out.copy()
        goal[:, axis] = -reach if side == 0 else size[axis] + reach
        out = out * (1 - share) + goal * share
    return out
