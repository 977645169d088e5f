"""From boxes to scores, each by the convention of its data set: pure functions, no file is touched."""

from __future__ import annotations

from collections.abc import Sequence as Seq
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from metatrack.arrays import Float64
from metatrack.data.sequence import Sequence
from metatrack.evaluation.score import metrics

Unknown = Literal["left out", "fails", "passes"]


@dataclass(frozen=True)
class Convention:
    """What a benchmark's own toolkit does with frames in which the target is absent or its box unknown."""

    overlap: Unknown = "left out"  # in success curves
    error: Unknown = "left out"  # in precision and normalised precision curves
    clip: bool = False  # boxes are cut to the frame before AO, SR50 and SR75 (GOT-10k's toolkit, ``rect_iou``)


CONVENTIONS = {
    # calc_seq_err_robust.m drops absent frames, eval_tracker.m divides by all: nobody passes those 2.7 % of the testing set.
    "lasot": Convention(overlap="fails", error="fails"),
    # OTB's toolkit, which UAV123 uses, gives a frame of NaN the overlap -1 and the centre error -1: below any threshold.
    "uav123": Convention(overlap="fails", error="passes"),
    "got10k": Convention(clip=True),
}
"""By data set; others leave such frames out. (OTB has two of them, see ``metrics.py``.)"""


class Measured(NamedTuple):
    """What became of each frame, all runs of a sequence one after another."""

    overlaps: Float64  # (n,) intersection over union; NaN: the frame does not count
    errors: Float64  # (n,) distance of the centres in pixels
    normalized: Float64  # (n,) the same in widths and heights of the true box
    later: Float64  # (m,) overlaps without first and absent frames, clipped if the convention says so: GOT-10k's view


@dataclass(frozen=True)
class Row:
    """Scores of one tracker on one sequence; shares in [0, 1], NaN where no frame counts."""

    sequence: str
    auc: float  # success AUC: 21 thresholds, strictly above
    precision: float  # share of frames whose centre is at most 20 px off
    norm_precision: float  # share of frames whose normalised error is at most 0.2, as pytracking and pysot print it
    norm_precision_auc: float  # area under its curve over 0..0.5, as the papers of TrackingNet and LaSOT define it
    ao: float  # average overlap without the first frame
    sr50: float  # share of those frames whose overlap is above 0.5
    sr75: float  # the same above 0.75
    frames: int  # how many those are: the weight of the sequence in GOT-10k's means
    fps: float = float("nan")  # frames per second, NaN where unknown
    attributes: frozenset[str] = frozenset()


THRESHOLDS = {
    "success": metrics.OVERLAP_THRESHOLDS,
    "precision": metrics.ERROR_THRESHOLDS,
    "norm_precision": metrics.NORMALIZED_THRESHOLDS,
}
METRIC_TITLES = {
    **{"auc": "AUC", "precision": "P@20", "norm_precision": "P_norm", "norm_precision_auc": "P_norm AUC"},
    **{"ao": "AO", "sr50": "SR50", "sr75": "SR75"},
}
"""Every score of a :class:`Row`, as tables call it."""
METRICS = tuple(METRIC_TITLES)
POOLED = ("ao", "sr50", "sr75")  # means over frames, as GOT-10k has it; the others are means over sequences


@dataclass(frozen=True)
class Table:
    """Scores of one tracker on several sequences."""

    tracker: str
    rows: tuple[Row, ...]

    def having(self, attribute: str) -> Table:
        """The sequences that carry an attribute."""
        return Table(self.tracker, tuple(row for row in self.rows if attribute in row.attributes))

    def column(self, metric: str) -> Float64:
        """(rows,) one score of each sequence."""
        return np.array([getattr(row, metric) for row in self.rows], np.float64)

    def weights(self, metric: str) -> Float64:
        """(rows,) what each sequence weighs in the mean; 0 where it has no score."""
        weights = self.column("frames") if metric in POOLED else np.ones(len(self.rows))
        return np.where(np.isnan(self.column(metric)), 0.0, weights)

    def mean(self, metric: str) -> float:
        """One of :data:`METRICS` over all sequences; NaN if none has a score."""
        weights = self.weights(metric)
        return float((np.nan_to_num(self.column(metric)) * weights).sum() / weights.sum()) if weights.any() else float("nan")

    def interval(self, metric: str = "auc") -> tuple[float, float]:
        """95 % bootstrap interval of the mean over sequences; the same rows give the same numbers."""
        return metrics.bootstrap_interval(self.column(metric), np.random.default_rng(0), weights=self.weights(metric))

    @property
    def fps(self) -> float:
        """Mean frames per second over the sequences for which it is known (the OTB papers' way)."""
        known = [row.fps for row in self.rows if not np.isnan(row.fps)]
        return float(np.mean(known)) if known else float("nan")


class Curves(NamedTuple):
    """What the plots of a tracker show, of one sequence or of several; shares in [0, 1]."""

    success: Float64  # (21,) over ``metrics.OVERLAP_THRESHOLDS``
    precision: Float64  # (51,) over ``metrics.ERROR_THRESHOLDS``
    norm_precision: Float64  # (51,) over ``metrics.NORMALIZED_THRESHOLDS``


