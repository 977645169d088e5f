"""Where results go: an annotated video, a table of boxes. Both do nothing when given None, so that a loop needs no ``if``."""

from __future__ import annotations

import math
import os
import re
import secrets
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from fractions import Fraction
from pathlib import Path
from typing import Literal, NamedTuple, TextIO

import av
import numpy as np
import numpy.typing as npt
from av.container import OutputContainer
from av.video.reformatter import Colorspace
from av.video.stream import VideoStream

from metatrack.claims import BUSY, alone, hold
from metatrack.files import name_beside, require_writable, take_place, write_atomically
from metatrack.frames import as_rgb, letterbox
from metatrack.geometry import Box
from metatrack.video._av import open_input

DEFAULT_FPS = 25.0  # frames per second of a video made of frames that have none, such as a folder's
TICKS = Fraction(90_000)  # units of time in a second of the videos that are written: every usual rate is a whole number of them
MARK = "boxes drawn by metatrack"
"""Comment of every video that is written: it may be replaced by the next run's, and no other video may."""
BT709, LIMITED = 1, 1  # FFmpeg's numbers for the colours of high definition, and for their usual range
VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv")  # containers that hold H.264 everywhere
TABLE_SUFFIXES = (".csv", ".txt", "")  # of tables, on the command line
HEADER = ("frame", "x", "y", "w", "h", "score", "lost")
TIME = "time"  # a further column of either table
HEADER_WITH_IDS = ("frame", "id", *HEADER[1:])
"""Of a table of several targets; MOT's text files have the id in the same place."""


class VideoWriter(AbstractContextManager["VideoWriter"]):
    """Writes frames to an H.264 video (MPEG-4 where FFmpeg lacks x264), or nowhere.

    The video grows in ``<name>.<random>.part<suffix>`` beside its target and takes the target's place when the ``with`` block
    ends, also by an exception: what was computed is never lost, and an older video stays until there is a new one. A run that is
    killed outright leaves the part file, which plays up to its last seconds. Without a frame nothing is written.

    >>> with VideoWriter(None) as video:
    ...     video.write(np.zeros((4, 4, 3), np.uint8))
    """

    def __init__(self, path: str | Path | None, fps: float | None = None, pixel_aspect: Fraction = Fraction(1)) -> None:
        """Checks what can be checked before the work begins.

        Args:
            path: target, one of :data:`VIDEO_SUFFIXES`; None writes nothing.
            fps: frames per second, where frames come without a time; None is :data:`DEFAULT_FPS`.
            pixel_aspect: width of a pixel against its height, for players: :attr:`FrameSource.pixel_aspect`.

        Raises:
            OSError: the target's folder does not exist or cannot be written, or another run is writing this very video.
            ValueError: the suffix is none of those, or ``fps`` is not between 0.01 and 1000.
        """
        rate = DEFAULT_FPS if fps is None else float(fps)
        if not 0.01 <= rate <= 1000:
            raise ValueError(f"fps {fps} is not a number between 0.01 and 1000; pass None for {DEFAULT_FPS:g}")
        self.rate = Fraction(rate).limit_denominator(1001)  # 29.97... is exactly 30000/1001
        self.path = None if path is None else Path(path)
        self._claim = ExitStack()
        if self.path is not None:
            require_writable(self.path)
            if self.path.suffix.lower() not in VIDEO_SUFFIXES:
                raise ValueError(f"{self.path} does not end in one of {' '.join(VIDEO_SUFFIXES)}; name the video result.mp4, say")
            self._target = Path(os.path.realpath(self.path))  # a link stays, and what it leads to is replaced
            self._part = name_beside(self._target, f".{secrets.token_hex(4)}.part", hidden=False)
            self._claim.enter_context(alone(name_beside(self._target, ".lock"), self.path))
        self._output: tuple[OutputContainer, VideoStream] | None = None
        self._size = (0, 0)
        self._pixel_aspect = pixel_aspect
        self._next, self._begin = Fraction(0), 0.0  # seconds: earliest time of the next frame, and the first one's
        self._closed = False

    def write(self, frame: npt.NDArray[np.generic], time: float | None = None) -> None:
        """Appends a frame, of any kind that :func:`metatrack.video.as_rgb` takes.

        With ``time``, in seconds, a frame is shown as long after the first as its time says (:attr:`FrameSource.time`): so a
        video of a rate that varies keeps its pace. Without, or where times do not grow, frames follow at the video's rate.

        The first frame sets the size; H.264 needs it even, so an odd side gains a copy of its last row or column. Later frames of
        another size are scaled into it, on black.

        Raises:
            ValueError: the writer is closed, or the frame's shape is none that ``as_rgb`` takes.
            TypeError: the frame's type is none that ``as_rgb`` takes.
        """
        if self.path is None:
            return
        if self._closed:
            raise ValueError(f"{self.path} is finished; write inside the with block")
        pixels = as_rgb(frame)
        container, stream = self._output or self._start(width=pixels.shape[1], height=pixels.shape[0])
        width, height = self._size
        even = np.pad(letterbox(pixels, width, height), ((0, height % 2), (0, width % 2), (0, 0)), "edge")
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")
        picture = picture.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709)
        picture.time_base = 1 / TICKS
        picture.pts = round(self._time(time) * TICKS)
        self._mux(container, stream, picture)

    def _mux(self, container: OutputContainer, stream: VideoStream, picture: av.VideoFrame | None) -> None:
        for packet in stream.encode(picture):
            packet.duration = round(TICKS / self.rate)  # counts for the last frame; the others last until the next
            container.mux(packet)

    def _time(self, time: float | None) -> Fraction:
        """When a frame is shown, in seconds from the first."""
        at = self._next
        if time is not None and math.isfinite(time):
            if not at:
                self._begin = time
            at = max(Fraction(round((time - self._begin) * TICKS), TICKS), at - 1 / self.rate + Fraction(1, 1000) if at else at)
        self._next = at + 1 / self.rate
        return at

    def _start(self, width: int, height: int) -> tuple[OutputContainer, VideoStream]:
        # Fragments of a second or two make the part file of a killed run playable; a clean close turns them into a plain mp4.
        options = {"flush_packets": "1"} | ({} if self._part.suffix.lower() == ".mkv" else {"movflags": "hybrid_fragmented"})
        container = av.open(str(self._part), "w", container_options=options)
        container.metadata["comment"] = MARK
        codec: Literal["libx264", "mpeg4"] = "libx264" if "libx264" in av.codecs_available else "mpeg4"
        # Without B-frames the first frame is shown at 0; fragments keep no list that would say so otherwise.
        quality = {"crf": "20", "preset": "veryfast", "bf": "0"} if codec == "libx264" else {"qscale": "4"}
        stream = container.add_stream(codec, rate=self.rate, options=quality | {"g": str(max(1, round(self.rate)))})
        stream.width, stream.height, stream.pix_fmt = width + width % 2, height + height % 2, "yuv420p"
        stream.time_base = stream.codec_context.time_base = 1 / TICKS
        stream.codec_context.sample_aspect_ratio = self._pixel_aspect
        # Without a tag players guess the matrix from the size, and colours shift.
        context = stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = BT709
        context.color_range = LIMITED
        self._output, self._size = (container, stream), (width, height)
        return self._output

    def close(self) -> None:
        """Finishes the video and moves it to its target. Closing twice is harmless."""
        output, self._output, self._closed = self._output, None, True
        with self._claim:
            if output is None:
                return
            container, stream = output
            try:
                self._mux(container, stream, None)
            finally:
                container.close()
            take_place(self._part, self._target)

    def __exit__(self, *_: object) -> None:
        self.close()


