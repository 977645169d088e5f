"""The terms of the loss beside equation (6): what they punish, and what they leave alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="training needs the train extra")

from metatrack.geometry import iou  # noqa: E402
from metatrack.model.matching import label_map  # noqa: E402
from metatrack.training.losses import (  # noqa: E402
    box_losses,
    central,
    overlap,
    position_contrast,
    scale_contrast,
    stranger_loss,
    true_sides,
)

CELLS, STRIDE = 23, 8
offsets = st.floats(-70, 70)
lengths = st.floats(25, 120)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def test_scale_contrast():
    y = label_map(torch.zeros(1, 2))
    response = torch.randn(1, 17, 17)
    assert scale_contrast(response, response, y).item() == pytest.approx(math.log1p(math.exp(0.3)), rel=1e-5)
    assert scale_contrast(response + 2, response, y) < scale_contrast(response, response, y)
    far = response.clone()
    far[0, 0, 0] += 50  # far from the target: none of its business
    assert scale_contrast(response, far, y).item() == pytest.approx(scale_contrast(response, response, y).item())


def test_position_contrast_prefers_the_exact_place():
    d = torch.tensor([[1.0, 0.0]])
    sharp = torch.full((1, 17, 17), -5.0)
    sharp[0, 8, 9] = 5
    off = sharp.roll(1, dims=2)
    assert position_contrast(sharp, d) < position_contrast(off, d)


def test_strangers_must_not_answer():
    quiet, loud = torch.full((1, 17, 17), -8.0), torch.full((1, 17, 17), -8.0)
    loud[0, 3, 3] = 4
    assert stranger_loss(quiet) < 0.01 < 1 < stranger_loss(loud)


def test_labels_are_inside_the_response():
    """Every displacement that sampling draws has positive positions on the map."""
    y = label_map(torch.tensor([[5.5, 5.5], [-5.5, -5.5]]))
    assert ((y > 0).sum((1, 2)) >= 9).all()


class TestGeometry:
    @given(offsets, offsets, lengths, lengths)
    def test_sides_from_any_position_are_the_same_box(self, x, y, w, h):
        sides = true_sides(torch.tensor([[x, y]]) / STRIDE, torch.tensor([[w, h]]), CELLS, STRIDE)[0].double()
        axis = (torch.arange(CELLS) - CELLS // 2) * STRIDE
        assert torch.allclose(axis[None, :] - sides[0], torch.full((CELLS, CELLS), x - w / 2, dtype=torch.float64), atol=1e-3)
        assert torch.allclose(axis[:, None] + sides[3], torch.full((CELLS, CELLS), y + h / 2, dtype=torch.float64), atol=1e-3)

    def test_central_positions_lie_in_the_box_and_there_is_always_one(self):
        displacement, size = torch.tensor([[3.3, -5.6]]), torch.tensor([[10.0, 90.0]])
        sides = true_sides(displacement, size, CELLS, STRIDE)
        assert central(sides, 0.25, STRIDE * 0.8).any()
        assert not central(sides, 0.25, 1.0)[0, 0, 0]

    @given(st.lists(st.floats(1, 80), min_size=8, max_size=8))
    def test_overlap_is_the_evaluators(self, numbers):
        a, b = np.array(numbers[:4]), np.array(numbers[4:])
        measured, generalised = overlap(torch.tensor(a), torch.tensor(b))
        boxes = [(-s[0], -s[1], s[0] + s[2], s[1] + s[3]) for s in (a, b)]
        assert float(measured) == pytest.approx(float(iou(*boxes)), abs=1e-6)
        assert float(generalised) <= float(measured) + 1e-9


class TestLosses:
    displacement, size = torch.tensor([[1.2, -2.7], [0.0, 4.0]]), torch.tensor([[60.0, 44.0], [30.0, 80.0]])

    def test_a_perfect_answer_costs_next_to_nothing(self):
        truth = true_sides(self.displacement, self.size, CELLS, STRIDE)
        logits = torch.where(central(truth, 0.25, STRIDE * 0.8), 12.0, -12.0)
        score, box, quality = box_losses(logits, truth, self.displacement, self.size, STRIDE)
        assert score < 1e-3
        assert box < 1e-3
        assert quality == pytest.approx(1, abs=1e-4)

    def test_missing_the_target_and_seeing_one_elsewhere_cost(self):
        truth = true_sides(self.displacement, self.size, CELLS, STRIDE)
        blind, _, _ = box_losses(torch.full((2, CELLS, CELLS), -12.0), truth, self.displacement, self.size, STRIDE)
        logits = torch.where(central(truth, 0.25, STRIDE * 0.8), 12.0, -12.0)
        logits[:, 0, 0] = 12.0
        fooled, _, _ = box_losses(logits, truth, self.displacement, self.size, STRIDE)
        assert blind > 1
        assert fooled > 0.1

    def test_a_box_of_the_wrong_size_costs_in_proportion(self):
        truth = true_sides(self.displacement, self.size, CELLS, STRIDE)
        losses = [box_losses(truth[:, 0], truth * f, self.displacement, self.size, STRIDE)[1].item() for f in (1.0, 1.1, 1.3)]
        assert losses[0] < losses[1] < losses[2]
