"""Adaptive Hedge: how much to trust each of several experts, from what they have lost.

Qi et al., CVPR 2016 (see :mod:`metatrack.compared.hdt`), section 3.3, on top of NormalHedge: Chaudhuri, Freund and Hsu: A
Parameter-free Hedging Algorithm, NIPS 2009.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from metatrack.arrays import Float64

MEMORY = 5
"""Frames whose losses tell how steady an expert is."""
STEADY = 0.97
"""Largest share of the old regret."""
STEEPNESS = 10.0
"""How fast that share falls with a loss that is unlike the last ones."""
LEAST_LOSS = 1e-4
"""Means and deviations of losses under this count as 0."""
LEAD = 0.011
"""Is added to all regrets, so that an expert as good as all together is trusted too."""
POTENTIAL = 2.72
"""Mean of the experts' potentials (e, in NormalHedge)."""


class Hedge:
    """Weights of experts.

    Args:
        weights: the first ones; they are normalised.
    """

    def __init__(self, weights: npt.ArrayLike) -> None:
        first = np.asarray(weights, np.float64)
        self.weights = first / first.sum()
        self.regrets = np.zeros(len(first))
        self._losses = np.zeros((MEMORY, len(first)))
        self._next = 0

    def learn(self, losses: Float64) -> None:
        """Takes the losses ``(n,)`` of one frame into regrets and weights.

        The memory of losses begins with zeros, and holds this frame's when mean and deviation are taken.
        """
        self._losses[self._next] = losses
        self._next = (self._next + 1) % MEMORY
        share = old_share(losses, self._losses)
        self.regrets = share * self.regrets + (1 - share) * (self.weights @ losses - losses)
        self.weights = hedged(self.regrets + LEAD, self.weights)


def old_share(losses: Float64, memory: Float64) -> Float64:
    """The share of the old regret, ``(n,)``: near 1 for an expert whose loss is like its last ones, ``(m, n)``."""
    mean, deviation = memory.mean(axis=0), memory.std(axis=0, ddof=1)
    mean[mean < LEAST_LOSS] = 0
    deviation[deviation < LEAST_LOSS] = 0
    share = STEADY * np.exp(-STEEPNESS * np.abs(losses - mean) / (deviation + np.finfo(np.float64).eps))
    return np.where(share > 0.9, STEADY, np.where(share < 0.12, 0.119, share))


def hedged(regrets: Float64, otherwise: Float64) -> Float64:
    """Weights in proportion to [R]_+ / c exp([R]_+^2 / 2 c), c such that the mean of exp([R]_+^2 / 2 c) is 2.72.

    Args:
        regrets: R, ``(n,)``.
        otherwise: the weights where no regret is positive, so that there is no such c.
    """
    positive = np.maximum(regrets, 0)
    if not positive.any():
        return otherwise
    # The mean falls with c from infinity to 1. At c = max R^2 / 2 log(n 2.72) the largest term alone makes it 2.72 or more;
    # at c = max R^2 / 2 log(2.72) it is 2.72 even if all terms are as large.
    square = positive.max() ** 2 / 2
    low, high = square / math.log(len(regrets) * POTENTIAL), square / math.log(POTENTIAL)
    for _ in range(60):
        scale = (low + high) / 2
        if np.exp(positive**2 / (2 * scale)).mean() > POTENTIAL:
            low = scale
        else:
            high = scale
    weights = positive / scale * np.exp(positive**2 / (2 * scale))
    return np.asarray(weights / weights.sum())