def rate_to_play(fps: float | None) -> float | None:
    """A source's rate, for a video of its frames; None where it is a container's wild guess, which is no speed to play at."""
    return fps if fps and 1 <= fps <= 240 else None


def is_ours(path: Path) -> bool:
    """Whether a file is a video that :class:`VideoWriter` wrote."""
    try:
        with open_input(str(path.resolve()), {}, None) as container:
            return MARK in container.metadata.values()  # mkv writes the names of its tags in capitals
    except (av.FFmpegError, OSError, ValueError):
        return False


class BoxRow(NamedTuple):
    """One line of a table of boxes."""

    frame: int
    """0-based number of the frame."""
    box: Box
    score: float
    """Confidence in [0, 1]."""
    lost: bool
    target: int | str | None = None
    """The target's id, in a table of several."""


class BoxWriter(AbstractContextManager["BoxWriter"]):
    """Writes a CSV table with one line for each frame, or nowhere; each line is on disk before the next frame is tracked.

    The columns are ``frame,x,y,w,h,score,lost``: number of the frame from 0, box in pixels from the top-left corner with 3
    decimals, score with 4, and ``lost`` as 0 or 1. An existing file is replaced when the first line comes. A table of several
    targets has one line for each target of each frame, and the target's id behind the frame's number:
    ``frame,id,x,y,w,h,score,lost``.

    >>> with BoxWriter("-") as boxes:
    ...     boxes.write(0, Box(1, 2, 30, 40), 0.9, lost=False)
    frame,x,y,w,h,score,lost
    0,1.000,2.000,30.000,40.000,0.9000,0
    >>> with BoxWriter("-", ids=True) as boxes:
    ...     boxes.write(0, Box(1, 2, 30, 40), 0.9, target=1)
    frame,id,x,y,w,h,score,lost
    0,1,1.000,2.000,30.000,40.000,0.9000,0
    """

    def __init__(self, path: str | Path | None, ids: bool = False, times: bool = False) -> None:
        """Checks that the table can be written; an older one stays as it is until the first line comes.

        Args:
            path: target; ``"-"`` is standard output; None writes nothing.
            ids: the table is of several targets and has the column ``id``.
            times: its last column is ``time``, seconds in the source's own time; empty where a frame has none.

        Raises:
            OSError: the target's folder does not exist or cannot be written, or another run is writing this very table.
        """
        self._ids, self._times = ids, times
        self._header = ",".join((*(HEADER_WITH_IDS if ids else HEADER), *([TIME] if times else []))) + "\n"
        self._path = None if path is None or path == "-" else Path(path)
        self._file: TextIO | None = None
        self._closed = False
        if path == "-":
            self._file = sys.stdout
            self._put(self._header)
        elif self._path is not None:
            require_writable(self._path)
            self._require_alone(self._path)

    @staticmethod
    def _require_alone(path: Path) -> None:
        """That nobody is writing the table that is there."""
        if path.is_file():
            with path.open("rb") as there:
                if not hold(there.fileno()):
                    raise BlockingIOError(BUSY.format(path))

    def _begin(self, path: Path) -> TextIO:
        """Puts a table that holds its header in the place of an older one, in one step, and holds it."""
        self._require_alone(path)
        write_atomically(path, self._header)
        file = open(path, "a", encoding="utf-8", newline="")  # noqa: SIM115 - closed by close()
        if not hold(file.fileno()):
            file.close()
            self._require_alone(path)
        return file

    def write(
        self,
        frame: int,
        box: Sequence[float],
        score: float,
        lost: bool = False,
        target: int | str | None = None,
        time: float | None = None,
    ) -> None:
        """Appends the line of frame number ``frame``, and of the target with that id if the table has ids.

        Raises:
            ValueError: the box is not four finite numbers, or the score is not finite; or there is no id in a table with ids, one
                in a table without, or one that holds a comma, a quotation mark or the end of a line.
        """
        x, y, w, h = box = Box(*map(float, box))
        if not all(map(math.isfinite, (*box, score))):
            raise ValueError(f"frame {frame}: box {tuple(box)} with score {score} is not finite and cannot be written")
        if self._ids != (target is not None):
            there = "has ids: pass target=" if self._ids else "has no ids: open it with BoxWriter(path, ids=True)"
            raise ValueError(f"frame {frame}, target {target!r}: the table {there}")
        name = () if target is None else (str(target),)
        if name and not re.fullmatch(r'[^,"\r\n]+', name[0]):
            raise ValueError(
                f"frame {frame}: target {target!r} cannot be an id in a table; it holds a comma, a quote or a line end"
            )
        fields = (str(int(frame)), *name, *(f"{value:.3f}" for value in (x, y, w, h)), f"{score:.4f}", str(int(lost)))
        if self._times:
            fields += ("" if time is None else f"{time:.6f}",)
        self._put(",".join(fields) + "\n")

    def _put(self, line: str) -> None:
        if self._file is None and self._path is not None and not self._closed:
            self._file = self._begin(self._path)
        if self._file is not None:
            try:
                self._file.write(line)
                self._file.flush()
            except OSError as error:  # a full disk, or whoever read our output has gone; the system's message names no file
                where, file, self._closed = self._path or "standard output", self._file, True
                self._file = None
                with suppress(OSError):  # closing would try to write once more, and its error hide this one
                    if self._path is not None:
                        file.close()
                raise type(error)(error.errno, f"{error.strerror}: {where} is whole up to the line before") from error

    def close(self) -> None:
        """Closes the file; standard output stays open. Closing twice is harmless, writing afterwards a ``ValueError``.

        A table without a line is its header; it replaces an older one, unless the ``with`` block ended by an error.
        """
        if self._path is None:
            return
        if not self._closed:
            self._put("")
        self._closed = True
        if self._file is not None:
            self._file.close()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._closed |= kind is not None  # what was there before stays, if nothing has come
        self.close()


