"""Scores of single-object tracking: pure functions, arrays in and arrays out.

Conventions shared by all functions here:

- Boxes are ``x, y, w, h`` in pixels. Truth and prediction must count from the same origin; which one does not matter.
- A frame whose ground truth is unknown (a NaN, or no area) has the overlap NaN and the error NaN, and every score leaves it
  out of its mean. (The OTB toolkit of 2015 keeps such frames in the denominator, as a failed overlap but a passed centre error;
  two frames of the hundred targets are concerned.)
- A prediction that is not a box (NaN, or no area) on a frame whose truth is known overlaps by 0 and errs by infinity.
- The first frame, on which the tracker is told the target, COUNTS in the scores of OTB, LaSOT and UAV123 and does NOT count in
  those of GOT-10k. Functions over frames score what they are given, so GOT-10k's callers drop the first: ``overlaps[1:]``.
- The score of a data set is the mean of its sequences' scores (OTB, LaSOT, UAV123, NfS, TC-128), each sequence weighing the
  same however long it is. GOT-10k alone pools frames: see :func:`got10k_scores`.
- Scores are shares in [0, 1], never per cent. A score of no frame at all is NaN.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from metatrack.arrays import Bools, Float64
from metatrack.geometry import iou

OVERLAP_THRESHOLDS: Float64 = np.arange(21) / 20
"""0, 0.05 .. 1: the 21 thresholds of a success curve (Wu, Lim, Yang: Online Object Tracking, CVPR 2013).

