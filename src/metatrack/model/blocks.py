"""Layers that trunks are made of: convolutions with folded batch norms, and the blocks of EfficientNet-Lite and MobileNetV3."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metatrack.model.processor import onednn_takes

Activation = Literal["", "relu", "relu6", "hardswish"]


def scale_and_shift(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """What a batch norm does in evaluation mode: each channel's factor, and what is added to it."""
    if norm.running_mean is None or norm.running_var is None:
        raise RuntimeError("the batch norm keeps no statistics")
    scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
    return scale, norm.bias - norm.running_mean * scale


ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "relu": partial(F.relu, inplace=True),
    "relu6": partial(F.relu6, inplace=True),
    "hardswish": F.hardswish,  # not in place: its gradient needs what it was given
}


class FrozenNormConv(nn.Module):
    """Convolution with "same" padding and a batch norm that stays in evaluation mode, folded into the weights; an activation.

    Small batches of a few hundred videos would ruin ImageNet's statistics; folding makes the layer one convolution.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 1, *, stride: int = 1, groups: int = 1, act: Activation = "relu6"
    ) -> None:
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
            name, limits = ("hardtanh", [0.0, 6.0]) if self.act == "relu6" else (self.act, [])
            fused: Tensor = torch.ops.mkldnn._convolution_pointwise(x.to(dtype), weight, bias, *geometry, name, limits, "")
            return fused
        if self.float32 and x.device.type == "cpu" and x.requires_grad and x.dtype == torch.bfloat16:
            with torch.autocast(x.device.type, enabled=False):
                y = F.conv2d(x.float(), self.weight, self.bias, self.stride, padding, 1, self.groups).bfloat16()
        else:
            y = F.conv2d(x, self.weight, self.bias, self.stride, padding, 1, self.groups)
        return ACTIVATIONS[self.act](y) if self.act else y

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
        self.project = FrozenNormConv(hidden, outputs, act="")
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.expand is None else self.expand(x)
        y = self.project(self.depthwise(y))
        result: Tensor = x + y if self.residual else y
        return result


class SqueezeExcite(nn.Module):
    """A factor in 0..1 for every channel, by what the whole patch holds (Hu et al., CVPR 2018)."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.squeeze, self.excite = nn.Conv2d(channels, hidden, 1), nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * F.hardsigmoid(self.excite(F.relu(self.squeeze(x.mean((2, 3), keepdim=True)))))


class MobileForm(NamedTuple):
    """What a :class:`MobileBlock` is like."""

    inputs: int
    hidden: int  # channels between its 1x1 layers; as many as inputs: no expansion
    outputs: int
    kernel: int
    stride: int
    squeezed: int  # channels between squeeze and excitation; 0: none
    act: Activation


class MobileBlock(nn.Module):
    """Expand 1x1, depthwise, squeeze and excite, project 1x1 (MobileNetV3's block, Howard et al., ICCV 2019)."""

    def __init__(self, form: MobileForm) -> None:
        super().__init__()
        inputs, hidden, outputs, kernel, stride, squeezed, act = form
        self.expand = FrozenNormConv(inputs, hidden, act=act) if hidden != inputs else None
        # Channels are weighed before the activation where they were expanded, else behind it.
        self.late = act if squeezed and self.expand is not None else ""
        self.depthwise = FrozenNormConv(hidden, hidden, kernel, stride=stride, groups=hidden, act="" if self.late else act)
        self.excite = SqueezeExcite(hidden, squeezed) if squeezed else None
        self.project = FrozenNormConv(hidden, outputs, act="")
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return self.reduced(x, self.expanded(x))

    def expanded(self, x: Tensor) -> Tensor:
        """The block's first part."""
        return x if self.expand is None else self.expand(x)

    def reduced(self, x: Tensor, y: Tensor) -> Tensor:
        """The block's answer to x, whose first part's is y."""
        y = self.depthwise(y)
        if self.excite is not None:
            y = self.excite(y)
        if self.late:
            y = ACTIVATIONS[self.late](y)
        y = self.project(y)
        return x + y if self.residual else y


def doubled_cells(x: Tensor) -> Tensor:
    """Bilinear, corner-aligned doubling ``(n, C, h, w)`` -> ``(n, C, 2h - 1, 2w - 1)``: cells, and the means of neighbours.

    ``F.interpolate`` says the same; onnxruntime's Resize takes five times as long.
    """
    for axis in (3, 2):
        last = x.shape[axis] - 1
        first, second = x.narrow(axis, 0, last), x.narrow(axis, 1, last)
        pairs = torch.stack([first, (first + second) * 0.5], axis + 1).flatten(axis, axis + 1)
        x = torch.cat([pairs, x.narrow(axis, last, 1)], axis)
    return x
