"""Tracks: the boxes of targets through a video, as every file format of them is read and written."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from metatrack.geometry import MOST_PIXELS, Box

LABEL = "target"
"""Label of a target that has none."""
MOST_FRAMES = 1_000_000
"""Frames of a video, at most: eleven hours. A file of a few bytes may name any number, and others are filled up to it."""
MOST_FILLED = 2_000_000  # boxes that are filled in between the key frames of one file, at most
MOST_BYTES = 256 << 20
"""A larger file of boxes is none."""


class Mark(NamedTuple):
    """A target in one frame."""

    frame: int  # 0-based number of the frame
    box: Box  # ``x, y, w, h`` in pixels, 0-based, float
    score: float | None = None  # confidence in [0, 1]; None where nobody states one
    lost: bool = False  # the tracker says that it does not see the target; the box is its guess
    outside: bool = False  # a person or a file says that the target is not to be seen here; the box means nothing
    occluded: bool = False  # part of the target is hidden
    keyframe: bool = False  # the box was given by a person, not tracked or interpolated


FLAGS = ("lost", "outside", "occluded", "keyframe")
"""Those of a mark."""


@dataclass(frozen=True)
class Track:
    """One target through the video."""

    target: int | str  # its id
    marks: tuple[Mark, ...]  # by frame, none twice. In a frame without a mark nothing is known.
    label: str = LABEL  # what kind of thing it is

    @property
    def visible(self) -> list[Mark]:
        """The marks in which it is to be seen."""
        return [mark for mark in self.marks if not mark.outside]


class Video(NamedTuple):
    """What is known of the video."""

    size: tuple[int, int] | None = None  # width and height in pixels
    fps: float | None = None
    frames: int | None = None  # how many there are
    name: str = "video"  # what files and sequences are named after: letters, digits and ``_ . + -``.

    def pixels(self, path: object) -> tuple[int, int]:
        """The size, for a file that states boxes in shares of it; a ``ValueError`` where it is not known."""
        if self.size is None:
            raise ValueError(
                f"{path}: boxes are in shares of a frame whose size is not known; name the video, or its size (--size 640x360)"
            )
        return self.size

    def or_else(self, other: Video) -> Video:
        """This, and what the other knows where this does not."""
        return Video(self.size or other.size, self.fps or other.fps, self.frames or other.frames, other.name)


@dataclass(frozen=True)
class Tracks:
    """All targets of one video."""

    targets: tuple[Track, ...]
    video: Video = Video()
    notes: tuple[str, ...] = ()  # what a person should know about how the file was read

    @property
    def count(self) -> int:
        """Frames of the video, as far as is known: those up to the last mark at least."""
        last = max((track.marks[-1].frame for track in self.targets if track.marks), default=-1)
        return max(last + 1, self.video.frames or 0)

    def by_frame(self) -> dict[int, list[tuple[Track, Mark]]]:
        """The marks of each frame that has some, in the order of the frames."""
        frames: dict[int, list[tuple[Track, Mark]]] = {}
        for track in self.targets:
            for mark in track.marks:
                frames.setdefault(mark.frame, []).append((track, mark))
        return dict(sorted(frames.items()))

    def numbers(self) -> dict[int | str, int]:
        """Whole numbers from 0 on for formats without names: those that are such keep theirs, others follow the largest."""
        own: dict[int | str, int] = {t.target: t.target for t in self.targets if isinstance(t.target, int) and t.target >= 0}
        rest = [track.target for track in self.targets if track.target not in own]
        return own | {target: n for n, target in enumerate(rest, max(own.values(), default=0) + 1)}


Row = tuple[object, str, Mark]
"""What a file states: the target's id as it stands there, its label, and a mark."""


def collect(source: object, rows: Iterable[Row], video: Video, notes: Sequence[str] = ()) -> Tracks:
    """Checks what a reader has found, and sorts it by target and frame.

    Args:
        source: the file, for messages.
        rows: in any order; an id made of digits is a number.
        video: what is known of it.
        notes: see :class:`Tracks`.

    Raises:
        ValueError: a box is not finite, has a negative size or is no box in pixels; a frame's number is negative or beyond
            :data:`MOST_FRAMES`; or a target has two boxes in one frame.
    """
    if (video.frames or 0) > MOST_FRAMES or not 0 < (video.fps or 1.0) < 100_000:
        raise ValueError(f"{source}: {video.frames} frames at {video.fps} a second are no video; up to {MOST_FRAMES:,} are read")
    found: dict[int | str, dict[int, Mark]] = {}
    labels: dict[int | str, str] = {}
    for stated, label, mark in rows:
        target = target_id(stated)
        _check(source, target, mark)
        marks = found.setdefault(target, {})
        if mark.frame in marks:
            raise ValueError(f"{source}: target {target!r} has two boxes in frame {mark.frame}; keep one")
        marks[mark.frame] = mark
        labels.setdefault(target, label)
    tracks = (Track(target, tuple(marks[n] for n in sorted(marks)), labels[target]) for target, marks in found.items())
    return Tracks(tuple(tracks), video, tuple(notes))


