"""Whether kernels are taken: only where the target stands out with them at least as well as without; not in the paper."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, TypeAlias

import numpy as np

from metatrack.arrays import Array, Float32, Floats
from metatrack.tracking.memory import Sample

NEAR, BEYOND = 2.0, 4.0
"""Cells from the target: within the first a position is the target's, beyond the second it is one of everything else."""
Role: TypeAlias = Literal["all", "place"]
"""What kernels decide: see :class:`~metatrack.tracking.adaptation.AdaptationSettings`."""
Scorer: TypeAlias = Callable[[Float32, Float32], Float32]
"""Features of contexts ``(n, C, h, w)`` and w_target -> the logits that decide where a target is, ``(n, r, r)``."""


def margins(logits: Array, places: Floats) -> Floats:
    """The highest logit at the target less the highest of everything else.

    >>> logits = np.zeros((1, 17, 17))
    >>> logits[0, 8, 10] = 3  # two cells right of the middle
    >>> margins(logits, np.array([[2.0, 0.0]])), margins(logits, np.array([[-3.0, 0.0]]))
    (array([3.]), array([-3.]))

    Args:
        logits: ``(n, r, r)``.
        places: ``(n, 2)``, x and y of the target from the middle, in cells.

    Returns:
        ``(n,)``; not a number where a logit is none.
    """
    middle = logits.shape[-1] // 2
    axis = np.arange(logits.shape[-1]) - middle
    x, y = np.clip(places, -middle, middle).T[:, :, None, None]
    squared = (axis[None, :] - x) ** 2 + (axis[:, None] - y) ** 2
    here = np.where(squared <= NEAR**2, logits, -np.inf).max((1, 2))
    elsewhere = np.where(squared > BEYOND**2, logits, -np.inf).max((1, 2))
    with np.errstate(invalid="ignore"):  # infinite less infinite
        return np.asarray(here - elsewhere, np.float64)


def accepted(candidates: Iterable[Float32], none: Float32, scorer: Scorer, samples: Sequence[Sample]) -> Float32:
    """The first kernels that do no harm, or none.

    Kernels are held against none, equation (4) against equation (1), on contexts whose features are there: the margin must not
    be less on the first frame, the only one whose target is given, nor in the mean of the later ones, which kernels should not
    have been made from: those they suit in any case. Kernels made of what a tracker follows that has slipped off its target
    raise the margin there, and lower it on the first frame.

    Args:
        candidates: kernels ``(32, C)``, the best first.
        none: kernels ``(0, C)``.
        scorer: of the target's present template.
        samples: the first frame, then later ones, with the target's place in each.
    """
    features = np.stack([sample.features for sample in samples])
    places = np.array([sample.displacement for sample in samples])
    plain = margins(scorer(features, none), places)
    for kernels in candidates:
        if len(kernels) == 0:
            continue
        gain = margins(scorer(features, kernels), places) - plain
        if gain[0] >= 0 and gain[1:].sum() >= 0:
            return kernels
    return none
