"""Scenes of natural targets: as they were filmed, and pasted where they leave, are hidden, meet a double, or grow.

A short clip is played forwards and backwards. What is pasted keeps its own motion and form; its place, size and ground are new,
so that the whole box and the visible share are known exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from metatrack.arrays import Float32, Float64, Rng, UInt8
from tools.validate.material import Natural

WIDTH, HEIGHT = 448, 256
"""Of a scene with pasted targets."""
LENGTH = 200
"""Frames of a scene."""
GONE = 0.1
"""Visible share under which a target counts as absent."""


@dataclass(frozen=True)
class Scene:
    """A clip with the truth of its target."""

    name: str
    frames: list[UInt8]  # (H, W, 3) RGB
    boxes: Float64  # (n, 4): the whole target, also where it is hidden or outside
    visible: Float64  # (n,): share of the target that is to be seen


@dataclass(frozen=True)
class Actor:
    """A natural target that is pasted."""

    natural: Natural
    places: Float64  # (n, 2): centres in the scene
    sides: Float64  # (n,): root of the box's area at its first frame, times this frame's zoom
    start: int = 0  # first frame of its own clip
    mirrored: bool = False

    def layer(self, i: int) -> tuple[UInt8, Float32, tuple[float, float, float, float]]:
        """Colours ``(H, W, 3)``, opacity ``(H + 2 P, W + 2 P)`` on a canvas that reaches ``PAD`` further, and the box."""
        own = self.natural
        k = to_and_fro(len(own.frames), self.start + i)
        frame, mask = own.frames[k], own.masks[k]
        if self.mirrored:
            frame, mask = frame[:, ::-1], mask[:, ::-1]
        x0, y0, w, h = bounds(own.masks[to_and_fro(len(own.frames), self.start)])
        scale = self.sides[i] / math.sqrt(w * h)
        x0, y0, w, h = bounds(mask)
        cx, cy = self.places[i]
        matrix = np.array([[scale, 0, PAD + cx - scale * (x0 + w / 2)], [0, scale, PAD + cy - scale * (y0 + h / 2)]])
        matrix[:, 2] += 0.5 * (scale - 1)  # cv2 counts from the middle of a pixel
        size = (WIDTH + 2 * PAD, HEIGHT + 2 * PAD)
        soft = cv2.GaussianBlur(cv2.erode(mask.astype(np.float32), np.ones((3, 3))), (3, 3), 0)
        smooth = cv2.INTER_AREA if scale < 0.5 else cv2.INTER_LINEAR
        color = cv2.warpAffine(np.ascontiguousarray(frame), matrix, size, flags=smooth)
        alpha = cv2.warpAffine(soft, matrix, size, flags=smooth)
        return (
            np.asarray(color, np.uint8),
            np.asarray(alpha, np.float32),
            (cx - scale * w / 2, cy - scale * h / 2, scale * w, scale * h),
        )


PAD = 200
"""How far the canvas reaches beyond a scene's frame, on every side."""


def to_and_fro(count: int, i: int) -> int:
    """Frame ``i`` of a clip of ``count`` frames that is played forwards and backwards without end.

    >>> [to_and_fro(3, i) for i in range(6)]
    [0, 1, 2, 1, 0, 1]
    """
    i %= max(1, 2 * count - 2)
    return i if i < count else 2 * count - 2 - i


def bounds(mask: Any) -> tuple[float, float, float, float]:
    """Box around a mask ``(H, W)``."""
    xs, ys = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    return float(xs[0]), float(ys[0]), float(xs[-1] + 1 - xs[0]), float(ys[-1] + 1 - ys[0])


def filmed(own: Natural) -> Scene:
    """The clip as it is."""
    order = [to_and_fro(len(own.frames), i) for i in range(LENGTH)]
    boxes = np.array([bounds(own.masks[k]) for k in order])
    return Scene(f"filmed-{own.name}", [own.frames[k] for k in order], boxes, np.ones(LENGTH))


def leaves(own: Natural, others: Sequence[Natural], rng: Rng) -> Scene:
    """The target goes out of the frame twice, for 20 to 40 frames, and comes back on the same side or another."""
    side = rng.uniform(38, 70)
    times, places = [0], [_inside(rng)]
    for first in (45, 125):
        out, back = (_outside(rng, side) for _ in range(2))
        away = int(rng.integers(20, 41))
        times += [first, first + 14, first + 14 + away, first + 28 + away]
        places += [_inside(rng), out, back if rng.random() < 0.5 else out, _inside(rng)]
    actor = Actor(own, _path(times, places, rng), np.full(LENGTH, side))
    return _composed("leaves", own, [], actor, [], others, rng)


