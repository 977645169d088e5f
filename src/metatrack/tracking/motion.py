"""What is expected of a target's motion, and what becomes of a jump that it does not explain; not in the paper."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from metatrack.tracking.checked import Amount, Checked, Count, Share


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
        """Whether there is a claim in this frame."""
        return self.claim is not None and self.claim.seen == frame
