"""How well the target is seen: the score of a frame, and when the target counts as lost."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from metatrack.tracking.checked import Checked, Count, Share

MOTION_FADES = 0.8
"""Factor by which the greatest motion between two frames fades with each further one."""


@dataclass(frozen=True)
class JudgingSettings(Checked):
    """When a target counts as lost."""

    lost_below: Share = 0.1
    """Score under which a frame counts as a frame without target, for the ``lost`` flag."""
    lost_after: Count = 5
    """Frames in a row under ``lost_below`` after which ``lost`` is set; it stays until the target is recognised."""
    recognised_from: Share = 0.1
    """Score from which a lost target is recognised at its last place; elsewhere, re-detection asks for its own."""


@dataclass(frozen=True)
class ExclusionSettings(Checked):
    """Of several targets, no two are one thing: for a MultiTracker of a model with a box head."""

    overlap: Share = 0.5
    """Overlap (IoU) of two targets' boxes from which they are taken to lie on one thing, where they stay for some frames: the one
    that looks less like itself yields. 1: targets know nothing of each other."""


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
            score: of the frame.
            displacement: x, y of the target's motion, in cells.
            unseen: whether the target was not seen, or not recognised after a loss.
            settings: when it is lost.
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
