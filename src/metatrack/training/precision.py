"""Which precision a training run takes, and why.

Measured with both trunks, forward and backward, on one thread of an EPYC (Zen 4): with instructions for bfloat16 a pair takes
half the time of float32; without them (``ONEDNN_MAX_CPU_ISA=AVX512_CORE``) about twice the time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from metatrack.model.processor import multiplies_bfloat16, onednn_takes

PrecisionName = Literal["auto", "float32", "bfloat16"]


@dataclass(frozen=True)
class Precision:
    """Precision of the matrix products and convolutions of a run; weights, losses and their sums are float32 always.

    Attributes:
        name: 'float32' or 'bfloat16'.
        why: half a sentence for people.
        device: type of torch's device: 'cpu' or 'cuda'.
    """

    name: Literal["float32", "bfloat16"]
    why: str
    device: str = "cpu"

    def __str__(self) -> str:
        return f"{self.name}: {self.why}"

    def autocast(self) -> torch.autocast:
        """The context in which the networks run."""
        return torch.autocast(self.device, torch.bfloat16, enabled=self.name == "bfloat16")


def choose_precision(asked: PrecisionName, began: str | None = None, device: str = "cpu") -> Precision:
    """Decides the precision of a run.

    Args:
        asked: 'auto' takes bfloat16 where the hardware multiplies it itself; elsewhere it is slower than float32, or fails.
        began: what an interrupted run began with; 'auto' stays with it where it can be had.
        device: type of torch's device: 'cpu' or 'cuda'.

    Raises:
        ValueError: bfloat16 was asked for and cannot be had.
    """
    can, fast = (_on_gpu if device == "cuda" else _on_processor)()
    what = "the GPU" if device == "cuda" else "the processor"
    if asked == "bfloat16":
        if not can:
            raise ValueError(f"{what} cannot train in bfloat16; use --precision float32, or auto, which takes what it can")
        return Precision("bfloat16", "as asked" if fast else f"as asked, though {what} has no instructions for it", device)
    if asked == "float32":
        return Precision("float32", "as asked", device)
    if began == "float32" or (began == "bfloat16" and can):
        return Precision("float32" if began == "float32" else "bfloat16", "the interrupted run began with it", device)
    if fast:
        return Precision("bfloat16", f"{what} has instructions for it", device)
    return Precision("float32", f"{what} has no instructions for bfloat16", device)


def _on_processor() -> tuple[bool, bool]:
    """Whether bfloat16 can be had, and whether it is fast."""
    return onednn_takes(torch.bfloat16), multiplies_bfloat16()


def _on_gpu() -> tuple[bool, bool]:
    return torch.cuda.is_bf16_supported(including_emulation=True), torch.cuda.is_bf16_supported(including_emulation=False)
