"""OpenCV's tracker interface: in place of ``cv2.TrackerCSRT.create()``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from metatrack.arrays import Array
from metatrack.runtime.model import Model
from metatrack.tracking.tracker import Tracker


class OpenCVTracker:
    """``init`` and ``update`` as OpenCV's trackers have them: BGR frames, boxes of ints; ``ok`` is False while it is lost."""

    def __init__(self, model: str | Path | Model = "lite", adapt: bool = True) -> None:
        self.tracker = Tracker(model, adapt)

    def init(self, image: Array, boundingBox: Sequence[float]) -> None:  # noqa: N803 - OpenCV's name
        """Starts on a target: a box ``x, y, w, h`` in a BGR frame."""
        self.tracker.init(image[..., ::-1], boundingBox)

    def update(self, image: Array) -> tuple[bool, tuple[int, int, int, int]]:
        """Whether the target is seen, and its box."""
        box, _, lost = self.tracker.update(image[..., ::-1])
        x, y, w, h = map(round, box)
        return not lost, (x, y, w, h)
