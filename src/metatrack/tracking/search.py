"""What every way of searching a context has in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Literal, NamedTuple, Protocol, TypeAlias

import numpy as np

from metatrack.arrays import Float32, Float64, Floats, UInt8
from metatrack.geometry import Center
from metatrack.tracking.acceptance import Scorer
from metatrack.tracking.checked import Checked, Limit, Share
from metatrack.tracking.patches import Patches
from metatrack.tracking.target import TargetState

WindowForm: TypeAlias = Literal["sum", "product"]
"""How the cosine window is applied to a response."""


@dataclass(frozen=True)
class SearchSettings(Checked):
    """What holds for both ways of searching."""

    window: Share = 0.176
    """Weight of the cosine window h against the response; SiamFC's value, unsaid in the paper."""
    window_form: WindowForm = "sum"
    """How the window is applied. 'sum': response and window are summed with weights 1 - w and w, as in SiamFC. 'product': the
    response is multiplied by 1 - w + w h, which with w = 1 is the paper's product."""
    size_limits: Annotated[
        tuple[float, float], Limit(lambda limits: 0 < limits[0] <= 1 <= limits[1], "must enclose 1, and be above 0")
    ] = (0.2, 5.0)
    """Smallest and largest size, as factors of the first, as in SiamFC."""


class Candidate(NamedTuple):
    """The best answer of one search."""

    displacement: tuple[float, float]  # of the target's centre from the context's, x, y in cells of that context
    growth: tuple[float, float]  # the target's width and height, as factors of the last ones
    rate: float  # weight of that size against the last one
    response: Float32  # (r, r) logits of equation (4) in that context
    peak: float  # the logit that the score is made of: without the cosine window
    context: int = 0  # which of the contexts searched it is
    zoom: float = 1.0  # that context's side, as a factor of a whole one's at the last size
    distractors: tuple[tuple[float, float], ...] = ()  # displacements of what looks like the target
    rival: Candidate | None = None  # a better answer, at a place that the target's motion does not explain


class Searcher(Protocol):
    """A way of searching contexts for a target: what it keeps of the target, where it looks, and how it reads the answer.

    ``appearance`` and ``response`` are what the searcher itself makes, and nobody else looks into them. What has a default here
    is done with a box head alone: the paper keeps the first frame's template, so there is nothing to update or to doubt.
    """

    def appearance(self, patches: Patches, center: Center) -> Any:
        """What is kept of the target from its first frame."""

    def follow(self, target: TargetState[Any], patches: Patches, score: float) -> None:
        """Template update: lets what is kept follow the target, if it is surely seen."""
        return

    def template(self, target: TargetState[Any]) -> Float32:
        """The template at the last scale: ``(1, C, k, k)``."""

    def contexts(self, target: TargetState[Any], patches: Patches) -> UInt8:
        """The contexts to search around the target's last place: ``(n, s, s, 3)``."""

    def respond(self, target: TargetState[Any], features: Float32) -> Any:
        """The networks' response to contexts of one target, by their features ``(n, C, h, w)``."""

    def respond_together(self, targets: Sequence[TargetState[Any]], features: Float32) -> Sequence[Any] | None:
        """The responses for several targets with a context each, from one call; None where that gains nothing."""
        return None

    def find(self, target: TargetState[Any], response: Any, place: tuple[float, float] | None = None) -> Candidate:
        """Scale and place of the highest response under the cosine window.

        Args:
            target: as it was in the last frame.
            response: to the contexts around its last place, or to a single one around
            place: elsewhere in the image. There the window, which favours the last place, has nothing to say.
        """

    def alike(self, target: TargetState[Any], features: Float32, found: Candidate) -> float | None:
        """How much what was found looks like the target's first frame, in -1..1, by the contexts' features; None: not asked."""
        return None

    def moved(self, target: TargetState[Any], found: Candidate, patches: Patches, rate: float) -> Center:
        """The target's new place, and its size, which moves to the found one at this rate."""

    def scorer(self, target: TargetState[Any]) -> Scorer:
        """The logits of contexts, by the template as it is now: what else becomes of the target does not change them."""


def finite(logits: Float32) -> Float32:
    """The same, finite; a network that answers with no number sees nothing there."""
    return logits if np.isfinite(logits).all() else np.nan_to_num(logits, nan=-60.0, posinf=60.0, neginf=-60.0)


def sigmoid(logits: Floats) -> Floats:
    """Probabilities."""
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -60, 60))))


def windowed(strength: Floats, window: Float64, weight: float, form: WindowForm = "sum") -> Floats:
    """A response under the cosine window, which counts for ``weight``: see :class:`SearchSettings`.

    >>> windowed(np.array([0.5, 1.0]), np.array([1.0, 0.2]), 1.0, "product")
    array([0.5, 0.2])
    """
    if form == "product":
        return strength * (1 - weight + weight * window)
    return (1 - weight) * strength + weight * window


@lru_cache(maxsize=4)
def cosine_window(size: int, whole: int | None = None) -> Float64:
    """The window h of Algorithm 1, 1 at the centre: the middle ``size x size`` of one for ``whole`` positions per side."""
    whole = whole or size
    first = (whole - size) // 2
    line = np.hanning(whole + 2)[1:-1][first : first + size]
    window = np.outer(line, line)
    window.setflags(write=False)
    return window


def moved_window(size: int, whole: int, x: float, y: float) -> Float64:
    """:func:`cosine_window`, its middle moved by so many positions.

    >>> moved_window(3, 5, 1.0, 0.0).round(2).tolist()[1]
    [0.25, 0.75, 1.0]
    """
    if x == y == 0:
        return cosine_window(size, whole)
    steps = np.arange(size) - (size - 1) / 2
    lines = (np.cos(np.pi * ((steps - at) / (whole + 1)).clip(-0.5, 0.5)) ** 2 for at in (x, y))
    across, down = lines
    return np.outer(down, across)


def resized(
    target: TargetState[Any], growth: tuple[float, float], rates: tuple[float, float], limits: tuple[float, float]
) -> tuple[float, float]:
    """Width and height after a frame: damped, and never less than a pixel.

    Args:
        growth: of width and height, as factors of the last ones.
        rates: weights of the new width and height against the last ones.
        limits: smallest and largest size, as factors of the first.
    """
    w, h = (
        max(1.0, min(max(last * (1 - rate + rate * factor), first * limits[0]), first * limits[1]))
        for last, factor, rate, first in zip(target.center[2:], growth, rates, target.first_size, strict=True)
    )
    return w, h
