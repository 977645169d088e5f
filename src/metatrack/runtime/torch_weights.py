"""The networks that a bundle's float graphs were made of: weights are read off the graphs, so that all engines share one file."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import torch
from onnx import TensorProto, numpy_helper
from torch import Tensor, nn

from metatrack.model.box import BoxHead, BoxNetwork, make_network
from metatrack.model.features import STRIDE, Trunk
from metatrack.model.learners import Learner, facts_of, make_learner
from metatrack.model.matching import MatchingNetwork, Readout
from metatrack.model.meta import SUPPORT, TARGET_KERNELS
from metatrack.runtime.bundle import Bundle, BundleError

HALF, BYTES, SCALE = "_half", "_bytes", "_scale"
"""What the names of stored weights end with (:mod:`metatrack.bundling.storage`): of one in float16, and of the parts of a matrix
in 8 bits."""


class Networks(NamedTuple):
    """What the graphs of a bundle are made of."""

    trunk: Trunk
    readout: Readout
    head: BoxHead | None
    learner: Learner | None

    def to(self, device: torch.device) -> Networks:
        readout = Readout(*(each.to(device) for each in self.readout))
        head = None if self.head is None else self.head.to(device)
        learner = None if self.learner is None else self.learner.to(device)
        return Networks(self.trunk.to(device), readout, head, learner)


def networks_of(network: MatchingNetwork, learner: Learner | None) -> Networks:
    """What the graphs of a network are made of; nothing is copied but the readout, which no gradient comes back through."""
    head = network.box if isinstance(network, BoxNetwork) else None
    return Networks(network.trunk, Readout(*(each.detach().clone() for each in network.readout())), head, learner)


def architecture(network: MatchingNetwork, learner: Learner | None) -> dict[str, Any]:
    """What a card says of the networks."""
    k, r = network.trunk.template_cells, network.response_cells
    return {
        "trunk": network.trunk_name,
        "kernels": network.kernels,
        "target_kernels": TARGET_KERNELS if learner is not None else 0,
        "channels": network.trunk.channels,
        "template_cells": k,
        "search_cells": k + r - 1,
        "response_cells": r,
        "stride": STRIDE,
        "support": SUPPORT if learner is not None else 0,
        **({} if learner is None else facts_of(learner)),
    }


def read_networks(bundle: Bundle) -> Networks:
    """A bundle's networks, ready to be asked, in float32 on the CPU.

    Raises:
        BundleError: the card or a graph lacks something, or the meta-learner belongs to another network.
    """
    card, name = bundle.card, "locate" if bundle.graph("locate") else "match"
    lacking = [key for key in ("trunk", "kernels") if key not in card["architecture"]]
    if lacking:
        raise BundleError(f"model {card['name']!r}: the card's architecture lacks {', '.join(lacking)}")
    embed, last = _Constants(bundle, "embed"), _Constants(bundle, name)
    with torch.device("meta"):  # shapes alone: all weights come from the bundle
        network = make_network(card["architecture"]["trunk"], card["architecture"]["kernels"], name == "locate")
        learner = _learner(card["architecture"], network) if bundle.graph("adapt") else None
    embed.fill(network.trunk, "trunk")
    head = network.box if isinstance(network, BoxNetwork) else None
    if head is not None:
        last.fill(head, "head")
    weight = last.take("weight", (network.kernels, network.trunk.channels))
    if learner is not None:
        adapt = _Constants(bundle, "adapt")
        adapt.fill(learner, "learner")
        if not torch.equal(adapt.take("weight", tuple(weight.shape)), weight):
            raise BundleError(f"{adapt.file} belongs to another network than {last.file}: export the model again")
    bias, gain, offset = last.take("bias", (network.kernels,)), last.take("gain", ()), last.take("offset", ())
    return Networks(network.trunk, Readout(weight, bias, gain, offset), head, learner)


def _learner(form: Mapping[str, Any], network: MatchingNetwork) -> Learner:
    """The meta-learner that a card's architecture tells of, without weights; older cards tell less."""
    facts = form.get("balanced", True), form.get("energy", 1.0)
    return make_learner(form.get("meta_learner", "printed"), network.trunk.channels, network.kernels, *facts)


class _Constants:
    """Float constants of one of a bundle's graphs, in float32, by the names that the parameters have in torch."""

    def __init__(self, bundle: Bundle, name: str) -> None:
        file = bundle.graph(name)
        if file is None:
            raise BundleError(f"model {bundle.card['name']!r} has no graph {name!r} in float, which the torch engine needs")
        self.file, self.found = file, weights(file, bundle.content(name))

    def take(self, name: str, shape: tuple[int, ...]) -> Tensor:
        self._check({name: shape})
        return self.found[name]

    def fill(self, module: nn.Module, prefix: str) -> None:
        """Gives a module, whose tensors have no memory yet, the weights that it had when the graph was made."""
        self._fold(module, prefix)
        for name in module.state_dict():
            if name.endswith("num_batches_tracked"):  # counts in training alone, and no graph has it
                self.found[f"{prefix}.{name}"] = torch.tensor(0)
        wanted = {f"{prefix}.{name}": tuple(value.shape) for name, value in module.state_dict().items()}
        self._check(wanted)
        module.load_state_dict({name.removeprefix(f"{prefix}."): self.found[name] for name in wanted}, assign=True)
        module.eval().requires_grad_(False)

    def _fold(self, module: nn.Module, prefix: str) -> None:
        """Where a batch norm is not in the graph, the exporter folded it into the convolution before it: so it is here."""
        for path, layers in list(module.named_modules(prefix=prefix)):
            for i, (conv, norm) in enumerate(pairwise(layers if isinstance(layers, nn.Sequential) else ())):
                known = f"{path}.{i + 1}.running_var" in self.found
                if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d) and not known:
                    conv.bias = nn.Parameter(torch.empty(conv.out_channels, device="meta"))
                    layers[i + 1] = nn.Identity()

    def _check(self, wanted: Mapping[str, tuple[int, ...]]) -> None:
        missing = [
            f"{name} {list(shape)}"
            for name, shape in wanted.items()
            if name not in self.found or tuple(self.found[name].shape) != shape
        ]
        if missing:
            more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
            raise BundleError(f"{self.file} lacks {', '.join(missing[:3])}{more}: export the model again, or use onnxruntime")


def weights(file: Path, data: bytes) -> dict[str, Tensor]:
    """Float constants of a graph, in float32, by the names that their parameters have in torch.

    Where a batch norm was folded into the convolution before it, torch's exporter calls the bias that comes of it
    ``LAYER.weight_bias``.

    Raises:
        BundleError: the file is no ONNX graph.
    """
    try:
        constants = onnx.load_from_string(data).graph.initializer
    except Exception as error:  # protobuf raises its own unrelated class
        raise BundleError(f"{file}: onnx {onnx.__version__} cannot read the graph: {error}") from error
    found = {}
    arrays = {constant.name: numpy_helper.to_array(constant) for constant in constants if constant.name.endswith((BYTES, SCALE))}
    for constant in constants:
        name = constant.name.removesuffix(BYTES)
        if name != constant.name:
            scale = arrays[name + SCALE].astype(np.float32)
            found[name] = torch.from_numpy(arrays[constant.name].astype(np.float32) * scale[:, None])
        if constant.data_type not in (TensorProto.FLOAT, TensorProto.FLOAT16):
            continue
        name = constant.name.removesuffix(HALF)
        if name.endswith(".weight_bias"):
            name = name.removesuffix("weight_bias") + "bias"
        found[name] = torch.from_numpy(numpy_helper.to_array(constant).astype(np.float32))
    return found
