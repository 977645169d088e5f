"""YouTube-BB: one table of boxes, a second apart, of videos that everyone fetches on their own.

The table has no header and ten columns: ``youtube_id, timestamp_ms, class_id, class_name, object_id, object_presence, xmin, xmax,
ymin, ymax``; corners are shares of the frame, and -1 where the object is absent. Class and object together are one target of a
video.

Source: https://research.google.com/youtube-bb/download.html (columns, and the meaning of each).
"""

from __future__ import annotations

import csv
import re
from bisect import bisect_left
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from metatrack.convert.layouts import LayoutClip
from metatrack.convert.tracks import Mark, Row, Tracks, Video, collect
from metatrack.data.numbers import finite_number
from metatrack.geometry import Box
from metatrack.video.seek import Seekable, open_seekable

COLUMNS = "youtube_id,timestamp_ms,class_id,class_name,object_id,object_presence,xmin,xmax,ymin,ymax"
MOST_APART = 0.5  # seconds between a row and the nearest frame, at most; else the video is another, or cut


class LabelledMoment(NamedTuple):
    """A row in which the object is present."""

    object: str  # its class and its number among the video's of that class
    label: str
    seconds: float
    corners: tuple[float, float, float, float]  # xmin, xmax, ymin, ymax, as shares of the frame


def youtube_bb(table: Path, folder: Path) -> tuple[list[LayoutClip], int]:
    """The clips whose videos lie in a folder, named by their YouTube ids; and of how many others the table has boxes.

    Raises:
        ValueError: the table is none of YouTube-BB's; the message names the row.
        OSError: it cannot be read.
    """
    files = {path.stem: path for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith(".")}
    moments: dict[tuple[str, str], list[LabelledMoment]] = {}  # an object has a part of the video of its own
    absent = set[str]()
    for video, moment in _rows(table):
        if video not in files:
            absent.add(video)
        elif moment is not None:
            moments.setdefault((video, moment.object), []).append(moment)
    clips = []
    for (video, thing), found in moments.items():
        clips.append(LayoutClip(f"{video}-{thing}", partial(_read, files[video], found), files[video]))
    return clips, len(absent)


def _rows(table: Path) -> Iterator[tuple[str, LabelledMoment | None]]:
    """The video of each row, and what it says; None of an absent object."""
    with table.open(encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.reader(file), 1):
            if not row or (number == 1 and row[0].strip() == "youtube_id"):
                continue
            where = f"{table}, line {number}"
            if len(row) != 10 or not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", row[0]):
                raise ValueError(f"{where}: expected are ten columns, {COLUMNS}, with the id of a video first")
            video, at, kind, label, thing, presence, *corners = (cell.strip() for cell in row)
            if presence == "absent":
                yield video, None
                continue
            left, right, top, bottom = (finite_number(value, f"{where}, a corner") for value in corners)
            if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
                raise ValueError(f"{where}: corners are shares of the frame, 0 <= xmin < xmax <= 1; found {','.join(corners)}")
            seconds = finite_number(at, f"{where}, timestamp_ms") / 1000
            yield video, LabelledMoment(f"{kind}-{thing}", label, seconds, (left, right, top, bottom))


def _read(path: Path, moments: list[LabelledMoment]) -> tuple[list[Path], Tracks]:
    """No images, and boxes in pixels, in the frames that are nearest to their times.

    Raises:
        ValueError: no frame is near to one of them.
        SourceError: the video cannot be read.
    """
    video = open_seekable(path)
    height, width = video.read(0).shape[:2]
    times = _times(video)
    video.close()
    rows: list[Row] = []
    for name, label, seconds, (left, right, top, bottom) in sorted(moments, key=lambda moment: moment.seconds):
        after = bisect_left(times, seconds)
        frame = min((n for n in (after - 1, after) if 0 <= n < len(times)), key=lambda n: abs(times[n] - seconds))
        if abs(times[frame] - seconds) > MOST_APART:
            raise ValueError(f"{path} has no frame near {seconds:g} s; it ends at {times[-1]:.1f} s: is it the whole video?")
        box = Box(left * width, top * height, (right - left) * width, (bottom - top) * height)
        rows.append((name, label, Mark(frame, box)))
    return [], collect(path, rows, Video((width, height), video.fps, video.count, path.stem))


def _times(video: Seekable) -> list[float]:
    times = [video.time(number) for number in range(video.count)]
    if None in times:
        raise ValueError("its frames have no times; re-encode it (ffmpeg -i in.mp4 -c:v libx264 out.mp4)")
    return [time for time in times if time is not None]
