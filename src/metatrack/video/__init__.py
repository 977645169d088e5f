"""Frames in, annotated video and tables of boxes out. Knows nothing of trackers."""

from metatrack.frames import as_rgb as as_rgb
from metatrack.video.errors import DamagedSourceError as DamagedSourceError
from metatrack.video.errors import SourceError as SourceError
from metatrack.video.overlay import draw as draw
from metatrack.video.overlay import filmstrip as filmstrip
from metatrack.video.reader import Newest as Newest
from metatrack.video.reader import ReadAhead as ReadAhead
from metatrack.video.sink import BoxRow as BoxRow
from metatrack.video.sink import BoxWriter as BoxWriter
from metatrack.video.sink import VideoWriter as VideoWriter
from metatrack.video.sink import read_boxes as read_boxes
from metatrack.video.source import FrameSource as FrameSource
from metatrack.video.source import open_source as open_source
