"""How weights are stored in a graph: in fewer bits, and cast back when the graph is loaded; the arithmetic stays float32."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from metatrack.runtime.torch_weights import BYTES, HALF, SCALE

HALF_FROM = 256  # weights of fewer elements stay in float32
BYTES_FROM = 1 << 17
"""Matrices of as many elements are worth storing in 8 bits: those of a meta-learner's fully connected layers."""


def store_half(model: onnx.ModelProto) -> None:
    """Replaces every large float32 weight by a float16 one and a cast, in place: half the size, the same arithmetic."""
    graph = model.graph
    casts = []
    for i, tensor in enumerate(graph.initializer):
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) < HALF_FROM:
            continue
        values = numpy_helper.to_array(tensor).astype(np.float16)
        if not np.isfinite(values).all():
            raise ValueError(f"weight {tensor.name} does not fit float16")
        half = numpy_helper.from_array(values, tensor.name + HALF)
        casts.append(helper.make_node("Cast", [half.name], [tensor.name], to=TensorProto.FLOAT))
        graph.initializer[i].CopyFrom(half)
    _put_first(graph, casts)
    # Shapes recorded for the float32 initializers are still right, as they are now outputs of the casts.


def to_float(model: onnx.ModelProto) -> None:
    """Undoes :func:`store_half`: every float16 weight and its cast become a float32 weight, in place."""
    graph = model.graph
    stored = {tensor.name: tensor for tensor in graph.initializer}
    for node in [n for n in graph.node if n.op_type == "Cast" and n.input[0] in stored]:
        tensor = stored[node.input[0]]
        values = numpy_helper.to_array(tensor).astype(np.float32)
        graph.initializer.remove(tensor)
        graph.initializer.append(numpy_helper.from_array(values, node.output[0]))
        graph.node.remove(node)


def store_bytes(model: onnx.ModelProto) -> None:
    """Replaces every large float matrix by whole numbers of 8 bits with a scale for each row, in place: a quarter of float32.

    A row's numbers are off by 1/254 of its largest at most. A meta-learner's kernels keep a cosine above .9999 to those of the
    exact matrices: thousands of such errors cancel in each.
    """
    graph = model.graph
    nodes = []
    for i, tensor in enumerate(graph.initializer):
        if tensor.data_type not in (TensorProto.FLOAT, TensorProto.FLOAT16) or len(tensor.dims) != 2:
            continue
        if tensor.dims[0] * tensor.dims[1] < BYTES_FROM:
            continue
        values = numpy_helper.to_array(tensor).astype(np.float32)
        scale = np.maximum(np.abs(values).max(1), 1e-12).astype(np.float32) / 127
        whole = np.clip(np.round(values / scale[:, None]), -127, 127).astype(np.int8)
        name = tensor.name.removesuffix(HALF)
        graph.initializer[i].CopyFrom(numpy_helper.from_array(whole, name + BYTES))
        graph.initializer.append(numpy_helper.from_array(scale, name + SCALE))
        nodes.append(helper.make_node("DequantizeLinear", [name + BYTES, name + SCALE], [name], axis=0))
        for cast in [node for node in graph.node if list(node.input) == [name + HALF]]:
            graph.node.remove(cast)
    _put_first(graph, nodes)


def _put_first(graph: onnx.GraphProto, nodes: Sequence[onnx.NodeProto]) -> None:
    kept = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *kept])
