"""What a response's peak is worth, and what the ``lost`` flag and re-detection are, on clips of held-out trajectories.

A peak becomes a score by a logistic curve that is fitted here. A scene for the flag begins with a clip of the target, goes on
with a clip of another target, in which ours cannot be, and ends with the first clip again. Meanwhile the camera has turned: the
target stands somewhere else. Both clips are simulated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence as Seq
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from metatrack.arrays import Bools, Float64, Floats
from metatrack.geometry import Box, Image, iou, mean_color, warp
from metatrack.runtime.model import Model
from metatrack.tracking.search import sigmoid
from metatrack.tracking.settings import TrackerSettings
from metatrack.tracking.tracker import Tracker
from metatrack.training.validation import VIEW, ViewedClip

ABSENT_FRAMES = 8  # frames without the target that are shown after every clip
LOW = 0.1  # score that counts as low, as in the tracker's settings
RIGHT = 0.5  # overlap from which a box counts as holding its target
SEEN, AWAY = 10, 12  # frames of a scene before the target goes, and frames without it


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
        p = sigmoid(design @ theta)
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
    score = sigmoid(slope * seen.peak + offset)
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


def disappear(model: Model, clips: Seq[ViewedClip], adapt: bool) -> dict[str, float | None]:
    """Tracks one scene for every clip, which has ``SEEN + 2`` frames at least, with a model whose score is calibrated.

    Returns:
        ``lost_precision``: share of the frames flagged as lost that do not show the target or whose box misses it;
        ``lost_recall``: share of the frames without target that are flagged, from the first that can be (``lost_after``);
        ``false_alarms``: share of the frames with target and right box that are flagged;
        ``found_again``: share of the scenes in which the last frame's box holds the target, of those that held it before it went;
        ``overlap_after``: mean overlap after its return, of the same ``scenes``. A mean of nothing is None.
    """
    chosen = TrackerSettings(**model.card["tracking"])
    flagged, absent, right, early = [], [], [], []
    found, after = [], []
    for i, clip in enumerate(clips):
        other = clips[(i + len(clips) // 2) % len(clips)]
        tracker = Tracker(model, adapt=adapt, settings=chosen)
        tracker.init(clip.frames[0], clip.boxes[0])
        held = False
        overlaps = []
        away: list[tuple[Image, Box | None]] = [(frame, None) for frame in (other.frames * 2)[:AWAY]]
        shown = [(frame, Box(*box)) for frame, box in zip(clip.frames, clip.boxes, strict=True)]
        for n, (frame, truth) in enumerate([*shown[1:SEEN], *away, *elsewhere(shown[SEEN:])]):
            result = tracker.update(frame)
            overlap = 0.0 if truth is None else float(iou(result.box, truth))
            flagged.append(result.lost)
            absent.append(truth is None)
            right.append(overlap > RIGHT)
            early.append(truth is None and n < SEEN - 1 + chosen.judging.lost_after)
            if n == SEEN - 2:
                held = overlap > RIGHT
            if n >= SEEN - 1 + AWAY:
                overlaps.append(overlap)
        if held:
            found.append(overlaps[-1] > RIGHT)
            after.append(float(np.mean(overlaps)))
    flags, gone, ok, soon = (np.array(a) for a in (flagged, absent, right, early))
    missed = gone | ~ok
    return {
        "lost_precision": _mean(missed[flags]),
        "lost_recall": _mean(flags[gone & ~soon]),
        "false_alarms": _mean(flags[~gone & ok]),
        "found_again": _mean(found),
        "overlap_after": _mean(after),
        "scenes": len(found),
    }


def _mean(values: Floats | Bools | Seq[float]) -> float | None:
    return round(float(np.mean(values)), 4) if len(values) else None


def elsewhere(shown: Seq[tuple[Image, Box]]) -> list[tuple[Image, Box]]:
    """The same frames and boxes after the camera has turned: the target of the first stands on the other side of the view."""
    x, y, w, h = shown[0][1]
    offset = np.array([VIEW - (2 * x + w), VIEW - (2 * y + h)])
    return [
        (warp(image, np.eye(2), -offset, VIEW, mean_color(image)), box._replace(x=box.x + offset[0], y=box.y + offset[1]))
        for image, box in shown
    ]
