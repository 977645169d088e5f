"""Operations and bytes of a bundle's graphs as the tracker really calls them: shapes are read off a run, not inferred."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime as ort
from onnx import inliner

from metatrack.arrays import Array, Float32
from metatrack.runtime.model import Graph, Model
from metatrack.runtime.onnx_graph import OnnxGraph

OPERANDS = {
    "Conv": (0, 1),
    "ConvInteger": (0, 1),
    "QLinearConv": (0, 3),
    "MatMul": (0, 1),
    "MatMulInteger": (0, 1),
    "QLinearMatMul": (0, 3),
    "Gemm": (0, 1),
}
"""Nodes that multiply and add, and where the two operands are among their inputs."""
INTEGER = ("ConvInteger", "QLinearConv", "MatMulInteger", "QLinearMatMul")


class Work(NamedTuple):
    """What one call, or a mean frame, costs at least."""

    float_ops: float = 0.0
    """Multiplications and additions in floating point, two for each pair, of convolutions and matrix products alone."""
    int8_ops: float = 0.0
    """The same in 8-bit integers."""
    bytes: float = 0.0
    """Weights, inputs and outputs of those nodes, each once for each call: what lies between them is taken as fused."""

    @property
    def ops(self) -> float:
        """All operations."""
        return self.float_ops + self.int8_ops

    def __mul__(self, factor: float) -> Work:  # type: ignore[override]
        return Work(*(value * factor for value in self))

    def plus(self, other: Work) -> Work:
        """The sum of both."""
        return Work(*(a + b for a, b in zip(self, other)))


@dataclass
class Calls:
    """Calls of one graph with inputs of the same shapes."""

    feeds: dict[str, Array]
    count: int = 0


@dataclass
class Recorder:
    """Stands in for a graph: the same answers, and it remembers what it was asked, and for how long."""

    graph: OnnxGraph
    calls: dict[tuple[Any, ...], Calls] = field(default_factory=dict)
    seconds: float = 0.0

    def run(self, feeds: Mapping[str, Array]) -> Sequence[Float32]:
        """As the graph's."""
        begin = time.perf_counter()
        answer = self.graph.run(feeds)
        self.seconds += time.perf_counter() - begin
        shapes = tuple((name, value.shape) for name, value in sorted(feeds.items()))
        if shapes not in self.calls:
            self.calls[shapes] = Calls({name: value.copy() for name, value in feeds.items()})
        self.calls[shapes].count += 1
        return answer

    def reset(self) -> None:
        """Forgets how often and how long, not the inputs."""
        self.seconds = 0.0
        for calls in self.calls.values():
            calls.count = 0


def record(model: Model) -> tuple[Model, dict[str, Recorder]]:
    """The model with a recorder around each of its graphs, which are onnxruntime's, and the recorders by the graphs' names.

    Raises:
        TypeError: another engine runs the graphs.
    """
    recorders: dict[str, Recorder] = {}

    def wrap(name: str, graph: Graph) -> Recorder:
        if not isinstance(graph, OnnxGraph):
            raise TypeError(f"only onnxruntime's graphs have a file whose operations can be counted, not {model.engine}'s")
        recorders[name] = Recorder(graph)
        return recorders[name]

    return model.wrapped(wrap), recorders


def work(recorder: Recorder) -> Work:
    """What the recorded calls cost, in all."""
    total = Work()
    for calls in recorder.calls.values():
        total = total.plus(count(recorder.graph.path, calls.feeds) * calls.count)
    return total


def count(file: Path, feeds: Mapping[str, Array]) -> Work:
    """What one call with these inputs costs. Nodes inside of ``If`` and ``Loop`` are not looked at."""
    model = inliner.inline_local_functions(onnx.load(str(file)))
    graph = model.graph
    nodes = [node for node in graph.node if node.op_type in OPERANDS]
    constants = {tensor.name: tensor for tensor in graph.initializer}
    known = {*constants, *(each.name for each in graph.output), *feeds}
    wanted = {name for node in nodes for name in _operands(node)} - known
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in sorted(wanted))  # onnxruntime finds their types
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL  # fused nodes have no outputs of their own
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]
    shapes = dict(zip(names, (np.shape(a) for a in session.run(names, dict(feeds)))))
    shapes.update({name: np.shape(value) for name, value in feeds.items()})
    shapes.update({name: tuple(tensor.dims) for name, tensor in constants.items()})
    total = Work()
    for node, integer in zip(nodes, _integers(graph, nodes)):
        first, second, result = (shapes[name] for name in _operands(node))
        ops = 2.0 * multiplications(node, first, second, result)
        elements = sum(math.prod(shape) for shape in (first, second, result))
        total = total.plus(Work(0.0, ops, elements) if integer else Work(ops, 0.0, 4 * elements))
    return total


def multiplications(node: onnx.NodeProto, first: tuple[int, ...], second: tuple[int, ...], result: tuple[int, ...]) -> int:
    """Pairs of factors of one node.

    >>> node = onnx.helper.make_node("Conv", ["x", "w"], ["y"])
    >>> multiplications(node, (1, 8, 5, 5), (16, 8, 3, 3), (1, 16, 3, 3))  # each of 16 x 3 x 3 values sums 8 x 3 x 3 products
    10368
    """
    if "Conv" in node.op_type:
        return math.prod(result) * math.prod(second[1:])  # the weights' second axis is that of one group
    transposed = any(each.name == "transA" and each.i for each in node.attribute)
    return math.prod(result) * (first[-2] if transposed else first[-1])


def _operands(node: onnx.NodeProto) -> tuple[str, str, str]:
    first, second = OPERANDS[node.op_type]
    return node.input[first], node.input[second], node.output[0]


def _integers(graph: onnx.GraphProto, nodes: list[onnx.NodeProto]) -> Iterator[bool]:
    """Whether each node runs in integers: it says so, or ``DequantizeLinear`` makes both its operands, and fuses with it."""
    made = {name for node in graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    for node in nodes:
        yield node.op_type in INTEGER or set(_operands(node)[:2]) <= made
