"""Filters on maps of several resolutions, joined as continuous functions: what C-COT computes with.

Danelljan, Robinson, Shahbaz Khan and Felsberg, ECCV 2016 (see :mod:`metatrack.compared.ccot`), section 3. Each map becomes, by
interpolation, a periodic function on [0, 1), known by its Fourier coefficients k = -K .. K, odd in number. Of real functions half
of them suffice: rows in numpy's order (0, 1 .. K, -K .. -1), columns 0 .. K, so ``(2 K + 1, K + 1)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from metatrack.arrays import Array, Float32, Float64, Integers, Spectrum
from metatrack.compared.fourier import penalty_window

KERNEL = -0.75
"""Parameter a of the cubic interpolation kernel."""
LEARNED_AT_ONCE = 1 << 15
"""Elements of S, few enough for the processor's cache."""


def kernel_transform(f: npt.ArrayLike) -> Float64:
    """Fourier transform of the cubic spline kernel (supplement of the paper; Keys 1981), at frequencies in 1 / cells.

    >>> np.abs(kernel_transform([0.0, 1.0])).round(6).tolist()
    [1.0, 0.0]
    """
    a, f = KERNEL, np.asarray(f, np.float64)
    x = np.where(np.abs(f) < 1e-3, 1.0, f)  # below, rounding would take over: it is 1 to seven digits
    wave = 24 + 12 * a - 24 * np.cos(2 * np.pi * x) - 12 * a * np.cos(4 * np.pi * x)
    wave -= np.pi * x * ((24 + 32 * a) * np.sin(2 * np.pi * x) + 8 * a * np.sin(4 * np.pi * x))
    return np.where(np.abs(f) < 1e-3, 1.0, wave / (16 * np.pi**4 * x**4))


def order(cells: int) -> int:
    """K: a map of so many cells is known by its coefficients -K .. K.

    >>> order(5), order(6)
    (2, 3)
    """
    return cells // 2


@lru_cache(maxsize=32)
def _axis(cells: int) -> npt.NDArray[np.complex128]:
    """b(k) = B(k / N) exp(-i pi k / N) / N for k = 0, 1 .. K, -K .. -1: interpolation with values at the cells' centres."""
    top = order(cells)
    k = np.concatenate([np.arange(top + 1), np.arange(-top, 0)])
    return np.asarray(kernel_transform(k / cells) * np.exp(-1j * np.pi * k / cells) / cells)


def coefficients(maps: Float32) -> Spectrum:
    """Fourier coefficients of the interpolated functions: ``(..., N, M)`` to ``(..., 2 K + 1, L + 1)``, K and L their orders.

    The coefficient k of the interpolation is DFT(k) b(k), for as many k as one likes: so an even N has the K-th twice.
    """
    rows, columns = maps.shape[-2:]
    spectrum = np.fft.rfft2(maps)
    top = order(rows)
    if rows % 2 == 0:  # 0 .. K - 1, -K .. -1 becomes 0 .. K - 1, K, -K .. -1
        spectrum = np.insert(spectrum, top, spectrum[..., top, :], axis=-2)
    return np.asarray(spectrum * _axis(rows)[:, None] * _axis(columns)[: order(columns) + 1], np.complex64)


