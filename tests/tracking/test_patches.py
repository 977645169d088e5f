"""Patches of a frame."""

from __future__ import annotations

import numpy as np
import pytest

from metatrack.geometry import Center, crop
from metatrack.tracking.patches import Patches


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)


def test_what_lies_outside_the_frame_is_its_mean_colour(image):
    patch = Patches(image).cut(0.0, 0.0, 40.0, 40)  # three quarters of it are outside
    mean = np.round(image[::8, ::8].reshape(-1, 3).mean(0))
    assert (np.abs(patch[:18, :18].astype(int) - mean) <= 1).all()
    assert (patch[21:, 21:] == image[1:20, 1:20]).all()


def test_inside_the_frame_it_is_a_plain_crop(image):
    assert np.array_equal(Patches(image).cut(40.0, 30.0, 33.0, 20), crop(image, 40.0, 30.0, 33.0, 20))


def test_patches_of_a_target_show_it_smaller_as_their_scale_falls(image):
    patches = Patches(image).target(Center(40, 30, 10, 10), (1.0, 0.5))
    assert patches.shape == (2, 127, 127, 3)
    assert np.array_equal(patches[1], crop(image, 40, 30, 40, 127))  # a 10 px target has a patch of 20 px at scale 1


def test_a_centre_is_moved_into_the_frame(image):
    assert Patches(image).inside(Center(-3, 99, 4, 5)) == (0, 60, 4, 5)
    assert Patches(image).inside(Center(12.5, 7, 4, 5)) == (12.5, 7, 4, 5)
