"""``python -m tools.meta.carry``: the meta-learner of one bundle for the matching network of another, which was trained further.

A polynomial sees its matching network through W⁺ alone. Where that network has been trained on, or averaged with others, W⁺ is
made anew, and the learnt weights stay; whether they still answer to their targets, the probe says.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro

from metatrack.bundling.learner import replace_learner
from metatrack.model.polynomial import PolynomialLearner
from metatrack.runtime.bundle import open_bundle
from metatrack.runtime.load import load_model
from metatrack.runtime.torch_weights import read_networks
from metatrack.training.mix import load_mix
from metatrack.training.probe import probe, sentence
from tools.meta.learn import begin_with


@dataclass(frozen=True)
class CarryOptions:
    """Exchanges the meta-learner of a bundle for another bundle's."""

    init: str
    """Bundle that has the meta-learner, a polynomial."""
    model: str
    """Bundle that has the matching network."""
    val_mix: Path
    """JSON file of held-out targets for the probe (configs/meta-held.json)."""
    out: Path
    """Folder of the new bundle."""
    probe: int = 400
    """Held-out targets, at most."""


def main(options: CarryOptions) -> None:
    """Writes the bundle, probes it, and writes the card.

    Raises:
        ValueError: the meta-learner is no polynomial.
    """
    torch.set_num_threads(1)
    bundle = open_bundle(options.model)
    readout = read_networks(bundle).readout
    learner = PolynomialLearner(readout.weight.shape[1], readout.weight.shape[0], readout.weight)
    begin_with(learner, options.init)
    old = open_bundle(options.init).card
    facts: dict[str, Any] = {"training": {**old["training"]["meta"], "carried over": "trained with an earlier matching network"}}
    facts["tracking"] = {"update_choice": old["tracking"].get("update_choice", "softmax")}
    replace_learner(bundle, learner.eval(), {**facts, "adaptation": {"sentence": ""}}, options.out)
    last = readout.weight.numpy(), readout.bias.numpy()
    summary = probe(load_model(options.out, 1), last, load_mix(options.val_mix), options.probe).summary()
    replace_learner(bundle, learner, {**facts, "adaptation": {**summary, "sentence": sentence(summary)}}, options.out)
    print(json.dumps(summary))


if __name__ == "__main__":
    main(tyro.cli(CarryOptions))
