"""Where the target is, read off what the networks answer: one rule for responses at three scales, one for a box head."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from metatrack.geometry import context_side
from metatrack.runtime.engine import Float32
from metatrack.tracking.settings import TrackerSettings

OTHER_FROM, MOST_OTHERS = 0.25, 4
"""Probability from which a further peak is something that looks like the target, and how many of them are kept."""
OTHER_REACH = 0.7
"""Two peaks closer than this, in units of the target's size (root of its area), are one."""
PEAK_REACH = 1.5
"""Cells around the windowed maximum within which the response's own maximum is taken."""


class Found(NamedTuple):
    """The best answer of one search."""

    scale: int  # index into the scales
    displacement: tuple[float, float]  # of the target's centre from the context's, x, y in cells of the chosen context
    growth: tuple[float, float]  # its width and height, as factors of the last ones
    rate: float  # weight of that size against the last one
    response: Float32  # (r, r) logits of equation (4) at the chosen scale
    peak: float  # highest logit, without the cosine window; with a box head, of the chosen place
    others: tuple[tuple[float, float], ...] = ()  # with a box head: places of what looks like the target, as displacements


def choose_scale(responses: Float32, settings: TrackerSettings) -> Found:
    """Scale and place of the target from the responses ``(3, 17, 17)`` (logits) at scales 1, 1/step, step.

    Scales other than the last one's pay a penalty on their odds; at the best scale, the up-sampled response and the cosine
    window are summed with weights ``1 - window`` and ``window``, and the highest sum wins.
    """
    clean = _logits(responses)
    peaks = clean.max((1, 2)) + np.array([0.0] + [math.log(max(settings.scale_penalty, 1e-9))] * (len(clean) - 1))
    scale = int(np.argmax(peaks))
    cells, up = clean.shape[-1], settings.upsample
    large = cv2.resize(clean[scale], (cells * up, cells * up), interpolation=cv2.INTER_CUBIC)
    probability = _sigmoid(large)
    probability /= max(float(probability.max()), 1e-9)
    mixed = (1 - settings.window) * probability + settings.window * _hann(cells * up)
    row, column = divmod(int(np.argmax(mixed)), cells * up)
    # The window has chosen among peaks. It must not move the chosen one: probabilities are flat around a target, and the sum's
    # maximum would lag behind every motion. The logits are not flat, and say where the peak is.
    reach = int(PEAK_REACH * up)
    top, left = max(0, row - reach), max(0, column - reach)
    near = large[top : row + reach + 1, left : column + reach + 1]
    row, column = divmod(int(np.argmax(near)), near.shape[1])
    row, column = row + top, column + left
    middle = cells * up / 2 - 0.5
    displacement = ((column - middle) / up, (row - middle) / up)
    factor = settings.scales[scale]
    return Found(scale, displacement, (factor, factor), settings.scale_damping, clean[scale], float(clean[scale].max()))


