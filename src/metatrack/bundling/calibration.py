"""What a response's peak is worth: the logistic curve from logits to the score, fitted on clips of held-out trajectories."""

from __future__ import annotations

import math
from collections.abc import Sequence as Seq
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from metatrack.arrays import Bools, Float64
from metatrack.geometry import iou
from metatrack.runtime.model import Model
from metatrack.tracking.settings import TrackerSettings
from metatrack.tracking.tracker import Tracker
from metatrack.training.validation import ViewedClip

ABSENT_FRAMES = 8
"""Frames without the target that are shown after every clip."""
LOW = 0.1
"""Score that counts as low, as in the tracker's settings."""
RIGHT = 0.5
"""Overlap from which a box counts as holding its target."""


class Observations(NamedTuple):
    """One row per frame."""

    peak: Float64  # logit of the response's peak
    right: Bools  # whether the box held the target
    absent: Bools  # whether the frame shows another scene
    clip: npt.NDArray[np.int64]


def logit(probability: float) -> float:
    """The inverse of the logistic curve; an uncalibrated model's score gives back its peak."""
    p = min(max(probability, 1e-12), 1 - 1e-12)
    return math.log(p / (1 - p))


def observe(model: Model, clips: Seq[ViewedClip], adapt: bool) -> Observations:
    """Tracks every clip with an uncalibrated model, then shows the tracker frames of another clip, where the target cannot be."""
    fixed = {"adaptation.interval": 5, "redetection.enabled": False, "opinion.weight": 0.0}  # the networks' peak is what counts
    settings = TrackerSettings(**{**model.card["tracking"], **fixed})
    tracker = Tracker(model, adapt=adapt, settings=settings)
    rows = []
    for i, clip in enumerate(clips):
        tracker.init(clip.frames[0], clip.boxes[0])
        for frame, truth in zip(clip.frames[1:], clip.boxes[1:], strict=True):
            result = tracker.update(frame)
            rows.append((logit(result.score), float(iou(result.box, truth)) > RIGHT, False, i))
        other = clips[(i + len(clips) // 2) % len(clips)]
        for frame in other.frames[:ABSENT_FRAMES]:
            rows.append((logit(tracker.update(frame).score), False, True, i))
    peak, right, absent, index = zip(*rows, strict=True)
    return Observations(np.array(peak), np.array(right), np.array(absent), np.array(index))


def fit_logistic(x: Float64, y: Bools, steps: int = 50) -> tuple[float, float]:
    """Slope and offset of the logistic regression of ``y`` on ``x``, by Newton's method with a slight pull to zero.

    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=20000)
    >>> slope, offset = fit_logistic(x, rng.random(20000) < 1 / (1 + np.exp(-(2 * x - 1))))
    >>> abs(slope - 2) < 0.1 and abs(offset + 1) < 0.1
    True
    """
    design = np.stack([x, np.ones_like(x)], axis=1)
    theta = np.zeros(2)
    ridge = np.diag([1e-3, 1e-3])
    for _ in range(steps):
        p = 1 / (1 + np.exp(-np.clip(design @ theta, -60, 60)))
        gradient = design.T @ (p - y) + ridge @ theta
        hessian = (design * (p * (1 - p))[:, None]).T @ design + ridge
        theta = theta - np.linalg.solve(hessian, gradient)
    return float(theta[0]), float(theta[1])


def reliability(score: Float64, right: Bools, bins: int = 10) -> list[list[float]]:
    """What scores are worth: for each of ``bins`` equal ranges of the score, its mean, the share of right boxes, and the frames.

    >>> reliability(np.array([0.1, 0.2, 0.9, 0.9]), np.array([False, False, True, False]), bins=2)
    [[0.15, 0.0, 2], [0.9, 0.5, 2]]
    """
    place = np.minimum((score * bins).astype(int), bins - 1)
    rows = []
    for i in range(bins):
        chosen = place == i
        if chosen.any():
            rows.append([round(float(score[chosen].mean()), 4), round(float(right[chosen].mean()), 4), int(chosen.sum())])
    return rows


def calibrate(model: Model, clips: Seq[ViewedClip], adapt: bool) -> dict[str, Any]:
    """Fits the score on half of the clips and measures it on the other half.

    Returns:
        ``slope`` and ``offset`` for the tracker; of the other half: ``brier`` (mean squared error of the score),
        ``low_when_absent`` and ``low_when_right`` (shares of frames with a score under LOW where the target is absent, and
        where the box is right), and ``reliability`` (see :func:`reliability`).
    """
    seen = observe(model, clips, adapt)
    half = seen.clip % 2 == 0
    slope, offset = fit_logistic(seen.peak[half], seen.right[half])
    score = 1 / (1 + np.exp(-np.clip(slope * seen.peak + offset, -60, 60)))
    test = ~half
    return {
        "slope": round(slope, 4),
        "offset": round(offset, 4),
        "brier": round(float(np.mean((score[test] - seen.right[test]) ** 2)), 4),
        "low_when_absent": round(float(np.mean(score[test & seen.absent] < LOW)), 4),
        "low_when_right": round(float(np.mean(score[test & seen.right] < LOW)), 4),
        "frames": int(len(score)),
        "reliability": reliability(score[test], seen.right[test]),
    }
