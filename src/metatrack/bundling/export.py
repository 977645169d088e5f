"""From trained networks to a model bundle: ONNX graphs and a card (see :mod:`metatrack.runtime.bundle`)."""

from __future__ import annotations

import datetime
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from metatrack.arrays import Float32
from metatrack.bundling.quantise import EmbedGraph, embed_graph, quantise_head, quantise_trunk
from metatrack.geometry import EXEMPLAR_SIZE, PARTS, SEARCH_SIZE
from metatrack.model.box import BoxNetwork, locate, parts
from metatrack.model.features import STRIDE, center_cells
from metatrack.model.matching import MatchingNetwork, Readout
from metatrack.model.meta import SUPPORT, TARGET_KERNELS, MetaLearner, adapted_response, loss_gradient
from metatrack.runtime.bundle import CARD, GRAPHS, sha256
from metatrack.training.sampling import BoxPair

SMALL = {"near_size": 191}
"""Small contexts, for a new model with a box head: its graphs take contexts of any size; graphs of older bundles do not."""
HALF_FROM = 256
"""Weights of fewer elements stay in float32."""


class MatchGraph(nn.Module):
    """Equations (1) and (4): features of templates and contexts, and w_target (of no rows before the first update) -> logits."""

    weight: Tensor
    bias: Tensor
    gain: Tensor
    offset: Tensor

    def __init__(self, network: MatchingNetwork) -> None:
        super().__init__()
        for name, value in network.readout()._asdict().items():
            self.register_buffer(name, value.detach().clone())

    @property
    def readout(self) -> Readout:
        """Of the network."""
        return Readout(self.weight, self.bias, self.gain, self.offset)

    def forward(self, template: Tensor, search: Tensor, w_target: Tensor) -> Tensor:
        return adapted_response(template, search, self.readout, w_target)


class LocateGraph(MatchGraph):
    """Equation (4) and the box head for n targets: features, w_target of each, sizes -> response, score, sides."""

    def __init__(self, network: BoxNetwork) -> None:
        super().__init__(network)
        self.head = network.box

    def forward(  # type: ignore[override]
        self, template: Tensor, target: Tensor, search: Tensor, w_target: Tensor, size: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        return locate(self.head, template, target, search, self.readout, w_target, size)


class AdaptGraph(MatchGraph):
    """Equations (2) and (3): template, M contexts and their labels -> w_target."""

    def __init__(self, network: MatchingNetwork, learner: MetaLearner) -> None:
        super().__init__(network)
        self.learner = learner

    def forward(self, template: Tensor, support: Tensor, labels: Tensor) -> Tensor:
        kernels: Tensor = self.learner(loss_gradient(template, support[None], labels[None], self.readout))[0]
        return kernels


@dataclass(frozen=True)
class CardInfo:
    """What only a person, or the training run, knows about a model; the rest of the card is read off the networks."""

    name: str
    description: str
    licence: str
    data: list[dict[str, Any]]
    training: dict[str, Any]
    tracking: dict[str, Any] = field(default_factory=dict)
    calibration: dict[str, Any] = field(default_factory=dict)


def export_bundle(
    network: MatchingNetwork,
    learner: MetaLearner | None,
    info: CardInfo,
    out: Path,
    examples: Sequence[BoxPair] = (),
) -> Path:
    """Writes the bundle folder ``out``: all of it or, on an error, nothing.

    Args:
        network: the matching network.
        learner: the meta-learner, or None for a model that cannot adapt (the ablation).
        info: facts for the card.
        out: the folder; an older one is replaced.
        examples: training pairs to calibrate trunk and box head in 8 bits on; without them, none is made.
    """
    network.eval()
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent) as folder:
        made = Path(folder) / out.name
        made.mkdir()
        r = network.response_cells
        c, k = network.trunk.channels, network.trunk.template_cells
        s = k + r - 1
        n, m = torch.export.Dim("n", min=1, max=4096), torch.export.Dim("m", min=1, max=4096)
        # Square patches of either size go through one graph.
        height, width = torch.export.Dim("h", min=64), torch.export.Dim("w", min=64)
        crops = torch.randint(0, 256, (2, SEARCH_SIZE, SEARCH_SIZE, 3), dtype=torch.uint8)
        _export(
            EmbedGraph(network.trunk),
            (crops,),
            made / GRAPHS["embed"],
            ["crops"],
            ["features"],
            ({0: n, 1: height, 2: width},),
        )
        template, search = torch.randn(3, c, k, k), torch.randn(3, c, s, s)
        rows, cells = torch.export.Dim("rows", min=0, max=1024), torch.export.Dim("cells", min=k + 2, max=256)
        if isinstance(network, BoxNetwork):
            _export(
                LocateGraph(network),
                (
                    template,
                    torch.randn(3, c, PARTS, PARTS),
                    search,
                    torch.randn(3, TARGET_KERNELS, c),
                    torch.rand(3, 2) * 60 + 30,
                ),
                made / GRAPHS["locate"],
                ["template", "parts", "search", "w_target", "size"],
                ["response", "logits", "sides"],
                ({0: n}, {0: n}, {0: n, 2: cells, 3: cells}, {0: n, 1: rows}, {0: n}),
            )
            graphs = ["embed", "locate"]
        else:
            _export(
                MatchGraph(network),
                (template, search[:2], torch.randn(TARGET_KERNELS, c)),
                made / GRAPHS["match"],
                ["template", "search", "w_target"],
                ["response"],
                ({0: m}, {0: n}, {0: rows}),
            )
            graphs = ["embed", "match"]
        if examples:
            plain = Path(folder) / "embed.onnx"
            _export(embed_graph(network.trunk), (crops,), plain, ["crops"], ["features"], ({0: n, 1: height, 2: width},))
            quantise_trunk(plain, network.trunk_name, examples, made / GRAPHS["embed_int8"])
            graphs.append("embed_int8")
            if isinstance(network, BoxNetwork):
                quantise_head(made / GRAPHS["locate"], [_feed(network, pair) for pair in examples], made / GRAPHS["locate_int8"])
                graphs.append("locate_int8")
        if learner is not None:
            learner.eval()
            graph = AdaptGraph(network, learner)
            labels = torch.where(torch.rand(4, r, r) > 0.5, 1.0, -1.0)
            support = torch.randn(4, c, s, s)
            _export(
                graph,
                (template[:1], support, labels),
                made / GRAPHS["adapt"],
                ["template", "support", "labels"],
                ["w_target"],
                None,
            )
            graphs.append("adapt")
        card = {
            "format": 1,
            "name": info.name,
            "description": info.description,
            "licence": info.licence,
            "architecture": {
                "trunk": network.trunk_name,
                "kernels": network.kernels,
                "target_kernels": TARGET_KERNELS if learner is not None else 0,
                "channels": c,
                "template_cells": k,
                "search_cells": s,
                "response_cells": r,
                "stride": STRIDE,
                "support": SUPPORT if learner is not None else 0,
            },
            "preprocessing": {
                "color": "RGB, uint8, (n, height, width, 3)",
                "template": f"{EXEMPLAR_SIZE} px: the square of side sqrt((w + p) (h + p)), p = (w + h) / 2, around the target",
                "search": f"{SEARCH_SIZE} px at the same resolution",
            },
            "data": info.data,
            "training": info.training,
            "tracking": {**(SMALL if isinstance(network, BoxNetwork) else {}), **info.tracking},
            "calibration": info.calibration,
            "exported": datetime.date.today().isoformat(),
            "files": {
                GRAPHS[g]: {"sha256": sha256(made / GRAPHS[g]), "bytes": (made / GRAPHS[g]).stat().st_size} for g in graphs
            },
        }
        (made / CARD).write_text(json.dumps(card, indent=2) + "\n")
        if out.exists():
            shutil.rmtree(out)
        os.replace(made, out)
    return out


