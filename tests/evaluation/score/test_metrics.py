"""Golden values, with their arithmetic, and properties of the scores."""

import math
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from metatrack.evaluation.score import metrics as m

NAN = float("nan")
INF = float("inf")

sides = st.floats(1, 300)
corners = st.floats(-200, 500)


@st.composite
def trajectories(draw, count=2):
    """``count`` trajectories of the same length, ``(n, 4)`` each."""
    n = draw(st.integers(1, 12))
    where = hnp.arrays(np.float64, (n, 2), elements=corners)
    size = hnp.arrays(np.float64, (n, 2), elements=sides)
    return [np.concatenate([draw(where), draw(size)], axis=1) for _ in range(count)]


# -- overlaps and errors of single frames


@pytest.mark.parametrize(
    ("box", "truth", "overlap", "error", "normalized"),
    [
        # identical
        ((10, 20, 4, 8), (10, 20, 4, 8), 1.0, 0.0, 0.0),
        # moved right by 2 of 4: shared 2 x 8 = 16 of 32 + 32 - 16 = 48; centre off by 2 px = 0.5 widths
        ((12, 20, 4, 8), (10, 20, 4, 8), 16 / 48, 2.0, 0.5),
        # twice the size around the same centre: 32 of 128
        ((8, 16, 8, 16), (10, 20, 4, 8), 0.25, 0.0, 0.0),
        # a box of 4 x 4 in one of 8 x 16: 16 of 128 shared; centres (2, 2) and (4, 8): in TRUE sizes 2/8 and 6/16
        ((0, 0, 4, 4), (0, 0, 8, 16), 0.125, math.hypot(2, 6), math.hypot(2 / 8, 6 / 16)),
        # apart by (3, 4) px between centres, widths of 1: 0 shared; hypot(3, 4) = 5; heights of 2: hypot(3, 2) = 3.60555
        ((3, 4, 1, 2), (0, 0, 1, 2), 0.0, 5.0, math.hypot(3, 2)),
        # touching edges share nothing
        ((4, 0, 4, 4), (0, 0, 4, 4), 0.0, 4.0, 1.0),
        # no box where one is due: the worst there is
        ((NAN, 0, 4, 4), (0, 0, 4, 4), 0.0, INF, INF),
        ((0, 0, 0, 4), (0, 0, 4, 4), 0.0, INF, INF),
        # truth unknown: not a frame that counts
        ((0, 0, 4, 4), (NAN, NAN, NAN, NAN), NAN, NAN, NAN),
        ((0, 0, 4, 4), (0, 0, 4, 0), NAN, NAN, NAN),
    ],
)
def test_one_frame(box, truth, overlap, error, normalized):
    np.testing.assert_allclose(m.overlaps([box], [truth]), [overlap])
    np.testing.assert_allclose(m.center_errors([box], [truth]), [error])
    np.testing.assert_allclose(m.center_errors([box], [truth], normalized=True), [normalized])


@pytest.mark.parametrize("function", [m.overlaps, m.center_errors, partial(m.center_errors, normalized=True)])
@pytest.mark.parametrize("shapes", [((3, 4), (2, 4)), ((4,), (4,)), ((2, 8), (2, 8))])
def test_shapes_that_do_not_fit_are_refused(function, shapes):
    with pytest.raises(ValueError, match=r"must both have the shape \(frames, 4\)"):
        function(np.ones(shapes[0]), np.ones(shapes[1]))


def test_known():
    rows = np.array([[1, 1, 2, 2], [NAN, 1, 2, 2], [1, 1, 0, 2], [1, 1, 2, -1], [INF, 1, 2, 2]])
    assert m.known(rows).tolist() == [True, False, False, False, False]


