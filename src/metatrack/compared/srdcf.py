"""SRDCF: a correlation filter on a large window, whose coefficients cost more the further they lie from the target.

Danelljan, Häger, Shahbaz Khan and Felsberg: Learning Spatially Regularized Correlation Filters for Visual Tracking, ICCV 2015.

A filter of d channels minimises the objective::

    sum_k alpha_k || sum_l x_k^l * f^l - y ||^2 + sum_l || w . f^l ||^2

over the samples x_k of all frames, whose weights alpha_k fade: "*" is circular convolution, "." a product per cell, y a Gaussian,
w small on the target and large around it (the paper's "spatial regularization"). In Fourier space that is a block of d equations
for each frequency, which w couples with its neighbours: the normal equations (S + W^T W) f = b, S and b sums over the samples.

The authors solve it with four sweeps of Gauss and Seidel a frame, from the last filter; few enough that the filter lags behind.
Here it is :data:`STEPS` steps of conjugate gradients, a number chosen so that places agree with the authors' published boxes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metatrack.arrays import Float32, Float64, Spectrum
from metatrack.compared.conjugate import conjugate_gradients
from metatrack.compared.correlation import Found, Target, gaussian_labels, hann
from metatrack.compared.features import HOG, FeatureExtractor
from metatrack.compared.follower import Follower
from metatrack.compared.fourier import highest, inner, mirrored, penalty_window, sparse_window
from metatrack.compared.patches import TargetPlace, pyramid, rounded, scale_factors, scale_limits
from metatrack.geometry import Image

AREA = 4.0
"""Side of the square window, in geometric means of the target's sides."""
CELLS = 50
"""Most cells along a side of the window; larger targets are looked at in smaller pixels."""
FEW_CELLS = 0.75 * CELLS
"""Fewer than this along a side, and cells become smaller than :data:`CELL`."""
CELL = 4
"""Side of a cell in pixels."""
OUTPUT_SIGMA = 1 / 16
"""Width of the labels, in sizes of the target."""
LEARNING_RATE = 0.025
"""Weight of each new frame (gamma of the paper)."""
PENALTY = 0.1
"""w in the centre of the target."""
PENALTY_EDGE = 3.0
"""w at the middle of the target's borders."""
SCALES = 7
SCALE_STEP = 1.01
STEPS = 5
"""Of conjugate gradients, in each frame."""


@dataclass(frozen=True)
class SearchWindow:
    """The window in which a target is looked at."""

    cell: int
    """Side of a cell in pixels."""
    scale: float
    """Of the first frame."""
    side: int
    """Of the window in pixels, a multiple of ``cell``."""

    @classmethod
    def of(cls, height: float, width: float) -> SearchWindow:
        """For a target of this size.

        >>> SearchWindow.of(50, 50), SearchWindow.of(20, 20)
        (SearchWindow(cell=4, scale=1.0, side=200), SearchWindow(cell=3, scale=1.0, side=81))
        """
        area = AREA**2 * height * width
        cell = CELL
        if area / CELL**2 < FEW_CELLS**2:
            cell = min(CELL, max(1, math.ceil(math.sqrt(area / FEW_CELLS**2))))
        scale = max(1.0, math.sqrt(area / cell**2) / CELLS)
        return cls(cell, scale, max(4, rounded(math.sqrt(area) / scale / cell)) * cell)


@dataclass
class SrdcfTarget:
    """Everything that belongs to one target, on a grid of n x n cells with d channels."""

    place: TargetPlace
    view: SearchWindow
    features: FeatureExtractor
    hann: Float32  # (n, n)
    labels: Spectrum  # (n, n // 2 + 1)
    penalty: Float32  # (n, n): w^2, mirrored as the filter is
    energy: Spectrum  # (n * (n // 2 + 1), d, d): the running mean of conj(X) X^T at each frequency
    right: Spectrum  # (d, n, n // 2 + 1): the running mean of conj(X) Y
    filter: Spectrum  # (d, n, n // 2 + 1): it is multiplied with a sample's spectra, so it is the mirror image of the target