def resized(spectrum: Array, rows: int, columns: int) -> Array:
    """Coefficients with zeros added, or the highest left out, to an odd number of rows and to ``columns // 2 + 1`` columns."""
    result = np.zeros((*spectrum.shape[:-2], rows, columns // 2 + 1), spectrum.dtype)
    top, right = min(order(rows), order(spectrum.shape[-2])), min(result.shape[-1], spectrum.shape[-1])
    result[..., : top + 1, :right] = spectrum[..., : top + 1, :right]
    if top:
        result[..., -top:, :right] = spectrum[..., -top:, :right]
    return result


def label(cells: int, sigma: float) -> Spectrum:
    """Coefficients ``(N, N // 2 + 1)`` of a Gaussian with its peak, 1, at place 0, for an odd N; sigma in cells of N."""
    top = order(cells)
    k = np.concatenate([np.arange(top + 1), np.arange(-top, 0)])
    line = np.sqrt(2 * np.pi) * sigma / cells * np.exp(-2 * (np.pi * sigma * k / cells) ** 2)
    return np.outer(line, line[: top + 1]).astype(np.complex64)


class Penalty:
    """|| w f ||^2 of functions, w being a window of which the strongest coefficients are left.

    Args:
        side: of the window in pixels.
        target: height and width of the target in these pixels.
        low: w in the centre.
        edge: w at the middle of the target's borders.
        threshold: coefficients under this share of the largest are dropped.
    """

    def __init__(self, side: int, target: tuple[float, float], low: float, edge: float, threshold: float = 0.05) -> None:
        window = penalty_window((side, side), target, low, edge)
        phase = np.exp(-1j * np.pi * np.fft.fftfreq(side, 1 / side) / side)  # pixels' values stand at their centres
        whole = (np.fft.fft2(window) * phase[:, None] * phase / side**2).real  # real: the window is even about the middle
        whole[np.abs(whole) < threshold * np.abs(whole).max()] = 0
        used = np.abs(np.fft.fftfreq(side, 1 / side))[(whole != 0).any(axis=1) | (whole != 0).any(axis=0)]
        self.order = int(used.max(initial=0))  # in either direction: of a tall target's window, only rows may be left
        n = 2 * self.order + 1
        self._coefficients = resized(whole[:, : side // 2 + 1].astype(np.complex128), n, n)
        self._coefficients[0, 0] += low - self.window(8 * n + 1).min()
        self.energy = float((np.abs(self._coefficients[:, 0]) ** 2).sum() + 2 * (np.abs(self._coefficients[:, 1:]) ** 2).sum())
        """Sum of |w(k)|^2."""
        self._squares: dict[int, Float32] = {}

    def window(self, cells: int) -> Float64:
        """The window at the places 0, 1 / N .. of the period, ``(N, N)``, for an odd N of at least 2 K + 1."""
        return np.fft.irfft2(resized(self._coefficients, cells, cells), s=(cells, cells)) * cells**2

    def apply(self, filters: Spectrum) -> Spectrum:
        """Coefficients of w^2 f, as far as f has some: ``(C, N, N // 2 + 1)`` for an odd N.

        The product is taken on a grid that is fine enough: what it folds back lies beyond the coefficients that are kept.
        """
        n = filters.shape[-2]
        fine = n + 2 * self.order
        if fine not in self._squares:
            self._squares[fine] = np.asarray(self.window(fine) ** 2, np.float32)
        values = np.fft.irfft2(resized(filters, fine, fine), s=(fine, fine)) * self._squares[fine]
        return resized(np.fft.rfft2(values), n, n).astype(np.complex64, copy=False)


class Joint:
    """S f = sum_j alpha_j conj(A_j) A_j^T f at each frequency, for blocks of channels of several orders.

    Filters of all blocks are one array ``(D, N, N // 2 + 1)`` of the largest order, 0 where a block has no coefficients. A
    frequency has equations for those channels that reach it.

    Args:
        channels: of each block.
        sizes: 2 K + 1 of each block, none larger than the first.
    """

    def __init__(self, channels: Sequence[int], sizes: Sequence[int]) -> None:
        self.size = sizes[0]
        ends = np.cumsum([0, *channels])
        self.blocks = [(slice(int(begin), int(end)), size) for begin, end, size in zip(ends, ends[1:], sizes)]
        k = np.abs(np.fft.fftfreq(self.size, 1 / self.size))
        highest = np.maximum(k[:, None], np.arange(self.size // 2 + 1)).ravel()
        self._zones: list[tuple[Integers, Integers]] = []  # channels and frequencies
        for bound in sorted({order(size) for size in sizes}, reverse=True):
            smaller = max((order(size) for size in sizes if order(size) < bound), default=-1)
            here = np.flatnonzero((highest <= bound) & (highest > smaller))
            reach = [np.arange(part.start, part.stop) for part, size in self.blocks if order(size) >= bound]
            self._zones.append((np.concatenate(reach), here))
        self._sums = [np.zeros((len(here), len(reach), len(reach)), np.complex64) for reach, here in self._zones]

    def join(self, blocks: Sequence[Spectrum]) -> Spectrum:
        """Coefficients of each block, ``(..., C_d, N_d, N_d // 2 + 1)``, as one array."""
        return np.concatenate([resized(block, self.size, self.size) for block in blocks], axis=-3)

    def learn(self, sample: Spectrum, rate: float) -> None:
        """Running mean: a sample ``(D, N, N // 2 + 1)`` gets the weight ``rate``."""
        flat = sample.reshape(len(sample), -1) * np.float32(np.sqrt(rate))
        for total, (reach, here) in zip(self._sums, self._zones):
            vectors = np.ascontiguousarray(flat[np.ix_(reach, here)].T)  # (F, d)
            step = max(1, LEARNED_AT_ONCE // len(reach) ** 2)
            for begin in range(0, len(here), step):
                part, some = total[begin : begin + step], vectors[begin : begin + step]
                part *= np.float32(1 - rate)
                part += some.conj()[:, :, None] * some[:, None, :]

    def apply(self, filters: Spectrum) -> Spectrum:
        """S f."""
        flat, result = filters.reshape(len(filters), -1), np.zeros_like(filters)
        out = result.reshape(len(filters), -1)
        for total, (reach, here) in zip(self._sums, self._zones):
            index = np.ix_(reach, here)
            out[index] = (total @ np.ascontiguousarray(flat[index].T)[:, :, None])[:, :, 0].T
        return result

    def diagonal(self) -> Float32:
        """Of S: the mean energy of each coefficient, ``(D, N, N // 2 + 1)``."""
        result = np.zeros((self.blocks[-1][0].stop, self.size * (self.size // 2 + 1)), np.float32)
        for total, (reach, here) in zip(self._sums, self._zones):
            result[np.ix_(reach, here)] = np.einsum("fdd->df", total).real
        return result.reshape(len(result), self.size, -1)
