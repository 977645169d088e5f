"""C-COT on a network's layers: :mod:`metatrack.compared.ccot` with the settings of the paper's experiments.

The paper takes the colours, the first and the last convolutional layer of VGG-M: 3, 96 and 512 channels at 4, 4 and 16 pixels a
cell. Here the network is EfficientNet-Lite0: the colours, the layers of :mod:`metatrack.compared.deepsrdcf` on 40 axes, and block
10 (112 channels) at the same resolutions. Each block is given the energy that the paper's has, 1 for each of its channels there:
so samples and penalty keep their balance.

Channels are centred on their mean in the first frame's window, as in DeepSRDCF. Most of the energy of this network's layers is in
those means, which tell no place from another: uncentred, the target shrank on Crossing and was lost on Skiing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from metatrack.arrays import Float32
from metatrack.compared.ccot import CCOT, CCOTSettings
from metatrack.compared.deepsrdcf import CHANNELS, LAYERS, joined
from metatrack.compared.features import Blocks
from metatrack.compared.networks import LITE0_LAYERS, aligned, file_hashes, lite0, lite0_file, pooled
from metatrack.compared.principal import Axes
from metatrack.geometry import Image

SHALLOW, DEEP = LAYERS, "block10"
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
    """Colours, the layers that DeepSRDCF has here, and block 10.

    Args:
        axes: of each block for one target; without, the maps are as the network gives them.
    """

    strides: tuple[int, ...] = (4, 4, 16)
    energies: tuple[float, ...] = (3.0, 96.0, 512.0)

    def __init__(self, axes: Sequence[Axes] = ()) -> None:
        self._axes, self._network = axes, lite0(*SHALLOW, DEEP)
        self.channels: tuple[int, ...] = (3, sum(LITE0_LAYERS[layer][0] for layer in SHALLOW), LITE0_LAYERS[DEEP][0])
        if axes:
            self.channels = tuple(each.axes.shape[1] for each in axes)

    def fitted(self, first: Image) -> Lite0Blocks:
        """See :class:`metatrack.compared.features.Blocks`: each block on its principal axes in the first frame."""
        return Lite0Blocks([Axes.of(maps, count) for maps, count in zip(Lite0Blocks()(first), (3, CHANNELS, 112))])

    def __call__(self, patches: Image) -> list[Float32]:
        strides = [LITE0_LAYERS[layer][1] for layer in (*SHALLOW, DEEP)]
        *shallow, deep = aligned(self._network, strides, patches)
        blocks = [pooled(patches.transpose(0, 3, 1, 2).astype(np.float32), 4), joined(shallow, strides), deep]
        return [turn(maps) for turn, maps in zip(self._axes, blocks)] if self._axes else blocks


class DeepCCOT(CCOT):
    """Follows place and size; the ratio of height to width stays. See :class:`metatrack.compared.ccot.CCOT`."""

    settings = DEEP_SETTINGS

    @classmethod
    def identity(cls) -> dict[str, dict[str, str]]:
        """What decides its boxes besides this package."""
        return file_hashes(lite0_file(*SHALLOW, DEEP))

    def make_blocks(self) -> Blocks:
        """Colours and the network's layers."""
        return Lite0Blocks()