def doubled(own: Natural, others: Sequence[Natural], rng: Rng) -> Scene:
    """A double, in another phase of its motion, crosses near the target; later something hides the target for a moment."""
    side = rng.uniform(40, 64)
    target = _path([0, 60, 120, LENGTH], [_inside(rng, 0.3) for _ in range(4)], rng)
    twin = target + side * _path([0, 30, 60, 90, LENGTH], [rng.uniform(-1, 1, 2) + rng.choice([-1.7, 1.7], 2) for _ in range(5)])
    gap = twin - target
    far = np.maximum(np.linalg.norm(gap, axis=1, keepdims=True), 1e-6)
    twin = target + gap * np.maximum(far, 1.1 * side) / far
    double = Actor(own, twin, np.full(LENGTH, side * rng.uniform(0.9, 1.1)), len(own.frames) // 2, bool(rng.random() < 0.5))
    cover = others[int(rng.integers(len(others)))]
    meet, way = int(rng.integers(110, 150)), np.array([math.cos(a := rng.uniform(0, 2 * math.pi)), math.sin(a)])
    steps = np.clip((np.arange(LENGTH) - meet) / 12, -6, 6)
    hiding = Actor(
        cover,
        target[meet] + (target - target[meet]) * (abs(steps) < 1)[:, None] + steps[:, None] * way * 1.3 * side,
        np.full(LENGTH, 1.7 * side),
    )
    return _composed("doubled", own, [double], Actor(own, target, np.full(LENGTH, side)), [hiding], others, rng)


def grows(own: Natural, others: Sequence[Natural], rng: Rng) -> Scene:
    """A target that begins up to half outside the frame, comes in, and grows and shrinks by up to 2.2 times."""
    side, w, h = rng.uniform(36, 60), WIDTH, HEIGHT
    edge, along = int(rng.integers(4)), rng.uniform(0.3, 0.7)
    depth = rng.choice([0.0, 0.17]) * side  # of the middle, inside the edge: half or a third outside
    start = [(depth, along * h), (w - depth, along * h), (along * w, depth), (along * w, h - depth)][edge]
    places = _path([0, 8, 50, 120, LENGTH], [start, start, *(_inside(rng) for _ in range(3))], rng)
    zoom = np.exp(math.log(2.2) * np.sin((np.arange(LENGTH) - 20).clip(0) / rng.uniform(25, 40)) * rng.choice([-1, 1]))
    return _composed("grows", own, [], Actor(own, places, side * zoom), [], others, rng)


KINDS: dict[str, Callable[[Natural, Sequence[Natural], Rng], Scene]] = {"leaves": leaves, "doubled": doubled, "grows": grows}
"""Scenes with pasted targets."""


def _composed(
    kind: str, own: Natural, behind: list[Actor], actor: Actor, before: list[Actor], others: Sequence[Natural], rng: Rng
) -> Scene:
    """Lays actors upon another clip, whose camera sways."""
    ground = others[int(rng.integers(len(others)))]
    sway = 20 * np.stack([np.sin(np.arange(LENGTH) / rng.uniform(12, 40) + rng.uniform(0, 6)) for _ in range(2)], 1)
    frames, boxes, visible = [], [], []
    for i in range(LENGTH):
        frame = _ground(ground.frames[to_and_fro(len(ground.frames), i)], sway[i])
        for each in behind:
            frame = _blend(frame, *each.layer(i)[:2])
        color, alpha, box = actor.layer(i)
        whole, shown = float(alpha.sum()), _view(alpha).copy()
        frame = _blend(frame, color, alpha)
        for each in before:
            color, alpha, _ = each.layer(i)
            frame = _blend(frame, color, alpha)
            shown *= 1 - _view(alpha)
        frames.append(frame)
        boxes.append(box)
        visible.append(float(shown.sum()) / max(whole, 1e-6))
    return Scene(f"{kind}-{own.name}", frames, np.array(boxes), np.array(visible))


def _ground(frame: UInt8, offset: Float64) -> UInt8:
    scale = max((WIDTH + 44) / frame.shape[1], (HEIGHT + 44) / frame.shape[0])
    left = (np.array([WIDTH, HEIGHT]) - scale * np.array(frame.shape[1::-1])) / 2 + offset
    matrix = np.array([[scale, 0, left[0]], [0, scale, left[1]]])
    return np.asarray(cv2.warpAffine(frame, matrix, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT_101), np.uint8)


def _view(canvas: Any) -> Any:
    return canvas[PAD : PAD + HEIGHT, PAD : PAD + WIDTH]


def _blend(frame: UInt8, color: UInt8, alpha: Float32) -> UInt8:
    share = _view(alpha)[..., None]
    return np.asarray(frame * (1 - share) + _view(color) * share + 0.5, np.uint8)


def _inside(rng: Rng, margin: float = 0.2) -> Float64:
    return np.asarray(rng.uniform(margin, 1 - margin, 2) * (WIDTH, HEIGHT))


def _outside(rng: Rng, side: float) -> Float64:
    """A place beyond one of the four edges, by twice the target's size."""
    x, y = _inside(rng)
    reach = min(2 * side, PAD - side)
    return np.array([(-reach, y), (WIDTH + reach, y), (x, -reach), (x, HEIGHT + reach)][int(rng.integers(4))])


def _path(times: Sequence[int], places: Sequence[Any], rng: Rng | None = None) -> Float64:
    """Straight ways between places at these times, rounded at their ends and shaken by a pixel: ``(LENGTH, 2)``."""
    t = np.arange(-8, LENGTH + 8)
    way = np.stack([np.interp(t, times, np.array(places)[:, k]) for k in range(2)], 1)
    smooth = np.stack([np.convolve(way[:, k], np.ones(9) / 9, "valid") for k in range(2)], 1)[4 : 4 + LENGTH]
    return smooth if rng is None else smooth + rng.normal(0, 0.7, smooth.shape)
