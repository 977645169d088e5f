"""Distractors: which peaks are taken for some, and how long they are remembered."""

from __future__ import annotations

import numpy as np
import pytest

from metatrack import Tracker
from metatrack.tracking.distractors import KEPT, MOST_KEPT, MOST_PEAKS, TRUSTED, Distractor, further_peaks, remembered
from metatrack.tracking.search import Candidate

CENTERS = np.stack(np.meshgrid(np.arange(23.0) - 11, np.arange(23.0) - 11), axis=-1)


def peaks(*places, chosen=(11, 11), reach=3.0):
    probability = np.full((23, 23), 0.01)
    for row, column, height in places:
        probability[row, column] = height
    return further_peaks(probability, CENTERS, chosen, reach)


def test_further_peaks_come_from_high_to_low_as_x_and_y():
    assert peaks((11, 11, 0.9), (2, 20, 0.5), (20, 2, 0.7)) == ((-9.0, 9.0), (9.0, -9.0))


def test_a_low_peak_and_one_beside_the_target_or_beside_a_higher_peak_are_none():
    assert peaks((11, 11, 0.9), (2, 2, 0.24), (11, 14, 0.8), (20, 20, 0.6), (20, 18, 0.5)) == ((9.0, 9.0),)


def test_so_many_are_kept_and_no_more():
    found = peaks((11, 11, 0.9), *((row, column, 0.5) for row in (1, 6, 16) for column in (1, 6, 16, 21)))
    assert len(found) == MOST_PEAKS


class TestMemory:
    old, far = Distractor(50, 50, 10), Distractor(90, 90, 10)

    def test_what_is_seen_again_moves_and_what_is_not_stays_for_some_frames(self):
        again = Distractor(53, 54, 11)  # 5 pixels away
        moved = Distractor(53, 54, 11, 1.5, 2.0, frames=2)
        assert remembered([self.old, self.far], [again], 5.0, 11, certain=True) == [moved, self.far]
        assert remembered([self.far], [], 5.0, 10 + KEPT, certain=True) == [self.far]
        assert remembered([self.far], [], 5.0, 11 + KEPT, certain=True) == []

    def test_something_new_counts_only_beside_a_target_that_is_surely_seen(self):
        new, again = Distractor(10, 10, 11), Distractor(50, 51, 11)
        for certain, expected in ((True, [(50, 51), (10, 10)]), (False, [(50, 51)])):
            assert [each[:2] for each in remembered([self.old], [new, again], 5.0, 11, certain)] == expected

    def test_two_that_pass_each_other_keep_their_ways(self):
        """Who is where is told by the motion: each is seen nearer to where the other one was."""
        right, left = Distractor(50, 50, 10, 8.0, 0.0, 9), Distractor(60, 50, 10, -8.0, 0.0, 9)
        seen = remembered([right, left], [Distractor(59, 50, 11), Distractor(51, 50, 11)], 9.0, 11, certain=True)
        assert sorted((each.x, each.vx > 0) for each in seen) == [(51, False), (59, True)]

    def test_what_was_seen_for_long_is_remembered_for_longer_but_not_for_ever(self):
        old = Distractor(50, 50, 10, frames=40)
        assert remembered([old], [], 5.0, 10 + KEPT + 20, certain=True) == [old]
        assert remembered([old], [], 5.0, 11 + KEPT + 20, certain=True) == []
        assert Distractor(50, 50, 10, frames=1000).expired(10 + MOST_KEPT + 1)

    def test_a_second_peak_of_a_known_one_is_nothing_new(self):
        found = remembered([self.old], [Distractor(51, 50, 11), Distractor(54, 50, 11)], 5.0, 11, certain=True)
        assert [each[:2] for each in found] == [(51, 50)]

    def test_one_that_is_not_seen_is_expected_no_further_than_it_may_be(self):
        moving = Distractor(50, 50, 10, 4.0, -2.0, 40)
        assert moving.at(12) == (58, 46)
        assert moving.at(40) == moving.at(10 + KEPT)

    @pytest.mark.parametrize(("unseen", "count"), [(TRUSTED, 1), (TRUSTED + 1, 0)])
    def test_none_counts_when_the_target_has_long_been_away(self, scene, unseen, count):
        tracker = Tracker("lite", adapt=False)
        tracker.init(scene.frame(0), scene.box(0))
        target = tracker.started
        target.distractors, target.sighting.unseen_frames = [Distractor(0, 0, 0)], unseen
        tracker.remember_distractors(Candidate((0, 0), (1, 1), 0.0, np.zeros((23, 23), np.float32), -9.0), 0.0)
        assert len(target.distractors) == count

    def test_one_that_is_still_seen_and_was_for_long_is_not_forgotten_with_the_others(self, scene):
        tracker = Tracker("lite", adapt=False)
        tracker.init(scene.frame(0), scene.box(0))
        target = tracker.started
        known = Distractor(0, 0, 0, frames=TRUSTED)
        target.distractors, target.sighting.unseen_frames = [known, Distractor(99, 9, 0)], TRUSTED + 1
        tracker.remember_distractors(Candidate((0, 0), (1, 1), 0.0, np.zeros((23, 23), np.float32), -9.0), 0.0)
        assert target.distractors == [known]

    def test_places_are_in_pixels_of_the_image(self, scene):
        tracker = Tracker("lite", adapt=False)
        tracker.init(scene.frame(0), scene.box(0))
        cx, cy = tracker.started.center[:2]
        response = np.zeros((23, 23), np.float32)
        tracker.remember_distractors(Candidate((0, 0), (1, 1), 0.0, response, 9.0, distractors=((3.0, -2.0),)), 1.0)
        # The target of 44 pixels has a patch of 88, which is 127 pixels for the network: a cell of 8 is 5.54 of the image.
        cell = 8 * 88 / 127
        (found,) = tracker.started.distractors
        assert found[:3] == (pytest.approx(cx + 3 * cell), pytest.approx(cy - 2 * cell), 0)
