"""Make a face or a number plate unreadable, wherever it goes.

python examples/blur_a_target.py clip.mp4 185,120,69,87 blurred.mp4
"""

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from metatrack import Tracker, VideoWriter, open_source

source, box = sys.argv[1], [float(value) for value in sys.argv[2].split(",")]


def pixelate(frame: npt.NDArray[Any], box: Sequence[float], cells: int = 8) -> npt.NDArray[Any]:
    """A copy of the frame whose box shows ``cells x cells`` colours."""
    result = frame.copy()
    x, y, w, h = (round(value) for value in box)
    part = result[max(0, y) : max(0, y + h), max(0, x) : max(0, x + w)]
    for row in np.array_split(part, cells, axis=0):
        for cell in np.array_split(row, cells, axis=1):
            if cell.size:
                cell[:] = cell.mean((0, 1))
    return result


tracker = Tracker("lite")
with open_source(source) as frames, VideoWriter(sys.argv[3], frames.fps) as video:
    first = next(frames)
    tracker.init(first, box)
    video.write(pixelate(first, box))
    for frame in frames:
        video.write(pixelate(frame, tracker.update(frame).box))
