"""Patches at several scales: the published rounding, and resizing against its definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metatrack.compared.correlation import start, subwindow
from metatrack.compared.patches import TargetPlace, pyramid, resampling, resized, scale_factors, scale_limits


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@given(st.integers(1, 60), st.integers(1, 60), st.booleans())
def test_resampling_keeps_constants_and_means(before, after, smooth):
    matrix = resampling(before, after, smooth)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, rtol=1e-5)
    if before >= after and smooth:  # each old pixel counts the same
        np.testing.assert_allclose(matrix.sum(axis=0), after / before, rtol=1e-4)


@pytest.mark.parametrize(("before", "after"), [(13, 5), (7, 4), (60, 59)])
def test_shrinking_is_the_mean_over_an_area(before, after):
    """Each old pixel is cut into as many equal parts as there are new ones: then areas are whole numbers of parts."""
    line = np.random.default_rng(1).uniform(0, 255, before)
    expected = np.repeat(line, after).reshape(after, before).mean(axis=1)
    np.testing.assert_allclose(resampling(before, after) @ line, expected, rtol=1e-5)


def test_enlarging_is_linear():
    ramp = np.broadcast_to(np.arange(0, 100, 10, dtype=np.uint8)[None, :, None], (10, 10, 3))
    assert resized(ramp, (10, 20))[4, 1:-1, 0].tolist() == [round(2.5 + 5 * i) for i in range(18)]


def test_resizing_to_the_same_size_changes_nothing():
    image = noise(9, 11, 3)
    assert resized(image, (9, 11)) is image


@given(st.integers(-3, 40), st.integers(-3, 40), st.integers(1, 25), st.integers(1, 25))
def test_a_box_of_whole_pixels_is_reported_as_it_was_given(x, y, w, h):
    target = start(np.zeros((80, 80, 3), np.uint8), (x + 4, y + 4, w, h))
    assert TargetPlace.of(target).box() == (x + 4, y + 4, w, h)


def test_the_size_that_is_reported_is_rounded_down():
    target = start(np.zeros((200, 200, 3), np.uint8), (10, 20, 31, 40))
    place = TargetPlace.of(target, scale=2.0)
    assert place.base == (20, 15.5)
    assert place.box() == (10, 20, 31, 40)
    place.move(0.5, -2.5, 1.01)  # 0.5 to 1 and -2.5 to -3; 40.4 to 40 and 31.31 to 31
    assert place.box() == (7, 21, 31, 40)


def test_scales_are_powers_of_the_step_within_limits():
    np.testing.assert_allclose(scale_factors(7, 1.01), [1.01**k for k in range(-3, 4)])
    least, largest = scale_limits((100, 80), (50, 40), (240, 320), 1.02)
    assert math.log(least, 1.02) == pytest.approx(math.ceil(math.log(5 / 80, 1.02)))
    assert largest <= 240 / 50 < largest * 1.02
    place = TargetPlace(0, 0, (50.0, 40.0), 1.0, (0.99, 1.01))
    place.move(0, 0, 1.02)
    assert place.scale == 1.01


def test_a_pyramid_holds_what_is_around_the_place():
    image = noise(90, 120, 3)
    place = TargetPlace(40, 50, (10.0, 10.0), 1.0)
    patches = pyramid(image, place, (20, 24), [0.5, 1.0, 2.0])
    assert patches.shape == (3, 20, 24, 3) and patches.dtype == np.uint8
    np.testing.assert_array_equal(patches[1], subwindow(image, 40, 50, 20, 24))
    whole = subwindow(image, 40, 50, 40, 48).reshape(20, 2, 24, 2, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(patches[2], whole, atol=0.51)
