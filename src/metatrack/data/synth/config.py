"""What the clips look like."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ComposerConfig:
    """Settings of a composer. Probabilities are per clip unless said otherwise."""

    size: int = 400
    """Side of the square frames, in pixels."""
    context: float = 127.0
    """Context side of the target, in pixels, before jitter."""
    scale_jitter: float = 0.04
    """The context side of each frame is multiplied by a uniform factor within 1 +- this."""
    shift: float = 8.0
    """The centre of the box is within this many pixels of the frame's centre, on either axis."""
    blob: float = 0.25
    """The target is a piece of a photograph, not a cut-out object: shapes and textures that are no category at all."""
    background_cuts: float = 0.35
    """Each frame has a background of its own: nothing but the target ties the frames together."""
    clutter: float = 0.35
    """A background that pans is strewn with 4-15 further objects that belong to the scene."""
    distractors: int = 3
    """At most this many other objects; their number is uniform from 0."""
    occluded: float = 0.35
    """Clips with an occluder."""
    occluded_frames: float = 0.25
    """Share of the frames of such a clip in which the occluder covers 20-60 % of the target; never the first frame."""
    lighting: float = 1.0
    """Strength of the changes of colour and light of target and background; 0 keeps the material's own colours."""
    degrade: float = 1.0
    """Multiplies the probabilities of blur, noise, JPEG, low resolution and grey."""

    def __post_init__(self) -> None:
        """Checks the ranges; a value that makes no sense is a ``ValueError``."""
        for name in ("blob", "background_cuts", "clutter", "occluded", "occluded_frames"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}={getattr(self, name)} is not a probability; give a value from 0 to 1")
        for name in ("distractors", "lighting", "degrade", "shift"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}={getattr(self, name)} is negative")
        if not 0 <= self.scale_jitter < 0.5:
            raise ValueError(f"scale_jitter={self.scale_jitter} is not in [0, 0.5)")
        if self.context <= 0 or self.size < 2 * self.context:
            raise ValueError(f"size={self.size} is less than twice context={self.context}: the target would leave the frame")
