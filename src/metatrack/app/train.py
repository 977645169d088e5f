"""``metatrack train matching`` and ``metatrack train meta``: the training loops print their own progress."""

from __future__ import annotations

from metatrack.app.problem import Problem, user_input
from metatrack.training.matching import MatchingConfig, train_matching
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
