"""``metatrack train matching``, ``meta``, ``average`` and ``probe``: the training loop prints its own progress."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from metatrack.app.problem import INCOMPLETE, Problem, user_input
from metatrack.app.stop import StopRequest
from metatrack.runtime.bundle import open_bundle
from metatrack.runtime.load import load_model
from metatrack.runtime.torch_weights import read_networks
from metatrack.training.matching import MatchingConfig, train_matching
from metatrack.training.meta import MetaConfig, train_meta
from metatrack.training.mix import load_mix
from metatrack.training.probe import probe as measure
from metatrack.training.probe import sentence
from metatrack.training.processes import leave
from metatrack.training.run import Outcome, RunConfig, Stop
from metatrack.training.weights import average_weights

C = TypeVar("C", bound=RunConfig)


def matching(config: MatchingConfig) -> int:
    """Trains the matching network; returns the exit code."""
    return _train(train_matching, config)


def meta(config: MetaConfig) -> int:
    """Trains the meta-learner; returns the exit code."""
    return _train(train_meta, config)


def _train(train: Callable[[C, Stop], Outcome], config: C) -> int:
    """Trains until the end, or until Ctrl-C or SIGTERM, which the batch in hand and a checkpoint come before."""
    try:
        with StopRequest() as request, user_input():  # the whole run: data is read, and found wanting, on the way
            outcome = train(config, lambda: request.signal is not None)
    except ModuleNotFoundError as error:
        raise Problem(f"--tensorboard needs {error.name}: pip install {error.name}") from error
    if not outcome.finished:
        print(f"stopped after batch {outcome.step} of {config.iterations}; the same command goes on from there")
        return leave(128 + request.signal if request.signal is not None else INCOMPLETE)
    print(f"best weights on validation: {outcome.best}")
    return leave(0)


@dataclass(frozen=True)
class AverageOptions:
    """Averages the weights of several runs of ``train matching`` that started from the same weights with the same seed."""

    weights: tuple[Path, ...]
    """last.pt or best.pt of each run."""
    out: Path
    """File of the mean, for ``train meta`` and ``export``."""


def average(options: AverageOptions) -> int:
    """Averages; returns the exit code."""
    with user_input():
        print(f"mean of {len(options.weights)} runs: {average_weights(options.weights, options.out)}")
    return 0


@dataclass(frozen=True)
class ProbeOptions:
    """Measures whether a model's kernels fit their own target: against none, another target's, and one bank for all."""

    mix: Path
    """JSON file of videos that neither of the model's networks has seen (configs/val.json)."""
    model: str = "lite"
    """Name of a shipped model, or folder of a bundle."""
    targets: int = 300
    """Trajectories, at most; each is one target."""
    seed: int = 0
    """Of the choice of frames and of the warps."""


def probe(options: ProbeOptions) -> int:
    """Prints what was measured, as JSON, and the line that ``metatrack models`` shows of it; returns the exit code."""
    with user_input():
        bundle = open_bundle(options.model)
        model, networks = load_model(options.model), read_networks(bundle)
        last = networks.readout.weight.numpy(), networks.readout.bias.numpy()
        summary = measure(model, last, load_mix(options.mix), options.targets, options.seed).summary()
    print(json.dumps(summary, indent=2))
    print(sentence(summary))
    return 0