class SRDCF(Follower[SrdcfTarget]):
    """Follows place and size; the ratio of height to width stays.

    >>> frame = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    >>> tracker = SRDCF()
    >>> tracker.init(frame, (60, 40, 30, 30))
    >>> tracker.update(np.roll(frame, (2, -3), axis=(0, 1))).box
    Box(x=57.0, y=42.0, w=30.0, h=30.0)
    """

    def view(self, target: Target) -> SearchWindow:
        """The window for a target."""
        return SearchWindow.of(target.height, target.width)

    def features(self, view: SearchWindow, patch: Image) -> FeatureExtractor:
        """What the filter is learned on; ``patch`` is that of the first frame, ``(1, H, W, 3)``."""
        return HOG(view.cell)

    def learn_first(self, target: Target) -> SrdcfTarget:
        view = self.view(target)
        place = TargetPlace.of(target, view.scale)
        place.limits = scale_limits((view.side, view.side), place.base, target.image.shape[:2], SCALE_STEP)
        n = view.side // view.cell
        cells = (max(1, math.floor(place.base[0] / view.cell)), max(1, math.floor(place.base[1] / view.cell)))
        labels = np.fft.rfft2(gaussian_labels(n, n, math.sqrt(cells[0] * cells[1]) * OUTPUT_SIGMA)).astype(np.complex64)
        window = sparse_window(penalty_window((n, n), cells, PENALTY, PENALTY_EDGE), PENALTY)
        penalty = (mirrored(window) ** 2).astype(np.float32)
        patch = pyramid(target.image, place, (view.side, view.side), [1.0])
        features, fade = self.features(view, patch), hann(n, n).astype(np.float32)
        sample = _spectra(features(patch) * fade)[0]
        right = sample.conj() * labels
        energy, first = products(sample), first_filter(sample, right, penalty)
        solved = solve(energy, right, penalty, first)
        return SrdcfTarget(place, view, features, fade, labels, penalty, energy, right, solved)

    def follow(self, model: SrdcfTarget, image: Image) -> Found:
        factors = scale_factors(SCALES, SCALE_STEP)
        responses = np.einsum("ndhw,dhw->nhw", samples(model, image, factors), model.filter)  # sum_l X^l f^l
        peaks = highest(responses, model.hann.shape[1])
        best = max(range(SCALES), key=lambda i: peaks[i].height)
        pixels = model.view.cell * model.place.scale * float(factors[best])
        model.place.move(peaks[best].down * pixels, peaks[best].right * pixels, float(factors[best]))
        learn(model, samples(model, image, [1.0])[0])
        return Found(model.place.box(), peaks[best].height)


def samples(model: SrdcfTarget, image: Image, factors: Sequence[float] | Float64) -> Spectrum:
    """Features around the target at some scales, faded out towards the border: spectra ``(N, d, n, n // 2 + 1)``."""
    patches = pyramid(image, model.place, (model.view.side, model.view.side), factors)
    return _spectra(model.features(patches) * model.hann)


def learn(model: SrdcfTarget, sample: Spectrum) -> None:
    """Running means of S and b, and steps from the last filter: the paper's online update."""
    rate = np.float32(LEARNING_RATE)
    model.energy *= 1 - rate
    model.energy += products(sample * np.sqrt(rate))
    model.right += rate * (sample.conj() * model.labels - model.right)
    model.filter = solve(model.energy, model.right, model.penalty, model.filter)


def products(sample: Spectrum) -> Spectrum:
    """conj(X) X^T at each frequency: ``(d, n, m)`` to ``(n * m, d, d)``."""
    vectors = np.ascontiguousarray(sample.reshape(sample.shape[0], -1).T)  # (n * m, d)
    return np.asarray(vectors.conj()[:, :, None] * vectors[:, None, :])


def first_filter(sample: Spectrum, right: Spectrum, penalty: Float32) -> Spectrum:
    """Where the search begins in the first frame: each channel by itself, as if all had the energy of their sum.

    (diag(sum_l |X^l|^2) + d W^T W) f^l = b^l is solved in space, where the first term is a circular convolution with the energy's
    transform and the second a product: n^2 equations with as many unknowns, the same for all channels.
    """
    channels, rows, columns = len(sample), *penalty.shape
    kernel = np.fft.irfft2((sample.real.astype(np.float64) ** 2 + sample.imag**2).sum(axis=0), s=penalty.shape)
    y, x = np.divmod(np.arange(penalty.size), columns)
    matrix = kernel[(y[:, None] - y) % rows, (x[:, None] - x) % columns]
    matrix[np.diag_indices_from(matrix)] += channels * penalty.ravel()
    solved = np.linalg.solve(matrix, np.fft.irfft2(right, s=penalty.shape).reshape(channels, -1).T)
    return _spectra(solved.T.reshape(channels, rows, columns).astype(np.float32))


def solve(energy: Spectrum, right: Spectrum, penalty: Float32, begin: Spectrum, steps: int = STEPS) -> Spectrum:
    """Steps towards the solution of S f + W^T W f = b, W^T W being a product with w^2 in space.

    Args:
        energy: S, ``(n * m, d, d)``.
        right: b, ``(d, n, m)``.
        penalty: w^2, ``(n, w)`` with m = w // 2 + 1.
        begin: the filter to begin from, ``(d, n, m)``.
        steps: of conjugate gradients.
    """
    width = penalty.shape[1]

    def apply(f: Spectrum) -> Spectrum:
        vectors = np.ascontiguousarray(f.reshape(len(f), -1).T)[:, :, None]  # (n * m, d, 1)
        data = (energy @ vectors)[:, :, 0].T.reshape(f.shape)
        return np.asarray(data + _spectra(np.fft.irfft2(f, s=penalty.shape).astype(np.float32, copy=False) * penalty))

    diagonal = np.einsum("fdd->df", energy).real.reshape(right.shape) + penalty.mean()
    solved, _ = conjugate_gradients(
        apply, right, begin, inner=lambda a, b: inner(a, b, width), precondition=lambda r: r / diagonal, steps=steps
    )
    return np.asarray(solved)


def _spectra(maps: Float32) -> Spectrum:
    """Half spectra in single precision."""
    return np.fft.rfft2(maps).astype(np.complex64, copy=False)
