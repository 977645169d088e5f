"""Filters in Fourier space: inner products, sub-cell peaks and the penalty against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metatrack.compared.fourier import highest, inner, mirrored, multiplicity, penalty_window, sparse_window

SIZES = [(8, 8), (7, 9), (9, 8), (12, 7)]


@pytest.mark.parametrize("size", SIZES)
def test_inner_product_is_that_of_the_signals(size):
    a, b = np.random.default_rng(0).normal(size=(2, 3, *size))
    product = inner(np.fft.rfft2(a), np.fft.rfft2(b), size[1]) / (size[0] * size[1])
    assert product == pytest.approx(np.vdot(a, b))


def value_at(spectrum: np.ndarray, width: int, y: float, x: float) -> float:
    """The trigonometric polynomial of half a spectrum at a place in cells, term by term."""
    rows = len(spectrum)
    total = 0.0
    for i, ky in enumerate(np.fft.fftfreq(rows, 1 / rows)):
        for kx in range(width // 2 + 1):
            angle = 2 * np.pi * (ky * y / rows + kx * x / width)
            total += multiplicity(width)[kx] * (spectrum[i, kx] * np.exp(1j * angle)).real
    return total / (rows * width)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("seed", range(4))
def test_peak_equals_a_dense_search(size, seed):
    """A smooth response (a few low frequencies), searched in steps of a fiftieth of a cell around its highest cell."""
    rng = np.random.default_rng(seed)
    spectrum = np.fft.rfft2(rng.normal(size=size))
    spectrum[2:-1] = 0
    spectrum[:, 2:] = 0
    cells = np.fft.irfft2(spectrum, s=size)
    spectrum = np.fft.rfft2(cells)
    peak = highest(spectrum[None], size[1])[0]
    top = np.unravel_index(cells.argmax(), size)
    fine = np.linspace(-1, 1, 101)
    dense = np.array([[value_at(spectrum, size[1], top[0] + dy, top[1] + dx) for dx in fine] for dy in fine])
    assert peak.height == pytest.approx(value_at(spectrum, size[1], peak.down, peak.right))
    assert dense.max() - 1e-9 <= peak.height <= dense.max() + 5e-3 * np.ptp(cells)
    best = np.unravel_index(dense.argmax(), dense.shape)
    away = (peak.down - top[0] - fine[best[0]], peak.right - top[1] - fine[best[1]])
    assert all(abs((d + n / 2) % n - n / 2) < 0.03 for d, n in zip(away, size))


@given(st.floats(-3.4, 3.4), st.floats(-3.9, 3.9))
def test_peak_of_a_shifted_bump(down, right):
    ky, kx = np.fft.fftfreq(9, 1 / 9)[:, None], np.arange(6)
    spectrum = np.exp(-0.2 * (ky**2 + kx**2) - 2j * np.pi * (ky * down / 9 + kx * right / 11))
    peak = highest(np.stack([spectrum, 2 * spectrum]), 11)
    assert (peak[0].down, peak[0].right) == pytest.approx((down, right), abs=1e-3)
    assert peak[1].height == pytest.approx(2 * peak[0].height)


@given(st.integers(0, 500))
def test_peak_is_never_below_the_highest_cell(seed):
    cells = np.random.default_rng(seed).normal(size=(3, 7, 8))
    peaks = highest(np.fft.rfft2(cells), 8)
    assert all(peak.height >= response.max() - 1e-9 for peak, response in zip(peaks, cells))


def test_peak_of_nothing():
    assert highest(np.zeros((1, 6, 4), np.complex64), 6)[0] == (0, 0, 0)


def test_penalty_is_low_in_the_centre_and_reaches_edge_at_the_borders():
    window = penalty_window((41, 41), (10, 20), 0.1, 3.0)
    assert window[20, 20] == window.min() == pytest.approx(0.1)
    assert window[25, 20] == pytest.approx(3.0) and window[20, 30] == pytest.approx(3.0)
    assert penalty_window((40, 40), (10, 20), 0.1, 3.0)[19, 19] == penalty_window((40, 40), (10, 20), 0.1, 3.0)[20, 20]


@pytest.mark.parametrize("size", [(50, 50), (49, 37)])
def test_sparse_window_is_a_short_convolution(size):
    window = sparse_window(penalty_window(size, (12, 12), 0.1, 3.0), 0.1)
    spectrum = np.abs(np.fft.fft2(window))
    assert window.min() == pytest.approx(0.1)
    assert (spectrum > 1e-6 * spectrum.max()).sum() <= 25
    assert abs(np.subtract(np.unravel_index(window.argmin(), size), np.divide(size, 2))).max() <= 1


def test_mirrored_is_the_window_of_the_mirrored_filter():
    """The transform of a real signal at minus its places is the conjugate of its transform."""
    window = np.random.default_rng(0).normal(size=(6, 9))
    np.testing.assert_allclose(np.fft.fft2(mirrored(window)), np.fft.fft2(window).conj(), atol=1e-12)
