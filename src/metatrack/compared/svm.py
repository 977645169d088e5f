"""The soft-margin support vector machine, solved exactly in its dual."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from metatrack.arrays import Float64, Floats

LEAST_CURVATURE = 1e-12


class Dual(NamedTuple):
    """A solution: the score of a vector is sum_i alpha_i y_i k(x_i, x) + bias."""

    alpha: Float64
    """``(n,)``, 0 for all but the support vectors."""
    bias: float


def solve_dual(kernel: Floats, labels: Floats, costs: Floats, tolerance: float = 1e-3, most: int = 100_000) -> Dual:
    """Minimises 1/2 sum_ij alpha_i alpha_j y_i y_j k_ij - sum_i alpha_i, with 0 <= alpha_i <= C_i and sum_i alpha_i y_i = 0.

    Sequential minimal optimisation: two alphas at a time, the one that breaks its condition most and the one with which most is
    won (Fan, Chen and Lin: Working Set Selection Using Second Order Information for Training SVM, JMLR 2005).

    Args:
        kernel: ``(n, n)``, k(x_i, x_j).
        labels: ``(n,)``, 1 or -1. Where all are the same, no vector supports the margin: the score is that label everywhere.
        costs: ``(n,)``, C_i > 0.
        tolerance: the margins of support vectors are exact to this.
        most: steps after which it stops in any case.
    """
    y, cost = np.asarray(labels, np.float64), np.asarray(costs, np.float64)
    if (y == y[0]).all():
        return Dual(np.zeros(len(y)), float(y[0]))
    k = np.asarray(kernel, np.float64)
    diagonal = np.diag(k)
    alpha = np.zeros(len(y))
    violation = y.copy()  # -y_i times the gradient of the objective
    up, low = y > 0, y < 0  # alphas that may move in the direction of their label, and against it
    for _ in range(most):
        i = int(np.where(up, violation, -np.inf).argmax())
        gap = np.where(low, violation[i] - violation, 0.0)
        if gap.max() <= tolerance:
            break
        curvature = np.maximum(diagonal[i] + diagonal - 2 * k[i], LEAST_CURVATURE)
        j = int(np.where(gap > 0, gap * gap / curvature, -1.0).argmax())
        step = gap[j] / curvature[j]
        step = min(step, cost[i] - alpha[i] if y[i] > 0 else alpha[i], alpha[j] if y[j] > 0 else cost[j] - alpha[j])
        for index, change in ((i, step), (j, -step)):
            alpha[index] = _snapped(alpha[index] + y[index] * change, cost[index])
            full, empty = alpha[index] >= cost[index], alpha[index] <= 0
            up[index], low[index] = (not full, not empty) if y[index] > 0 else (not empty, not full)
        violation -= step * (k[i] - k[j])
    free = up & low
    bias = violation[free].mean() if free.any() else (violation[up].max() + violation[low].min()) / 2
    return Dual(alpha, float(bias))


def _snapped(value: float, cost: float) -> float:
    """A value that rounding has left a hair off its bounds, on them."""
    if value < 1e-12 * cost:
        return 0.0
    return cost if value > (1 - 1e-12) * cost else value
