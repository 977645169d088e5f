"""A meta-learner that takes the gradient for what it is: a change of the metric that template and context are compared in.

With kernels W, equation (1) compares features by WᵀW. Its gradient is W times a symmetric matrix (see
:mod:`metatrack.model.meta`), which says along which directions the target stands out from what surrounds it. New kernels are a
few learnt directions seen through a polynomial of that matrix: 37,000 weights, where the paper's form has 8.7 million.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from metatrack.model.meta import TARGET_KERNELS
from metatrack.model.mixing import SHARE, TINY

DEGREE = 4  # of the polynomial
CUT = 0.02  # singular values of W below this share of the largest are left out of its pseudo-inverse


class PolynomialLearner(nn.Module):
    """g_θ(δ) = V (p_1 S + p_2 S² + p_3 S³ + p_4 S⁴) B, where S is L (W⁺δ + (W⁺δ)ᵀ) Lᵀ at a norm of 2; without δ it is 0.

    The kernels' scale is not g_θ's to say, see :func:`metatrack.model.learners.within_energy`.

    Args:
        channels: C of the penultimate features.
        kernels: K of the last layer.
        weight: its kernels W, ``(K, C)``; None where they are filled in later, with the learnt weights.
        balanced: δ is of the balanced loss (6); False: of the plain mean.
    """

    inverse: Tensor
    energy = SHARE
    """What the new kernels take of the template's squared features."""

    def __init__(self, channels: int = 128, kernels: int = 96, weight: Tensor | None = None, balanced: bool = True) -> None:
        super().__init__()
        self.balanced = balanced
        self.register_buffer("inverse", torch.zeros(channels, kernels))  # W⁺
        if weight is not None:
            self.suit(weight)
        self.directions = nn.Parameter(torch.randn(TARGET_KERNELS, channels) / channels**0.5)  # V
        self.powers = nn.Parameter(torch.tensor([1.0] + [0.5] * (DEGREE - 1)))  # p
        self.basis = nn.Parameter(torch.eye(channels))  # L
        self.out = nn.Parameter(torch.eye(channels))  # B

    @torch.no_grad()
    def suit(self, weight: Tensor) -> None:
        """Makes W⁺ of the kernels W ``(K, C)`` of another matching network; what was learnt stays."""
        self.inverse.copy_(torch.linalg.pinv(weight, rtol=CUT))

    @torch.no_grad()
    def whiten(self, moment: Tensor) -> None:
        """Where training begins: L and B make features alike in all directions.

        Features share a large mean. Seen through identities, kernels answer to it with whatever target they are of, and raise the
        response everywhere.

        Args:
            moment: mean product of two channels, ``(C, C)``.
        """
        values, vectors = torch.linalg.eigh(moment.double())
        gains = (values.clamp(min=0) + values.median()).rsqrt()  # what is fainter than usual is no more amplified
        matrix = (vectors * gains / gains.square().mean().sqrt()) @ vectors.T
        self.basis.copy_(matrix)
        self.out.copy_(matrix)

    def forward(self, delta: Tensor) -> Tensor:
        """Equation (3), up to scale: δ ``(n, K, C)`` -> ``(n, 32, C)``."""
        change = self.inverse @ (delta * (delta.square().mean((1, 2), keepdim=True) + TINY).rsqrt())
        change = self.basis @ (change + change.transpose(1, 2)) @ self.basis.T  # (n, C, C)
        change = 2 * change * (change.square().sum((1, 2), keepdim=True) + TINY).rsqrt()
        terms = [self.directions @ change]
        for _ in range(1, DEGREE):
            terms.append(terms[-1] @ change)
        # In products whose other factor is δ's: what an exporter could fold, a bundle would not hold under its name.
        kernels = (self.powers @ torch.stack(terms).flatten(1)).reshape(terms[0].shape)
        return kernels @ self.out
