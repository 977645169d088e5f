"""Settings of Algorithm 1 at run time. The paper's values are in the comments where ours differ."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

from metatrack.geometry import EXEMPLAR_SIZE, SEARCH_SIZE
from metatrack.hints import hint

SHARES = (
    *("scale_penalty", "scale_damping", "window", "update_threshold", "lost_below", "unseen_below", "found_above"),
    *("size_rate", "others_share", "others_above", "template_share", "template_rate", "template_threshold"),
    *("near_motion", "near_above"),
)
"""Settings that are probabilities, weights or factors in 0..1."""
NEAR_SIZES = tuple(range(EXEMPLAR_SIZE, SEARCH_SIZE + 1, 16))
"""Sides of contexts that a trunk's cells fit as they fit a whole one."""


@dataclass(frozen=True)
class TrackerSettings:
    """How a tracker searches, adapts and judges itself; a model's card may carry values of its own."""

    scale_step: float = 1.05
    """Factor between neighbouring scales of the search (section 4.1)."""
    scale_interval: int = 1
    """Frames between searches of all scales, without a box head and with contexts at three scales; in the others, one context
    at the last scale is searched. 1 is the paper's."""
    scale_penalty: float = 0.95
    """Factor on the odds of a target at another scale than the last one (section 4.1)."""
    scale_damping: float = 0.60
    """Weight of the new size against the old one (section 4.1)."""
    shape_penalty: float = 0.1
    """With a box head: how much a box loses whose size and shape differ from the last one's."""
    size_rate: float = 0.5
    """With a box head: weight of the new size against the old one, where the head is sure."""
    window: float = 0.176
    """Weight of the cosine window h against the response; SiamFC's value, unsaid in the paper."""
    upsample: int = 16
    """Factor by which responses are enlarged (bicubic) before their peak is taken, as in SiamFC."""
    size_limits: tuple[float, float] = (0.2, 5.0)
    """Smallest and largest size, as factors of the first, as in SiamFC."""
    pyramid: Literal["search", "template"] = "search"
    """'search': contexts at three scales against one template, as in the paper.
    'template': templates at three scales against one context, a third of the work."""
    update_interval: int = 90
    """T of Algorithm 1: frames between updates of w_target (section 4.1)."""
    update_delay: int = 2
    """Frames after which a new w_target is used (before the next update in any case); the meta-learner works in another thread
    meanwhile. Results are the same on any machine, because that frame waits for a thread that is late. 0 learns within the frame,
    as in the paper."""
    update_threshold: float = 0.0
    """τ: a frame enters the memory only if its score is at least this; 0 admits every frame with a whole context."""
    positive_radius: float = 2.0
    """Cells around the tracked place that are labelled +1 for the gradient, as in training."""
    lost_below: float = 0.1
    """Score under which a frame counts as a frame without target, for the ``lost`` flag."""
    unseen_below: float = 0.1
    """Score under which the target is looked for elsewhere, and no size is read off the answer."""
    search_wider: bool = True
    """While the score is under ``unseen_below``, also look elsewhere: eight places a frame, from near to far."""
    found_above: float = 0.7
    """Score from which a target seen elsewhere is taken for the lost one."""
    lost_after: int = 5
    """Frames in a row under ``lost_below`` after which ``lost`` is set; one frame above it clears it."""

    others_share: float = 0.1
    """With a box head: factor on the score of a place that is nearer to a known other of the same look than to the target's last
    place; 1 ignores others."""
    others_above: float = 0.5
    """With a box head: score of the target from which something else that looks like it is noted as an other."""
    template_share: float = 0.5
    """With a box head: weight of the target's recent look in the template, against the first; 0 keeps the first for ever."""
    template_rate: float = 0.3
    """How fast the recent look follows."""
    template_interval: int = 5
    """Frames between looks."""
    template_threshold: float = 0.6
    """Score from which a frame's look is taken."""
    near_size: int = 255
    """With a box head: side in pixels of the context that is searched while the target is surely seen, alone and slow. It has
    the scale of a whole one, whose side is 255: that number means never. The meta-learner learns from whole contexts alone. Cards
    of models with a box head say 191."""
    near_interval: int = 5
    """Every so many frames the whole context is searched in any case."""
    near_motion: float = 0.3
    """How far a slow target moves from frame to frame, at most, as a share of the way to the small context's edge."""
    near_above: float = 0.6
    """Score from which a target is surely seen."""
    size_trust: float = 0.5
    """With a box head: exponent of the correction by which the head's box in the first frame becomes the given one."""

    @property
    def scales(self) -> tuple[float, float, float]:
        """The three scales of the search, as factors of the last."""
        return (1.0, 1 / self.scale_step, self.scale_step)

    def __post_init__(self) -> None:
        if not self.scale_step > 1:
            raise ValueError(f"scale_step {self.scale_step} must be above 1")
        for name in SHARES:
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} {getattr(self, name)} must lie in 0..1")
        for name in ("shape_penalty", "size_trust"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} {getattr(self, name)} must be at least 0")
        for name in ("upsample", "update_interval", "lost_after", "template_interval", "near_interval", "scale_interval"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)} must be at least 1")
        if self.update_delay < 0:
            raise ValueError(f"update_delay {self.update_delay} must be at least 0")
        if self.near_size not in NEAR_SIZES:
            raise ValueError(f"near_size {self.near_size} must be one of {', '.join(map(str, NEAR_SIZES))}")
        if not 0 < self.size_limits[0] <= 1 <= self.size_limits[1]:
            raise ValueError(f"size_limits {self.size_limits} must enclose 1")


def settings_from(values: dict[str, Any]) -> TrackerSettings:
    """Settings from plain values, as a card holds them.

    Raises:
        ValueError: a key is unknown (the right one is suggested) or a value is out of range.
    """
    known = [f.name for f in fields(TrackerSettings)]
    for key in values:
        if key not in known:
            raise ValueError(f"unknown tracker setting {key!r}; {hint(key, known)}")
    plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    return TrackerSettings(**plain)
