"""What several compared trackers are tried on."""

from __future__ import annotations

from typing import Any

import numpy as np

from metatrack.compared.correlation import subwindow
from metatrack.compared.patches import resized
from metatrack.geometry import Box


def follow_growth(tracker: Any) -> tuple[Box, Box]:
    """A view that is entered by 0.8 % a frame: the target in its middle grows by as much. Its last box, and the true one."""
    coarse = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    scene = resized(coarse, (720, 960))
    box = Box(100, 70, 40, 40)
    height = 0
    for i in range(40):
        height, width = (2 * round(side / 1.008**i) for side in (360, 480))
        frame = resized(subwindow(scene, 359, 479, height, width), (180, 240))
        if i == 0:
            tracker.init(frame, box)
        else:
            box = tracker.update(frame).box
    side = 40 * 720 / height
    return box, Box(120 - side / 2, 90 - side / 2, side, side)
