"""Frames in, annotated video and tables of boxes out. Knows nothing of trackers."""

from metatrack.frames import as_rgb
from metatrack.video.errors import DamagedSourceError, SourceError
from metatrack.video.overlay import draw, filmstrip
from metatrack.video.reader import Newest, ReadAhead
from metatrack.video.sink import BoxRow, BoxWriter, VideoWriter, read_boxes
from metatrack.video.source import FrameSource, open_source

__all__ = [
    "BoxRow",
    "BoxWriter",
    "DamagedSourceError",
    "FrameSource",
    "Newest",
    "ReadAhead",
    "SourceError",
    "VideoWriter",
    "as_rgb",
    "draw",
    "filmstrip",
    "open_source",
    "read_boxes",
]
