"""Scores, and when a target is lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metatrack.tracking.target import JudgingSettings, Sighting, score_of


@given(st.floats(allow_nan=True, allow_infinity=True), st.floats(0.1, 5), st.floats(-5, 5))
def test_a_score_lies_in_0_to_1_whatever_the_network_says(peak, slope, offset):
    assert 0 <= score_of(peak, {"slope": slope, "offset": offset}) <= 1


def test_a_score_is_the_cards_curve():
    assert score_of(2.0, {"slope": 1.5, "offset": -3.0}) == 0.5
    assert score_of(0.0, {}) == 0.5  # a model without calibration: the response's own probability
    assert score_of(1.0, {"slope": 2.0, "offset": 0.0}) > score_of(0.9, {"slope": 2.0, "offset": 0.0})


def test_lost_after_some_low_scores_in_a_row():
    sighting, settings = Sighting(), JudgingSettings(lost_below=0.1, lost_after=3)
    scores = [0.9, 0.09, 0.05, 0.1, 0.0, 0.0, 0.0, 0.02, 0.5]
    assert [sighting.note(score, (0, 0), False, settings) for score in scores] == [False] * 6 + [True] * 2 + [False]


def test_unseen_frames_are_counted_apart_from_low_ones():
    sighting, settings = Sighting(), JudgingSettings(lost_below=0.5)
    for score, unseen in ((0.4, True), (0.4, True), (0.4, False)):
        sighting.note(score, (0, 0), unseen, settings)
    assert (sighting.low_frames, sighting.unseen_frames, sighting.score) == (3, 0, 0.4)


def test_the_motion_of_earlier_frames_fades():
    sighting = Sighting(motion=10.0)
    for step, expected in (((3.0, 4.0), 8.0), ((0.0, 0.0), 6.4), ((6.0, 8.0), 10.0)):
        sighting.note(1.0, step, False, JudgingSettings())
        assert sighting.motion == pytest.approx(expected)


def test_a_lost_target_stays_lost_until_it_is_recognised():
    sighting, settings = Sighting(), JudgingSettings(lost_below=0.1, lost_after=2, recognised_from=0.7)
    scores = [0.0, 0.0, 0.3, 0.6, 0.05, 0.7, 0.3]
    found = [sighting.note(score, (0, 0), False, settings) for score in scores]
    assert found == [False, True, True, True, True, False, False]