def choose_box(
    response: Float32,
    logits: Float32,
    sides: Float32,
    size: tuple[float, float],
    bias: tuple[float, float],
    stride: int,
    settings: TrackerSettings,
    others: Float32 | None = None,
    whole: int | None = None,
) -> Found:
    """Place, size and shape of the target from a box head's answer.

    Boxes whose size or shape differs from the last one's pay a penalty (as in SiamRPN, Li et al., CVPR 2018), and so do those far
    from the last place (the cosine window). The size moves to the best box's the faster, the surer it is.

    Args:
        response: ``(r, r)`` logits of equation (4).
        logits: ``(r, r)`` scores.
        sides: ``(4, r, r)`` distances to the left, top, right and bottom side, in pixels of the context patch.
        size: width and height of the target in the context patch, as last believed.
        bias: factors by which the head takes this target too wide and too high.
        stride: pixels per cell.
        settings: the tracker's.
        others: ``(k, 2)`` places of known others that look like the target, in cells from the context's centre. What is nearer to
        one of them than to the target's last place is taken for that other.
        whole: positions per side that a whole context has, if this one is smaller: the cosine window is a whole one's middle.
    """
    # A frame has been through the caches since this was last here: what counts is the number of calls of numpy, not their work.
    logits = _logits(logits)
    if not np.isfinite(sides).all():
        sides = np.nan_to_num(sides, nan=1.0, posinf=1e3)
    sides = sides.clip(1e-3, 1e3)
    w, h = (sides[:2] + sides[2:]) / np.array(bias, np.float32)[:, None, None]
    p = (w + h) / 2
    change = _change(np.sqrt((w + p) * (h + p)) / context_side(*size)) * _change(w / h * (size[1] / size[0]))
    penalty = np.exp(settings.shape_penalty * (1 - change))
    probability = _sigmoid(logits)
    cells = logits.shape[-1]
    certainty = probability * penalty
    strength = certainty
    reach = OTHER_REACH * math.sqrt(size[0] * size[1]) / stride
    if others is not None and len(others) and settings.others_share < 1:
        centers = _centers(sides, stride)
        to_others = np.linalg.norm(centers[:, :, None] - others, axis=-1).min(-1)
        theirs = (to_others < np.linalg.norm(centers, axis=-1)) & (to_others < reach)
        strength = np.where(theirs, certainty * settings.others_share, certainty)
    mixed = (1 - settings.window) * strength + settings.window * _hann(cells, whole)
    row, column = divmod(int(np.argmax(mixed)), cells)
    # Neighbours see the same target: their mean box is steadier than the best one.
    rows, columns = slice(max(0, row - 1), row + 2), slice(max(0, column - 1), column + 2)
    weight = certainty[rows, columns] ** 2 + 1e-12
    weight /= weight.sum()
    left, top, right, bottom = (float(mean) for mean in (sides[:, rows, columns] * weight).sum((1, 2)))
    axis = _axis(cells, stride)
    x, y = float(weight.sum(0) @ axis[columns]), float(weight.sum(1) @ axis[rows])
    return Found(
        0,
        ((x + (right - left) / 2) / stride, (y + (bottom - top) / 2) / stride),
        ((left + right) / bias[0] / size[0], (top + bottom) / bias[1] / size[1]),
        settings.size_rate * float(certainty[row, column]),
        _logits(response),
        float(logits[rows, columns].max()),
        _others(probability, sides, stride, (row, column), reach),
    )


def _centers(sides: Float32, stride: int) -> npt.NDArray[np.floating]:
    """Centres of the boxes ``(4, r, r)`` in cells from the context's centre: ``(r, r, 2)``, x and y."""
    cells = np.arange(sides.shape[-1]) - sides.shape[-1] // 2
    offset = (sides[2:] - sides[:2]) / (2 * stride)
    return np.stack([cells[None, :] + offset[0], cells[:, None] + offset[1]], axis=-1)


def _others(
    probability: npt.NDArray[np.floating], sides: Float32, stride: int, chosen: tuple[int, int], reach: float
) -> tuple[tuple[float, float], ...]:
    """Places of further peaks, the highest first: apart from the chosen one and from each other by ``reach`` cells."""
    high = probability >= OTHER_FROM
    high[chosen] = True
    if high.sum() == 1:
        return ()
    centers = _centers(sides, stride)
    own, candidates = centers[chosen], centers[high]
    height = probability[high]
    height[np.hypot(*(candidates - own).T) <= reach] = 0
    places: list[tuple[float, float]] = []
    while len(places) < MOST_OTHERS:
        best = int(np.argmax(height))
        if height[best] < OTHER_FROM:
            break
        place = candidates[best]
        places.append((float(place[0]), float(place[1])))
        height[np.hypot(*(candidates - place).T) <= reach] = 0
    return tuple(places)


def _change(ratio: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """How far a ratio is from 1, either way; at least 1."""
    result: npt.NDArray[np.floating] = np.maximum(ratio, 1 / ratio)
    return result


def _logits(values: Float32) -> Float32:
    """The same, finite; a network that answers with no number sees nothing there."""
    return values if np.isfinite(values).all() else np.nan_to_num(values, nan=-60.0, posinf=60.0, neginf=-60.0)


def _sigmoid(logits: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -60, 60))))


@lru_cache(maxsize=4)
def _axis(cells: int, stride: int) -> Float32:
    """Pixels of the cells of a line from its centre."""
    return ((np.arange(cells) - cells // 2) * stride).astype(np.float32)


@lru_cache(maxsize=4)
def _hann(size: int, whole: int | None = None) -> npt.NDArray[np.float64]:
    """Cosine window with its peak of 1 at the centre: the middle ``size x size`` of one for ``whole`` positions per side."""
    whole = whole or size
    first = (whole - size) // 2
    line = np.hanning(whole + 2)[1:-1][first : first + size]
    window = np.outer(line, line)
    window.setflags(write=False)
    return window
