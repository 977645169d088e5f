"""What the machine can do at best, measured with the engine that the tracker uses: operations a second, and bytes a second."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

SIDE = 1024
"""Of the square matrices."""
CHANNELS, CELLS = 256, 56
"""Of the convolutions."""
SECONDS = 0.4
"""Time of one measurement."""
LARGE, SMALL = 256 * 2**20, 512 * 2**10
"""Bytes that are copied by each thread: from memory (or the last cache, where it is larger), and within a core's own cache."""
OPSET = 18


@dataclass(frozen=True)
class Kernel:
    """One node of onnxruntime's that multiplies and adds."""

    name: str
    integer: bool
    counts: bool
    """Whether it stands for the peak; the others are there to compare with."""
    operations: float
    run: Callable[[], Any]


@dataclass(frozen=True)
class Peaks:
    """The machine's roof."""

    rates: dict[str, float]
    """Operations a second, by kernel."""
    float32: float
    int8: float
    bandwidth: float
    """Bytes a second, read and written, from large memory."""
    cache: float
    """The same within a core's cache."""

    def seconds(self, float_ops: float, int8_ops: float, size: float) -> float:
        """The least time for so many operations and bytes."""
        return max(float_ops / self.float32 + int8_ops / self.int8, size / self.bandwidth)


def find_peaks(threads: int, rounds: int) -> Peaks:
    """Measures all, in turn; the best of the rounds counts, since a peak is what can be reached."""
    some = kernels(threads)
    rates = {kernel.name: 0.0 for kernel in some}
    bandwidth = cache = 0.0
    for _ in range(rounds):
        for kernel in some:
            rates[kernel.name] = max(rates[kernel.name], kernel.operations / best_seconds(kernel.run))
        bandwidth, cache = max(bandwidth, copied(LARGE, threads)), max(cache, copied(SMALL, threads))
    peak = {
        integer: max(rates[kernel.name] for kernel in some if kernel.counts and kernel.integer is integer)
        for integer in (False, True)
    }
    return Peaks(rates, peak[False], peak[True], bandwidth, cache)


def best_seconds(work: Callable[[], Any]) -> float:
    """The shortest of as many calls as fit into :data:`SECONDS`, two at least; the first one is not counted."""
    work()
    times: list[float] = []
    end = time.perf_counter() + SECONDS
    while len(times) < 2 or time.perf_counter() < end:
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return min(times)


def copied(size: int, threads: int) -> float:
    """Bytes a second, read and written, while each thread copies so many."""
    repeats = max(1, LARGE // size)
    pairs = [(np.ones(size, np.uint8), np.zeros(size, np.uint8)) for _ in range(threads)]

    def copy(pair: tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]) -> None:
        for _ in range(repeats):
            np.copyto(pair[1], pair[0])  # without the interpreter's lock

    with ThreadPoolExecutor(threads) as pool:
        seconds = best_seconds(lambda: list(pool.map(copy, pairs)))
    return 2.0 * size * repeats * threads / seconds


def kernels(threads: int) -> list[Kernel]:
    """Products of matrices and convolutions, in float32, and of unsigned by signed bytes."""
    square, operations = (SIDE, SIDE), 2.0 * SIDE**3
    made = [
        Kernel("float32 MatMul", False, True, operations, float_session(threads, "MatMul", square, square)),
        Kernel("int8 MatMul", True, True, operations, int8_session(threads, "QLinearMatMul", square, square)),
    ]
    patch = (1, CHANNELS, CELLS, CELLS)
    for name, side, group in (("1x1", 1, 1), ("3x3", 3, 1), ("5x5 depthwise", 5, CHANNELS)):
        weight = (CHANNELS, CHANNELS // group, side, side)
        operations = 2.0 * CHANNELS * CELLS**2 * weight[1] * side**2
        options, full = {"group": group, "pads": [side // 2] * 4}, group == 1
        made += [
            Kernel(f"float32 Conv {name}", False, full, operations, float_session(threads, "Conv", patch, weight, options)),
            Kernel(f"int8 Conv {name}", True, full, operations, int8_session(threads, "QLinearConv", patch, weight, options)),
        ]
    return made


def float_session(
    threads: int, kind: str, shape: Sequence[int], weight: Sequence[int], options: dict[str, Any] | None = None
) -> Callable[[], Any]:
    """A graph of one node, with constant weights, ready to run."""
    rng = np.random.default_rng(0)
    node = helper.make_node(kind, ["x", "w"], ["y"], **(options or {}))
    constants = {"w": rng.standard_normal(weight, np.float32)}
    return _ready(threads, node, rng.standard_normal(shape, np.float32), TensorProto.FLOAT, constants)


def int8_session(
    threads: int, kind: str, shape: Sequence[int], weight: Sequence[int], options: dict[str, Any] | None = None
) -> Callable[[], Any]:
    """The same in bytes: unsigned activations, signed weights, one scale each."""
    rng = np.random.default_rng(0)
    scale = np.array(0.05, np.float32)
    constants: dict[str, npt.NDArray[Any]] = {
        "w": rng.integers(-127, 128, weight, np.int8),
        "scale": scale,
        "zero": np.array(128, np.uint8),
        "w_zero": np.array(0, np.int8),
    }
    inputs = ["x", "scale", "zero", "w", "scale", "w_zero", "scale", "zero"]
    node = helper.make_node(kind, inputs, ["y"], **(options or {}))
    return _ready(threads, node, rng.integers(0, 256, shape, np.uint8), TensorProto.UINT8, constants)


def _ready(
    threads: int, node: onnx.NodeProto, x: npt.NDArray[Any], element: int, constants: dict[str, npt.NDArray[Any]]
) -> Callable[[], Any]:
    graph = helper.make_graph(
        [node],
        "peak",
        [helper.make_tensor_value_info("x", element, x.shape)],
        [helper.make_tensor_value_info("y", element, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = threads, 1, 3
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"x": x})
