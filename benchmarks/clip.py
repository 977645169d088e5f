"""What everything is measured on: the clip inside the package, decoded, and its labels."""

from __future__ import annotations

from dataclasses import dataclass

from metatrack.app.bench import BenchOptions, read_frames
from metatrack.app.demo import demo_clip
from metatrack.geometry import Box, Image


@dataclass(frozen=True)
class Clip:
    """Frames in memory and hand-drawn boxes."""

    frames: list[Image]
    labels: dict[int, Box]

    @property
    def box(self) -> Box:
        """The box that a tracker starts with."""
        return self.labels[0]

    def frame(self, index: int) -> Image:
        """The clip forwards and backwards, without an end: the target never jumps.

        >>> clip = Clip(["a", "b", "c"], {})
        >>> "".join(clip.frame(i) for i in range(8))
        'abcbabcb'
        """
        count = len(self.frames)
        place = index % max(2 * count - 2, 1)
        return self.frames[min(place, 2 * count - 2 - place)]


def read_clip(frames: int) -> Clip:
    """The demo clip's first frames."""
    with demo_clip() as (_, rows):
        labels = {row.frame: row.box for row in rows}
    return Clip(read_frames(BenchOptions(frames=frames))[1], labels)
