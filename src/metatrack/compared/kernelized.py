"""Kernel ridge regression over all shifts of a patch: the tracker that both CSK and KCF are, each on features of its own.

Equations are those of Henriques et al. 2012 (CSK) and 2015 (KCF); see :mod:`metatrack.compared.csk` and
:mod:`metatrack.compared.kcf` for the papers.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass

import numpy as np

from metatrack.arrays import Array, Floats, Spectrum
from metatrack.compared.correlation import (
    Found,
    Target,
    box_around,
    gaussian_kernel,
    gaussian_labels,
    grey,
    halved,
    hann,
    peak,
    subwindow,
)
from metatrack.compared.follower import Follower
from metatrack.geometry import Image

LEAST_CELLS = 4
"""Least side of the window in cells: a smaller one would be little but the zeros at its border."""
HALVED_FROM = 100.0
"""Targets whose width and height have at least this geometric mean are tracked in frames of half the size."""


@dataclass(frozen=True)
class KernelSettings:
    """What differs between the trackers."""

    padding: float
    """Context around the target, in its sizes: the window is ``1 + padding`` times as large."""
    kernel_sigma: float
    """Width of the Gaussian kernel, for differences per element of the features."""
    output_sigma: float
    """Width of the labels, in sizes of the target."""
    regularization: float
    """Lambda of the ridge regression."""
    interpolation: float
    """Weight of each new frame in the model."""
    cell: int
    """Pixels along a side of an element of the features."""


@dataclass
class PlacedWindow:
    """Where the target is, and the window in which it is looked at."""

    row: float  # of the target's centre
    column: float
    height: float  # of the target
    width: float
    shrink: int  # 2 where frames are halved, else 1
    window: tuple[int, int]  # height and width in pixels of the shrunk frame
    hann: Floats  # (h, w), a value for each cell of the window
    labels: Spectrum  # (h, w // 2 + 1)


@dataclass
class KernelModel:
    """Everything that belongs to one target."""

    view: PlacedWindow
    x: Floats  # (C, h, w): the features that it is remembered by
    alpha: Spectrum  # (h, w // 2 + 1): coefficients of the regression


class KernelTracker(Follower[KernelModel]):
    """Follows the centre of one target; its size stays as it was given."""

    settings: KernelSettings

    @abstractmethod
    def features(self, patch: Image) -> Floats:
        """Features of a grey patch: ``(H, W)`` to ``(C, H // cell, W // cell)``."""

    def learn_first(self, target: Target) -> KernelModel:
        settings = self.settings
        height, width = target.height, target.width
        shrink = 2 if math.sqrt(height * width) >= HALVED_FROM else 1
        if shrink == 2:
            height, width = height // 2, width // 2
        least = LEAST_CELLS * settings.cell
        rows, columns = (max(least, math.floor(side * (1 + settings.padding))) for side in (height, width))
        cells = (rows // settings.cell, columns // settings.cell)
        sigma = math.sqrt(height * width) * settings.output_sigma / settings.cell
        view = PlacedWindow(
            target.row,
            target.column,
            target.height,
            target.width,
            shrink,
            (rows, columns),
            hann(*cells),
            np.fft.rfft2(gaussian_labels(*cells, sigma)),
        )
        x = self._sample(view, target.image)
        return KernelModel(view, x, self._solve(view, x))

    def follow(self, model: KernelModel, image: Image) -> Found:
        settings = self.settings
        view = model.view
        # The response at all shifts: equation (9) of 2012, (22) of 2015.
        kernel = gaussian_kernel(self._sample(view, image), model.x, settings.kernel_sigma)
        down, right, score = peak(np.fft.irfft2(model.alpha * np.fft.rfft2(kernel), s=kernel.shape))
        view.row += down * settings.cell * view.shrink
        view.column += right * settings.cell * view.shrink
        x = self._sample(view, image)
        # Both means are taken, although alpha belongs to the x that it was solved for: so do both papers.
        model.alpha = _mean(model.alpha, self._solve(view, x), settings.interpolation)
        model.x = _mean(model.x, x, settings.interpolation)
        return Found(box_around(view.row, view.column, view.height, view.width), score)

    def _sample(self, view: PlacedWindow, image: Image) -> Floats:
        """Features of the window around the target's last place, faded out towards its border: ``(C, h, w)``."""
        seen = grey(image) if view.shrink == 1 else halved(grey(image))
        features = self.features(subwindow(seen, view.row / view.shrink, view.column / view.shrink, *view.window))
        return features * view.hann.astype(features.dtype)

    def _solve(self, view: PlacedWindow, x: Floats) -> Spectrum:
        """The ridge regression from all shifts of ``x`` to the labels: equation (7) of 2012, (17) of 2015."""
        kernel = np.fft.rfft2(gaussian_kernel(x, x, self.settings.kernel_sigma))
        return np.asarray(view.labels / (kernel + self.settings.regularization))


def _mean(old: Array, new: Array, weight: float) -> Array:
    """Running mean, in which a frame's weight decays by ``1 - weight`` with each one after it."""
    return np.asarray((1 - weight) * old + weight * new)