def target_id(stated: object) -> int | str:
    """An id as it stands in a file: digits are a number, and what a table of ours cannot hold becomes ``_``."""
    text = str(stated).strip() or "1"
    if text.isascii() and text.isdecimal() and len(text) < 19:
        return int(text)
    return "".join("_" if c in ',"' or ord(c) < 32 else c for c in text)[:200]


def _check(source: object, target: int | str, mark: Mark) -> None:
    where = f"{source}: target {target!r}, frame {mark.frame}"
    if not 0 <= mark.frame < MOST_FRAMES:
        raise ValueError(f"{where}: frames are counted from 0, up to {MOST_FRAMES - 1:,}")
    if not all(map(math.isfinite, mark.box)) or min(mark.box[2:]) < 0 or max(map(abs, mark.box)) > MOST_PIXELS:
        raise ValueError(f"{where}: {tuple(mark.box)} is no box x,y,w,h in pixels")
    if mark.score is not None and not 0 <= mark.score <= 1:
        raise ValueError(f"{where}: the score {mark.score} is not between 0 and 1")


class Stretch(NamedTuple):
    """Marks of a target, by frame; what lies between them, and behind the last one, is to be filled."""

    marks: Sequence[Mark]  # one that is ``outside`` ends what is filled, until the next one
    frames: int | None  # of the video; None does not go beyond the last mark

    def ends(self) -> list[int]:
        """Of each mark the frame before which it is filled."""
        return [mark.frame for mark in self.marks[1:]] + [self.frames or 0]


def require_few(source: object, stretches: Iterable[Stretch]) -> None:
    """Raises a ``ValueError`` if a file's stretches would be more boxes than :data:`MOST_FILLED`; before one of them is made."""
    made = sum(
        max(0, end - mark.frame)
        for stretch in stretches
        for mark, end in zip(stretch.marks, stretch.ends(), strict=False)
        if not mark.outside
    )
    if made > MOST_FILLED:
        raise ValueError(f"{source}: its key frames stand for {made:,} boxes; at most {MOST_FILLED:,} are made of one file")


def filled(stretch: Stretch) -> list[Mark]:
    """Boxes between key frames, as tools for annotation show them: moved in a straight line, and staying after the last one.

    See :func:`require_few`.
    """
    result: list[Mark] = []
    for mark, end, after in zip(stretch.marks, stretch.ends(), [*stretch.marks[1:], None], strict=False):
        result.append(mark)
        goal = mark.box if after is None or after.outside else after.box
        for frame in range(mark.frame + 1, 0 if mark.outside else end):
            share = (frame - mark.frame) / (end - mark.frame)
            box = Box(*(a + (b - a) * share for a, b in zip(mark.box, goal)))
            result.append(Mark(frame, box, occluded=mark.occluded))
    return result


def size_of(stated: object) -> tuple[int, int] | None:
    """Width and height as a JSON file of ours states them; None of anything else."""
    known = isinstance(stated, list) and len(stated) == 2 and all(isinstance(side, int) and side > 0 for side in stated)
    return (stated[0], stated[1]) if known and isinstance(stated, list) else None


def inside_frame(box: Box, size: tuple[int, int]) -> Box | None:
    """The part of a box that lies in the frame; None where there is none.

    >>> inside_frame(Box(-5, 10, 20, 20), (64, 16))
    Box(x=0, y=10, w=15, h=6)
    """
    if box.x >= 0 and box.y >= 0 and box.x + box.w <= size[0] and box.y + box.h <= size[1]:
        return box  # to the last digit
    left, top = max(0, box.x), max(0, box.y)
    w, h = min(size[0], box.x + box.w) - left, min(size[1], box.y + box.h) - top
    return Box(left, top, w, h) if w > 0 and h > 0 else None
