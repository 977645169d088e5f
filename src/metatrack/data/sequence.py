"""A video with the boxes of one target, read only when asked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from metatrack.arrays import Bools, Float64, UInt8
from metatrack.frames import as_rgb
from metatrack.images import read_image


@dataclass(frozen=True, eq=False)
class Sequence:
    """Frames on disk, and where one target is in them. Building one touches no file.

    Arrays are copied and made read-only: a sequence may be shared by threads.

    Raises:
        ValueError: the boxes are not of shape (n, 4), or the numbers of frames, boxes and flags differ.
    """

    name: str
    frame_paths: tuple[Path, ...]
    boxes: Float64
    """(n, 4): x, y, w, h in pixels, 0-based; a row of NaN where the target is absent or its ground truth is missing. A box
    that is given there, or has no area, becomes one."""
    attributes: frozenset[str] = frozenset()
    """The benchmark's attributes, such as ``OCC``."""
    absent: Bools | None = None
    """(n,): the target is out of sight; None if the data set does not say."""
    start_frame: int = 1
    """Number that the data set gives to the first frame, for display."""
    frame_size: tuple[int, int] | None = None
    """Height and width in pixels, where they are known without reading a frame."""
    upright: bool = False
    """Turn images as their EXIF orientation says. A benchmark's boxes belong to the pixels as they are stored; those of one's own
    data were drawn on what a viewer shows."""

    def __post_init__(self) -> None:
        boxes = np.array(self.boxes, np.float64)
        if boxes.ndim != 2 or boxes.shape[1] != 4:
            raise ValueError(f"{self.name}: boxes of shape {boxes.shape}; rows of x, y, w, h are needed")
        if len(boxes) != len(self.frame_paths):
            raise ValueError(f"{self.name}: {len(self.frame_paths)} frames but {len(boxes)} boxes")
        boxes[~(boxes[:, 2:] > 0).all(axis=1)] = np.nan
        object.__setattr__(self, "frame_paths", tuple(self.frame_paths))
        if self.absent is not None:
            absent = np.array(self.absent, np.bool_)
            if absent.shape != (len(boxes),):
                raise ValueError(f"{self.name}: {len(boxes)} frames but flags of absence of shape {absent.shape}")
            boxes[absent] = np.nan
            absent.setflags(write=False)
            object.__setattr__(self, "absent", absent)
        boxes.setflags(write=False)
        object.__setattr__(self, "boxes", boxes)

    def __len__(self) -> int:
        return len(self.frame_paths)

    def frame(self, i: int) -> UInt8:
        """Reads frame ``i`` (0-based; negative counts from the end) as (H, W, 3) uint8, RGB.

        Raises:
            IndexError: there is no such frame.
            OSError: the file is missing or not a readable image; the message names it.
        """
        try:
            return as_rgb(read_image(self.frame_paths[i], upright=self.upright))
        except (OSError, TypeError) as error:
            raise OSError(f"frame {i} of sequence {self.name}: {error}") from error

    def __iter__(self) -> Iterator[UInt8]:
        """Reads the frames one by one, as :meth:`frame` does."""
        return (self.frame(i) for i in range(len(self)))
