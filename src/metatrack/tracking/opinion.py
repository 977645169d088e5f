"""A second opinion: whether what a box holds looks like the first frame's target; not in the paper.

The networks' score says how well something fits the present template, which follows what is tracked, also where that is no longer
the target. The first frame's parts stay. Their features are compared with those that the context has at the box, which the trunk
has computed anyway, in the directions in which the first frame's surroundings vary least (Fisher's discriminant).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from metatrack.arrays import Array, Bools, Float32
from metatrack.geometry import EXEMPLAR_SIZE, PARTS
from metatrack.tracking.checked import Amount, Checked, Share

BESIDE = 1.5  # cells beyond the target's box from which a cell shows its surroundings
LEAST_AROUND = 100  # cells that must show a target's surroundings
USUAL_RATE = 0.1  # weight of a frame in what is usual of a target
RIDGE = 0.1
"""Share of the mean variance that is added to every direction's, since there are few more cells than channels."""
POINTS = np.linspace(-0.5, 0.5, PARTS, dtype=np.float32)
"""Where the points of a box lie along each side, in its length from its middle."""
MOST_AGAINST = 0.3  # likeness that is missing, at most, of what counts against a box


@dataclass(frozen=True)
class OpinionSettings(Checked):
    """How far a likeness to the first frame counts, with a box head."""

    weight: Amount = 30.0
    """Logits that a score loses for each unit by which the likeness is below ``alike_from``, from even odds at most; 0 asks for
    no second opinion."""
    alike_from: Share = 0.25
    """Likeness to the target's first frame, in -1..1, from which nothing speaks against a box."""


@dataclass
class Alike:
    """How much a target has lately looked like its first frame."""

    now: float | None = None  # in the last frame; None where nothing is said
    usual: float | None = None  # running mean over frames in which it was surely seen

    def note(self, now: float | None, sure: bool) -> None:
        """Takes a frame in."""
        self.now = now
        if now is not None and sure:
            self.usual = now if self.usual is None else self.usual + USUAL_RATE * (now - self.usual)


class FirstLook(NamedTuple):
    """What a target looked like in its first frame, against its surroundings there."""

    mean: Float32  # (C, 1): of the surroundings
    whiten: Float32  # (C, C): makes the surroundings' variance alike in all directions
    parts: Float32  # (C, 49): of the target, whitened, of length 1


def first_look(parts: Float32, context: Float32, around: Bools) -> FirstLook:
    """Learns a target and its surroundings.

    Args:
        parts: ``(C, 7, 7)`` of the target.
        context: features ``(C, h, w)`` of a context around it.
        around: ``(h, w)``, cells that show its surroundings.
    """
    cells = context[:, around].astype(np.float64)
    mean = cells.mean(1, keepdims=True)
    covariance = (cells - mean) @ (cells - mean).T / max(cells.shape[1] - 1, 1)
    ridge = RIDGE * max(float(np.trace(covariance)) / len(covariance), 1e-9)
    whiten = np.linalg.inv(np.linalg.cholesky(covariance + ridge * np.eye(len(covariance)))).astype(np.float32)
    mean = mean.astype(np.float32)
    return FirstLook(mean, whiten, _unit(_whitened(whiten, parts.reshape(len(parts), -1) - mean)))


def likeness(own: FirstLook, context: Float32, place: tuple[float, float], size: tuple[float, float], stride: int) -> float:
    """Mean cosine of the parts of a box with those of the first frame, in -1..1.

    Args:
        own: of the first frame.
        context: features ``(C, h, w)``.
        place: x, y of the box's middle from the context's, in cells.
        size: its width and height, in cells.
        stride: pixels per cell.
    """
    parts = _whitened(own.whiten, read_parts(context, place, size, stride) - own.mean)
    return float((_unit(parts) * own.parts).sum(0).mean())


def read_parts(context: Float32, place: tuple[float, float], size: tuple[float, float], stride: int) -> Float32:
    """Features of 7x7 points of a box, from edge to edge, read bilinearly off a context: ``(C, 49)``; see :func:`likeness`."""
    (x, u), (y, v) = (_between(*each, stride) for each in zip(place, size, context.shape[:0:-1], strict=True))
    rows = context.take(y, 1)  # (C, 7, w)
    rows += v[:, None] * (context.take(y + 1, 1) - rows)
    parts = rows.take(x, 2)
    parts += u * (rows.take(x + 1, 2) - parts)
    return parts.reshape(len(context), -1)


def _between(place: float, length: float, cells: int, stride: int) -> tuple[Array, Float32]:
    """Seven points of a line of cells: the cell before each, and how far it lies towards the next."""
    # A patch's middle lies a part of a cell before the middle cell of its map, see geometry.window_start.
    offset = ((EXEMPLAR_SIZE - 1) / 2 % stride) / stride - 1
    places = ((cells - 1) / 2 + offset + place + length * POINTS).clip(0, cells - 1)
    first = np.minimum(places.astype(np.intp), cells - 2)
    return first, (places - first).astype(np.float32)


def against(alike: float | None, settings: OpinionSettings) -> float:
    """Logits that speak against a box of such a likeness; none where nothing is known of it.

    >>> settings = OpinionSettings(weight=30, alike_from=0.2)
    >>> against(0.1, settings), against(0.5, settings), against(None, settings)
    (3.0, 0.0, 0.0)
    """
    return 0.0 if alike is None else settings.weight * min(max(settings.alike_from - alike, 0.0), MOST_AGAINST)


def _whitened(whiten: Float32, columns: Float32) -> Float32:
    # Two products, not one: a BLAS divides a large one among threads of its own, which then wait at full speed beside those of
    # the networks (a third of all frames a second on two cores).
    half = columns.shape[1] // 2
    return np.concatenate([whiten @ columns[:, :half], whiten @ columns[:, half:]], 1)


def _unit(columns: Float32) -> Float32:
    return np.asarray(columns / np.sqrt(np.square(columns).sum(0) + 1e-9), np.float32)