def read_boxes(path: str | Path) -> list[BoxRow]:
    """Reads what :class:`BoxWriter` wrote; an id made of digits is a number.

    A last line without its end, as a killed run may leave it, is passed over.

    Raises:
        OSError: the file cannot be read.
        ValueError: the header or a line is not as it should be; the message names the file and the line.
    """
    lines = Path(path).read_text(encoding="utf-8").split("\n")[:-1]  # behind the last line's end: nothing, or half a line
    columns = tuple(lines[0].split(",")) if lines else ()
    ids, times = "id" in columns, TIME in columns
    if columns != (*(HEADER_WITH_IDS if ids else HEADER), *([TIME] if times else [])):
        raise ValueError(f"{path} does not begin with the line {','.join(HEADER)}; is it a table of boxes?")
    rows = []
    for number, line in enumerate(lines[1:], 2):
        try:
            frame, *names, x, y, w, h, score, lost = line.split(",")[: -1 if times else None]
            if len(names) != ids:
                raise ValueError("another number of fields")
            target = next((int(name) if name.isdecimal() else name for name in names), None)
            box = Box(float(x), float(y), float(w), float(h))
            rows.append(BoxRow(int(frame), box, float(score), bool(int(lost)), target))
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {line!r} is not {','.join(columns)}") from error
    return rows
