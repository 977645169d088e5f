"""Which trajectories are worth training on, and which frames must not be trained on."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from metatrack.arrays import Float32, Float64
from metatrack.geometry import Box, Image
from metatrack.images import read_image
from tools.collect.pictures import Crops, appearance, crop, share_of_image
from tools.pseudo.material import thumbnail

SAME = 0.98
"""Correlation of two thumbnails from which they show the same frame."""
SHORTEST, LONGEST = 8, 90
"""Frames of a trajectory."""
MOST_GROWTH, MOST_STEP = 3.0, 1.5
"""Ratio of sizes (roots of areas) within a trajectory, and of neighbours."""
LEAST_IMAGE = 0.12
"""Share of a crop that is picture, not filler."""
LEAST_LIKENESS = 0.1
"""Correlation of the target's look in neighbours; a lower one is a swap or a cut."""
STILL, CHANGED, FIXED = 0.25, 0.6, 0.05
"""A target that goes less far, in its own sizes, must at least look so different, as correlation with its first look; one that
goes less far than the last is written over the picture."""


class Held:
    """Thumbnails of frames that must not be trained on.

    Args:
        thumbnails: ``(n, 1024)``.
    """

    def __init__(self, thumbnails: Float32) -> None:
        self._known = thumbnails

    @classmethod
    def of(cls, folders: Iterable[Path], kept: Path | None = None) -> Held:
        """Of all JPEGs under folders; ``kept`` is a file that keeps them for the next call.

        Raises:
            FileNotFoundError: there is none under a folder.
        """
        if kept is not None and kept.is_file():
            return cls(np.load(kept))
        found = []
        for folder in folders:
            paths = sorted(folder.rglob("*.jpg"))
            if not paths:
                raise FileNotFoundError(f"{folder} holds no .jpg; name the folder of the benchmark's frames")
            found += [thumbnail(read_image(path)) for path in paths]
        made = cls(np.asarray(found, np.float32).reshape(-1, 1024))
        if kept is not None:
            kept.parent.mkdir(parents=True, exist_ok=True)
            np.save(kept, made._known)
        return made

    def likest(self, image: Image) -> float:
        """The highest correlation of an image with one of them."""
        return float((self._known @ thumbnail(image)).max(initial=-1.0))


def faults(boxes: Float64) -> str | None:
    """Why boxes ``(n, 4)`` make no trajectory; None if they do."""
    sizes = np.sqrt(boxes[:, 2:].prod(1))
    if len(boxes) < SHORTEST:
        return "too short"
    if sizes.max() > MOST_GROWTH * sizes.min():
        return "size changes too much"
    if np.maximum(sizes[1:] / sizes[:-1], sizes[:-1] / sizes[1:]).max() > MOST_STEP:
        return "size jumps"
    return None


def trajectory(frames: list[Image], boxes: Float64) -> tuple[Crops, str | None]:
    """Crops of 90 frames at most, evenly spread, or why there are none.

    Args:
        frames: as many as boxes.
        boxes: ``(n, 4)`` in pixels of the frames.
    """
    if why := faults(boxes):
        return [], why
    crops: Crops = []
    looks: list[Float32] = []
    for k in np.unique(np.linspace(0, len(boxes) - 1, LONGEST).astype(int)):
        box = Box(*map(float, boxes[k]))
        if share_of_image(box, frames[k].shape) < LEAST_IMAGE:
            return [], "fills the frame"
        crops.append(crop(frames[k], box))
        looks.append(appearance(*crops[-1]))
    if min(float((a * b).mean()) for a, b in zip(looks, looks[1:])) < LEAST_LIKENESS:
        return [], "look jumps"
    way = float(np.ptp(boxes[:, :2] + boxes[:, 2:] / 2, axis=0).max() / np.sqrt(boxes[:, 2:].prod(1).mean()))
    if way < FIXED or (way < STILL and min(float((looks[0] * each).mean()) for each in looks) > CHANGED):
        return [], "stands still"
    return crops, None
