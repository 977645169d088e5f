"""Weights as an export stores them, so that torch and onnxruntime hold the same numbers."""

from __future__ import annotations

import torch
from torch import nn

from metatrack.bundling.storage import HALF_FROM


def round_to_half(module: nn.Module) -> None:
    """Rounds a module's weights as ``store_half`` does."""
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.numel() >= HALF_FROM:
                parameter.copy_(parameter.half().float())
