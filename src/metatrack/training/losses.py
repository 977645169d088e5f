"""The terms of the training loss beside equation (6): contrasts between scales and places, strangers, and the box head's own."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from metatrack.model.matching import EPSILON, squared_distance

FOCUS = 0.25  # positions within this share of the box's sides around its centre are positive
IGNORED = 0.45  # positions between FOCUS and this share are neither positive nor negative


def scale_contrast(right: Tensor, wrong: Tensor, y: Tensor, margin: float = 0.3) -> Tensor:
    """Hinge-like penalty where a template of the wrong scale answers as high as the right one near the target.

    Softplus on the difference of the local log-sum-exp peaks. Without it the responses are nearly the same for scales 10 %
    apart, and the scale search is blind.

    Args:
        right: ``(n, 17, 17)`` responses at the right scale.
        wrong: ``(n, 17, 17)`` responses of the same place at a wrong scale.
        y: ``(n, 17, 17)`` labels.
    """
    far = torch.where(y > 0, 0.0, -1e4)
    peak_right = torch.logsumexp(right + far, dim=(-2, -1))
    peak_wrong = torch.logsumexp(wrong + far, dim=(-2, -1))
    return F.softplus(peak_wrong - peak_right + margin)


def position_contrast(right: Tensor, displacement: Tensor, sigma: float = 0.7) -> Tensor:
    """Cross-entropy of the softmax over positions and a narrow Gaussian at the target: ``(n, 17, 17)``, ``(n, 2)`` -> ``(n,)``.

    Equation (6) asks the 13 positions near the target for the same answer; this asks the peak to be the target's centre, to a
    part of a cell, and above every distractor.
    """
    squared = squared_distance(displacement, right.shape[-1])
    goal = torch.softmax((-squared / (2 * sigma**2)).flatten(1), dim=1)
    return -(goal * torch.log_softmax(right.flatten(1), dim=1)).sum(1)


def stranger_loss(response: Tensor) -> Tensor:
    """A template of another object must answer nowhere: ``(n, 17, 17)`` -> ``(n,)``; mean and hardest position, half each."""
    flat = F.softplus(response).flatten(1)
    return 0.5 * flat.mean(1) + 0.5 * flat.amax(1)


def true_sides(displacement: Tensor, size: Tensor, cells: int, stride: int) -> Tensor:
    """Distances of every position from the true box's sides: ``(n, 2)`` cells, ``(n, 2)`` pixels -> ``(n, 4, r, r)`` pixels."""
    axis = (torch.arange(cells, dtype=displacement.dtype, device=displacement.device) - cells // 2) * stride
    dx = (axis[None, None, :] - stride * displacement[:, 0, None, None]).expand(-1, cells, cells)
    dy = (axis[None, :, None] - stride * displacement[:, 1, None, None]).expand(-1, cells, cells)
    half_w, half_h = size[:, 0, None, None] / 2, size[:, 1, None, None] / 2
    return torch.stack([half_w + dx, half_h + dy, half_w - dx, half_h - dy], dim=1)


def central(sides: Tensor, share: float, least: float) -> Tensor:
    """Positions within an ellipse of ``share`` of the box's sides (or ``least`` pixels) around its centre: ``(n, r, r)``."""
    left, top, right, bottom = sides.unbind(1)
    radius_x = ((left + right) * share).clamp(min=least)
    radius_y = ((top + bottom) * share).clamp(min=least)
    return ((right - left) / 2 / radius_x).square() + ((bottom - top) / 2 / radius_y).square() <= 1


def overlap(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """IoU and generalised IoU (Rezatofighi et al., CVPR 2019) of boxes given by their sides' distances: ``(..., 4)``."""
    inner = torch.minimum(a, b)
    outer = torch.maximum(a, b)
    shared = (inner[..., 0] + inner[..., 2]).clamp(min=0) * (inner[..., 1] + inner[..., 3]).clamp(min=0)
    area_a = (a[..., 0] + a[..., 2]) * (a[..., 1] + a[..., 3])
    area_b = (b[..., 0] + b[..., 2]) * (b[..., 1] + b[..., 3])
    union = area_a + area_b - shared
    hull = (outer[..., 0] + outer[..., 2]) * (outer[..., 1] + outer[..., 3])
    iou = shared / union.clamp(min=EPSILON)
    return iou, iou - (hull - union) / hull.clamp(min=EPSILON)


def box_losses(logits: Tensor, sides: Tensor, displacement: Tensor, size: Tensor, stride: int) -> tuple[Tensor, Tensor, Tensor]:
    """Quality focal loss of the scores and generalised IoU loss of the boxes.

    A positive position is to say the overlap of the box that it predicts (Li et al., "Generalized Focal Loss", NeurIPS 2020), so
    that the score is worth something; all others are to say 0.

    Args:
        logits: ``(n, r, r)``.
        sides: ``(n, 4, r, r)`` predicted, in pixels.
        displacement: ``(n, 2)`` of the target from the context's centre, in cells.
        size: ``(n, 2)`` of the target in the context, in pixels.
        stride: pixels per cell.

    Returns:
        Loss of the scores, loss of the boxes, mean IoU of the positive positions.
    """
    truth = true_sides(displacement, size, logits.shape[-1], stride)
    positive = central(truth, FOCUS, stride * 0.8)
    ignored = central(truth, IGNORED, stride * 1.5) & ~positive
    iou, generalised = overlap(sides.permute(0, 2, 3, 1)[positive], truth.permute(0, 2, 3, 1)[positive])
    goal = torch.zeros_like(logits)
    goal[positive] = iou.detach()
    focal = quality_focal(logits, goal) * ~ignored
    return focal.sum() / positive.sum().clamp(min=1), (1 - generalised).mean(), iou.detach().mean()


def quality_focal(logits: Tensor, goal: Tensor) -> Tensor:
    """Cross-entropy with soft goals, weighted by the squared distance of the answer from its goal."""
    distance = (goal - torch.sigmoid(logits)).square()
    return distance * F.binary_cross_entropy_with_logits(logits, goal, reduction="none")