def _feed(network: BoxNetwork, pair: BoxPair) -> dict[str, Float32]:
    """What the locate graph is given of one pair, before the first update."""
    images = [torch.from_numpy(image).permute(2, 0, 1)[None].float() for image in (pair.template, pair.search)]
    size = torch.from_numpy(pair.template_size)[None]
    with torch.no_grad():
        whole, context = (network.trunk.embed(image) for image in images)
        k = network.trunk.template_cells
        inputs = {
            "template": center_cells(whole, k),
            "parts": parts(whole, size),
            "search": center_cells(context, k + network.response_cells - 1),
            "w_target": torch.zeros(1, 0, network.trunk.channels),
            "size": size,
        }
    return {name: value.numpy() for name, value in inputs.items()}


def _export(
    module: nn.Module, example: tuple[Tensor, ...], path: Path, inputs: list[str], outputs: list[str], dynamic: Any
) -> None:
    """Exports one graph and stores its large weights in float16 (they are cast back when the session is made)."""
    with torch.no_grad():
        program = torch.onnx.export(
            module.eval(),
            example,
            dynamo=True,
            input_names=inputs,
            output_names=outputs,
            dynamic_shapes=dynamic,
            verbose=False,
            opset_version=18,
        )
    if program is None:
        raise RuntimeError(f"torch could not export {type(module).__name__}")
    model = program.model_proto
    store_half(model)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


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
        half = numpy_helper.from_array(values, tensor.name + "_half")
        casts.append(helper.make_node("Cast", [half.name], [tensor.name], to=TensorProto.FLOAT))
        graph.initializer[i].CopyFrom(half)
    nodes = list(graph.node)
    del graph.node[:]
    graph.node.extend([*casts, *nodes])
    # Shapes recorded for the float32 initializers are still right, as they are now outputs of the casts.


def round_to_half(module: nn.Module) -> None:
    """Rounds a module's weights as :func:`store_half` stores them, so that torch and onnxruntime hold the same numbers."""
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.numel() >= HALF_FROM:
                parameter.copy_(parameter.half().float())
