"""Cross-correlation of pairs as one matrix product and a sum of shifted maps, and its transpose.

A convolution whose kernel differs from pair to pair has no fast code on a CPU; a matrix product has. The shifts are made by
padding: where a row gets one element more, each following row of the same memory begins one element later.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def products(phi_x: Tensor, phi_z: Tensor) -> Tensor:
    """Inner products of the cells of template i and context i: ``(n, K, k, k)``, ``(n, K, h, w)`` -> ``(n, k k, h, w)``."""
    n, _, h, w = phi_z.shape
    return torch.matmul(phi_x.flatten(2).transpose(1, 2), phi_z.flatten(2)).reshape(n, phi_x.shape[-1] ** 2, h, w)


def gather(dots: Tensor) -> Tensor:
    """Cross-correlation from :func:`products`: cell u of the template lies on cell p + u.

    The sum over u of ``dots[u, p + u]``: ``(n, k k, h, w)`` -> ``(n, h - k + 1, w - k + 1)``.
    """
    n, kk, h, w = dots.shape
    k = round(kk**0.5)
    rows = F.pad(dots.reshape(n, k, k * h * w), (0, k)).reshape(n, k, k, h * w + 1).sum(2)[..., : h * w]
    sums = F.pad(rows.reshape(n, k * h * w), (0, k * w)).reshape(n, k, h * w + w).sum(1)
    return sums[:, : h * w].reshape(n, h, w)[:, : h - k + 1, : w - k + 1]


def correlation(phi_x: Tensor, phi_z: Tensor) -> Tensor:
    """Every template with every context: ``(m, K, k, k)``, ``(n, K, h, w)`` -> ``(n, m, h - k + 1, w - k + 1)``.

    For the few pairs of a tracker; for the many of a batch, a convolution needs less memory.
    """
    (m, _, k, _), (n, _, h, w) = phi_x.shape, phi_z.shape
    rows = phi_x.flatten(2).transpose(1, 2).flatten(0, 1)  # (m k k, K)
    dots = torch.matmul(rows, phi_z.flatten(2)).reshape(n * m, k * k, h, w)
    return gather(dots).reshape(n, m, h - k + 1, w - k + 1)


def scatter(values: Tensor, k: int) -> Tensor:
    """The transpose of :func:`gather`: a map for each cell u of the template, with the value of p at p + u and 0 elsewhere.

    ``(n, r, s)`` -> ``(n, k k, r + k - 1, s + k - 1)``.
    """
    n, r, s = values.shape
    h, w = r + k - 1, s + k - 1
    # The last k - 1 rows are zeros, so that nothing is shifted out of a map into the next.
    plain = F.pad(values, (0, k - 1, 0, k - 1)).reshape(n, 1, h * w).expand(n, k, h * w)
    columns = F.pad(plain, (0, 1)).reshape(n, k * (h * w + 1))[:, : k * h * w]
    rows = F.pad(columns[:, None].expand(n, k, k * h * w), (0, w)).reshape(n, k * (k * h * w + w))[:, : k * k * h * w]
    return rows.reshape(n, k * k, h, w)
