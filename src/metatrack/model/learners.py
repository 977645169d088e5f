"""The forms of g_θ by name, and what is the same for all: equations (2) and (3) in one, and the energy of the new kernels."""

from __future__ import annotations

from typing import Any, TypeAlias

import torch
from torch import Tensor

from metatrack.model.matching import Readout, project
from metatrack.model.meta import MetaLearner, Support, loss_gradient
from metatrack.model.mixing import SHARE, TINY, MixingLearner
from metatrack.model.polynomial import PolynomialLearner

Learner: TypeAlias = MetaLearner | MixingLearner | PolynomialLearner  # g_θ of any form
FORMS: dict[str, type[Learner]] = {"printed": MetaLearner, "mixing": MixingLearner, "polynomial": PolynomialLearner}
"""By name; 'printed' is the paper's."""


def target_kernels(learner: Learner, template: Tensor, support: Support, readout: Readout) -> Tensor:
    """Equations (2) and (3): w_target ``(n, 32, C)`` of n targets, from their templates' features ``(n, C, k, k)``."""
    return within_energy(learner, learner(loss_gradient(template, support, readout, learner.balanced)), template, readout)


def within_energy(learner: Learner, kernels: Tensor, template: Tensor, readout: Readout) -> Tensor:
    """A learner's kernels ``(n, 32, C)`` at the scale where they take its share of the template's squared features.

    So they cannot drown the old ones. Those of the printed form take its share at most.
    """
    if learner.energy >= 1:
        return kernels
    old = project(template, readout.weight, readout.bias).square().sum((1, 2, 3))
    new = torch.matmul(kernels, template.flatten(2)).square().sum((1, 2))
    scale = (learner.energy / (1 - learner.energy) * old / (new + TINY)).sqrt()
    return kernels * (scale.clamp(max=1.0) if isinstance(learner, MetaLearner) else scale)[:, None, None]


def make_learner(form: str, channels: int, kernels: int, balanced: bool = True, energy: float = 1.0) -> Learner:
    """A new g_θ.

    Args:
        form: its name, one of :data:`FORMS`.
        channels, kernels: C and K.
        balanced: whether δ is of the balanced loss (6).
        energy: what the kernels take of the template's squared features: of the printed form, at most; of the others, always, and
            1 stands for their usual share.

    Raises:
        ValueError: there is no such form.
    """
    if form not in FORMS:
        raise ValueError(f"unknown meta-learner {form!r}; there are {', '.join(FORMS)}")
    if form == "printed":
        return MetaLearner(channels, kernels, balanced=balanced, energy=energy)
    made: Learner = FORMS[form](channels, kernels, balanced=balanced)
    made.energy = energy if energy < 1 else SHARE
    return made


def facts_of(learner: Learner) -> dict[str, Any]:
    """What a card says of a learner, from which :func:`make_learner` makes another.

    >>> facts_of(MixingLearner())
    {'meta_learner': 'mixing', 'balanced': True, 'energy': 0.24}
    """
    form = next(name for name, kind in FORMS.items() if isinstance(learner, kind))
    return {"meta_learner": form, "balanced": learner.balanced, "energy": learner.energy}
