"""The trunk in 8-bit integers: static quantisation per channel, calibrated on training crops (onnxruntime's own tools)."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from metatrack.model.features import TrunkName
from metatrack.training.sampling import PairSampler

FLOAT_CONVOLUTIONS = {"lite": 6, "paper": 0}
"""Convolutions at the start of a trunk that stay in float32. Stem and first two blocks of an EfficientNet have channels of very
different range: with them in 8 bits the features' cosine to the float ones is .97, without .997 (docs/experiments.md)."""
CROPS = 48
"""Context patches that the ranges of values are read off."""


class Crops(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime's class is untyped
    """Context patches, one at a time."""

    def __init__(self, crops: npt.NDArray[np.uint8]) -> None:
        self._crops: Iterator[npt.NDArray[np.uint8]] = iter(crops)

    def get_next(self) -> dict[str, npt.NDArray[np.uint8]] | None:
        """The next input; None at the end."""
        crop = next(self._crops, None)
        return None if crop is None else {"crops": crop[None]}


def calibration_crops(sampler: PairSampler, count: int = CROPS) -> npt.NDArray[np.uint8]:
    """Context patches of a mix, as in training: ``(count, 255, 255, 3)``."""
    return np.stack([sampler.box_pair(index).search for index in range(count)])


def quantise(embed: Path, trunk: TrunkName, crops: npt.NDArray[np.uint8], out: Path) -> None:
    """Writes the 8-bit version of an embed graph.

    Args:
        embed: the exported graph.
        trunk: its name, which says what stays in float32.
        crops: ``(n, 255, 255, 3)`` context patches.
        out: the new file.
    """
    with tempfile.TemporaryDirectory() as folder:
        plain, ready = Path(folder) / "plain.onnx", Path(folder) / "ready.onnx"
        model = onnx.load(embed)
        to_float(model)
        onnx.save(model, plain)
        quant_pre_process(plain, ready, skip_symbolic_shape=True)
        convolutions = [node.name for node in onnx.load(ready).graph.node if node.op_type == "Conv"]
        quantize_static(
            ready,
            out,
            Crops(crops),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=["Conv", "Add", "Clip", "MaxPool"],
            nodes_to_exclude=convolutions[: FLOAT_CONVOLUTIONS[trunk]],
            calibrate_method=CalibrationMethod.MinMax,
        )


def to_float(model: onnx.ModelProto) -> None:
    """Undoes ``store_half``: every float16 weight and its cast become a float32 weight, in place."""
    graph = model.graph
    stored = {tensor.name: tensor for tensor in graph.initializer}
    for node in [n for n in graph.node if n.op_type == "Cast" and n.input[0] in stored]:
        tensor = stored[node.input[0]]
        values = numpy_helper.to_array(tensor).astype(np.float32)
        graph.initializer.remove(tensor)
        graph.initializer.append(numpy_helper.from_array(values, node.output[0]))
        graph.node.remove(node)
