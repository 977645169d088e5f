r"""Why a tracker loses AUC: the distance to a perfect tracker, split into parts that sum to it.

A perfect tracker's AUC is 20/21 (``metrics.success_curve``); what a tracker lacks of it is its loss. A frame's share of the
AUC is ``f(o)``, the number of the 21 thresholds strictly below its overlap o, over 21, and its loss is ``20/21 - f(o)``. Each
frame's loss goes to the parts like this:

1. **absent**: the truth is not known there and the data set counts it as failed all the same (LaSOT, UAV123): nobody can pass it.
2. **lost**: the box overlaps the target by at most :data:`NEARLY_NOTHING`, and so does a box of the true size put in its place.
   The second condition keeps apart a tracker that is at the target with a box that has collapsed or exploded. The whole loss
   of such a frame is here, since what shape a box has that is somewhere else says nothing.
3. Of all other frames the box is put right in three steps, and each part is what its step gains:

   - **position**: the box is moved to the true centre;
   - **scale**: then it is given the true area, about that centre and with its own aspect ratio;
   - **aspect**: then it is given the true aspect ratio, and is the true box.

The order is not a matter of taste: in this one no step can make the overlap smaller, so no part is negative. Of two boxes of
given sizes the intersection is largest where they are concentric. If a box concentric with the target is scaled by s, the overlap
grows with s while the box fits inside the target, falls once it holds the target, and in between is
``s A / (s^2 B + C - s A)``, with its maximum at ``s^2 B = C``: where the areas are equal. And the true box overlaps by 1. The
gains telescope, so the parts sum to the loss.

A fixed order also settles what two faults at once cost: what a wrong position costs with the wrong size that it came with, counts
as position. So "position" is what a tracker would gain if its centres alone were put right.
"""

from __future__ import annotations

from collections.abc import Sequence as Seq
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from metatrack.arrays import Float64
from metatrack.data.sequence import Sequence
from metatrack.evaluation.score import metrics
from metatrack.evaluation.score.metrics import OVERLAP_THRESHOLDS
from metatrack.evaluation.score.scores import Convention, settle

NEARLY_NOTHING = 0.1  # overlap at or below which a target counts as lost, if putting the size right does not help
BEST = 20 / 21  # AUC of a perfect tracker
_ROUNDING = 1e-9
"""A gain of overlap below this is the arithmetic's, and must not carry a frame over a threshold that it stands on."""


class Loss(NamedTuple):
    """What each fault costs of the AUC: shares in [0, 20/21] that sum to ``20/21 - AUC``. NaN where no frame counts."""

    lost: float  # the target is not, or hardly, under the box
    position: float  # the box is on the target, but not at its centre
    scale: float  # it is too large or too small
    aspect: float  # it is too wide or too high
    absent: float = 0.0  # there is nothing to find in the frame, and it counts as failed by the data set's rule


TITLES = {"lost": "lost", "position": "position", "scale": "scale", "aspect": "aspect ratio", "absent": "absent"}
"""The parts in the order in which they are shown."""


def frame_losses(found: npt.ArrayLike, truth: npt.ArrayLike, absent_fails: bool = False) -> Float64:
    """Splits the loss of each frame: two ``(n, 4)`` of boxes x, y, w, h to ``(n, 5)`` in the order of :class:`Loss`.

    Args:
        found: boxes that are boxes, as ``scores.settle`` makes them; one that is not counts as lost.
        truth: the true boxes; NaN where unknown.
        absent_fails: whether frames of unknown truth count as failed; if not, they give a row of NaN.

    Raises:
        ValueError: the shapes differ or are not ``(n, 4)``.
    """
    boxes, real = np.asarray(found, np.float64), np.asarray(truth, np.float64)
    overlap = np.nan_to_num(metrics.overlaps(boxes, real))
    centers = boxes[:, :2] + boxes[:, 2:] / 2
    in_place = np.nan_to_num(metrics.overlaps(np.concatenate([centers - real[:, 2:] / 2, real[:, 2:]], axis=1), real))
    unknown = ~metrics.known(real)
    lost = ~unknown & (overlap <= NEARLY_NOTHING) & ((in_place <= NEARLY_NOTHING) | ~metrics.known(boxes))
    others = ~unknown & ~lost
    steps = np.zeros((len(real), 4))  # overlap as it is, and after each step
    steps[others, 0] = overlap[others]
    steps[others, 1] = _concentric(boxes[others, 2:], real[others, 2:])
    grown = np.sqrt(real[others, 2:].prod(axis=1) / boxes[others, 2:].prod(axis=1))
    steps[others, 2] = _concentric(boxes[others, 2:] * grown[:, None], real[others, 2:])
    steps[others, 3] = 1.0
    for k in (1, 2, 3):
        steps[:, k] = np.where(steps[:, k] > steps[:, k - 1] + _ROUNDING, steps[:, k], steps[:, k - 1])
    passed = (steps[..., None] > OVERLAP_THRESHOLDS).sum(axis=2)  # (n, 4), of 21
    passed[others, 3] = len(OVERLAP_THRESHOLDS) - 1  # 1 - 1e-10 passes as many as 1
    parts = np.zeros((len(real), 5))
    parts[others, 1:4] = np.diff(passed[others], axis=1) / len(OVERLAP_THRESHOLDS)
    parts[lost, 0] = BEST - (overlap[lost, None] > OVERLAP_THRESHOLDS).mean(axis=1)
    parts[unknown] = (0, 0, 0, 0, BEST) if absent_fails else np.nan
    return parts


def diagnose(
    sequence: Sequence,
    runs: Seq[tuple[int, npt.ArrayLike]],
    convention: Convention = Convention(),  # noqa: B008 - immutable
) -> Loss:
    """Splits the loss of a sequence: the mean over the frames that count, of all its runs.

    Args:
        runs: of each run the index of its first frame, s, and its boxes ``(n - s, 4)``, x, y, w, h, 0-based.

    Returns:
        parts that sum to 20/21 less the AUC of ``scores.score_measured``.

    Raises:
        ValueError: a run has another number of boxes than frames.
    """
    if not metrics.known(sequence.boxes[1:]).any():
        return Loss(*[float("nan")] * 5)
    frames = np.concatenate([frame_losses(*settle(sequence, *run), convention.overlap == "fails") for run in runs])
    return Loss(*np.nanmean(frames, axis=0).tolist())


def mean_loss(losses: Seq[Loss]) -> Loss:
    """The mean over sequences, each counting the same, as in the AUC; NaN ones are left out."""
    values = np.array([loss for loss in losses if not np.isnan(loss.lost)], np.float64)
    return Loss(*(values.mean(axis=0).tolist() if len(values) else [float("nan")] * 5))


def _concentric(sizes: Float64, others: Float64) -> Float64:
    """Overlap of boxes with one centre, from their sizes alone: two ``(n, 2)`` to ``(n,)``."""
    shared = np.minimum(sizes, others).prod(axis=1)
    return np.asarray(shared / (sizes.prod(axis=1) + others.prod(axis=1) - shared), np.float64)
