"""The Siamese matching network f_w(x, z) of section 3.2.1: equations (1) and (6) of the paper.

The feature normalisation that the paper names and does not define is the cosine of template and window here: the correlation is
divided by the norm of the template and by the norm of the window that it is laid on, then scaled by a learned gain and bias.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metatrack.model.blocks import scale_and_shift
from metatrack.model.features import RESPONSE_SIZE, TrunkName, make_trunk

EPSILON = 1e-6


class Readout(NamedTuple):
    """All that stands between penultimate features and a response: the last layer, its batch norm folded in, and the logit."""

    weight: Tensor  # (K, C), kernels w_N
    bias: Tensor  # (K,)
    gain: Tensor  # a scalar: factor of the normalised correlation
    offset: Tensor  # a scalar that is added to it


class LastLayer(nn.Module):
    """w_N: the 1x1 layer with batch norm that ends φ, kept apart because the meta-learner adds kernels to it."""

    def __init__(self, inputs: int, kernels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, kernels, 1, bias=False)
        self.norm = nn.BatchNorm2d(kernels)
        nn.init.orthogonal_(self.conv.weight)

    def forward(self, a: Tensor) -> Tensor:
        features: Tensor = self.norm(self.conv(a))
        return features

    def folded(self) -> tuple[Tensor, Tensor]:
        """Kernels ``(K, C)`` and bias ``(K,)`` of the layer in evaluation mode, batch norm folded in."""
        scale, shift = scale_and_shift(self.norm)
        return self.conv.weight[:, :, 0, 0] * scale[:, None], shift


def project(a: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The last layer with kernels given from outside: ``(n, C, h, w)``, ``(K, C)``, ``(K,)`` -> ``(n, K, h, w)``."""
    return F.conv2d(a, weight[:, :, None, None], bias)


def window_norm(phi_z: Tensor, cells: int) -> Tensor:
    """Euclidean norm of every ``cells x cells`` window: ``(n, K, h, w)`` -> ``(n, 1, h - cells + 1, w - cells + 1)``."""
    energy = phi_z.square().sum(1, keepdim=True)
    return (F.avg_pool2d(energy, cells, stride=1) * cells**2 + EPSILON).sqrt()


def template_norm(phi_x: Tensor) -> Tensor:
    """Euclidean norm of every template: ``(m, K, k, k)`` -> ``(m,)``."""
    return (phi_x.square().sum((1, 2, 3)) + EPSILON).sqrt()


def correlate(phi_x: Tensor, phi_z: Tensor) -> Tensor:
    """Equation (1) before gain and bias, every template with every context, in [-1, 1].

    ``(m, K, k, k)``, ``(n, K, h, w)`` -> ``(n, m, 17, 17)``.
    """
    return normalised(F.conv2d(phi_z, phi_x), phi_x, phi_z)


def normalised(dots: Tensor, phi_x: Tensor, phi_z: Tensor) -> Tensor:
    """Divides correlations ``(n, m, 17, 17)`` by the norms of template and window."""
    return dots / template_norm(phi_x)[None, :, None, None] / window_norm(phi_z, phi_x.shape[-1])


class MatchingNetwork(nn.Module):
    """f_w: trunk, last layer, normalised cross-correlation; 96 kernels, or 128 for the ablation (section 4.2.1)."""

    def __init__(self, trunk: TrunkName = "lite", kernels: int = 96, response_cells: int = RESPONSE_SIZE) -> None:
        super().__init__()
        self.trunk_name: TrunkName = trunk
        self.kernels = kernels
        self.response_cells = response_cells
        self.trunk = make_trunk(trunk)
        self.last = LastLayer(self.trunk.channels, kernels)
        self.log_gain = nn.Parameter(torch.tensor(2.0))  # a cosine of 1 is a logit of about 7 + bias
        self.bias = nn.Parameter(torch.tensor(-3.0))

    def readout(self) -> Readout:
        """The last layer in evaluation mode, and the logit's gain and offset."""
        return Readout(*self.last.folded(), self.log_gain.exp(), self.bias)

    def logits(self, cosine: Tensor) -> Tensor:
        """Learned gain and bias of the normalised correlation."""
        return cosine * self.log_gain.exp() + self.bias

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        """Equation (1): ``(m, 3, 127, 127)``, ``(n, 3, 255, 255)``, RGB in 0..255 -> ``(n, m, 17, 17)``."""
        phi_x, phi_z = self.last(self.trunk.template(x)), self.last(self.trunk.search(z, self.response_cells))
        return self.logits(correlate(phi_x, phi_z))


def label_map(displacement: Tensor, radius: float = 2.0, cells: int = RESPONSE_SIZE) -> Tensor:
    """Ground truth y in {-1, +1} of equation (6): +1 within ``radius`` cells of the target.

    Args:
        displacement: ``(n, 2)``, the target's offset (x, y) from the context patch's centre, in cells.
        radius: in cells; 2 cells are SiamFC's 16 px.
        cells: r, positions per side of the response.
    """
    squared = squared_distance(displacement, cells)
    return torch.where(squared <= radius**2, 1.0, -1.0)


def squared_distance(displacement: Tensor, cells: int = RESPONSE_SIZE) -> Tensor:
    """Squared distance in cells of every position from the target: ``(n, 2)`` -> ``(n, r, r)``."""
    axis = torch.arange(cells, dtype=displacement.dtype, device=displacement.device) - cells // 2
    dx = axis[None, None, :] - displacement[:, 0, None, None]
    dy = axis[None, :, None] - displacement[:, 1, None, None]
    return dx.square() + dy.square()


def position_weights(y: Tensor, balanced: bool) -> Tensor:
    """Weights of the positions in the mean of equation (6): ``(n, 17, 17)``, each map summing to 1.

    Plain weights are 1/|P|; balanced ones give half to the positive positions and half to the negative.
    """
    if not balanced:
        return torch.full_like(y, 1 / y[0].numel())
    positive = (y > 0).to(y.dtype)
    n_positive = positive.sum((-2, -1), keepdim=True).clamp(min=1)
    n_negative = (1 - positive).sum((-2, -1), keepdim=True).clamp(min=1)
    return 0.5 * positive / n_positive + 0.5 * (1 - positive) / n_negative


def logistic_loss(response: Tensor, y: Tensor, balanced: bool = True) -> Tensor:
    """Equation (6): ``(n, 17, 17)`` logits and labels -> ``(n,)``."""
    return (position_weights(y, balanced) * F.softplus(-response * y)).sum((-2, -1))
