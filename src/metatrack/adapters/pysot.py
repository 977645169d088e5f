"""pysot's trackers, and what imitates them: ``init(img, bbox)`` and ``track(img)``, in BGR."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from metatrack.arrays import Array
from metatrack.runtime.model import Model
from metatrack.tracking.tracker import Tracker


class PysotTracker:
    """In place of what pysot's ``build_tracker`` makes."""

    def __init__(self, model: str | Path | Model = "lite", adapt: bool = True) -> None:
        self.tracker = Tracker(model, adapt)

    def init(self, img: Array, bbox: Sequence[float]) -> None:
        """Starts on a target: a box ``x, y, w, h`` in a BGR frame."""
        self.tracker.init(img[..., ::-1], bbox)

    def track(self, img: Array) -> dict[str, Any]:
        """``bbox`` as a list ``x, y, w, h``, ``best_score`` in [0, 1], and ``lost``, which pysot has not."""
        box, score, lost = self.tracker.update(img[..., ::-1])
        return {"bbox": list(box), "best_score": score, "lost": lost}
