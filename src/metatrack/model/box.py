"""The box head: one context patch at one scale is enough to read off place, size and shape of the target.

It is not in the paper, which searches three scales and keeps the first shape. For every position p of the response the head
sees how each of 7x7 parts of the target agrees with each cell around p (pixel-wise correlation, as in Alpha-Refine and
LightTrack, both Yan et al., CVPR 2021), and says how far the four sides of the box are from p (FCOS, Tian et al., ICCV 2019). Its
score is a correction that is added to the response of equation (4), so whatever the meta-learner adds to the response moves the
score by as much.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metatrack.geometry import EXEMPLAR_SIZE, PARTS
from metatrack.model.features import STRIDE, TrunkName
from metatrack.model.matching import EPSILON, MatchingNetwork, Readout, project
from metatrack.model.shifts import gather, products

RESPONSE_CELLS = 23
"""Positions per side of the response of a network with boxes: as many as a 255 px context has, 88 px to each side."""
UNIT = 32.0  # pixels: half the side of a typical target in its context patch, so that raw outputs are about 0


def unit_cells(phi: Tensor) -> Tensor:
    """Every cell's feature vector at length 1: ``(n, K, h, w)``."""
    return phi * (phi.square().sum(1, keepdim=True) + EPSILON).rsqrt()


def parts(features: Tensor, size: Tensor) -> Tensor:
    """Features of a target's parts: 7x7 points from edge to edge of its box, read bilinearly off its patch.

    The k x k window that the response is made with is square and has the patch's scale: of a person it holds half, and background
    on both sides. These points tell the head what the given box begins and ends with.

    Args:
        features: ``(n, C, h, h)`` penultimate features of whole template patches; cell 0 lies on pixel 0.
        size: ``(n, 2)`` width and height of the target in its patch, in pixels.

    Returns:
        ``(n, C, 7, 7)``.
    """
    n, _, h, w = features.shape
    line = torch.linspace(-0.5, 0.5, PARTS, dtype=size.dtype, device=size.device)
    middle = (EXEMPLAR_SIZE - 1) / 2 / STRIDE
    x = (middle + line * size[:, :1] / STRIDE) / (w - 1) * 2 - 1  # (n, 7), -1 and 1 are the first and the last cell
    y = (middle + line * size[:, 1:] / STRIDE) / (h - 1) * 2 - 1
    grid = torch.stack([x[:, None, :].expand(n, PARTS, PARTS), y[:, :, None].expand(n, PARTS, PARTS)], dim=-1)
    return F.grid_sample(features.float(), grid.float(), mode="bilinear", padding_mode="border", align_corners=True)


class BoxHead(nn.Module):
    """Correction of the score, and the four sides, at every position of the response."""

    def __init__(self, channels: int, look: int = 32, hidden: int = 64) -> None:
        super().__init__()
        self.look = nn.Sequential(nn.Conv2d(channels, look, 1, bias=False), nn.BatchNorm2d(look), nn.ReLU(inplace=True))
        self.join = _layer(PARTS**2 + look + 2, hidden)
        score, sides = nn.Conv2d(hidden, 1, 1), nn.Conv2d(hidden, 4, 1)
        for last in (score, sides):
            nn.init.normal_(last.weight, std=1e-2)
        self.score = nn.Sequential(_layer(hidden, hidden), _layer(hidden, hidden), score)
        self.sides = nn.Sequential(_layer(hidden, hidden), _layer(hidden, hidden), sides)

    def forward(self, agreement: Tensor, search: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
        """Reads boxes off a context.

        Args:
            agreement: ``(n, 49, h, w)``, cosine of each part of the target with each cell of the context.
            search: ``(n, C, h, w)`` penultimate features of the context.
            size: ``(n, 2)`` width and height of the target in its template patch, in pixels of that patch.

        Returns:
            Correction of the response's logits ``(n, r, r)``, and the distances ``(n, 4, r, r)`` from each position to the left,
            top, right and bottom side of the box there, in pixels of the context patch.
        """
        n, _, h, w = search.shape
        shape = torch.log(size.clamp(min=1.0) / (2 * UNIT))[:, :, None, None].expand(n, 2, h, w)
        x = self.join(torch.cat([agreement, self.look(search), shape.to(search.dtype)], dim=1))
        raw = self.sides(x).float().clamp(-3.5, 3.0)
        return self.score(x)[:, 0].float(), UNIT * raw.exp()


class BoxNetwork(MatchingNetwork):
    """The matching network with a box head."""

    def __init__(self, trunk: TrunkName = "lite", kernels: int = 96) -> None:
        super().__init__(trunk, kernels, RESPONSE_CELLS)
        if self.trunk.template_cells != 7:
            raise ValueError(f"a box head's layers fit templates of 7 cells; trunk {trunk!r} has {self.trunk.template_cells}")
        self.box = BoxHead(self.trunk.channels)


def make_network(trunk: TrunkName, kernels: int, boxes: bool) -> MatchingNetwork:
    """A new matching network, with or without a box head."""
    return BoxNetwork(trunk, kernels) if boxes else MatchingNetwork(trunk, kernels)


def _layer(inputs: int, outputs: int) -> nn.Sequential:
    """3x3 without padding, batch norm, ReLU: padding would tell the layer where it is."""
    conv = nn.Conv2d(inputs, outputs, 3, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


def locate(
    head: BoxHead, template: Tensor, target: Tensor, search: Tensor, readout: Readout, w_target: Tensor, size: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Equation (4) for n targets, and the box head: template i in context i.

    Penultimate features ``(n, C, k, k)`` and ``(n, C, h, w)``, those of the target's :func:`parts`; w_target ``(n, 32, C)``, or
    ``(n, 0, C)``, which is equation (1); sizes ``(n, 2)`` in pixels of the template patch -> response and score ``(n, r, r)``,
    both logits, and sides ``(n, 4, r, r)`` in pixels of the context patch.
    """
    weight, bias, gain, offset = readout
    phi_x, phi_z = project(template, weight, bias), project(search, weight, bias)
    n, channels, k, _ = template.shape
    h, w = search.shape[-2:]
    extra_x = torch.matmul(w_target, template.flatten(2)).reshape(n, -1, k, k)
    extra_z = torch.matmul(w_target, search.flatten(2)).reshape(n, -1, h, w)
    energy_x, energy_z = phi_x.square().sum(1, keepdim=True), phi_z.square().sum(1, keepdim=True)
    agreement = products(unit_cells(project(target, weight, bias)), phi_z) * (energy_z + EPSILON).rsqrt()
    correction, sides = head(agreement, search, size)
    all_x, all_z = energy_x + extra_x.square().sum(1, keepdim=True), energy_z + extra_z.square().sum(1, keepdim=True)
    norm_x = (all_x.sum((1, 2, 3)) + EPSILON).sqrt()[:, None, None]
    norm_z = (F.avg_pool2d(all_z, k, stride=1)[:, 0] * k**2 + EPSILON).sqrt()
    response = gain * gather(products(phi_x, phi_z) + products(extra_x, extra_z)) / (norm_x * norm_z) + offset
    return response, response + correction, sides
