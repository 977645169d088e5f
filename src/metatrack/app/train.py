"""``metatrack train matching``, ``train meta`` and ``train average``: the training loops print their own progress."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path

from metatrack.app.problem import Problem, user_input
from metatrack.training.matching import MatchingConfig, average_weights, train_matching
from metatrack.training.meta import MetaConfig, train_meta


def matching(config: MatchingConfig) -> int:
    """Trains the matching network; returns the exit code.

    Raises:
        Problem: the data, the folder or a setting cannot be used.
    """
    try:
        with user_input():  # the whole run: data is read, and found wanting, on the way
            best = train_matching(config)
    except ModuleNotFoundError as error:
        raise Problem(f"--tensorboard needs {error.name}: pip install {error.name}") from error
    print(f"best weights on validation: {best}")
    return 0


def meta(config: MetaConfig) -> int:
    """Trains the meta-learner; returns the exit code.

    Raises:
        Problem: the data, the weights, the folder or a setting cannot be used.
    """
    with user_input():
        best = train_meta(config)
    print(f"best weights on validation: {best}")
    return 0


@dataclass(frozen=True)
class AverageOptions:
    """Averages the weights of several runs of ``train matching`` that started from the same weights with the same seed."""

    weights: tuple[Path, ...]
    """last.pt or best.pt of each run."""
    out: Path
    """File of the mean, for ``train meta`` and ``export``."""


def average(options: AverageOptions) -> int:
    """Averages; returns the exit code.

    Raises:
        Problem: a file cannot be used, or the networks are of different form.
    """
    with user_input(RuntimeError, KeyError, pickle.UnpicklingError, EOFError):
        print(f"mean of {len(options.weights)} runs: {average_weights(options.weights, options.out)}")
    return 0
