"""CSK: the kernelised correlation filter on raw pixels.

Henriques, Caseiro, Martins and Batista: Exploiting the Circulant Structure of Tracking-by-Detection with Kernels, ECCV 2012.
"""

from __future__ import annotations

import numpy as np

from metatrack.arrays import Floats
from metatrack.compared.kernelized import KernelSettings, KernelTracker
from metatrack.geometry import Image


class CSK(KernelTracker):
    """A Gaussian kernel on grey pixels. Follows the centre in steps of a pixel; the size stays.

    >>> frame = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    >>> tracker = CSK()
    >>> tracker.init(frame, (60, 40, 30, 30))
    >>> tracker.update(np.roll(frame, (2, -3), axis=(0, 1))).box
    Box(x=57.0, y=42.0, w=30.0, h=30.0)
    """

    settings = KernelSettings(
        padding=1.0,
        kernel_sigma=0.2,
        output_sigma=1 / 16,
        regularization=1e-2,
        interpolation=0.075,
        cell=1,
    )

    def features(self, patch: Image) -> Floats:
        """Pixels in -0.5..0.5: ``(H, W)`` to ``(1, H, W)``."""
        return np.asarray(patch[None] / 255 - 0.5)
