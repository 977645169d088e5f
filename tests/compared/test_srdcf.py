"""SRDCF's equations against a direct solution in space, its window, and published boxes."""

from __future__ import annotations

import numpy as np
import pytest

from metatrack.compared.correlation import gaussian_labels
from metatrack.compared.srdcf import SRDCF, SearchWindow, first_filter, products, solve
from metatrack.geometry import iou
from tests.compared.scenes import follow_growth

N, CHANNELS = 7, 3


def parts(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Samples ``(2, d, n, n)``, labels ``(n, n)`` and w^2 ``(n, n)``."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(2, CHANNELS, N, N)), gaussian_labels(N, N, 1.0), rng.uniform(0.5, 3, (N, N))


def convolution(signal: np.ndarray) -> np.ndarray:
    """The matrix ``(n n, n n)`` that convolves circularly with a signal ``(n, n)``."""
    y, x = np.divmod(np.arange(N * N), N)
    return signal[(y[:, None] - y) % N, (x[:, None] - x) % N]


def test_solution_minimises_the_objective():
    """Equation (4) with two samples of weights 0.7 and 0.3, solved as an ordinary least-squares problem in space."""
    maps, labels, penalty = parts()
    spectra, target = np.fft.rfft2(maps), np.fft.rfft2(labels)
    weights = (0.7, 0.3)
    energy = np.sum([a * products(x) for a, x in zip(weights, spectra)], axis=0)
    right = np.sum([a * x.conj() * target for a, x in zip(weights, spectra)], axis=0)
    found = solve(energy, right, penalty, np.zeros_like(right), steps=400)

    rows = [np.sqrt(a) * np.hstack([convolution(channel) for channel in x]) for a, x in zip(weights, maps)]
    rows.append(np.diag(np.sqrt(np.tile(penalty.ravel(), CHANNELS))))
    goals = [np.sqrt(a) * labels.ravel() for a in weights] + [np.zeros(CHANNELS * N * N)]
    expected = np.linalg.lstsq(np.vstack(rows), np.concatenate(goals), rcond=None)[0].reshape(CHANNELS, N, N)
    np.testing.assert_allclose(np.fft.irfft2(found, s=(N, N)), expected, atol=1e-5)


def test_first_filter_solves_its_equations():
    maps, labels, penalty = parts(1)
    sample = np.fft.rfft2(maps[0])
    right = sample.conj() * np.fft.rfft2(labels)
    found = first_filter(sample, right, penalty)
    left = (np.abs(sample) ** 2).sum(axis=0) * found + CHANNELS * np.fft.rfft2(np.fft.irfft2(found, s=(N, N)) * penalty)
    np.testing.assert_allclose(left, right, atol=1e-3)


@pytest.mark.parametrize(("size", "cell", "cells"), [((50, 50), 4, 50), ((200, 90), 4, 50), ((37, 38), 4, 37), ((5, 4), 1, 18)])
def test_window(size, cell, cells):
    view = SearchWindow.of(*size)
    assert view.cell == cell
    assert view.side // view.cell == cells
    assert view.side * view.scale == pytest.approx(4 * np.sqrt(np.prod(size)), rel=0.5 / cells)


def test_follows_growth():
    box, true = follow_growth(SRDCF())
    assert true.w == pytest.approx(54.6, abs=0.1)
    assert iou(box, true) > 0.85
