"""Which precision a training run takes, and why.

Measured with the trunks lite and paper, forward and backward, on one thread of an EPYC (Zen 4): with instructions for bfloat16 a
pair takes half the time of float32; without them (``ONEDNN_MAX_CPU_ISA=AVX512_CORE``) about twice the time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from metatrack.model.processor import onednn_takes
from metatrack.runtime.processor import multiplies_bfloat16

PrecisionName = Literal["auto", "float32", "bfloat16"]
DeviceName = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True)
class Precision:
    """Precision of the matrix products and convolutions of a run; weights, losses and their sums are float32 always."""

    name: Literal["float32", "bfloat16"]
    why: str  # half a sentence for people
    device: str = "cpu"  # where the networks are: 'cpu' or 'cuda'

    def __str__(self) -> str:
        return f"{self.name}: {self.why}"

    def autocast(self) -> torch.autocast:
        """The context in which the networks run."""
        return torch.autocast(self.device, torch.bfloat16, enabled=self.name == "bfloat16")

    def on_cpu(self) -> Precision:
        """The precision of a validation, which tracks on the processor whatever trains."""
        return self if self.device == "cpu" else Precision("float32", "validation tracks on the processor")


def choose_device(asked: DeviceName) -> Literal["cpu", "cuda"]:
    """Decides where a run's networks are: 'auto' takes a graphics card where torch has one through CUDA.

    Raises:
        ValueError: CUDA was asked for and cannot be had.
    """
    there = torch.cuda.is_available()
    if asked == "cuda" and not there:
        raise ValueError("torch finds no graphics card through CUDA here; use --device cpu, or auto, which takes what there is")
    return "cuda" if there and asked != "cpu" else "cpu"


def choose_precision(asked: PrecisionName, began: str | None = None, device: str = "cpu") -> Precision:
    """Decides the precision of a run.

    Args:
        asked: 'auto' takes bfloat16 where the processor multiplies it itself; elsewhere it is slower than float32, or fails.
        began: what an interrupted run began with; 'auto' stays with it where it can be had.
        device: 'cpu', or 'cuda', for which 'auto' is bfloat16.

    Raises:
        ValueError: bfloat16 was asked for and cannot be had.
    """
    if device != "cpu":
        wanted = began if asked == "auto" else asked
        return Precision("float32" if wanted == "float32" else "bfloat16", f"on {device}", device)
    can = onednn_takes(torch.bfloat16)
    fast = can and multiplies_bfloat16()
    if asked == "bfloat16":
        if not can:
            raise ValueError("the processor cannot train in bfloat16; use --precision float32, or auto, which takes what it can")
        return Precision("bfloat16", "as asked" if fast else "as asked, though the processor has no instructions for it")
    if asked == "float32":
        return Precision("float32", "as asked")
    if began == "float32" or (began == "bfloat16" and can):
        return Precision("float32" if began == "float32" else "bfloat16", "the interrupted run began with it")
    if fast:
        return Precision("bfloat16", "the processor has instructions for it")
    return Precision("float32", "the processor has no instructions for bfloat16")
