"""A meta-learner that follows the gradient by construction: learnt mixing of the rows and columns of δ.

The paper's g_θ sees δ as 12,288 numbers without order, and learnt from some hundred targets to answer with one bank of
kernels. Here a row of δ stays a kernel (a direction in feature space) and a column stays a channel: new kernels are mixtures of
the rows of δ, seen through a matrix over the channels, linear and through one hidden layer. That takes 56,000 weights where the
paper's takes 8.7 million, and a target that nobody saw still moves the kernels its own way.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metatrack.model.meta import TARGET_KERNELS

SHARE = 0.24  # of the squared features of the template: what the new kernels take, the rest is the matching network's
HIDDEN = 64  # rows of the hidden layer
TINY = 1e-20  # keeps the scale of a gradient that is zero everywhere finite


class MixingLearner(nn.Module):
    """g_θ(δ) = V + (L δ̂ + A_2 (relu(A_1 δ̂ B_1 + c) - relu(c))) B_2, where δ̂ is δ at a root mean square of 1.

    Without δ there is V alone. The kernels' scale is not g_θ's to say, see :func:`metatrack.model.learners.within_energy`.

    Args:
        channels: C of the penultimate features.
        kernels: K of the last layer.
        balanced: δ is of the balanced loss (6); False: of the plain mean.
    """

    energy = SHARE
    """What the new kernels take of the template's squared features."""

    def __init__(self, channels: int = 128, kernels: int = 96, balanced: bool = True) -> None:
        super().__init__()
        self.balanced = balanced
        self.rows = nn.Parameter(torch.randn(HIDDEN, kernels) / kernels**0.5)  # A_1
        self.columns = nn.Parameter(torch.eye(channels) + 0.02 * torch.randn(channels, channels))  # B_1
        self.threshold = nn.Parameter(0.1 * torch.randn(HIDDEN, channels))  # c
        self.mix = nn.Parameter(torch.randn(TARGET_KERNELS, HIDDEN) / HIDDEN**0.5)  # A_2
        self.linear = nn.Parameter(torch.randn(TARGET_KERNELS, kernels) / kernels**0.5)  # L
        self.out = nn.Parameter(torch.eye(channels) + 0.02 * torch.randn(channels, channels))  # B_2
        self.constant = nn.Parameter(0.3 * torch.randn(TARGET_KERNELS, channels))  # V
        self.dropout = nn.Dropout(0.3)

    def forward(self, delta: Tensor) -> Tensor:
        """Equation (3), up to scale: δ ``(n, K, C)`` -> ``(n, 32, C)``."""
        delta = delta * (delta.square().mean((1, 2), keepdim=True) + TINY).rsqrt()
        hidden = F.relu(self.rows @ delta @ self.columns + self.threshold) - F.relu(self.threshold)
        kernels: Tensor = (self.mix @ self.dropout(hidden) + self.linear @ delta) @ self.out + self.constant
        return kernels
