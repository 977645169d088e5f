"""The meta-learner of section 3.2.2: from the gradient of the loss to 32 target-specific kernels, equations (2), (3), (4), (7).

Equation (2) stands here twice: :func:`loss_gradient_by_autograd` is how the paper says it, :func:`loss_gradient` is what runs.
The last layer is 1x1, so the gradient needs no backward pass: with features a and kernels W (bias appended as a column), the loss
depends on W through inner products of W a alone, and its derivative is W times a symmetric matrix of products of features.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metatrack.model.matching import EPSILON, Readout, correlate, logistic_loss, normalised, position_weights, project
from metatrack.model.shifts import correlation, gather, products, scatter

SUPPORT = 4  # M: contexts that give the gradient (section 3.2.2)
TARGET_KERNELS = 32  # kernels that the meta-learner adds to the last layer's 96 (section 3.2.2)


class Support(NamedTuple):
    """What the gradient is made from: M contexts of each of n targets, and where the target is in them."""

    contexts: Tensor  # (n, M, C, h, w) penultimate features of the patches z
    labels: Tensor  # (n, M, r, r), y in {-1, +1}


def with_ones(a: Tensor) -> Tensor:
    """Appends a channel of ones: a bias is one more column of the kernels: ``(..., C, h, w)`` -> ``(..., C + 1, h, w)``."""
    return torch.cat([a, torch.ones_like(a[..., :1, :, :])], dim=-3)


def loss_gradient_by_autograd(template: Tensor, support: Support, readout: Readout, balanced: bool = True) -> Tensor:
    """Equation (2): the averaged negative gradient δ of the loss (6) for the last layer's kernels, by automatic differentiation.

    As :func:`loss_gradient`, which says the same in a tenth of the time and can be exported.
    """
    deltas = []
    for x, z, y in zip(template, *support, strict=True):
        weight = readout.weight.detach().requires_grad_()
        cosine = correlate(project(x[None], weight, readout.bias), project(z, weight, readout.bias))[:, 0]
        loss = logistic_loss(readout.gain * cosine + readout.offset, y, balanced).mean()
        deltas.append(-torch.autograd.grad(loss, weight)[0])
    return torch.stack(deltas)


def loss_gradient(template: Tensor, support: Support, readout: Readout, balanced: bool = True) -> Tensor:
    """Equation (2): the averaged negative gradient δ of the loss (6) for the last layer's kernels, in closed form.

    Args:
        template: ``(n, C, k, k)`` penultimate features of the target patches x.
        balanced: half of the loss's weight is on the target's positions; False is the plain mean.

    Returns:
        δ, ``(n, K, C)``.
    """
    n, m, channels = support.contexts.shape[:3]
    weight, bias, gain, offset = readout
    k = template.shape[-1]
    kernels = torch.cat([weight, bias[:, None]], dim=1)  # (K, C + 1)
    ax = with_ones(template)  # (n, C + 1, k, k)
    az = with_ones(support.contexts).flatten(0, 1)  # (n M, C + 1, h, w)
    phi_x = F.conv2d(ax, kernels[:, :, None, None])  # (n, K, k, k)
    phi_z = F.conv2d(az, kernels[:, :, None, None])  # (n M, K, h, w)

    # Forward: cosine = dots / (A B), the template's norm A and the window's norm B.
    dots = gather(products(phi_x[:, None].expand(n, m, *phi_x.shape[1:]).flatten(0, 1), phi_z))  # (n M, 17, 17)
    norm_x = (phi_x.square().sum((1, 2, 3)) + EPSILON).sqrt().repeat_interleave(m)[:, None, None]  # (n M, 1, 1)
    energy = phi_z.square().sum(1, keepdim=True)
    norm_z = (F.avg_pool2d(energy, k, stride=1)[:, 0] * k**2 + EPSILON).sqrt()  # (n M, 17, 17)
    response = gain * dots / (norm_x * norm_z) + offset

    # Backward by hand: the derivative of the loss for the response, then for the three inner products.
    y = support.labels.flatten(0, 1)
    slope = gain * position_weights(y, balanced) * -y * torch.sigmoid(-y * response)  # (n M, 17, 17)
    by_dots = slope / (norm_x * norm_z)
    by_x = (slope * dots / (norm_x**3 * norm_z)).sum((1, 2))  # (n M,)
    by_z = slope * dots / (norm_x * norm_z**3)  # (n M, 17, 17)

    # The features of the context, gathered by the loss: for each cell u of the template, the sum over p of by_dots[p] a_z[p + u].
    columns = az.flatten(2)  # (n M, C + 1, h w)
    gathered = columns @ scatter(by_dots, k).flatten(2).transpose(1, 2)  # (n M, C + 1, k k)
    ax = ax.flatten(2)  # (n, C + 1, k k)
    gathered = gathered.reshape(n, m, channels + 1, k * k).sum(1)
    cross = gathered @ ax.transpose(1, 2)  # (n, C + 1, C + 1)
    spread = F.conv2d(by_z[:, None], torch.ones_like(by_z[:1, None, :k, :k]), padding=k - 1)  # (n M, 1, h, w)
    context = ((columns * spread.flatten(2)) @ columns.transpose(1, 2)).reshape(n, m, channels + 1, channels + 1).sum(1)
    own = by_x.reshape(n, m).sum(1)[:, None, None] * (ax @ ax.transpose(1, 2))
    symmetric = cross + cross.transpose(1, 2) - own - context
    gradient = kernels @ symmetric / m  # (n, K, C + 1)
    return -gradient[..., :channels]


class MetaLearner(nn.Module):
    """g_θ of equation (3): δ of 128 x 96 -> 512 -> 512 -> 4096 = 32 kernels of 128 channels, dropout after both hidden layers.

    Args:
        channels: C of the penultimate features.
        kernels: K of the last layer.
        balanced: δ is of the balanced loss (6); False: of the plain mean.
        energy: what the new kernels take of the template's squared features, at most; 1 is no limit, as in the paper.
    """

    delta_scale: Tensor

    def __init__(self, channels: int = 128, kernels: int = 96, balanced: bool = True, energy: float = 1.0) -> None:
        super().__init__()
        self.channels, self.balanced, self.energy = channels, balanced, energy
        last = nn.Linear(512, channels * TARGET_KERNELS)
        self.layers = nn.Sequential(
            nn.Linear(channels * kernels, 512),
            nn.ReLU(inplace=True),
            nn.Dropout(0.3),
            nn.Linear(512, 512),
            nn.ReLU(inplace=True),
            nn.Dropout(0.3),
            last,
        )
        # A gradient is about a thousand times smaller than what a linear layer expects; its size is measured before training.
        self.register_buffer("delta_scale", torch.ones(()))
        nn.init.normal_(last.weight, std=1e-3)

    def forward(self, delta: Tensor) -> Tensor:
        """Equation (3): δ ``(n, K, C)`` -> w_target ``(n, 32, C)``."""
        flat = delta.flatten(1) / self.delta_scale
        kernels: Tensor = self.layers(flat)
        return kernels.reshape(-1, TARGET_KERNELS, self.channels)


def adapted_response(template: Tensor, search: Tensor, readout: Readout, w_target: Tensor) -> Tensor:
    """Equation (4) for one target: the last layer is [w_N, w_target].

    Args:
        template: ``(m, C, k, k)`` penultimate features of target patches (one, or the same at m scales).
        search: ``(n, C, h, w)`` penultimate features of context patches.
        w_target: ``(32, C)``, or ``(0, C)`` before the first update, which is equation (1).

    Returns:
        ``(n, m, r, r)`` logits.
    """
    kernels = torch.cat([readout.weight, w_target])[:, :, None, None]
    biases = torch.cat([readout.bias, torch.zeros_like(w_target[:, 0])])
    phi_x, phi_z = F.conv2d(template, kernels, biases), F.conv2d(search, kernels, biases)
    return readout.gain * normalised(correlation(phi_x, phi_z), phi_x, phi_z) + readout.offset


def adapted_loss(response: Tensor, y: Tensor, balanced: bool = True) -> Tensor:
    """Equation (7): the loss (6) of the responses (4) to T contexts of one target, of which w_target has seen M.

    A mean where the paper has a sum. ``(T, r, r)`` logits of :func:`adapted_response` and labels -> a scalar.
    """
    return logistic_loss(response, y, balanced).mean()
