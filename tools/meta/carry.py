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
from metatrack.runtime.torch_weights import read_networks
from tools.meta.learn import begin_with, probed


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
    weight = read_networks(bundle).readout.weight
    learner = PolynomialLearner(weight.shape[1], weight.shape[0], weight)
    begin_with(learner, options.init)
    old = open_bundle(options.init).card
    facts: dict[str, Any] = {"training": {**old["training"]["meta"], "carried over": "trained with an earlier matching network"}}
    facts["tracking"] = {"update_choice": old["tracking"].get("update_choice", "softmax")}
    summary = probed(bundle, learner.eval(), facts, options.val_mix, options.probe, options.out)
    replace_learner(bundle, learner, {**facts, "adaptation": summary}, options.out)
    print(json.dumps(summary))


if __name__ == "__main__":
    main(tyro.cli(CarryOptions))
