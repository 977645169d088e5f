"""What this machine's processor can multiply; asked of torch here alone."""

from __future__ import annotations

import os

import torch

_QUESTIONS = {torch.bfloat16: "_is_mkldnn_bf16_supported", torch.float16: "_is_mkldnn_fp16_supported"}
_WITH_BFLOAT16 = ("avx512_bf16", "amx_bf16", "bf16")
"""Instruction sets that multiply bfloat16, by torch's names; the last is Arm's."""
_WITHOUT_BFLOAT16 = ("AVX512_CORE", "AVX512_CORE_VNNI")
"""Values of ``ONEDNN_MAX_CPU_ISA`` with which oneDNN takes bfloat16, but works it out in float32."""


def onednn_takes(dtype: torch.dtype) -> bool:
    """Whether oneDNN's own operators take a dtype here; they raise where the processor lacks what they need.

    ``ONEDNN_MAX_CPU_ISA`` in the environment limits what oneDNN uses, and with it this answer.
    """
    if not torch.backends.mkldnn.is_available():
        return False
    if dtype == torch.float32:
        return True
    return dtype in _QUESTIONS and bool(getattr(torch.ops.mkldnn, _QUESTIONS[dtype])())


def multiplies_bfloat16() -> bool:
    """Whether the processor has instructions for products of bfloat16, and oneDNN may use them."""
    known = torch.cpu.get_capabilities()
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper()
    return onednn_takes(torch.bfloat16) and limit not in _WITHOUT_BFLOAT16 and any(known.get(name) for name in _WITH_BFLOAT16)
