"""A clip that was made, in memory, and what makes clips."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from metatrack.arrays import Float64, Rng, UInt8


class MadeClip(NamedTuple):
    """Frames of one target with exact labels."""

    frames: Sequence[UInt8]  # each (H, W, 3) RGB
    boxes: Float64  # (n, 4) x, y, w, h in pixels, 0-based: the whole target, where it is hidden too
    visible: Float64 | None = None  # (n,), share of the target that is to be seen, 0-1; None: it is not known
    numbers: Sequence[UInt8] | None = None  # each (H, W), numbers of objects: 0 background, 1 target, 2 and more others


class Maker(Protocol):
    """Makes clips; can be sent to another process."""

    @property
    def materials(self) -> Sequence[Path]:
        """All files that the clips may be made of."""

    def recipe(self) -> dict[str, Any]:
        """What the clips' bytes depend on beside the materials, as JSON."""

    def clip(self, rng: Rng, length: int) -> MadeClip:
        """One clip, of ``length`` frames."""