def test_hold_last_repeats_the_last_box_and_leaves_the_start_alone():
    rows = np.array([[NAN] * 4, [1, 1, 2, 2], [NAN] * 4, [5, 5, 0, 3], [7, 7, 2, 2]])
    held = m.hold_last(rows)
    assert np.isnan(held[0]).all()
    assert held[1:].tolist() == [[1, 1, 2, 2], [1, 1, 2, 2], [1, 1, 2, 2], [7, 7, 2, 2]]
    assert np.isnan(rows[2]).all()  # the input is not changed
    assert m.hold_last(np.empty((0, 4))).shape == (0, 4)


# -- curves


def test_thresholds_are_the_exact_decimals():
    assert m.OVERLAP_THRESHOLDS.tolist() == [float(f"{i * 5 / 100:.2f}") for i in range(21)]
    assert m.ERROR_THRESHOLDS.tolist() == list(range(51))
    assert m.NORMALIZED_THRESHOLDS[[0, 1, -1]].tolist() == [0.0, 0.01, 0.5]


def test_a_perfect_tracker_scores_20_of_21():
    boxes = np.array([[3, 4, 50, 60], [5, 4, 50, 61.0]])
    curve = m.success_curve(m.overlaps(boxes, boxes))
    assert curve.tolist() == [1.0] * 20 + [0.0]  # 1 > 1 fails
    assert m.auc(curve) == pytest.approx(20 / 21)
    assert m.precision_at(m.center_errors(boxes, boxes)) == 1.0
    assert m.precision_curve(m.center_errors(boxes, boxes)).tolist() == [1.0] * 51
    assert m.auc(m.precision_curve(m.center_errors(boxes, boxes, normalized=True), m.NORMALIZED_THRESHOLDS)) == 1.0


def test_a_lost_target_scores_nothing():
    truth, boxes = np.array([[0, 0, 10, 10.0]] * 3), np.array([[500, 500, 10, 10.0]] * 3)
    assert m.auc(m.success_curve(m.overlaps(boxes, truth))) == 0.0
    assert m.precision_at(m.center_errors(boxes, truth)) == 0.0


def test_success_is_strict_and_precision_is_not():
    # overlaps 0.5 and 0.6 at the threshold 0.5: only 0.6 is above it -> 1/2
    assert m.success_curve([0.5, 0.6], [0.5]).tolist() == [0.5]
    assert m.success_rate([0.5, 0.6]) == 0.5
    # 0.15 = 3/20 meets its threshold exactly, where a running sum of 0.05 would be 0.15000000000000002
    assert m.success_curve([0.15])[3] == 0.0
    # errors 20 and 20.01 at 20 px: 20 passes -> 1/2
    assert m.precision_at([20.0, 20.01]) == 0.5
    assert m.precision_curve([20.0, 20.01])[[19, 20, 21]].tolist() == [0.0, 0.5, 1.0]


def test_auc_of_a_known_curve():
    # overlap 0.32 is above 0, 0.05 .. 0.30 = 7 thresholds; 0.9 is above 0 .. 0.85 = 18; 0 above none. (7 + 18 + 0) / (3 * 21)
    assert m.auc(m.success_curve([0.32, 0.9, 0.0])) == pytest.approx(25 / 63)


def test_normalized_precision():
    # errors of 0.1 and 0.3: passed at 0.10 .. 0.50 = 41 and 0.30 .. 0.50 = 21 of 51 thresholds
    assert m.auc(m.precision_curve([0.1, 0.3], m.NORMALIZED_THRESHOLDS)) == pytest.approx((41 + 21) / (2 * 51))
    assert m.precision_at([0.1, 0.3], 0.2) == 0.5


def test_unknown_frames_are_left_out_of_every_score():
    overlap, errors = [NAN, 0.6, NAN, 0.4], [NAN, 5.0, NAN, 25.0]
    np.testing.assert_array_equal(m.success_curve(overlap), m.success_curve([0.6, 0.4]))
    np.testing.assert_array_equal(m.precision_curve(errors), m.precision_curve([5.0, 25.0]))
    assert m.average_overlap(overlap) == pytest.approx(0.5)
    assert m.success_rate(overlap) == 0.5


