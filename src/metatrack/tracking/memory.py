"""The memory of context features, and the choice of samples by minimum entropy, equation (5)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from metatrack.arrays import Float32, Floats


def entropy(response: Floats) -> float:
    """Equation (5) as printed: minus the sum over all positions of σ(ŷ) log σ(ŷ).

    >>> round(entropy(np.zeros((1, 1))), 4)  # σ = 1/2: 0.5 log 2
    0.3466
    """
    y = np.asarray(response, np.float64)
    log_sigma = -np.logaddexp(0, -y)
    return float(-(np.exp(log_sigma) * log_sigma).sum())


@dataclass(frozen=True)
class Sample:
    """A context patch that tracking has already embedded, and where the target was found in it."""

    features: Float32  # (C, h, w)
    displacement: tuple[float, float]  # x, y in cells from the centre
    entropy: float


@dataclass
class Memory:
    """The frames since the last update: the ``size`` of least entropy, since no other can be chosen, so memory stays constant."""

    size: int
    samples: list[Sample] = field(default_factory=list)

    def add(self, features: Float32, displacement: tuple[float, float], response: Float32) -> None:
        """Offers one frame: ``(C, h, w)`` features, the target's offset in cells, and the response ``(17, 17)`` in logits."""
        value = entropy(response)
        if len(self.samples) < self.size:
            self.samples.append(Sample(features.copy(), displacement, value))
            return
        worst = max(range(len(self.samples)), key=lambda i: self.samples[i].entropy)
        if value < self.samples[worst].entropy:
            self.samples[worst] = Sample(features.copy(), displacement, value)

    def choose(self, count: int) -> list[Sample]:
        """So many samples of least entropy, equation (5); where there are fewer, they are taken more than once."""
        return [self.samples[i % len(self.samples)] for i in range(count)]

    def clear(self) -> None:
        """Forgets everything."""
        self.samples.clear()


def labels(displacements: Floats, cells: int, radius: float) -> Float32:
    """Label maps in {-1, +1} with the target at its tracked place: ``(M, 2)`` -> ``(M, cells, cells)``."""
    axis = np.arange(cells) - cells // 2
    d = np.asarray(displacements, np.float64)
    squared = (axis[None, None, :] - d[:, 0, None, None]) ** 2 + (axis[None, :, None] - d[:, 1, None, None]) ** 2
    return np.where(squared <= radius**2, 1.0, -1.0).astype(np.float32)
