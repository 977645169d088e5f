"""What oneDNN takes on this processor; asked of torch here alone."""

from __future__ import annotations

import torch

_QUESTIONS = {torch.bfloat16: "_is_mkldnn_bf16_supported", torch.float16: "_is_mkldnn_fp16_supported"}


def onednn_takes(dtype: torch.dtype) -> bool:
    """Whether oneDNN's own operators take a dtype here; they raise where the processor lacks what they need.

    ``ONEDNN_MAX_CPU_ISA`` in the environment limits what oneDNN uses, and with it this answer.
    """
    if not torch.backends.mkldnn.is_available():
        return False
    if dtype == torch.float32:
        return True
    return dtype in _QUESTIONS and bool(getattr(torch.ops.mkldnn, _QUESTIONS[dtype])())
