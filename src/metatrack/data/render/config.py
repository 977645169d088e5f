"""What rendered clips look like."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RenderConfig:
    """Settings of a renderer. Probabilities are per clip unless said otherwise."""

    size: tuple[int, int] = (330, 330)
    """Width and height of the frames, in pixels."""
    follow: bool = True
    """The camera follows the target and keeps its context side: crops for training. Otherwise it films a scene on its own way,
    and targets leave the frame and come back: videos for validation."""
    context: float = 127.0
    """Context side of the target, in pixels: in each frame where the camera follows, at the clip's beginning where not."""
    context_spread: float = 0.0
    """Without following, the context side at the beginning is up to 1 + this times smaller or larger (log-uniform)."""
    scale_jitter: float = 0.04
    """Where the camera follows, the context side is multiplied by a uniform factor within 1 +- this."""
    shift: float = 8.0
    """Where the camera follows, the box's centre is within this many pixels of the frame's centre, on either axis."""
    exits: int = 0
    """Without following: how often the target leaves the frame, at most; once at least, if this is positive."""
    distractors: int = 3
    """At most this many other objects that move; their number is uniform from 0."""
    doubles: float = 0.45
    """Share of the distractors that are of the target's own model."""
    clutter: float = 0.4
    """3-10 further models are part of the background."""
    occluded: float = 0.4
    """Clips with an occluder that passes in front of the target."""
    wrapped: float = 0.25
    """Textured models that are wrapped in a photograph; those without a texture are in three of four cases."""
    spin: float = 1.0
    """Multiplies the speed at which models turn."""
    lighting: float = 1.0
    """Strength of the changes of light and colour."""
    shadows: float = 0.5
    """Objects cast a soft shadow on what is behind them."""
    degrade: float = 1.0
    """Multiplies the probabilities of blur, noise, JPEG, low resolution and grey."""

    def __post_init__(self) -> None:
        """Checks the ranges; a value that makes no sense is a ``ValueError``."""
        for name in ("doubles", "clutter", "occluded", "wrapped", "shadows"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}={getattr(self, name)} is not a probability; give a value from 0 to 1")
        for name in ("distractors", "exits", "lighting", "degrade", "shift", "spin", "context_spread"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}={getattr(self, name)} is negative")
        if not 0 <= self.scale_jitter < 0.5:
            raise ValueError(f"scale_jitter={self.scale_jitter} is not in [0, 0.5)")
        if self.context <= 0 or min(self.size) < 2 * self.context:
            raise ValueError(f"size={self.size} is less than twice context={self.context}: the target would leave the frame")


FILMED = RenderConfig(
    size=(640, 400), follow=False, context=90.0, context_spread=0.8, exits=2, distractors=4, doubles=0.6, occluded=0.7, spin=0.4
)
"""Longer videos for validation: exits, look-alikes, occluders, a camera on its own way."""
