"""``metatrack track``: a video and a box in, the box in every frame out."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Annotated, NamedTuple

import tyro

from metatrack.app.boxes import first_box, parse_box, same_file
from metatrack.app.problem import INCOMPLETE, Problem, user_input
from metatrack.app.progress import TrackingProgress
from metatrack.app.stop import StopRequest
from metatrack.geometry import Box, Image
from metatrack.tracking.tracker import Result, Tracker
from metatrack.video import BoxWriter, FrameSource, SourceError, VideoWriter, draw, open_source

ModelName = Annotated[str, tyro.conf.arg(metavar="NAME|DIR")]
BoxText = Annotated[str | None, tyro.conf.arg(metavar="X,Y,W,H")]


@dataclass(frozen=True)
class TrackOptions:
    """Follows one target through a video, from its box in the first frame, and says where it is in every frame.

    The exit code is 0 if every frame was tracked, 1 if the source is damaged (what could be tracked is kept), 130 if you
    interrupted (what was done is kept), 2 if the input cannot be used.
    """

    source: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="SOURCE")]
    """Video file, folder of images, number of a camera, or address of a stream."""
    box: BoxText = None
    """Where the target is in the first frame: top-left corner and size, in pixels."""
    boxes: Annotated[str | None, tyro.conf.arg(metavar="FILE.csv")] = None
    """Table of boxes to write, frame by frame: frame,x,y,w,h,score,lost. - is standard output."""
    video: Annotated[Path | None, tyro.conf.arg(metavar="FILE.mp4")] = None
    """Video to write, with the box drawn on it."""
    model: ModelName = "lite"
    """Shipped model (see metatrack models), or folder of a bundle."""
    adapt: bool = True
    """Let the meta-learner adapt the model to the target while it tracks."""
    start: int = 0
    """Number of the first frame, counted from 0; the box is the target's box there."""
    end: int | None = None
    """Number of the frame to stop before."""
    threads: int = 0
    """Threads of the networks; 0 is one for each core."""


class Step(NamedTuple):
    """One frame, and what the tracker said about it."""

    number: int
    """0-based number of the frame in its source."""
    frame: Image
    result: Result
    seconds: float
    """Time of the tracker alone."""


@dataclass
class Summary:
    """What a run did."""

    frames: int = 0
    tracking_seconds: float = 0.0
    """Time inside the tracker, from the second frame on."""
    total_seconds: float = 0.0
    lost: list[int] = field(default_factory=list)
    """Numbers of the frames in which the target was lost."""
    signal: int | None = None
    """The signal that ended the run early."""
    failure: SourceError | None = None
    """What ended the source early, or was found wrong with it at its end."""

    @property
    def status(self) -> int:
        """Exit code."""
        return INCOMPLETE if self.failure else 128 + self.signal if self.signal else 0


def follow(tracker: Tracker, frames: Iterable[Image], box: Box, start: int = 0) -> Iterator[Step]:
    """Tracks frame by frame; the first one, number ``start``, answers with the given box and the score 1.

    Raises:
        ValueError: the box is not one in the first frame.
    """
    for number, frame in enumerate(frames, start):
        begin = time.perf_counter()
        if number == start:
            tracker.init(frame, box)
            result = Result(box, 1.0, False)
        else:
            result = tracker.update(frame)
        yield Step(number, frame, result, time.perf_counter() - begin)


