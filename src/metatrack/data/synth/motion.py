"""How things change over a clip: a random walk, and the pose of an object."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from metatrack.arrays import Float64, Rng
from metatrack.data.opencv import cv2
from metatrack.data.synth.cutouts import Cutout


def walk(rng: Rng, length: int, start: float, step: float, low: float, high: float) -> Float64:
    """A random walk of ``length`` values within [low, high]: its steps are normal and are reflected at the limits."""
    values = np.empty(length)
    value = start
    for i, move in enumerate(rng.standard_normal(length)):
        value = 2 * low - value if value < low else 2 * high - value if value > high else value
        value = min(max(value, low), high)
        values[i] = value
        value += step * move
    return values


def kept_off(relative: Float64, nearest: float) -> Float64:
    """A way (length, 2) about the target, pushed out to this distance where it is nearer: two things are not in one place."""
    distance = np.maximum(np.hypot(relative[:, 0], relative[:, 1]), 1e-6)
    return np.asarray(relative * (np.maximum(distance, nearest) / distance)[:, None])


@dataclass(frozen=True)
class Motion:
    """The pose of one object over a clip; arrays of shape (length,)."""

    angle: Float64  # radians, in the image plane
    shear: Float64
    log_aspect: Float64  # log of width over height, on top of the object's own
    tilt_x: Float64  # perspective: relative change of depth across the object
    tilt_y: Float64
    bend: Float64  # amplitude of a sideways sine, relative to the object's side; 0 = rigid
    phase: Float64  # of that sine, radians

    @classmethod
    def sample(cls, rng: Rng, length: int) -> Motion:
        """Draws a motion: mostly gentle, sometimes a fast rotation, strong change of aspect, or bending."""
        upright = rng.random() < 0.75
        start = rng.normal(0, math.radians(10)) if upright else rng.uniform(-math.pi, math.pi)
        angle = walk(rng, length, start, math.radians(rng.choice([0.5, 2.0, 5.0])), -9.0, 9.0)
        if rng.random() < 0.2:
            angle = angle + np.arange(length) * math.radians(rng.choice([-1, 1]) * rng.uniform(8, 35))
        elastic = rng.random() < 0.2
        aspect = walk(rng, length, rng.normal(0, 0.12), 0.15 if elastic else 0.03, -0.6, 0.6)
        soft = rng.random() < 0.3
        bend = walk(rng, length, rng.uniform(0.02, 0.08), 0.015, 0.0, 0.1) if soft else np.zeros(length)
        return cls(
            angle=angle,
            shear=walk(rng, length, rng.normal(0, 0.1), 0.03, -0.35, 0.35),
            log_aspect=aspect,
            tilt_x=walk(rng, length, rng.normal(0, 0.1), 0.04, -0.3, 0.3),
            tilt_y=walk(rng, length, rng.normal(0, 0.1), 0.04, -0.3, 0.3),
            bend=bend,
            phase=walk(rng, length, rng.uniform(-3, 3), 0.6, -20.0, 20.0),
        )

    def pose(self, cutout: Cutout, i: int) -> Float64:
        """Homography (3, 3) of frame i, about the origin of this object's own coordinates."""
        cos, sin = math.cos(self.angle[i]), math.sin(self.angle[i])
        stretch = math.exp(self.log_aspect[i] / 2)
        linear = np.array([[cos, -sin], [sin, cos]]) @ np.array([[1, self.shear[i]], [0, 1]]) @ np.diag([stretch, 1 / stretch])
        side = max(cutout.alpha.shape)
        result = np.eye(3)
        result[:2, :2] = linear
        result[2, :2] = self.tilt_x[i] / side, self.tilt_y[i] / side
        return result

    def bent(self, cutout: Cutout, i: int) -> Cutout:
        """The object bent by a sideways sine along its height and width: (h, w) grows by a margin that holds it."""
        amplitude, phase = float(self.bend[i]), float(self.phase[i])
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
        return Cutout(np.asarray(color, np.uint8), np.asarray(alpha, np.uint8))
