"""Graphs of a bundle with OpenVINO: an option (``pip install 'metatrack[openvino]'``) that is faster on most Intel processors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

try:
    import openvino
except ModuleNotFoundError as error:
    remedy = "engine 'openvino' needs a package that is not installed: pip install 'metatrack[openvino]'"
    raise ModuleNotFoundError(remedy, name=error.name) from error

Array = npt.NDArray[Any]
KERNELS = "w_target"
TYPES = {"float32": "f32", "bfloat16": "bf16", "int8": "f32"}
"""What OpenVINO computes with, by our precision; layers that are in 8 bits in the graph stay so."""


def has_bfloat16() -> bool:
    """Whether the processor has instructions for bfloat16."""
    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class OpenVinoGraph:
    """One graph, to be called as an onnxruntime session is; threads may share it.

    OpenVINO compiles a graph for given shapes (0.1 to 0.2 s), so what comes in a batch goes through one by one, and a target
    without kernels is given kernels of zeros, which say the same: few shapes ever occur.

    Args:
        path: the ONNX file.
        batched: whether the first axis of every input and output is the batch.
        threads: 0 is one per core.
        precision: a key of :data:`TYPES`.
        kernels: rows of an input ``w_target``, if there is one.
    """

    def __init__(self, path: Path, batched: bool, threads: int, precision: str, kernels: int) -> None:
        self._core = openvino.Core()
        self._model = self._core.read_model(path)
        self._options: dict[str, Any] = {"INFERENCE_PRECISION_HINT": TYPES[precision], "PERFORMANCE_HINT": "LATENCY"}
        if threads:
            self._options["INFERENCE_NUM_THREADS"] = threads
        self._batched, self._kernels = batched, kernels
        self._requests: dict[tuple[tuple[int, ...], ...], Any] = {}
        self._lock = Lock()  # a request answers one call at a time

    def run(self, _: None, feeds: Mapping[str, Array]) -> list[Array]:
        """Outputs of the graph, in its order."""
        feeds = dict(feeds)
        if KERNELS in feeds:
            feeds[KERNELS] = self._padded(feeds[KERNELS])
        n = len(next(iter(feeds.values())))
        with self._lock:
            if not self._batched or n == 1:
                return self._infer(feeds)
            each = [self._infer({name: value[i : i + 1] for name, value in feeds.items()}) for i in range(n)]
        return [np.concatenate(parts) for parts in zip(*each, strict=True)]

    def _padded(self, kernels: Array) -> Array:
        missing = self._kernels - kernels.shape[-2]
        if missing <= 0:
            return kernels
        return np.concatenate([kernels, np.zeros((*kernels.shape[:-2], missing, kernels.shape[-1]), kernels.dtype)], axis=-2)

    def _infer(self, feeds: dict[str, Array]) -> list[Array]:
        shapes = tuple(value.shape for value in feeds.values())
        if shapes not in self._requests:
            model = self._model.clone()
            model.reshape({name: list(value.shape) for name, value in feeds.items()})
            self._requests[shapes] = self._core.compile_model(model, "CPU", self._options).create_infer_request()
        answer = self._requests[shapes].infer(
            {name: np.ascontiguousarray(value) for name, value in feeds.items()}, share_inputs=True
        )
        return list(answer.values())