def curves(measured: Measured) -> Curves:
    """The curves of one sequence; NaN where no frame counts."""
    return Curves(
        metrics.success_curve(measured.overlaps),
        metrics.precision_curve(measured.errors),
        metrics.precision_curve(measured.normalized, metrics.NORMALIZED_THRESHOLDS),
    )


def mean_curves(several: Seq[Curves]) -> Curves:
    """The mean over sequences, each counting the same; those of NaN are left out. NaN if nothing is left.

    The mean of a mean curve is the mean of the scores, so the legend of a plot can be read off it.
    """
    made = []
    for name in Curves._fields:
        values = np.array([getattr(each, name) for each in several])
        values = values[~np.isnan(values[:, 0])] if len(values) else values
        made.append(values.mean(axis=0) if len(values) else np.full(THRESHOLDS[name].shape, np.nan))
    return Curves(*made)


def measure(
    sequence: Sequence,
    runs: Seq[tuple[int, npt.ArrayLike]],
    convention: Convention = Convention(),  # noqa: B008 - immutable
    frame_size: tuple[int, int] | None = None,
) -> Measured:
    """Compares boxes with the truth, frame by frame.

    As in the toolkits of OTB and LaSOT, a row that is not a box repeats the one before it, and the first frame of each run counts
    as found, also where SRE gave the tracker a wrong box there. Where the truth is known in no frame but the first, none counts.

    Args:
        runs: of each run the index of its first frame, s, and its boxes ``(n - s, 4)``, x, y, w, h, 0-based.
        frame_size: height and width in pixels, for a convention that clips.

    Raises:
        ValueError: a run has another number of boxes than frames.
    """
    parts = [_measure(sequence, start, boxes, convention, frame_size) for start, boxes in runs]
    if not metrics.known(sequence.boxes[1:]).any():
        unknown = np.full(1, np.nan)
        return Measured(unknown, unknown, unknown, np.empty(0))
    return Measured(*(np.concatenate(values) for values in zip(*parts, strict=True)))


def settle(sequence: Sequence, start: int, boxes: npt.ArrayLike) -> tuple[Float64, Float64]:
    """The boxes of a run as they are scored, and the truth: both ``(n - s, 4)``.

    A row that is not a box repeats the one before it, and the first is the true one.

    Args:
        start: index of the run's first frame, s.
        boxes: ``(n - s, 4)``, x, y, w, h, 0-based.

    Raises:
        ValueError: the run has another number of boxes than frames.
    """
    truth = sequence.boxes[start:]
    found = metrics.hold_last(boxes)
    if found.shape != truth.shape:
        raise ValueError(f"{sequence.name}: boxes of shape {found.shape} for {len(truth)} frames")
    found[:1] = truth[:1]
    return found, truth


def _measure(
    sequence: Sequence, start: int, boxes: npt.ArrayLike, convention: Convention, frame_size: tuple[int, int] | None
) -> Measured:
    found, truth = settle(sequence, start, boxes)
    overlaps = metrics.overlaps(found, truth)
    later = overlaps[1:]
    if convention.clip:
        later = metrics.overlaps(_clip(metrics.hold_last(boxes), frame_size), _clip(truth, frame_size))[1:]
    replace = {"left out": np.nan, "fails": np.inf, "passes": 0.0}[convention.error]
    both = (metrics.center_errors(found, truth, normalized) for normalized in (False, True))
    errors, normalized = (np.where(np.isnan(values), replace, values) for values in both)
    if convention.overlap == "fails":
        overlaps = np.nan_to_num(overlaps, nan=0.0)
    return Measured(overlaps, errors, normalized, later[~np.isnan(later)])


def _clip(boxes: Float64, frame_size: tuple[int, int] | None) -> Float64:
    """Boxes cut as GOT-10k's toolkit does: one that begins left of the frame is moved to its edge, not narrowed."""
    if frame_size is None:
        raise ValueError("this convention cuts boxes to the frame; give its size")
    height, width = frame_size
    x, y = np.clip(boxes[:, 0], 0, width), np.clip(boxes[:, 1], 0, height)
    w, h = np.clip(boxes[:, 2], 0, width - x), np.clip(boxes[:, 3], 0, height - y)
    return np.stack([x, y, w, h], axis=1)


def score_measured(sequence: Sequence, measured: Measured, fps: float = float("nan")) -> Row:
    """Scores the runs of a sequence, their frames pooled, as OTB's toolkit does for TRE and SRE (``genPerfMat``).

    Where the truth is known in no frame but the first, as in GOT-10k's test split, all scores are NaN: the one frame that a
    tracker cannot miss would give it 0.952.
    """
    normalized = metrics.precision_curve(measured.normalized, metrics.NORMALIZED_THRESHOLDS)
    return Row(
        sequence=sequence.name,
        auc=metrics.auc(metrics.success_curve(measured.overlaps)),
        precision=metrics.precision_at(measured.errors),
        norm_precision=metrics.precision_at(measured.normalized, 0.2),
        norm_precision_auc=metrics.auc(normalized),
        ao=metrics.average_overlap(measured.later),
        sr50=metrics.success_rate(measured.later, 0.5),
        sr75=metrics.success_rate(measured.later, 0.75),
        frames=len(measured.later),
        fps=fps,
        attributes=sequence.attributes,
    )
