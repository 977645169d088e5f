"""What a target's motion lets expect, and jumps that it does not explain."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metatrack.tracking.choice import BoxSearchSettings, Prior, choose_box
from metatrack.tracking.search import cosine_window, moved_window
from metatrack.tracking.target import Course
from tests.tracking.test_box_search import maps, stronger, view


def test_the_velocity_is_that_of_sure_frames_and_fades_in_others():
    motion = Course()
    motion.note((8.0, -4.0), True, 0.5)
    motion.note((8.0, -4.0), True, 0.5)
    assert motion.velocity == (6.0, -3.0)
    motion.note((100.0, 0.0), False, 0.5)
    assert motion.velocity == (3.0, -1.5)


def test_a_claim_counts_the_frames_in_a_row_near_one_place():
    motion = Course()
    assert [motion.claimed(100 + 4 * i, 50, 10.0, i) for i in range(3)] == [1, 2, 3]
    assert motion.claims(2) and not motion.claims(3)
    assert motion.claimed(300, 50, 10.0, 3) == 1  # elsewhere
    assert motion.claimed(300, 50, 10.0, 5) == 1  # a frame was left out
    assert motion.claimed(302, 50, 10.0, 5) == 1  # the same frame


@given(st.integers(5, 23).map(lambda n: n | 1), st.floats(-4, 4), st.floats(-4, 4))
def test_the_moved_window_is_the_window_moved(size, x, y):
    window = moved_window(size, 23, x, y)
    assert 0 <= window.min() and window.max() <= 1
    np.testing.assert_allclose(moved_window(size, 23, 1e-9, 0.0), cosine_window(size, 23), atol=1e-6)
    np.testing.assert_allclose(window, moved_window(size, 23, -x, -y)[::-1, ::-1], atol=1e-9)


def test_the_window_goes_along_with_the_target():
    both = stronger(maps(-40, 0, 60, 60), maps(40, 0, 60, 60))
    for expected in (-3.0, 3.0):
        found = choose_box(both, view(), BoxSearchSettings(), 0.3, Prior(expected=(expected, 0.0)))
        assert found.displacement[0] == pytest.approx(5 * np.sign(expected), abs=0.1)


class TestRivals:
    both = stronger(maps(8, 0, 60, 60, height=0.0), maps(-72, -72, 60, 60, height=4.0))

    def test_what_lies_beyond_the_gate_is_a_rival_of_the_best_within(self):
        found = choose_box(self.both, view(), BoxSearchSettings(), 0.0, Prior(gate=8.0))
        assert found.displacement == pytest.approx((1, 0), abs=0.1)
        assert found.rival is not None and found.rival.displacement == pytest.approx((-9, -9), abs=0.1)
        assert found.peak < found.rival.peak and found.distractors == (pytest.approx((-9, -9), abs=0.1),)

    def test_without_a_gate_or_a_better_place_beyond_it_there_is_none(self):
        assert choose_box(self.both, view(), BoxSearchSettings(), 0.0).rival is None
        assert choose_box(self.both, view(), BoxSearchSettings(), 0.0, Prior(gate=14.0)).rival is None
        assert choose_box(maps(8, 0, 60, 60), view(), BoxSearchSettings(), 0.0, Prior(gate=8.0)).rival is None


class TestOtherThings:
    alone = maps(24, 0, 60, 60)

    def test_a_target_that_is_not_seen_beside_another_thing_stays_and_is_unseen(self):
        prior = Prior(expected=(0.5, 0.0), distractors=[(3.0, 0.0)], factor=0.1)
        found = choose_box(self.alone, view(), BoxSearchSettings(), 0.0, prior)
        assert found.displacement == prior.expected and found.growth == (1, 1) and found.rate == 0
        assert found.peak < -2
        assert found.distractors[-1] == pytest.approx((3, 0), abs=0.5)  # it goes on being followed

    def test_what_is_taken_is_another_things_however_near(self):
        free, kept = (
            choose_box(self.alone, view(), BoxSearchSettings(), 0.0, prior)
            for prior in (Prior((3.0, 0.0), [(3.5, 0.0)], factor=0.1), Prior((3.0, 0.0), [], [(3.5, 0.0)], factor=0.1))
        )
        assert free.displacement == pytest.approx((3, 0), abs=0.1)
        assert kept.peak < -2
