"""The support vector machine against scipy's optimum of the same dual, and against its own conditions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metatrack.compared.svm import solve_dual


def problem(count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vectors of two classes that overlap, labels, and a cost for each."""
    rng = np.random.default_rng(seed)
    labels = np.where(np.arange(count) % 3 == 0, 1.0, -1.0)
    return rng.normal(size=(count, 4)) + 0.7 * labels[:, None], labels, rng.uniform(0.05, 3, count)


def objective(alpha: np.ndarray, x: np.ndarray, y: np.ndarray) -> float:
    w = (alpha * y) @ x
    return float(w @ w / 2 - alpha.sum())


@pytest.mark.parametrize("seed", range(3))
def test_dual_equals_scipys_optimum(seed):
    optimize = pytest.importorskip("scipy.optimize")
    x, y, costs = problem(30, seed)
    alpha, _ = solve_dual(x @ x.T, y, costs, tolerance=1e-8)
    gram = (x @ x.T) * np.outer(y, y)
    best = optimize.minimize(
        lambda a: a @ gram @ a / 2 - a.sum(),
        np.zeros(30),
        jac=lambda a: gram @ a - 1,
        bounds=[(0, c) for c in costs],
        constraints={"type": "eq", "fun": lambda a: a @ y, "jac": lambda a: y},
        method="SLSQP",
        options={"maxiter": 500, "ftol": 1e-12},
    )
    assert objective(alpha, x, y) == pytest.approx(best.fun, abs=1e-6)
    np.testing.assert_allclose((alpha * y) @ x, (best.x * y) @ x, atol=1e-3)


@given(st.integers(0, 10_000), st.integers(4, 40))
def test_conditions_of_the_optimum(seed, count):
    x, y, costs = problem(count, seed)
    alpha, bias = solve_dual(x @ x.T, y, costs, tolerance=1e-6)
    assert (alpha >= 0).all() and (alpha <= costs).all()
    assert alpha @ y == pytest.approx(0, abs=1e-9)
    margin = y * (x @ ((alpha * y) @ x) + bias)
    assert (margin[alpha < costs] >= 1 - 1e-5).all()
    assert (margin[alpha > 0] <= 1 + 1e-5).all()


def test_widest_margin_by_hand():
    """Classes at 0 and 2 on a line: w = 1, bias = -1, both alphas 1/2."""
    x, y = np.array([[0.0], [2.0], [3.0]]), np.array([-1.0, 1.0, 1.0])
    alpha, bias = solve_dual(x @ x.T, y, np.full(3, 100.0))
    np.testing.assert_allclose(alpha, [0.5, 0.5, 0])
    assert bias == pytest.approx(-1)


def test_of_one_class_everything_is_of_that_class():
    alpha, bias = solve_dual(np.eye(3), -np.ones(3), np.ones(3))
    assert not alpha.any() and bias == -1
