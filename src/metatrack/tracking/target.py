"""The state of one target: what is kept of it, how well it is seen, and how it is expected to move (not in the paper)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

from metatrack.arrays import Float32
from metatrack.geometry import EXEMPLAR_SIZE, SEARCH_SIZE, Center, context_side
from metatrack.tracking.adaptation import Adaptation
from metatrack.tracking.checked import Amount, Checked, Count, Share
from metatrack.tracking.distractors import KEPT, Distractor
from metatrack.tracking.opinion import Alike

A = TypeVar("A")  # what a searcher keeps of a target's appearance
MOTION_FADES = 0.8  # factor by which the greatest motion between two frames fades with each further one


@dataclass(frozen=True)
class JudgingSettings(Checked):
    """When a target counts as lost."""

    lost_below: Share = 0.1
    """Score under which a frame counts as a frame without target, for the ``lost`` flag."""
    lost_after: Count = 5
    """Frames in a row under ``lost_below`` after which ``lost`` is set; it stays until the target is recognised."""
    recognised_from: Share = 0.1
    """Score from which a lost target is recognised at its last place; elsewhere, re-detection asks for its own."""


@dataclass
class Sighting:
    """How the target has been seen lately."""

    score: float = 0.0  # of the last frame
    motion: float = 0.0  # cells that the target has lately moved from frame to frame, at most; fades
    low_frames: int = 0  # frames in a row with a score under lost_below
    unseen_frames: int = 0  # frames in a row in which the target was not seen, or not recognised after a loss
    lost: bool = False  # whether it has been lost, and not been recognised since

    def note(
        self, score: float, displacement: tuple[float, float], unseen: bool, settings: JudgingSettings, claimed: bool = False
    ) -> bool:
        """Takes a frame in; returns whether the target is lost: once it is, until a frame in which it is recognised.

        Args:
            displacement: x, y of the target's motion, in cells.
            unseen: whether the target was not seen, or not recognised after a loss.
            claimed: whether it seems to be at a place that its motion does not explain: then it is lost at once.
        """
        self.score = score
        self.motion = max(math.hypot(*displacement), self.motion * MOTION_FADES)
        self.unseen_frames = self.unseen_frames + 1 if unseen else 0
        self.low_frames = self.low_frames + 1 if score < settings.lost_below else 0
        low = self.low_frames >= settings.lost_after
        self.lost = low or claimed or (self.lost and score < settings.recognised_from)
        return self.lost


def score_of(peak: float, calibration: Mapping[str, float], against: float = 0.0) -> float:
    """The peak's logit through the logistic curve that a model's card carries: a score in 0..1.

    Something that speaks against it takes so much away, from even odds at most: then the peak itself proves nothing.

    >>> score_of(2.0, {"slope": 1.5, "offset": -3.0})
    0.5
    """
    logit = calibration.get("slope", 1.0) * peak + calibration.get("offset", 0.0)
    if against > 0:
        logit = min(logit, 0.0) - against
    if not math.isfinite(logit):
        return 0.0
    return 1 / (1 + math.exp(-min(max(logit, -60.0), 60.0)))


@dataclass(frozen=True)
class MotionSettings(Checked):
    """How a target is expected to move; the window and jumps beside the last place concern models with a box head alone."""

    follows: Share = 0.5
    """How far the cosine window and the expected place move along with the last velocity; 0: they stay at the last place."""
    memory: Share = 0.5
    """Weight of earlier frames in the velocity."""
    explained: Amount = 1.5
    """Distance from the expected place up to which motion explains a new one, in units of the target's size (root of its area);
    0: any jump is believed at once."""
    confirmed: Count = 3
    """Frames in a row in which what lies beyond must be seen before it is believed; until then the target is lost. One that has
    been lost for some frames is found at once."""


class Claim(NamedTuple):
    """A place that motion does not explain, where the target seems to be."""

    x: float  # in image pixels
    y: float
    seen: int  # number of the frame
    frames: int  # in a row


@dataclass
class Course:
    """How a target has lately moved."""

    velocity: tuple[float, float] = (0.0, 0.0)  # pixels a frame, from frames in which it was surely seen
    claim: Claim | None = None

    def note(self, step: tuple[float, float], sure: bool, memory: float) -> None:
        """Takes in how far the target has moved, in pixels; where it was not surely seen, the velocity fades."""
        old, new = (memory * v for v in self.velocity), ((1 - memory) * v if sure else 0.0 for v in step)
        x, y = (a + b for a, b in zip(old, new, strict=True))
        self.velocity = (x, y)

    def claimed(self, x: float, y: float, reach: float, frame: int) -> int:
        """Notes that the target seems to be at a place; returns for how many frames in a row it has been within reach of it."""
        last = self.claim
        goes_on = last is not None and frame - last.seen <= 1 and math.hypot(x - last.x, y - last.y) <= reach
        self.claim = Claim(x, y, frame, last.frames + (frame > last.seen) if last and goes_on else 1)
        return self.claim.frames

    def claims(self, frame: int) -> bool:
        return self.claim is not None and self.claim.seen == frame


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
    other_targets: list[tuple[float, float]] = field(default_factory=list)  # places of other targets, in image pixels
    taken: list[tuple[float, float]] = field(default_factory=list)  # of one to which this one had to yield its place

    @property
    def side(self) -> float:
        """Side of a whole context around the target, in image pixels."""
        return context_side(self.center.w, self.center.h) * SEARCH_SIZE / EXEMPLAR_SIZE

    @property
    def disturbed(self) -> bool:
        """Whether a distractor is in view, or was until a moment ago."""
        return any(self.frame - each.seen <= KEPT for each in self.distractors)

    @property
    def w_target(self) -> Float32:
        """The target-specific kernels of equation (4): ``(32, C)``, or ``(0, C)`` before there are any."""
        return self.adaptation.w_target
