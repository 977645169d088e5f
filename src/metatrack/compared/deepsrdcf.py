"""DeepSRDCF: SRDCF on the first layers of a network instead of histograms of gradients.

Danelljan, Häger, Shahbaz Khan and Felsberg: Convolutional Features for Correlation Filter Based Visual Tracking, ICCV Workshops
2015. The paper's network is VGG-M, of which it takes the first layer, 96 channels reduced to 40. Here it is EfficientNet-Lite0:
the 32 channels of its stem and the 144 of its next wide layer, at 4 pixels a cell, reduced to 40.

No code was published. Left open, and chosen here: channels are centred on their mean in the first frame's window and turned onto
its principal axes, once and for all; they are scaled to the energy of HOG, since w and the samples are weighed against each
other; small targets are enlarged.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from metatrack.arrays import Float32
from metatrack.compared.correlation import Target
from metatrack.compared.features import FeatureExtractor
from metatrack.compared.hog import hog
from metatrack.compared.networks import LITE0_LAYERS, aligned, file_hashes, lite0, lite0_file, pooled
from metatrack.compared.patches import rounded
from metatrack.compared.principal import Axes
from metatrack.compared.srdcf import AREA, CELL, CELLS, FEW_CELLS, SRDCF, SearchWindow
from metatrack.geometry import Image

LAYERS = ("stem", "block2.expand")
CHANNELS = 40
"""Principal axes that are kept."""


class Lite0:
    """The layers, one beside the other: 176 channels."""

    stride = CELL

    def __init__(self) -> None:
        self._network = lite0(*LAYERS)
        self.channels = sum(LITE0_LAYERS[layer][0] for layer in LAYERS)

    def __call__(self, patches: Image) -> Float32:
        strides = [LITE0_LAYERS[layer][1] for layer in LAYERS]
        return joined(aligned(self._network, strides, patches), strides)


def joined(maps: Sequence[Float32], strides: Sequence[int]) -> Float32:
    """Maps of several strides, none above 4, as one with cells of 4 pixels."""
    return np.concatenate([pooled(found, CELL // stride) for found, stride in zip(maps, strides)], axis=1)


class Reduced:
    """Features on the principal axes of one map.

    Args:
        features: what is reduced.
        first: the patch ``(1, H, W, 3)`` that decides the axes.
        channels: how many axes are kept.
    """

    def __init__(self, features: FeatureExtractor, first: Image, channels: int) -> None:
        self._features, self.stride = features, features.stride
        maps = features(first)
        axes = Axes.of(maps, channels)
        self.channels = axes.axes.shape[1]
        energy = float((axes(maps) ** 2).sum(axis=1).mean())
        reference = float((hog(first, self.stride) ** 2).sum(axis=1).mean())
        self._axes = axes._replace(axes=axes.axes * np.float32(math.sqrt(reference / max(energy, 1e-12))))

    def __call__(self, patches: Image) -> Float32:
        return self._axes(self._features(patches))


class DeepSRDCF(SRDCF):
    """Follows place and size; the ratio of height to width stays. See :class:`metatrack.compared.srdcf.SRDCF`."""

    @classmethod
    def identity(cls) -> dict[str, dict[str, str]]:
        """What decides its boxes besides this package."""
        return file_hashes(lite0_file(*LAYERS))

    def view(self, target: Target) -> SearchWindow:
        """The window for a target: cells are always 4 pixels, and small targets are enlarged instead."""
        side = AREA * math.sqrt(target.height * target.width)
        scale = side / min(max(side, FEW_CELLS * CELL), CELLS * CELL)
        return SearchWindow(CELL, scale, max(4, rounded(side / scale / CELL)) * CELL)

    def features(self, view: SearchWindow, patch: Image) -> FeatureExtractor:
        """EfficientNet-Lite0's first layers, on the axes of the first frame."""
        return Reduced(Lite0(), patch, CHANNELS)
