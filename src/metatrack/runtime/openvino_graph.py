"""Graphs of a bundle with OpenVINO: an option (``pip install 'metatrack[openvino]'``) that is faster on most Intel processors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from metatrack.arrays import Array, Float32
from metatrack.runtime.bundle import BundleError
from metatrack.runtime.model import SIGNATURES

try:
    import openvino
except ModuleNotFoundError as error:
    remedy = "engine 'openvino' needs a package that is not installed: pip install 'metatrack[openvino]'"
    raise ModuleNotFoundError(remedy, name=error.name) from error

TYPES = {"float32": "f32", "bfloat16": "bf16", "int8": "f32"}
"""What OpenVINO computes with, by our precision; layers that are in 8 bits in the graph stay so."""


class OpenVinoGraph:
    """One graph in OpenVINO.

    OpenVINO compiles a graph anew for each shape (0.1 to 0.2 s). Of a batch, it is therefore given one after another.

    Args:
        name: one of :data:`metatrack.runtime.model.SIGNATURES`.
        path: the ONNX file, for messages.
        data: what is in it.
        threads: for its operators.
        precision: a key of :data:`TYPES`.

    Raises:
        BundleError: OpenVINO does not accept the graph.
    """

    def __init__(self, name: str, path: Path, data: bytes, threads: int, precision: str) -> None:
        self._core = openvino.Core()
        try:
            self._model = self._core.read_model(data, b"")
        except RuntimeError as error:
            raise BundleError(f"{path}: OpenVINO cannot read the graph: {error}") from error
        self._options: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": TYPES[precision],
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
        }
        self._batched = SIGNATURES[name].batched == SIGNATURES[name].inputs
        self._requests: dict[tuple[tuple[int, ...], ...], Any] = {}
        self._lock = Lock()  # a request answers one call at a time

    def run(self, feeds: Mapping[str, Array]) -> list[Float32]:
        n = len(next(iter(feeds.values())))
        with self._lock:
            if not self._batched or n == 1:
                return self._infer(feeds)
            each = [self._infer({name: value[i : i + 1] for name, value in feeds.items()}) for i in range(n)]
        return [np.concatenate(parts) for parts in zip(*each, strict=True)]

    def _infer(self, feeds: Mapping[str, Array]) -> list[Float32]:
        shapes = tuple(value.shape for value in feeds.values())
        if shapes not in self._requests:
            model = self._model.clone()
            model.reshape({name: list(value.shape) for name, value in feeds.items()})
            self._requests[shapes] = self._core.compile_model(model, "CPU", self._options).create_infer_request()
        answer = self._requests[shapes].infer(
            {name: np.ascontiguousarray(value) for name, value in feeds.items()}, share_inputs=True
        )
        return list(answer.values())