Divisions, not a running sum, so that an overlap of exactly 0.15 meets exactly 0.15.
"""
ERROR_THRESHOLDS: Float64 = np.arange(51.0)
"""0, 1 .. 50 px: the 51 thresholds of a precision curve (Wu, Lim, Yang, CVPR 2013)."""
NORMALIZED_THRESHOLDS: Float64 = np.arange(51) / 100
"""0, 0.01 .. 0.5: the 51 thresholds of a normalised precision curve (LaSOT's toolkit; TrackingNet: the same range).

Which number of this curve is "the" normalised precision differs: TrackingNet and the LaSOT paper take its :func:`auc`; pysot and
pytracking print its value at 0.2, which is ``precision_at(normalized, 0.2)``.
"""
RESAMPLES = 10_000  # samples of a bootstrap


def known(truth: npt.ArrayLike) -> Bools:
    """Frames whose ground truth is a box: ``(n, 4)`` to ``(n,)``; False where a value is not finite or the box has no area."""
    boxes = np.asarray(truth, np.float64)
    return np.asarray(np.isfinite(boxes).all(axis=-1) & (boxes[..., 2:] > 0).all(axis=-1))


def hold_last(boxes: npt.ArrayLike) -> Float64:
    """Replaces each row that is not a box by the last row that was one: ``(n, 4)`` to ``(n, 4)``.

    What the OTB toolkit does to results in which a tracker gave up (TLD writes NaN). Rows before the first box stay as they are.
    """
    held = np.array(boxes, np.float64)
    last = np.maximum.accumulate(np.where(known(held), np.arange(len(held)), -1))
    held[last >= 0] = held[last[last >= 0]]
    return held


def overlaps(boxes: npt.ArrayLike, truth: npt.ArrayLike) -> Float64:
    """Intersection over union frame by frame: two ``(n, 4)`` to ``(n,)``, or a ``ValueError``; NaN where the truth is unknown."""
    predicted, real = _pair(boxes, truth)
    return np.where(known(real), iou(predicted, real), np.nan)


def center_errors(boxes: npt.ArrayLike, truth: npt.ArrayLike, normalized: bool = False) -> Float64:
    """Distance between the centres in pixels: two ``(n, 4)`` to ``(n,)``; NaN where the truth is unknown.

    Normalised, x is in widths and y in heights of the true box (Mueller et al., TrackingNet, ECCV 2018, equation (1); LaSOT's
    toolkit does the same).

    Raises:
        ValueError: the shapes differ or are not ``(n, 4)``.
    """
    predicted, real = _pair(boxes, truth)
    valid, given = known(real), known(predicted)
    distance = np.full(len(real), np.nan)
    distance[valid] = np.inf
    both = valid & given
    offset = (predicted[both, :2] + predicted[both, 2:] / 2) - (real[both, :2] + real[both, 2:] / 2)
    distance[both] = np.hypot(*(offset / real[both, 2:] if normalized else offset).T)
    return distance


def success_curve(overlap: npt.ArrayLike, thresholds: npt.ArrayLike = OVERLAP_THRESHOLDS) -> Float64:
    """Share of frames whose overlap is STRICTLY above each threshold: ``(n,)`` to ``(21,)``.

    Strictly, as in the OTB toolkit: at the threshold 1 even a perfect tracker fails, so its AUC is 20/21 = 0.952.

    >>> float(success_curve([1.0, 1.0]).mean() * 21)
    20.0
    """
    return _shares(np.asarray(overlap, np.float64)[:, None] > np.asarray(thresholds, np.float64), overlap)


def auc(curve: npt.ArrayLike) -> float:
    """Area under a success or normalised precision curve: the mean of its values, as all toolkits of the field compute it."""
    return float(np.mean(np.asarray(curve, np.float64)))


def precision_curve(errors: npt.ArrayLike, thresholds: npt.ArrayLike = ERROR_THRESHOLDS) -> Float64:
    """Share of frames whose centre error is AT MOST each threshold: ``(n,)`` px to ``(51,)``.

    >>> precision_curve([0.0, 20.0, 20.5], [0, 20, 50]).round(3).tolist()
    [0.333, 0.667, 1.0]
    """
    return _shares(np.asarray(errors, np.float64)[:, None] <= np.asarray(thresholds, np.float64), errors)


def precision_at(errors: npt.ArrayLike, threshold: float = 20.0) -> float:
    """Share of frames whose centre error is at most ``threshold`` px: P@20, the "precision" that OTB papers rank by."""
    return float(precision_curve(errors, [threshold])[0])


def average_overlap(overlap: npt.ArrayLike) -> float:
    """Mean overlap of the frames with known truth (AO of GOT-10k, once its first frames are dropped): ``(n,)`` to one number."""
    values = np.asarray(overlap, np.float64)
    values = values[~np.isnan(values)]
    return float(values.mean()) if values.size else float("nan")


def success_rate(overlap: npt.ArrayLike, threshold: float = 0.5) -> float:
    """Share of frames whose overlap is strictly above one threshold: SR50 with 0.5, SR75 with 0.75."""
    return float(success_curve(overlap, [threshold])[0])


def fps(runs: Sequence[npt.ArrayLike]) -> float:
    """Frames per second of the updates alone: of each run ``(n,)`` seconds a frame, of which the first is the initialisation.

    Frames over total time, as the OTB toolkit reports it: a mean of single rates would flatter a tracker that stalls at times.
    NaN where no times are known.
    """
    times = np.concatenate([np.asarray(seconds, np.float64)[1:] for seconds in runs])
    total = float(times.sum())
    return len(times) / total if total > 0 else float("nan")


def bootstrap_interval(
    values: npt.ArrayLike, rng: np.random.Generator, weights: npt.ArrayLike | None = None
) -> tuple[float, float]:
    """95 % percentile bootstrap interval of the mean over sequences: ``(n,)`` scores to ``(low, high)``.

    The sequences, not their frames, are resampled: frames of one video err together. NaN scores are left out; of no score at
    all the interval is NaN.

    Args:
        weights: ``(n,)`` what each sequence counts in the mean, for instance its frames (GOT-10k); None: all the same. A
            sequence of weight 0 is left out.
    """
    scores = np.asarray(values, np.float64)
    weight = np.ones(scores.shape) if weights is None else np.asarray(weights, np.float64)
    counted = ~np.isnan(scores) & (weight > 0)
    scores, weight = scores[counted], weight[counted]
    if not scores.size:
        return float("nan"), float("nan")
    drawn = rng.integers(scores.size, size=(RESAMPLES, scores.size))
    means = (scores * weight)[drawn].sum(axis=1) / weight[drawn].sum(axis=1)
    low, high = np.quantile(means, [(1 - 0.95) / 2, (1 + 0.95) / 2])
    return float(low), float(high)


def _pair(boxes: npt.ArrayLike, truth: npt.ArrayLike) -> tuple[Float64, Float64]:
    predicted, real = np.asarray(boxes, np.float64), np.asarray(truth, np.float64)
    if predicted.shape != real.shape or predicted.ndim != 2 or predicted.shape[1] != 4:
        raise ValueError(f"boxes {predicted.shape} and ground truth {real.shape} must both have the shape (frames, 4)")
    return predicted, real


def _shares(passed: Bools, values: npt.ArrayLike) -> Float64:
    """Mean of ``passed`` (n, k) over the frames whose value is known; NaN where there is none."""
    counted = ~np.isnan(np.asarray(values, np.float64))
    if not counted.any():
        return np.full(passed.shape[1], np.nan)
    return np.asarray(passed[counted].mean(axis=0), np.float64)
