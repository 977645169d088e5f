"""The search at three scales: scale and place from hand-made responses, and the contexts that are searched."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metatrack import Tracker
from metatrack.tracking.patches import Patches
from metatrack.tracking.search import ScaleSearchSettings, bicubic_matrix, choose_scale, upsampled

WINDOW = 0.176


class TestChoose:
    """Scale and place from hand-made responses."""

    @staticmethod
    def responses(row: int, column: int, peaks: tuple[float, float, float]) -> np.ndarray:
        maps = np.full((3, 17, 17), -6.0, np.float32)
        for i, peak in enumerate(peaks):
            maps[i, row, column] = peak
        return maps

    def test_the_peak_is_found(self):
        found, scale = choose_scale(self.responses(6, 11, (3, 1, 1)), ScaleSearchSettings(), 0.0)
        assert scale == 0
        assert found.displacement == pytest.approx((3, -2), abs=0.1)
        assert found.peak == 3

    def test_another_scale_pays_its_penalty(self):
        # log 0.95 = -0.051: a lead of 0.04 is not enough, one of 0.06 is
        assert choose_scale(self.responses(8, 8, (1.0, 1.04, 0)), ScaleSearchSettings(), WINDOW)[1] == 0
        assert choose_scale(self.responses(8, 8, (1.0, 1.06, 0)), ScaleSearchSettings(), WINDOW)[1] == 1

    def test_the_window_prefers_the_near_one_of_two_equals(self):
        maps = self.responses(8, 9, (3, 0, 0))
        maps[0, 2, 2] = 3.2
        near = choose_scale(maps, ScaleSearchSettings(), 0.3)[0]
        assert near.displacement == pytest.approx((1, 0), abs=0.2)
        assert choose_scale(maps, ScaleSearchSettings(), 0.0)[0].displacement == pytest.approx((-6, -6), abs=0.2)

    def test_no_number_is_no_crash(self):
        found, _ = choose_scale(np.full((3, 17, 17), np.nan, np.float32), ScaleSearchSettings(), WINDOW)
        assert all(math.isfinite(v) for v in (*found.displacement, found.peak))


def test_other_scales_are_searched_as_often_as_is_said(scene):
    tracker = Tracker("paper", settings={"pyramid": "search", "scale_interval": 3})
    tracker.init(scene.frame(0), scene.box(0))
    counts = []
    for i in range(1, 8):
        counts.append(len(tracker.contexts(Patches(scene.frame(i)))))
        tracker.update(scene.frame(i))
    assert counts == [3, 1, 1, 3, 1, 1, 3]


def test_templates_at_three_scales_need_one_context(scene):
    tracker = Tracker("paper", settings={"pyramid": "template"})
    tracker.init(scene.frame(0), scene.box(0))
    assert tracker.started.appearance.shape[0] == 3
    assert tracker.contexts(Patches(scene.frame(1))).shape == (1, 255, 255, 3)
    assert np.array_equal(tracker.searcher.template(tracker.started), tracker.started.appearance[:1])


def test_a_growing_target_is_found_in_the_context_of_its_scale(scene):
    tracker = Tracker("paper", settings={"scale_interval": 1})
    tracker.init(scene.frame(0), scene.box(0))
    for scale in (0, 1, 2):
        response = np.full((3, 1, 17, 17), -6.0, np.float32)
        response[scale, 0, 8, 10] = 3.0
        found = tracker.searcher.find(tracker.started, response)
        assert (found.context, found.zoom) == (scale, (1, 1 / 1.05, 1.05)[scale])
        cell, moved = tracker.searcher.cell(tracker.started), tracker._moved(found, Patches(scene.frame(1)), 1.0)
        assert moved.cx == pytest.approx(tracker.started.center.cx + 2 * cell * found.zoom, abs=0.1 * cell)


class TestUpsampling:
    @given(st.integers(2, 23), st.sampled_from([1, 2, 16]), st.integers(0, 2**32 - 1))
    def test_is_opencvs_bicubic(self, cells, factor, seed):
        response = np.random.default_rng(seed).normal(0, 3, (cells, cells)).astype(np.float32)
        expected = cv2.resize(response, (cells * factor, cells * factor), interpolation=cv2.INTER_CUBIC)
        np.testing.assert_allclose(upsampled(response, factor), expected, rtol=0, atol=1e-5)

    def test_weights_of_each_value_add_up_to_one_and_are_made_once(self):
        matrix = bicubic_matrix(17, 16)
        np.testing.assert_allclose(matrix.sum(1), 1, atol=1e-6)
        assert bicubic_matrix(17, 16) is matrix and not matrix.flags.writeable
