"""From trained networks to a model bundle: ONNX graphs and a card (see :mod:`metatrack.runtime.bundle`)."""

from __future__ import annotations

import datetime
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import onnx
import torch
from torch import Tensor, nn
from torch.export import Dim

from metatrack.arrays import Array
from metatrack.bundling.quantise import FLOAT_CONVOLUTIONS, embed_graph, quantise_head, quantise_trunk
from metatrack.bundling.replacing import replacing_bundle
from metatrack.bundling.storage import store_bytes, store_half
from metatrack.bundling.strip import strip
from metatrack.geometry import EXEMPLAR_SIZE, PARTS, SEARCH_SIZE
from metatrack.model.box import BoxNetwork, parts
from metatrack.model.features import center_cells
from metatrack.model.graphs import AdaptGraph, EmbedGraph, LocateGraph, MatchGraph
from metatrack.model.learners import Learner
from metatrack.model.matching import MatchingNetwork, Readout
from metatrack.model.meta import SUPPORT, TARGET_KERNELS
from metatrack.runtime.bundle import CARD, GRAPHS, file_facts
from metatrack.runtime.model import SIGNATURES, feeds
from metatrack.runtime.torch_weights import architecture
from metatrack.training.sampling import BoxPair

SMALL = {"box_search.small_size": 191}
"""Small contexts, for a new model with a box head: its graphs take contexts of any size; graphs of older bundles do not."""


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
    network: MatchingNetwork, learner: Learner | None, info: CardInfo, out: Path, examples: Sequence[BoxPair[Array]] = ()
) -> Path:
    """Writes the bundle folder ``out``: all of it or, on an error, nothing.

    Args:
        network, info: the matching network, and facts for the card.
        learner: None for a model that cannot adapt (the ablation).
        out: the folder; an older bundle is replaced.
        examples: training pairs to calibrate trunk and box head in 8 bits on; without them, none is made. A trunk of
            MobileNetV3 stays in float32.

    Raises:
        ValueError: ``out`` holds something else than a bundle.
        BlockingIOError: another process is exporting there.
    """
    network.eval()
    with replacing_bundle(out) as made, tempfile.TemporaryDirectory() as folder:
        for spec in graph_specs(network, learner):
            export_graph(spec, made / GRAPHS[spec.name])
            if examples and spec.name == "embed" and network.trunk_name in FLOAT_CONVOLUTIONS:
                plain = Path(folder) / GRAPHS["embed"]
                export_graph(spec._replace(module=embed_graph(network.trunk)), plain)
                quantise_trunk(plain, network.trunk_name, examples, made / GRAPHS["embed_int8"])
            if examples and isinstance(network, BoxNetwork) and spec.name == "locate":
                feeds = [_feed(network, pair) for pair in examples]
                quantise_head(made / GRAPHS["locate"], feeds, made / GRAPHS["locate_int8"])
        card = _card(network, learner, info, [made / file for file in GRAPHS.values() if (made / file).exists()])
        (made / CARD).write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    return out


def _card(network: MatchingNetwork, learner: Learner | None, info: CardInfo, graphs: Sequence[Path]) -> dict[str, Any]:
    shape = architecture(network, learner)
    if any(file.name == GRAPHS["embed_int8"] for file in graphs):
        shape["float_layers"] = FLOAT_CONVOLUTIONS[network.trunk_name]
    return {
        "format": 1,
        "name": info.name,
        "description": info.description,
        "licence": info.licence,
        "architecture": shape,
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
        "files": {file.name: file_facts(file) for file in graphs},
    }


def _feed(network: BoxNetwork, pair: BoxPair[Array]) -> dict[str, Array]:
    """What the locate graph is given of one pair, before the first update."""
    images = [torch.from_numpy(image).permute(2, 0, 1)[None].float() for image in (pair.template, pair.search)]
    size = torch.from_numpy(pair.template_size)[None]
    with torch.no_grad():
        whole, context = (network.trunk.embed(image) for image in images)
        k = network.trunk.template_cells
        search = center_cells(context, k + network.response_cells - 1)
        inputs = center_cells(whole, k), parts(whole, size), search, torch.zeros(1, 0, network.trunk.channels), size
    return feeds("locate", *(each.numpy() for each in inputs))


class GraphSpec(NamedTuple):
    """What an exporter is told of a graph; the names of inputs and outputs are those of ``runtime.model.SIGNATURES``."""

    name: str  # one of :data:`metatrack.runtime.model.SIGNATURES`
    module: nn.Module  # takes the inputs in their order
    example: tuple[Tensor, ...]  # inputs; their values do not matter
    dynamic: tuple[dict[int, Any], ...] | None = None  # for each input, the axes whose length may differ from the example's


def graph_specs(network: MatchingNetwork, learner: Learner | None) -> Iterator[GraphSpec]:
    """The graphs of a model in float32, in the order in which a frame goes through them."""
    c, k, r = network.trunk.channels, network.trunk.template_cells, network.response_cells
    n, m, rows = Dim("n", min=1, max=4096), Dim("m", min=1, max=4096), Dim("rows", min=0, max=1024)
    # Square patches of either size go through one graph.
    height, width, cells = Dim("h", min=64), Dim("w", min=64), Dim("cells", min=k + 2, max=256)
    crops = torch.randint(0, 256, (2, SEARCH_SIZE, SEARCH_SIZE, 3), dtype=torch.uint8)
    yield GraphSpec("embed", EmbedGraph(network.trunk), (crops,), ({0: n, 1: height, 2: width},))
    template, search = torch.randn(3, c, k, k), torch.randn(3, c, k + r - 1, k + r - 1)
    if isinstance(network, BoxNetwork):
        size, parts = torch.rand(3, 2) * 60 + 30, torch.randn(3, c, PARTS, PARTS)
        yield GraphSpec(
            "locate",
            LocateGraph(network.readout(), network.box),
            (template, parts, search, torch.randn(3, TARGET_KERNELS, c), size),
            ({0: n}, {0: n}, {0: n, 2: cells, 3: cells}, {0: n, 1: rows}, {0: n}),
        )
    else:
        example = (template, search[:2], torch.randn(TARGET_KERNELS, c))
        yield GraphSpec("match", MatchGraph(network.readout()), example, ({0: m}, {0: n}, {0: rows}))
    if learner is not None:
        yield adapt_spec(network.readout(), learner, k, r)


def adapt_spec(readout: Readout, learner: Learner, k: int, r: int) -> GraphSpec:
    """The meta-learner and the gradient that it is given, for templates of k cells and responses of r."""
    channels = readout.weight.shape[1]
    labels = torch.where(torch.rand(SUPPORT, r, r) > 0.5, 1.0, -1.0)
    support = torch.randn(SUPPORT, channels, k + r - 1, k + r - 1)
    return GraphSpec("adapt", AdaptGraph(readout, learner), (torch.randn(1, channels, k, k), support, labels))


def export_graph(spec: GraphSpec, path: Path) -> None:
    """Exports one graph and stores its large weights in float16 (they are cast back when the session is made)."""
    signature = SIGNATURES[spec.name]
    with torch.no_grad():
        program = torch.onnx.export(
            spec.module.eval(),
            spec.example,
            dynamo=True,
            input_names=list(signature.inputs),
            output_names=list(signature.outputs),
            dynamic_shapes=spec.dynamic,
            verbose=False,
            opset_version=18,
        )
    if program is None:
        raise RuntimeError(f"torch could not export {spec.name}")
    model = program.model_proto
    store_half(model)
    if spec.name == "adapt":
        store_bytes(model)
    strip(model)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
