"""Conjugate gradients against a direct solution."""

from __future__ import annotations

import numpy as np
import pytest

from metatrack.compared.conjugate import conjugate_gradients


def system(size: int = 12, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(size, size)) + 1j * rng.normal(size=(size, size))
    return root @ root.conj().T + np.eye(size), rng.normal(size=size) + 1j * rng.normal(size=size)


def run(matrix, right, start, steps, direction=None):
    return conjugate_gradients(
        lambda x: matrix @ x,
        right,
        start,
        inner=lambda a, b: float(np.vdot(a, b).real),
        precondition=lambda r: r / np.diag(matrix).real,
        steps=steps,
        direction=direction,
    )


def test_as_many_steps_as_unknowns_solve_it():
    matrix, right = system()
    solved, _ = run(matrix, right, np.zeros(12, complex), 24)  # 12 complex unknowns are 24 real ones
    np.testing.assert_allclose(solved, np.linalg.solve(matrix, right), rtol=1e-6)


def test_each_step_lowers_the_energy_of_the_error():
    matrix, right = system(seed=3)
    truth = np.linalg.solve(matrix, right)
    energies = []
    for steps in range(10):
        error = run(matrix, right, np.ones(12, complex), steps)[0] - truth
        energies.append(np.vdot(error, matrix @ error).real)
    assert all(later < earlier for earlier, later in zip(energies, energies[1:]))


def test_going_on_with_the_last_direction_is_the_same_as_not_stopping():
    matrix, right = system(seed=5)
    at_once, _ = run(matrix, right, np.zeros(12, complex), 7)
    half, direction = run(matrix, right, np.zeros(12, complex), 4)
    again, _ = run(matrix, right, half, 3, direction)
    np.testing.assert_allclose(again, at_once, rtol=1e-9)
    assert not np.allclose(run(matrix, right, half, 3)[0], at_once, rtol=1e-3)


def test_a_solved_system_stays_and_nothing_is_changed():
    matrix, right = system()
    start = np.linalg.solve(matrix, right)
    copy = start.copy()
    solved, _ = run(matrix, right, start, 5)
    np.testing.assert_allclose(solved, copy, rtol=1e-9)
    np.testing.assert_array_equal(start, copy)
    assert run(matrix, np.zeros(12, complex), np.zeros(12, complex), 5)[1] is None


def test_single_precision_stays_single():
    matrix, right = (array.astype(np.complex64) for array in system())
    solved, direction = run(matrix, right, np.zeros(12, np.complex64), 3)
    assert solved.dtype == direction.vector.dtype == np.complex64
    assert direction.energy == pytest.approx(direction.energy)
