"""C-COT on a network's layers: :mod:`metatrack.compared.ccot` with the settings of the paper's experiments.

The paper takes the colours, the first and the last convolutional layer of VGG-M: 3, 96 and 512 channels at 4, 4 and 16 pixels a
cell. Here the network is EfficientNet-Lite0: the colours, its stem (32 channels) and its block 10 (112) at the same resolutions.
Each block is given the energy that the paper's has, 1 for each of its channels there: so samples and penalty keep their balance.
"""

from __future__ import annotations

import numpy as np

from metatrack.arrays import Float32
from metatrack.compared.ccot import CCOT, CCOTSettings
from metatrack.compared.features import Blocks
from metatrack.compared.networks import LITE0_LAYERS, aligned, lite0, lite0_identity, pooled
from metatrack.geometry import Image

LAYERS = ("stem", "block10")
DEEP_SETTINGS = CCOTSettings(
    area=5.0,
    sides=(200.0, 300.0),
    output_sigma=1 / 12,
    learning_rate=0.0075,
    edge=1e-2,
    first_steps=100,
    scales=5,
    scale_step=1.02,
)


class Lite0Blocks:
    """Colours, stem and block 10."""

    channels: tuple[int, ...] = (3, *(LITE0_LAYERS[layer][0] for layer in LAYERS))
    strides: tuple[int, ...] = (4, 4, 16)
    energies: tuple[float, ...] = (3.0, 96.0, 512.0)

    def __init__(self) -> None:
        self._network = lite0(*LAYERS)

    def __call__(self, patches: Image) -> list[Float32]:
        """See :class:`metatrack.compared.features.Blocks`."""
        colours = pooled(patches.transpose(0, 3, 1, 2).astype(np.float32) - 127, 4)
        stem, deep = aligned(self._network, (2, 16), patches)
        return [colours, pooled(stem, 2), deep]


class DeepCCOT(CCOT):
    """Follows place and size; the ratio of height to width stays. See :class:`metatrack.compared.ccot.CCOT`."""

    settings = DEEP_SETTINGS

    @classmethod
    def identity(cls) -> dict[str, dict[str, str]]:
        """What decides its boxes besides this package."""
        return lite0_identity()

    def make_blocks(self) -> Blocks:
        """Colours and the network's layers."""
        return Lite0Blocks()
