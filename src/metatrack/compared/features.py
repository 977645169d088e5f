"""Features of patches, behind one interface: what a tracker learns its filter on can be exchanged."""

from __future__ import annotations

from typing import Protocol

from metatrack.arrays import Float32
from metatrack.compared.hog import CHANNELS, hog
from metatrack.geometry import Image


class FeatureExtractor(Protocol):
    """Patches to maps."""

    channels: int
    """Of the maps."""
    stride: int
    """Side of a cell of the maps, in pixels of the patches."""

    def __call__(self, patches: Image) -> Float32:
        """Patches of one size, ``(N, H, W, 3)`` uint8 RGB, to maps ``(N, channels, H // stride, W // stride)``."""
        ...


class HOG:
    """Histograms of oriented gradients, 31 channels.

    >>> import numpy as np
    >>> HOG(4)(np.zeros((1, 40, 32, 3), np.uint8)).shape
    (1, 31, 10, 8)
    """

    channels = CHANNELS

    def __init__(self, stride: int) -> None:
        self.stride = stride

    def __call__(self, patches: Image) -> Float32:
        return hog(patches, self.stride)


class Blocks(Protocol):
    """Patches to maps of several resolutions."""

    channels: tuple[int, ...]
    """Of each map."""
    strides: tuple[int, ...]
    """Side of a cell of each map, in pixels of the patches, the finest first."""
    energies: tuple[float, ...]
    """What the squares of a cell of each map shall sum up to, on average: its weight beside other maps and beside penalties."""

    def fitted(self, first: Image) -> Blocks:
        """The same for one target, as the patch ``(1, H, W, 3)`` of its first frame decides."""
        ...

    def __call__(self, patches: Image) -> list[Float32]:
        """Patches of one size, ``(N, H, W, 3)`` uint8 RGB, to maps ``(N, channels, H // stride, W // stride)`` each."""
        ...


class OneBlock:
    """Features as the only block.

    >>> OneBlock(HOG(6)).strides
    (6,)
    """

    def __init__(self, features: FeatureExtractor) -> None:
        self._features = features
        self.channels: tuple[int, ...] = (features.channels,)
        self.strides: tuple[int, ...] = (features.stride,)
        self.energies: tuple[float, ...] = (float(features.channels),)

    def fitted(self, first: Image) -> OneBlock:
        """See :class:`Blocks`: nothing to decide."""
        return self

    def __call__(self, patches: Image) -> list[Float32]:
        return [self._features(patches)]
