"""What the AUC is lost to: the parts of a loss."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metatrack.data.sequence import Sequence
from metatrack.evaluation.score import metrics
from metatrack.evaluation.score.scores import CONVENTIONS, Convention
from metatrack.report.diagnosis import BEST, Loss, diagnose, frame_losses, mean_loss
from tests.evaluation.helpers import score_runs

coordinate = st.floats(-50, 250)
side = st.floats(2, 200)
box = st.tuples(coordinate, coordinate, side, side)
truth_box = st.tuples(st.integers(0, 200), st.integers(0, 200), st.integers(8, 120), st.integers(8, 120))


def about(center: tuple[float, float], w: float, h: float) -> tuple[float, float, float, float]:
    return (center[0] - w / 2, center[1] - h / 2, w, h)


def middle(truth: tuple[int, int, int, int]) -> tuple[float, float]:
    return truth[0] + truth[2] / 2, truth[1] + truth[3] / 2


@given(st.lists(st.tuples(box, box), min_size=2, max_size=12), st.sets(st.integers(1, 11)), st.booleans())
def test_the_parts_sum_to_the_loss_and_none_is_negative(
    pairs: list[tuple[tuple[float, ...], tuple[float, ...]]], gone: set[int], fails: bool
) -> None:
    boxes, truth = (np.array(values, float) for values in zip(*pairs))
    truth[[k for k in gone if k < len(truth) - 1]] = np.nan
    sequence = Sequence("s", tuple(Path(str(k)) for k in range(len(truth))), truth)
    convention = CONVENTIONS["lasot"] if fails else Convention()
    loss = diagnose(sequence, [(0, boxes)], convention)
    assert sum(loss) == pytest.approx(BEST - score_runs(sequence, [(0, boxes)], convention).auc, abs=1e-12)
    assert min(loss) >= 0
    assert fails or loss.absent == 0


def parts(found: tuple[float, ...], truth: tuple[float, ...]) -> Loss:
    (row,) = frame_losses([found], [truth])
    return Loss(*row.tolist())


@given(truth_box, st.floats(-0.6, 0.6), st.floats(-0.6, 0.6))
def test_a_shift_is_position(truth: tuple[int, int, int, int], dx: float, dy: float) -> None:
    x, y, w, h = truth
    found = (x + dx * w, y + dy * h, w, h)
    loss = parts(found, truth)
    part = "lost" if metrics.overlaps([found], [truth])[0] <= 0.1 else "position"
    assert getattr(loss, part) == pytest.approx(sum(loss))


@given(truth_box, st.floats(0.01, 30))
def test_a_scale_is_scale(truth: tuple[int, int, int, int], factor: float) -> None:
    """However far the size has collapsed or exploded: the tracker is at the target."""
    loss = parts(about(middle(truth), truth[2] * factor, truth[3] * factor), truth)
    assert loss.scale == pytest.approx(sum(loss))
    assert loss.scale > 0 or 0.97 < factor < 1.03


@given(truth_box, st.floats(0.05, 20))
def test_a_shape_is_aspect(truth: tuple[int, int, int, int], ratio: float) -> None:
    loss = parts(about(middle(truth), truth[2] * ratio, truth[3] / ratio), truth)
    assert loss.aspect == pytest.approx(sum(loss))


@given(truth_box, box)
def test_somewhere_else_is_lost(truth: tuple[int, int, int, int], found: tuple[float, ...]) -> None:
    far = (found[0] + 1000, *found[1:])
    assert parts(far, truth) == pytest.approx(Loss(BEST, 0, 0, 0, 0))


def test_parts_by_hand() -> None:
    truth = (0.0, 0, 20, 20)
    # Twice as wide and high, its centre 5 px off in x: 20 x 20 shared of 1600 = 0.25, passes 5. In place it still is 0.25, so the
    # position costs nothing; of the true size it is the truth.
    assert parts((-5, -10, 40, 40), truth) == pytest.approx(Loss(0, 0, 15 / 21, 0))
    # 20 x 10, 5 px off: 15 x 10 / (200 + 400 - 150) = 1/3, passes 7. In place 200 / 400 = 0.5, passes 10 (strictly above 0.45).
    # Of the true area it is 28.28 x 14.14: 20 x 14.14 / (800 - 282.8) = 0.547, passes 11.
    assert parts((5, 5, 20, 10), truth) == pytest.approx(Loss(0, 3 / 21, 1 / 21, 9 / 21))
    # no box at all, and a frame that does not count
    assert parts((0, 0, 0, 20), truth) == pytest.approx(Loss(BEST, 0, 0, 0))
    assert np.isnan(frame_losses([truth], [[np.nan] * 4])).all()
    assert np.isnan(mean_loss([])).all()
