"""What is exported: a graph each, with which shapes, and which of them may differ from call to call."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim

from metatrack.geometry import PARTS, SEARCH_SIZE
from metatrack.model.box import BoxNetwork
from metatrack.model.graphs import AdaptGraph, EmbedGraph, LocateGraph, MatchGraph
from metatrack.model.learners import Learner
from metatrack.model.matching import MatchingNetwork, Readout
from metatrack.model.meta import SUPPORT, TARGET_KERNELS


@dataclass(frozen=True)
class GraphSpec:
    """What an exporter is told of a graph; the names of inputs and outputs are those of ``runtime.graph.SIGNATURES``."""

    name: str
    """One of :data:`metatrack.runtime.graph.SIGNATURES`."""
    module: nn.Module
    """Takes the inputs in their order."""
    example: tuple[Tensor, ...]
    """Inputs; their values do not matter."""
    dynamic: tuple[dict[int, Any], ...] | None = None
    """For each input, its axes whose length may differ from the example's; None where none does."""


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
