"""MEEM's base tracker: a support vector machine that remembers its support vectors as a fixed number of prototypes.

Zhang, Ma and Sclaroff, ECCV 2014, section 4 (see :mod:`metatrack.compared.meem`), after Wang and Vucetic: Online Training
on a Budget of Support Vector Machines Using Twin Prototypes, 2010.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from metatrack.arrays import Bools, Float32, Float64
from metatrack.compared.svm import solve_dual

COST = 100.0
"""Of all samples together (C of the machine)."""
LEAST_COST = 0.001
PROTOTYPES = 80
"""Most of them."""
LEAST_POSITIVE = 10
"""Prototypes of the target are merged only while there are more than this."""
USELESS = 2.0
"""Prototypes whose score is as far from 0 as this lie far behind the margin."""


class Samples(NamedTuple):
    """Vectors with labels and weights."""

    vectors: Float32
    """``(n, D)``."""
    labels: Float32
    """``(n,)``, 1 for the target and -1 for what is not."""
    weights: Float32
    """``(n,)``, at least 0; of a prototype, how many vectors it stands for."""

    def where(self, keep: Bools) -> Samples:
        """Some of them."""
        return Samples(self.vectors[keep], self.labels[keep], self.weights[keep])

    def joined(self, others: Samples) -> Samples:
        """These and others."""
        return Samples(*(np.concatenate(pair) for pair in zip(self, others)))


class Machine(NamedTuple):
    """A linear score ``w . x + bias``, and what it was learned from."""

    weights: Float32
    """w, ``(D,)``."""
    bias: float
    prototypes: Samples

    def scores(self, vectors: Float32) -> Float32:
        """``(..., D)`` to ``(...)``."""
        return np.asarray(vectors @ self.weights + np.float32(self.bias))


def no_prototypes(size: int) -> Samples:
    """The beginning: no vectors of ``size`` elements."""
    return Samples(np.zeros((0, size), np.float32), np.zeros(0, np.float32), np.zeros(0, np.float32))


def train(prototypes: Samples, new: Samples) -> Machine:
    """A machine from prototypes and new samples, whose support vectors become prototypes."""
    known = len(prototypes.labels)
    everything = prototypes.joined(new)
    alpha, bias = solve_dual(
        everything.vectors @ everything.vectors.T, everything.labels, costs(everything.labels, everything.weights)
    )
    weights = (alpha * everything.labels).astype(np.float32) @ everything.vectors
    support = new.where(alpha[known:] > 0)
    machine = Machine(weights, bias, prototypes.joined(support._replace(weights=np.ones_like(support.weights))))
    return machine._replace(prototypes=within_budget(machine))


def costs(labels: Float32, weights: Float32) -> Float64:
    """C_i of each sample: both classes cost the same in all, and the samples of one as their weights say.

    >>> costs(np.array([1, -1, -1]), np.array([2, 1, 3])).round(2).tolist()
    [50.0, 12.5, 37.5]
    """
    total = {label: weights[labels == label].sum(dtype=np.float64) for label in (1, -1)}
    value = weights * np.where(labels > 0, total[-1], total[1])
    return np.asarray(np.maximum(COST * value / (value.sum() or 1), LEAST_COST))


@dataclass
class _Pair:
    """The two nearest of a class."""

    distance: float
    first: int
    second: int


def within_budget(machine: Machine) -> Samples:
    """At most 80 prototypes: those far behind the margin go first, then the nearest of a class are merged into their mean."""
    prototypes = machine.prototypes
    if len(prototypes.labels) <= PROTOTYPES:
        return prototypes
    useful = np.abs(machine.scores(prototypes.vectors)) < USELESS
    for label in (1, -1):
        own = prototypes.labels == label
        if not (useful & own).any():
            useful |= own  # never all of a class
    prototypes = prototypes.where(useful)
    if len(prototypes.labels) <= PROTOTYPES:
        return prototypes
    distances = _distances(prototypes)
    vectors, labels, counts = (array.copy() for array in prototypes)
    alive = np.ones(len(labels), np.bool_)
    while alive.sum() > PROTOTYPES:
        pairs = [_nearest(distances, alive & (labels < 0))]
        if (alive & (labels > 0)).sum() > LEAST_POSITIVE:
            pairs.append(_nearest(distances, alive & (labels > 0)))
        pair = min(pairs, key=lambda pair: pair.distance)
        if not np.isfinite(pair.distance):  # one of each class: nothing can be merged
            break
        first, second = pair.first, pair.second
        total = counts[first] + counts[second]
        vectors[first] = (counts[first] * vectors[first] + counts[second] * vectors[second]) / total
        counts[first], alive[second] = total, False
        distances[first] = distances[:, first] = ((vectors - vectors[first]) ** 2).sum(axis=1)
        distances[first, first] = np.inf
    return Samples(vectors, labels, counts).where(alive)


def _distances(prototypes: Samples) -> Float32:
    """Squared distances ``(n, n)``, infinite from a vector to itself."""
    gram = prototypes.vectors @ prototypes.vectors.T
    squares = np.diag(gram)
    distances = np.asarray(squares[:, None] + squares - 2 * gram, np.float32)
    np.fill_diagonal(distances, np.inf)
    return distances


def _nearest(distances: Float32, members: Bools) -> _Pair:
    """The nearest two of some; infinitely far if there are less than two."""
    index = np.flatnonzero(members)
    if len(index) < 2:
        return _Pair(np.inf, 0, 0)
    part = distances[np.ix_(index, index)]
    first, second = divmod(int(part.argmin()), len(index))
    return _Pair(float(part[first, second]), int(index[first]), int(index[second]))