@pytest.mark.parametrize("values", [[], [NAN, NAN]])
def test_no_frame_at_all_has_no_score(values):
    assert math.isnan(m.average_overlap(values))
    assert math.isnan(m.auc(m.success_curve(values)))
    assert math.isnan(m.precision_at(values))


# -- GOT-10k, speed


def test_fps_is_updates_over_their_time():
    # the initialisation's 10 s do not count: 4 updates in 0.1 + 0.1 + 0.1 + 0.7 = 1 s
    assert m.fps([[10, 0.1, 0.1, 0.1, 0.7]]) == pytest.approx(4.0)
    assert math.isnan(m.fps([[0.5]]))


# -- over sequences


def test_bootstrap_interval():
    scores = np.array([0.2, 0.4, 0.5, 0.6, 0.9])
    low, high = m.bootstrap_interval(scores, np.random.default_rng(1))
    assert (low, high) == m.bootstrap_interval(scores, np.random.default_rng(1))  # the generator is all its chance
    # the standard error of a bootstrap mean is std / sqrt(n) = 0.2315 / 2.236 = 0.1035; 1.96 of them around 0.52: 0.317 - 0.723
    assert low == pytest.approx(0.52 - 0.203, abs=0.03)
    assert high == pytest.approx(0.52 + 0.203, abs=0.03)
    assert m.bootstrap_interval([0.3, NAN, 0.3], np.random.default_rng(0)) == pytest.approx((0.3, 0.3))
    assert all(math.isnan(v) for v in m.bootstrap_interval([], np.random.default_rng(0)))


def test_bootstrap_interval_of_many_scores_is_the_normal_one():
    scores = np.random.default_rng(3).normal(0.5, 0.1, 200)
    error = scores.std() / math.sqrt(200)
    low, high = m.bootstrap_interval(scores, np.random.default_rng(1))
    assert (low, high) == pytest.approx((scores.mean() - 1.96 * error, scores.mean() + 1.96 * error), abs=0.06 * error)


# -- properties


@given(trajectories())
@settings(max_examples=60, deadline=None)
def test_overlap_is_symmetric_bounded_and_blind_to_scale_and_origin(pair):
    a, b = pair
    overlap = m.overlaps(a, b)
    assert ((overlap >= 0) & (overlap <= 1)).all()
    np.testing.assert_allclose(overlap, m.overlaps(b, a), atol=1e-12)
    np.testing.assert_allclose(overlap, m.overlaps(a * 3, b * 3), atol=1e-9)
    np.testing.assert_allclose(overlap, m.overlaps(a + [1, 1, 0, 0], b + [1, 1, 0, 0]), atol=1e-9)
    np.testing.assert_allclose(m.center_errors(a, b), m.center_errors(b, a), atol=1e-9)
    np.testing.assert_allclose(m.center_errors(a, b, True), m.center_errors(a * 3, b * 3, True), atol=1e-9)


@given(hnp.arrays(np.float64, st.integers(1, 40), elements=st.floats(0, 1)))
@settings(max_examples=60, deadline=None)
def test_curves_are_monotone_and_auc_is_near_the_mean_overlap(overlap):
    curve = m.success_curve(overlap)
    assert (np.diff(curve) <= 0).all()
    assert (np.diff(m.precision_curve(overlap * 60)) >= 0).all()
    # each frame passes floor(20 o) .. floor(20 o) + 1 of 21 thresholds, so the AUC is within 1/21 + o/21 of o
    assert abs(m.auc(curve) - m.average_overlap(overlap)) <= 2 / 21


@given(hnp.arrays(np.float64, st.integers(2, 40), elements=st.floats(0, 1)), st.randoms(use_true_random=False))
@settings(max_examples=30, deadline=None)
def test_scores_do_not_depend_on_the_order_of_frames_nor_on_unknown_ones(overlap, random):
    shuffled = list(overlap) + [NAN]
    random.shuffle(shuffled)
    np.testing.assert_allclose(m.success_curve(shuffled), m.success_curve(overlap))
