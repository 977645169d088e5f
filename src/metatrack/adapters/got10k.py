"""GOT-10k's toolkit: a tracker for ``ExperimentGOT10k(...).run(tracker)`` and its other experiments."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from metatrack.arrays import Float64
from metatrack.frames import as_rgb
from metatrack.images import read_image
from metatrack.runtime.model import Model
from metatrack.tracking.tracker import Tracker


class Got10kTracker:
    """What ``got10k.trackers.Tracker`` is to experiments: images are Pillow's or arrays, in RGB; boxes ``x, y, w, h``."""

    is_deterministic = True

    def __init__(self, model: str | Path | Model = "lite", adapt: bool = True, name: str = "metatrack") -> None:
        self.name, self.tracker = name, Tracker(model, adapt)

    def init(self, image: Any, box: Sequence[float]) -> None:
        """Starts on a target."""
        self.tracker.init(as_rgb(np.asarray(image)), box)

    def update(self, image: Any) -> Float64:
        """The box in the next image: ``(4,)``."""
        return np.array(self.tracker.update(as_rgb(np.asarray(image))).box)

    def track(self, img_files: Sequence[str], box: Sequence[float], visualize: bool = False) -> tuple[Float64, Float64]:
        """Boxes ``(n, 4)`` and seconds ``(n,)`` of a sequence; ``visualize`` shows nothing."""
        boxes, times = np.empty((len(img_files), 4)), np.empty(len(img_files))
        for n, file in enumerate(img_files):
            image, begin = as_rgb(read_image(file, upright=False)), time.perf_counter()
            boxes[n] = self.update(image) if n else box
            if not n:
                self.init(image, box)
            times[n] = time.perf_counter() - begin
        return boxes, times

    forward_test = track
