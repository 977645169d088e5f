"""``python -m tools.graft``: a new trunk under a trained box head, to train on from.

A box head reads how parts of the target agree with cells of the context, and hardly the features themselves: it is worth keeping
where the trunk is another. The batch norms of a shipped model are folded into what they follow. Here they get the statistics that
they have on training pairs again, and answer as before, so that the head may be trained with batch norms like any new one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
from torch import Tensor, nn

from metatrack.model.box import BoxNetwork
from metatrack.runtime.bundle import BundleError
from metatrack.training.loading import SampleSet, load_batches
from metatrack.training.matching import MatchingConfig, box_head_losses
from metatrack.training.mix import load_mix
from metatrack.training.precision import choose_precision
from metatrack.training.sampling import PairSampler
from metatrack.training.weights import load_matching, new_network, save_atomically
from metatrack.version import code_version

BATCH = 32  # pairs


@dataclass(frozen=True)
class GraftOptions:
    """Puts a new trunk under a trained box head."""

    nanotrack: Path
    """nanotrackv3/nanotrack_backbone.onnx (docs/training.md says where it is)."""
    mix: Path
    """JSON file of training data, off which the batch norms' statistics are read."""
    out: Path
    """File of weights for ``metatrack train matching --trunk mobile --init``."""
    head: Path = Path("lite")
    """Model with the box head."""
    batches: int = 8
    """Of 32 pairs."""
    seed: int = 1


class Moments:
    """Mean and variance of every channel of what a layer is given."""

    def __init__(self) -> None:
        self.sum, self.squares, self.batches = torch.zeros(()), torch.zeros(()), 0

    def note(self, layer: nn.Module, given: tuple[Tensor, ...], answer: Tensor) -> None:
        """A forward hook."""
        values = given[0].detach().float()
        self.sum = self.sum + values.mean((0, 2, 3))
        self.squares = self.squares + values.square().mean((0, 2, 3))
        self.batches += 1

    def norm(self, layer: nn.BatchNorm2d) -> dict[str, Tensor]:
        """The state of a batch norm with these statistics that answers as the layer, which only adds its bias."""
        mean = self.sum / self.batches
        variance = (self.squares / self.batches - mean.square()).clamp(min=1e-6)
        return {
            "weight": (variance + layer.eps).sqrt(),
            "bias": mean + layer.bias.detach(),
            "running_mean": mean,
            "running_var": variance,
            "num_batches_tracked": torch.tensor(0),
        }


def measured(head: nn.Module, run: Callable[[], None]) -> Mapping[str, Moments]:
    """What the batch norms of a head are given while something runs, by their names."""
    found = {name: Moments() for name, layer in head.named_modules() if isinstance(layer, nn.BatchNorm2d)}
    hooks = [head.get_submodule(name).register_forward_hook(each.note) for name, each in found.items()]
    run()
    for hook in hooks:
        hook.remove()
    return found


def refresh(head: nn.Module, moments: Mapping[str, Moments]) -> None:
    """Gives a head's batch norms statistics; its answers stay as they are."""
    for name, each in moments.items():
        layer = head.get_submodule(name)
        if isinstance(layer, nn.BatchNorm2d):
            layer.load_state_dict(each.norm(layer))


def main(options: GraftOptions) -> None:
    """Writes the file of weights."""
    torch.manual_seed(options.seed)
    try:
        given = load_matching(options.head)
        network: Any = new_network("mobile", given.kernels, True, None, None, nanotrack=options.nanotrack)
        sampler = PairSampler(load_mix(options.mix), options.seed)
    except (OSError, ValueError, BundleError) as error:
        raise SystemExit(str(error)) from error
    if not isinstance(given, BoxNetwork):
        raise SystemExit(f"--head: model {options.head} has no box head")
    config = MatchingConfig(mix=options.mix, val_mix=options.mix, out=options.out, boxes=True)
    pairs = SampleSet(sampler.box_pair, 0, BATCH * options.batches)
    precision = choose_precision("float32")

    def run() -> None:
        with torch.no_grad():
            for batch in load_batches(pairs, BATCH, 0):
                box_head_losses(given, batch, config, precision)

    refresh(given.box, measured(given.box, run))
    network.box.load_state_dict(given.box.state_dict())
    network.log_gain.data.copy_(given.log_gain.data)
    network.bias.data.copy_(given.bias.data)
    form = {"trunk": "mobile", "kernels": given.kernels, "boxes": True}
    save_atomically({"network": network.state_dict(), "config": form, "step": 0, "commit": code_version()}, options.out)


if __name__ == "__main__":
    main(tyro.cli(GraftOptions))
