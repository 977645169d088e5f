"""KCF: the kernelised correlation filter on HOG.

Henriques, Caseiro, Martins and Batista: High-Speed Tracking with Kernelized Correlation Filters, PAMI 2015.
"""

from __future__ import annotations

import numpy as np

from metatrack.arrays import Floats
from metatrack.compared.hog import hog
from metatrack.compared.kernelized import KernelSettings, KernelTracker
from metatrack.geometry import Image


class KCF(KernelTracker):
    """A Gaussian kernel on HOG. Follows the centre in steps of a cell, 4 pixels; the size stays.

    >>> frame = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    >>> tracker = KCF()
    >>> tracker.init(frame, (60, 40, 30, 30))
    >>> tracker.update(np.roll(frame, (4, -8), axis=(0, 1))).box
    Box(x=52.0, y=44.0, w=30.0, h=30.0)
    """

    settings = KernelSettings(
        padding=1.5,
        kernel_sigma=0.5,
        output_sigma=0.1,
        regularization=1e-4,
        interpolation=0.02,
        cell=4,
    )

    def features(self, patch: Image) -> Floats:
        """HOG: ``(H, W)`` to ``(31, H // 4, W // 4)``."""
        features: Floats = hog(patch[None, :, :, None] / np.float32(255), self.settings.cell)[0]
        return features
