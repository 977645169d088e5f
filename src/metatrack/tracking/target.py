"""The state of one target."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar

from metatrack.arrays import Float32
from metatrack.geometry import EXEMPLAR_SIZE, SEARCH_SIZE, Center, context_side
from metatrack.tracking.adaptation import Adaptation
from metatrack.tracking.distractors import Distractor
from metatrack.tracking.judging import Sighting
from metatrack.tracking.motion import Course
from metatrack.tracking.opinion import Alike

A = TypeVar("A")
"""What a searcher keeps of a target's appearance."""


@dataclass
class TargetState(Generic[A]):
    """Everything that belongs to one target, and nothing of the model."""

    center: Center  # s of Algorithm 1: the last state
    first_size: tuple[float, float]
    appearance: A
    adaptation: Adaptation
    distractors: list[Distractor] = field(default_factory=list)
    sighting: Sighting = field(default_factory=Sighting)
    frame: int = 0  # frames since the first
    motion: Course = field(default_factory=Course)
    alike: Alike = field(default_factory=Alike)
    beside: list[tuple[float, float]] = field(default_factory=list)  # places of other targets, in image pixels
    taken: list[tuple[float, float]] = field(default_factory=list)  # of one to which this one had to yield its place

    @property
    def side(self) -> float:
        """Side of a whole context around the target, in image pixels."""
        return context_side(self.center.w, self.center.h) * SEARCH_SIZE / EXEMPLAR_SIZE

    @property
    def w_target(self) -> Float32:
        """The target-specific kernels of equation (4): ``(32, C)``, or ``(0, C)`` before there are any."""
        return self.adaptation.w_target
