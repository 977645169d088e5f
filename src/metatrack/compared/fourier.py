"""Filters in Fourier space: half spectra, sub-cell peaks, and a penalty on a filter's coefficients by place.

Half a spectrum ``(..., h, w // 2 + 1)`` is what numpy's ``rfft2`` gives for a real signal ``(..., h, w)``; the other half is its
mirror image.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from metatrack.arrays import Float32, Float64, Floats, Integers, Spectrum

NEWTON_STEPS = 5


class Peak(NamedTuple):
    """The highest place of a periodic response."""

    down: float
    """Shift in cells, in ``-h / 2 .. h / 2``; fractions count."""
    right: float
    height: float


@lru_cache(maxsize=16)
def multiplicity(width: int) -> Float32:
    """How often each column of half a spectrum stands in the whole one: 1 where it is its own mirror image, else 2.

    >>> multiplicity(5).tolist(), multiplicity(4).tolist()
    ([1.0, 2.0, 2.0], [1.0, 2.0, 1.0])
    """
    counts = np.full(width // 2 + 1, 2, np.float32)
    counts[0] = 1
    if width % 2 == 0:
        counts[-1] = 1
    return counts


def inner(a: Spectrum, b: Spectrum, width: int) -> float:
    """``<a, b>`` over whole spectra of real signals of ``width`` columns, from their halves ``(..., h, width // 2 + 1)``."""
    return float(np.sum(np.sum(a.real * b.real + a.imag * b.imag, axis=tuple(range(a.ndim - 1))) * multiplicity(width)))


def highest(responses: Spectrum, width: int) -> list[Peak]:
    """The peak of each response between its cells: half spectra ``(n, h, width // 2 + 1)`` to n peaks.

    A response is the trigonometric polynomial r(y, x) = sum of R(ky, kx) e^(i (ky y + kx x)), y and x in angles. From its
    highest cell, Newton's method takes five steps to where the gradient vanishes; if that is lower, the cell stands (the SRDCF
    paper's "fast sub-grid detection"). So it does where a narrow peak is too far from its cell for Newton's method.

    Args:
        responses: spectra as of ``rfft2``.
        width: columns of the responses themselves.
    """
    count, rows = responses.shape[:2]
    cells = np.fft.irfft2(responses, s=(rows, width))
    index = cells.reshape(count, -1).argmax(axis=1)
    top = cells.reshape(count, -1)[np.arange(count), index]
    ky, kx = np.fft.fftfreq(rows, 1 / rows), np.arange(width // 2 + 1.0)
    start = np.stack([_angle(index // width, rows), _angle(index % width, width)], axis=1)  # (n, 2)
    weights = responses.astype(np.complex128) * (multiplicity(width) / (rows * width))
    place = start.copy()
    for _ in range(NEWTON_STEPS):
        _, gradient, hessian = _polynomial(weights, ky, kx, place)
        place = place - np.stack([_solve2(h, g) for h, g in zip(hessian, gradient)])
    value = _polynomial(weights, ky, kx, place)[0]
    better = value >= top
    place = np.where(better[:, None], place, start)
    value = np.where(better, value, top)
    turns = (place / (2 * np.pi) + 0.5) % 1 - 0.5
    return [Peak(float(y * rows), float(x * width), float(v)) for (y, x), v in zip(turns, value)]


def _angle(index: Integers, cells: int) -> Float64:
    return np.asarray(index * (2 * np.pi / cells))


def _polynomial(weights: Spectrum, ky: Floats, kx: Floats, place: Floats) -> tuple[Floats, Floats, Floats]:
    """Value ``(n,)``, gradient ``(n, 2)`` and Hessian ``(n, 2, 2)`` of each polynomial at its own place ``(n, 2)``."""
    rows, columns = np.exp(1j * place[:, :1] * ky), np.exp(1j * place[:, 1:] * kx)
    m = np.stack([rows, rows * ky, rows * ky**2], axis=1) @ weights  # (n, 3, w // 2 + 1)
    m = m @ np.stack([columns, columns * kx, columns * kx**2], axis=2)  # (n, 3, 3): sums with powers of ky and of kx
    gradient = -np.stack([m[:, 1, 0].imag, m[:, 0, 1].imag], axis=1)
    second = -np.stack([m[:, 2, 0].real, m[:, 1, 1].real, m[:, 1, 1].real, m[:, 0, 2].real], axis=1)
    return m[:, 0, 0].real, gradient, second.reshape(-1, 2, 2)


def _solve2(matrix: Floats, right: Floats) -> Floats:
    """The solution of two equations; no step where they do not determine one."""
    (a, b), (c, d) = matrix
    determinant = a * d - b * c
    if determinant == 0:
        return np.zeros(2)
    return np.array([d * right[0] - b * right[1], a * right[1] - c * right[0]]) / float(determinant)


def penalty_window(size: tuple[int, int], target: tuple[float, float], low: float, edge: float) -> Float64:
    """w(m, n) = low + (edge - low) ((m / (th / 2))^2 + (n / (tw / 2))^2), m and n from the window's centre: ``(h, w)``.

    It is ``low`` in the centre and ``edge`` at the middle of the target's borders; outside it grows on.

    >>> penalty_window((5, 5), (4, 4), 0.1, 3.1)[2].round(2).tolist()
    [3.1, 0.85, 0.1, 0.85, 3.1]
    """
    m, n = (np.arange(side) - (side - 1) / 2 for side in size)
    return np.asarray(low + (edge - low) * np.add.outer((m / (target[0] / 2)) ** 2, (n / (target[1] / 2)) ** 2))


def sparse_window(window: Floats, low: float, threshold: float = 0.05) -> Float64:
    """A window of which only the strongest Fourier coefficients are left, ``(h, w)``, shifted so that its least is ``low``.

    Real and imaginary parts under ``threshold`` times the largest of all are dropped, so that multiplying a filter by the window
    is a short convolution over its coefficients. That smooths the window at the border, where it does not meet itself.
    """
    spectrum = np.fft.fft2(window)
    parts = np.stack([spectrum.real, spectrum.imag])
    parts[np.abs(parts) < threshold * np.abs(parts).max()] = 0
    sparse = np.fft.ifft2(parts[0] + 1j * parts[1]).real
    return np.asarray(sparse - sparse.min() + low)


def mirrored(window: Floats) -> Floats:
    """A window ``(h, w)`` at minus its places, which wrap around: element (i, j) becomes (-i, -j).

    >>> mirrored(np.array([[1.0, 2.0, 3.0]])).tolist()
    [[1.0, 3.0, 2.0]]
    """
    return np.roll(window[::-1, ::-1], (1, 1), axis=(0, 1))
