"""The memory of context features, and the choice of samples that surely show the target: by minimum entropy, equation (5)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from metatrack.arrays import Float32, Floats

Criterion: TypeAlias = Literal["softmax", "peak", "sigmoid"]
"""How samples are chosen: by the entropy of the response's softmax, by its highest logit, or by equation (5) as printed."""


def entropy(response: Floats) -> float:
    """Equation (5) as printed: minus the sum over all positions of σ(ŷ) log σ(ŷ).

    >>> round(entropy(np.zeros((1, 1))), 4)  # σ = 1/2: 0.5 log 2
    0.3466
    """
    y = np.asarray(response, np.float64)
    log_sigma = -np.logaddexp(0, -y)
    return float(-(np.exp(log_sigma) * log_sigma).sum())


def softmax_entropy(response: Floats) -> float:
    """Entropy of the target's place: of the softmax over all positions, 0 where one position alone stands out.

    Equation (5) is least where nothing is seen at all: σ log σ vanishes there, too. A softmax sums to 1 over the positions.

    >>> round(softmax_entropy(np.zeros((2, 2))), 4)  # log 4
    1.3863
    """
    y = np.asarray(response, np.float64)
    y = y - y.max()
    weights = np.exp(y)
    total = float(weights.sum())
    return float(np.log(total) - (weights * y).sum() / total)


CRITERIA: dict[Criterion, Callable[[Floats], float]] = {
    "softmax": softmax_entropy,
    "peak": lambda response: -float(response.max()),
    "sigmoid": entropy,
}
"""What is least for the best sample."""


class Sample(NamedTuple):
    """A context patch that tracking has already embedded, and where the target was found in it."""

    features: Float32  # (C, h, w)
    displacement: tuple[float, float]  # x, y in cells from the centre
    doubt: float  # by the memory's criterion
    frame: int = 0  # its number, 0 being the target's first


@dataclass
class Memory:
    """The frames that kernels may be made of: the ``size`` of least doubt, as no other can be chosen: its size is constant."""

    size: int
    criterion: Criterion = "softmax"
    samples: list[Sample] = field(default_factory=list)

    def add(self, features: Float32, displacement: tuple[float, float], response: Float32, frame: int = 0) -> None:
        """Offers a frame: ``(C, h, w)`` features, the target's offset in cells, response ``(17, 17)`` in logits, its number."""
        value = CRITERIA[self.criterion](response)
        if len(self.samples) < self.size:
            self.samples.append(Sample(features.copy(), displacement, value, frame))
            return
        worst = max(range(len(self.samples)), key=lambda i: self.samples[i].doubt)
        if value < self.samples[worst].doubt:
            self.samples[worst] = Sample(features.copy(), displacement, value, frame)

    def choose(self, count: int) -> list[Sample]:
        """So many samples of least doubt; where there are fewer, they are taken more than once."""
        best = sorted(self.samples, key=lambda sample: sample.doubt)
        return [best[i % len(best)] for i in range(count)]

    def unchosen(self, count: int) -> list[Sample]:
        """The samples behind the first ``count``, which :meth:`choose` gives; those very ones where there are no others."""
        best = sorted(self.samples, key=lambda sample: sample.doubt)
        return best[count:] or best

    def keep_from(self, frame: int) -> None:
        """Forgets the frames before that number."""
        self.samples = [sample for sample in self.samples if sample.frame >= frame]

    def clear(self) -> None:
        self.samples.clear()


def labels(displacements: Floats, cells: int, radius: float) -> Float32:
    """Label maps in {-1, +1} with the target at its tracked place: ``(M, 2)`` -> ``(M, cells, cells)``."""
    axis = np.arange(cells) - cells // 2
    d = np.asarray(displacements, np.float64)
    squared = (axis[None, None, :] - d[:, 0, None, None]) ** 2 + (axis[None, :, None] - d[:, 1, None, None]) ** 2
    return np.where(squared <= radius**2, 1.0, -1.0).astype(np.float32)