def track(
    tracker: Tracker,
    source: FrameSource,
    box: Box,
    *,
    start: int = 0,
    boxes: str | Path | None = None,
    video: Path | None = None,
    watch: Callable[[Step], None] = lambda step: None,
) -> Summary:
    """Tracks a whole source and writes what is asked for, each frame before the next one is tracked.

    Args:
        tracker, source, box: who, where, what; the box is the first frame's.
        start: number of the source's first frame.
        boxes, video: files to write (``"-"``: standard output), or None.
        watch: called with every step.

    Raises:
        Problem: a file cannot be written.
    """
    summary, begin = Summary(), time.perf_counter()
    rate = source.fps if source.fps and 1 <= source.fps <= 240 else None  # a container's wild guess is no speed to play at
    quiet = boxes == "-" and sys.stdout.isatty()
    with ExitStack() as stack:
        with user_input():
            table = stack.enter_context(BoxWriter(boxes))
            film = stack.enter_context(VideoWriter(video, rate))
        progress = stack.enter_context(TrackingProgress(source.name, source.frame_count, quiet))
        stop = stack.enter_context(StopRequest())
        try:
            for step in follow(tracker, source, box, start):
                table.write(step.number, *step.result)
                if video is not None:
                    film.write(draw(step.frame, *step.result, number=step.number))
                watch(step)
                progress.step(step.result)
                summary.frames += 1
                summary.tracking_seconds += step.seconds if summary.frames > 1 else 0.0
                if step.result.lost:
                    summary.lost.append(step.number)
                if stop.signal is not None:
                    summary.signal = stop.signal
                    break
        except SourceError as error:
            summary.failure = error
    summary.total_seconds = time.perf_counter() - begin
    return summary


def run(options: TrackOptions) -> int:
    """Runs the command; returns the exit code.

    Raises:
        Problem: the input cannot be used.
    """
    if options.box is not None:
        parse_box(options.box)  # before a source is opened, which may take its time
    _check_outputs(options)
    with user_input():
        source = open_source(options.source, start=options.start, end=options.end)
    with source:
        box = first_box(options.box, options.start, source.name, source.size)
        with user_input():
            tracker = Tracker(options.model, options.adapt, threads=options.threads)
        summary = track(tracker, source, box, start=options.start, boxes=options.boxes, video=options.video)
    print(describe(summary, source, tracker), file=sys.stderr)
    for what, path in (("boxes", options.boxes), ("video", options.video)):
        if path is not None and path != "-":
            print(f"{what:<9}{path}", file=sys.stderr)
    if summary.failure is not None:
        print(f"error: {summary.failure}", file=sys.stderr)
    return summary.status


def describe(summary: Summary, source: FrameSource, tracker: Tracker) -> str:
    """The summary in three lines: frames, speed, losses."""
    of = f" of {source.frame_count}" if source.frame_count and source.frame_count != summary.frames else ""
    end = "; interrupted" if summary.signal else "; stopped early" if of and summary.failure else ""
    size = "x".join(map(str, source.size))
    adapting = "adapting" if tracker.adapt else "not adapting"
    updates = max(0, summary.frames - 1)
    alone = f"{updates / summary.tracking_seconds:.1f} fps tracking alone, " if summary.tracking_seconds else ""
    every = updates / summary.total_seconds if summary.total_seconds else 0.0
    return "\n".join(
        (
            f"{'tracked':<9}{summary.frames}{of} frames of {source.name} ({size}) with {tracker.model.name}, {adapting}{end}",
            f"{'speed':<9}{alone}{every:.1f} fps with decoding and writing",
            f"{'lost':<9}{_ranges(summary.lost, summary.frames)}",
        )
    )


def _ranges(numbers: list[int], of: int) -> str:
    """Frame numbers as a person writes them: their count, and the first runs of them.

    >>> _ranges([3, 4, 5, 9], 20)
    '4 of 20 frames: 3-5, 9'
    """
    if not numbers:
        return "never"
    runs = [[number for _, number in run] for _, run in groupby(enumerate(numbers), lambda pair: pair[1] - pair[0])]
    shown = ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs[:5])
    return f"{len(numbers)} of {of} frames: {shown}" + (", ..." if len(runs) > 5 else "")


def _check_outputs(options: TrackOptions) -> None:
    for path in (options.boxes, options.video):
        if same_file(path, options.source):
            raise Problem(f"{path} is the source itself; name another file for the result")
    if same_file(options.boxes, options.video):
        raise Problem(f"{options.video} cannot be both the table and the video; name two files")
