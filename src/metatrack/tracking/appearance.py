"""The appearance of a target, as a box head compares it with a context, and how it follows the target's changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from metatrack.arrays import Float32
from metatrack.tracking.checked import Checked, Count, Share


@dataclass(frozen=True)
class TemplateUpdateSettings(Checked):
    """How the template follows the target's appearance; with a box head, since the paper keeps the first frame's."""

    share: Share = 0.5
    """Weight of the target's recent appearance in the template, against the first; 0 keeps the first for ever."""
    rate: Share = 0.3
    """Weight of a frame's appearance in the recent one."""
    interval: Count = 5
    """Frames between updates."""
    min_score: Share = 0.6
    """Score from which a frame's appearance is taken."""


class Appearance(NamedTuple):
    """What a target looks like: all that is compared with a context."""

    template: Float32  # (1, C, k, k)
    parts: Float32  # (1, C, 7, 7): points of the box, from edge to edge

    def mix(self, other: Appearance, share: float) -> Appearance:
        """The weighted mean; ``share`` is the other's."""
        return Appearance(*((1 - share) * own + share * its for own, its in zip(self, other, strict=True)))


@dataclass
class BoxAppearance:
    """A target's appearance through time."""

    now: Appearance  # what contexts are compared with
    first: Appearance  # of the first frame, whose box was given
    recent: Appearance  # running mean of later frames
    size: Float32  # (1, 2): width and height of the target in the first patch, in pixels
    bias: tuple[float, float] = (1.0, 1.0)  # factors by which the head takes the target too wide and too high

    def follow(self, seen: Appearance, settings: TemplateUpdateSettings) -> None:
        """Lets the template follow what the target looks like in a frame."""
        self.recent = self.recent.mix(seen, settings.rate)
        self.now = self.first.mix(self.recent, settings.share)
