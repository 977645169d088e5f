"""Simulated clips, which validation tracks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs the train extra")

from metatrack.training.augment import Framing  # noqa: E402
from metatrack.training.mix import load_mix  # noqa: E402
from metatrack.training.validation import simulate  # noqa: E402


def test_simulated_boxes_hold_the_target(data):
    """The brightest thing in every view is the scene's disc, and its box says where."""
    clips = simulate(load_mix(data / "val.json"), 3, length=12)
    for clip in clips:
        assert np.ptp(clip.boxes[:, 2]) > 0  # the camera zooms
        for frame, (x, y, w, h) in zip(clip.frames, clip.boxes, strict=True):
            assert frame.shape == (384, 384, 3)
            assert min(x, y) >= -1e-6 and max(x + w, y + h) <= 384 + 1e-6
            rows, columns = np.nonzero(frame.max(2) > 150)
            assert np.abs(np.median(columns) - (x + w / 2)) < 0.2 * w
            assert np.abs(np.median(rows) - (y + h / 2)) < 0.2 * h


def test_a_target_that_is_reframed_is_the_same_part_in_every_frame(data, monkeypatch):
    """Of a disc its right half: the box's left edge is the disc's middle."""
    monkeypatch.setattr(Framing, "draw", classmethod(lambda cls, rng: cls(0.25, 0.0, 0.5, 1.0)))
    (source,) = load_mix(data / "val.json")
    for clip in simulate([replace(source, reframed=1.0)], 3, length=12):
        for frame, (x, y, w, h) in zip(clip.frames, clip.boxes, strict=True):
            rows, columns = np.nonzero(frame.max(2) > 150)
            assert np.abs(np.median(columns) - x) < 0.4 * w
            assert np.abs(np.median(rows) - (y + h / 2)) < 0.2 * h
            assert h > 1.5 * w
