"""Graphs of a bundle with onnxruntime: the engine that is always there, on a CPU or with CUDA."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import onnxruntime as ort

from metatrack.arrays import Array, Float32
from metatrack.runtime.bundle import BundleError

CUDA = "CUDAExecutionProvider"


class OnnxGraph:
    """One graph in onnxruntime.

    Args:
        path: the ONNX file, for messages.
        data: what is in it. Given bytes, onnxruntime has no folder in which it would look for further files.
        threads: for its operators.
        cuda: on a GPU.
        exact_products: 8-bit products by the instructions that cannot overflow 16 bits, where the processor would otherwise
            take those that can.

    Raises:
        BundleError: onnxruntime does not accept the graph.
        ValueError: onnxruntime cannot use a GPU here.
    """

    def __init__(self, path: Path, data: bytes, threads: int, cuda: bool = False, exact_products: bool = False) -> None:
        if cuda and CUDA not in ort.get_available_providers():
            raise ValueError(
                f"onnxruntime {ort.__version__} as installed here has no {CUDA}; on a machine with a GPU:"
                " pip uninstall onnxruntime; pip install onnxruntime-gpu"
            )
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Each graph has threads of its own. Between two operators they shall spin, since waking up takes longer than most
        # operators; but those of a graph that has just run must not spin beside those of the one that runs now.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        options.add_session_config_entry("session.intra_op.spin_duration_us", "50")
        if exact_products:
            options.add_session_config_entry("session.x64quantprecision", "1")
        options.log_severity_level = 3
        try:
            session = ort.InferenceSession(data, options, providers=[*([CUDA] if cuda else []), "CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises its own unrelated classes
            raise BundleError(f"{path}: onnxruntime {ort.__version__} cannot load the graph: {error}") from error
        session._model_bytes = b""  # it would keep them for ever, beside the weights that it has made of them
        if cuda and CUDA not in session.get_providers():  # it goes on with the CPU without a word
            raise ValueError("onnxruntime has the CUDA provider but cannot use it: no GPU, no driver or no cuDNN")
        self.path, self._session = path, session

    def run(self, feeds: Mapping[str, Array]) -> list[Float32]:
        answer: list[Float32] = self._session.run(None, feeds)
        return answer
