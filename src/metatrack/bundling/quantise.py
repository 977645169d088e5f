"""Trunk and box head in 8-bit integers: static, per channel, calibrated on training pairs (onnxruntime's own tools)."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import onnx
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import Tensor, nn

from metatrack.arrays import Array
from metatrack.bundling.storage import to_float
from metatrack.bundling.strip import strip
from metatrack.model.blocks import doubled_cells, scale_and_shift
from metatrack.model.features import LiteTrunk, Trunk, TrunkName
from metatrack.model.graphs import EmbedGraph
from metatrack.runtime.model import feeds
from metatrack.training.sampling import BoxPair

Feed = Mapping[str, Array]
FLOAT_CONVOLUTIONS: dict[TrunkName, int] = {"lite": 6, "paper": 0}
"""Of trunks that have a version in 8 bits, the convolutions at their start that stay in float32. The first two depthwise layers
of an EfficientNet take small differences of large values: with their inputs in 8 bits the features' cosine to the float ones is
.97, without .997."""
PAIRS = 48  # pairs of a mix that the ranges of values are read off


class FoldedEmbedGraph(nn.Module):
    """As :class:`EmbedGraph`, for a :class:`LiteTrunk`, whose upper level is doubled after its last norm and its neck.

    All three are linear, so the answer is the same. Norm and neck are folded into one layer, which has a quarter of the cells to
    work on.
    """

    def __init__(self, trunk: LiteTrunk) -> None:
        super().__init__()
        self.trunk = trunk
        with torch.no_grad():
            scale, shift = scale_and_shift(trunk.join_norm)
            weight = trunk.neck.weight * scale[:, None, None]
            bias = trunk.neck.weight[:, :, 0, 0] @ shift
        split = weight.shape[1] - trunk.BLOCKS[-1][1]
        self.low = nn.Parameter(weight[:, :split].clone())
        self.high = nn.Parameter(weight[:, split:].clone())
        self.bias = nn.Parameter(bias)

    def forward(self, crops: Tensor) -> Tensor:
        low, high = self.trunk.levels(crops.permute(0, 3, 1, 2).float())
        doubled = doubled_cells(F.conv2d(high, self.high))
        size = doubled.shape[-1]
        return F.conv2d(low, self.low, self.bias)[..., :size, :size] + doubled


def embed_graph(trunk: Trunk) -> nn.Module:
    """What is exported to be quantised."""
    return FoldedEmbedGraph(trunk) if isinstance(trunk, LiteTrunk) else EmbedGraph(trunk)


def quantise_trunk(embed: Path, trunk: TrunkName, pairs: Sequence[BoxPair[Array]], out: Path) -> None:
    """Writes the 8-bit version of an exported :func:`embed_graph`, calibrated on the context patches of pairs."""
    with tempfile.TemporaryDirectory() as folder:
        ready = _prepared(embed, Path(folder))
        nodes = list(ready.graph.node)
        convolutions = [node.name for node in nodes if node.op_type == "Conv"]
        kept = convolutions[: FLOAT_CONVOLUTIONS[trunk]]
        if trunk == "lite":
            # What stands behind the neck would be rounded once more for nothing.
            end = [node.name for node in nodes].index(convolutions[-2])
            kept += [node.name for node in nodes[end:] if node.op_type == "Add"]
        _quantise(ready, [feeds("embed", pair.search[None]) for pair in pairs], ["Conv", "Add", "Clip", "MaxPool"], kept, out)


def quantise_head(locate: Path, feeds: Sequence[Feed], out: Path) -> None:
    """Writes the version of a locate graph whose box head's 3x3 layers are in 8 bits: three quarters of its operations.

    Equation (4) stays in float32: its cosines of 0.9 and 0.95 are different answers. ``feeds`` are inputs to calibrate it on.
    """
    with tempfile.TemporaryDirectory() as folder:
        ready = _prepared(locate, Path(folder))
        shapes = {tensor.name: tuple(tensor.dims) for tensor in ready.graph.initializer}
        convolutions = [node for node in ready.graph.node if node.op_type == "Conv"]
        kept = [node.name for node in convolutions if shapes.get(node.input[1], ())[2:] != (3, 3)]
        _quantise(ready, feeds, ["Conv"], kept, out)


class _Feeds(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime's class is untyped
    """Inputs, one at a time."""

    def __init__(self, feeds: Sequence[Feed]) -> None:
        self._feeds: Iterator[Feed] = iter(feeds)

    def get_next(self) -> Feed | None:
        return next(self._feeds, None)


def _prepared(graph: Path, folder: Path) -> onnx.ModelProto:
    """The graph with float32 weights, shapes inferred and constants folded."""
    plain, ready = folder / "plain.onnx", folder / "ready.onnx"
    model = onnx.load(graph)
    to_float(model)
    onnx.save(model, plain)
    quant_pre_process(plain, ready, skip_symbolic_shape=True)
    return onnx.load(ready)


def _quantise(model: onnx.ModelProto, feeds: Sequence[Feed], operators: list[str], kept: list[str], out: Path) -> None:
    quantize_static(
        model,
        out,
        _Feeds(feeds),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=operators,
        nodes_to_exclude=kept,
        calibrate_method=CalibrationMethod.MinMax,
    )
    made = onnx.load(out)
    read_bytes(made)
    strip(made)
    onnx.checker.check_model(made)
    onnx.save(made, out)


def read_bytes(model: onnx.ModelProto) -> None:
    """Reads pixels with one operator: Cast, Sub a whole number, Div become a DequantizeLinear that says the same, in place.

    Folded into the weights of the first layer instead, the mean would be subtracted from values a hundred times larger than the
    result, which bfloat16 does not survive, and padding would have to be of that colour.
    """
    graph = model.graph
    by_input: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            by_input.setdefault(name, []).append(node)
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for cast in [node for node in graph.node if node.op_type == "Cast"]:
        sub = _only(by_input.get(cast.output[0], []), "Sub")
        div = _only(by_input.get(sub.output[0], []), "Div") if sub is not None else None
        if sub is None or div is None or sub.input[1] not in values or div.input[1] not in values:
            continue
        mean, scale = float(values[sub.input[1]]), float(values[div.input[1]])
        if mean != round(mean):
            continue
        graph.initializer.append(helper.make_tensor("pixel_scale", TensorProto.FLOAT, [], [1 / scale]))
        graph.initializer.append(helper.make_tensor("pixel_zero", TensorProto.UINT8, [], [round(mean)]))
        read = helper.make_node("DequantizeLinear", [cast.input[0], "pixel_scale", "pixel_zero"], [div.output[0]], "read_pixels")
        place = list(graph.node).index(cast)
        for node in (cast, sub, div):
            graph.node.remove(node)
        graph.node.insert(place, read)
        return


def _only(nodes: Sequence[onnx.NodeProto], kind: str) -> onnx.NodeProto | None:
    return nodes[0] if len(nodes) == 1 and nodes[0].op_type == kind else None
