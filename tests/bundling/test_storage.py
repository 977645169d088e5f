"""Large matrices in 8 bits: a quarter of the size, nearly the same answer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="needs the train extra")
import onnxruntime as ort  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from metatrack.bundling.storage import BYTES_FROM, store_bytes  # noqa: E402


def product(rows: int, columns: int, half: bool) -> Any:
    """y = x W of a random matrix, stored in float32, or in float16 with a cast as the export does."""
    weight = np.random.default_rng(0).normal(0, 1, (rows, columns)).astype(np.float32) * np.geomspace(1e-3, 10, rows)[:, None]
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    constant = numpy_helper.from_array(weight.astype(np.float32), "w")
    if half:
        constant = numpy_helper.from_array(weight.astype(np.float16), "w_half")
        nodes.insert(0, helper.make_node("Cast", ["w_half"], ["w"], to=TensorProto.FLOAT))
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, rows])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, columns])]
    graph = helper.make_graph(nodes, "product", inputs, outputs, [constant])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def answer(model: Any, x: np.ndarray) -> np.ndarray:
    found: np.ndarray = ort.InferenceSession(model.SerializeToString()).run(None, {"x": x})[0]
    return found


@pytest.mark.parametrize("half", [False, True])
def test_a_quarter_of_the_size_and_the_same_answer(half: bool) -> None:
    model = product(512, 512, half)
    x = np.random.default_rng(1).normal(0, 1, (1, 512)).astype(np.float32)
    before, size = answer(model, x), model.ByteSize()
    store_bytes(model)
    onnx.checker.check_model(model)
    assert model.ByteSize() < size * (0.55 if half else 0.28)
    after = answer(model, x)
    cosine = float((before * after).sum() / np.linalg.norm(before) / np.linalg.norm(after))
    assert cosine > 0.9999
    assert not any(node.op_type == "Cast" for node in model.graph.node)


def test_small_matrices_stay() -> None:
    model = product(16, 16, False)
    assert 16 * 16 < BYTES_FROM
    before = model.SerializeToString()
    store_bytes(model)
    assert model.SerializeToString() == before


def test_rows_of_zeros_are_zeros() -> None:
    model = product(512, 512, False)
    zeros = numpy_helper.from_array(np.zeros((512, 512), np.float32), "w")
    model.graph.initializer[0].CopyFrom(zeros)
    store_bytes(model)
    assert (answer(model, np.ones((1, 512), np.float32)) == 0).all()
