"""``metatrack track``: a video and a box of each target in, their boxes in every frame out."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import tyro

from metatrack.app.boxes import parse_box
from metatrack.app.convert import FormatName, sequence_name
from metatrack.app.drawing import PICK, draw_in_window, page_for
from metatrack.app.given import Given, gather, parse_correction, read_given, used
from metatrack.app.mistakes import check_source
from metatrack.app.plan import Plan
from metatrack.app.problem import INCOMPLETE, Problem, user_input
from metatrack.app.products import Product
from metatrack.app.progress import TrackingProgress
from metatrack.app.setting import SetTexts, parse_settings
from metatrack.app.stop import StopRequest
from metatrack.convert.tracks import Video
from metatrack.geometry import Box, Image
from metatrack.hints import number_spans
from metatrack.runtime.load import load_model
from metatrack.runtime.processor import Engine
from metatrack.tracking.multi import MultiTracker
from metatrack.tracking.settings import TrackerSettings
from metatrack.tracking.tracker import Result
from metatrack.video import BoxWriter, FrameSource, SourceError, VideoWriter, draw, open_source
from metatrack.video.overlay import draw_targets
from metatrack.video.sink import rate_to_play

ModelName = Annotated[str, tyro.conf.arg(metavar="NAME|DIR")]
BoxText = Annotated[str | None, tyro.conf.arg(metavar="X,Y,W,H")]
BoxTexts = tyro.conf.UseAppendAction[Annotated[tuple[str, ...], tyro.conf.arg(metavar="X,Y,W,H")]]


@dataclass(frozen=True)
class TrackOptions:
    """Follows one target or several through a video, from their boxes in the first frame, and says where they are in every frame.

    The exit code is 0 if every frame was tracked, 1 if the source is damaged (what could be tracked is kept), 130 if you
    interrupted (what was done is kept), 2 if the input cannot be used.
    """

    source: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="SOURCE")]
    """Video file, folder of images, number of a camera, or address of a stream."""
    box: BoxTexts = ()
    """Where the target is in the first frame: top-left corner and size, in pixels. Once for each target, with ids from 1 on;
    pick: draw them in a window. Without, on a machine with a browser, the page of metatrack app opens; Ctrl-C then takes what
    you drew there."""
    boxes_from: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """File with first boxes and corrections, at any frame, in any format of docs/formats.md. Taken are its key frames or, where
    it marks none, the first of boxes in consecutive frames."""
    correct: tyro.conf.UseAppendAction[Annotated[tuple[str, ...], tyro.conf.arg(metavar="FRAME:[ID:]X,Y,W,H")]] = ()
    """Where a target is in a later frame, to start anew from there; with its id where there are several. Repeat it at will."""
    boxes: Annotated[str | None, tyro.conf.arg(metavar="FILE.csv")] = None
    """Table of boxes to write, by frame: frame,x,y,w,h,score,lost (several targets: frame,id,x...). - is standard output."""
    format: FormatName = "csv"
    """Format of --boxes: docs/formats.md says what each holds."""
    times: bool = False
    """Give the table a last column, time: seconds in the source's own time."""
    video: Annotated[Path | None, tyro.conf.arg(metavar="FILE.mp4")] = None
    """Video to write, with the boxes drawn on it."""
    crop_video: Annotated[Path | None, tyro.conf.arg(metavar="FILE.mp4")] = None
    """Clip to write that follows the target and keeps it in the middle; of several targets, a clip each, numbered."""
    blur: Annotated[Path | None, tyro.conf.arg(metavar="FILE.mp4")] = None
    """Video to write with the targets made unreadable (faces, number plates). Where one is lost, its last place is hidden and
    grows; frames before its first box are not changed. Look at the video before you publish it."""
    dataset: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder to write, new or empty: images and ground truth for training, in GOT-10k's layout, a clip for each target."""
    model: ModelName | None = None
    """Shipped model (see metatrack models), or folder of a bundle; lite by default, with --as-printed paper."""
    adapt: bool = True
    """Let the meta-learner adapt the model to each target while it tracks."""
    as_printed: bool = False
    """Track as the paper prints it, with nothing of our own (settings paper.v1): for comparisons, see docs/paper.md."""
    set_: SetTexts = ()
    """A setting of the tracker, as in adaptation.interval=30; help(metatrack.TrackerSettings) lists them. Repeat it at will."""
    start: int = 0
    """Number of the first frame, counted from 0; the boxes are the targets' boxes there."""
    end: int | None = None
    """Number of the frame to stop before."""
    threads: int = 0
    """Threads of the networks; 0 is one for each core that the process may use."""
    allow: tyro.conf.UseAppendAction[Annotated[tuple[str, ...], tyro.conf.arg(metavar="PROTOCOL")]] = ()
    """A further protocol that an address may use, ftp say. Playlists that it leads to may use it, too."""
    engine: Engine = "onnxruntime"
    """What runs the networks; openvino comes with pip install 'metatrack[openvino]', cuda with onnxruntime-gpu."""
    quiet: bool = False
    """Show neither progress nor a summary; errors are still said."""
    json: bool = False
    """Print a summary as JSON on standard output, for scripts."""


class Step(NamedTuple):
    """One frame, and what the tracker said about it."""

    number: int  # 0-based number of the frame in its source
    frame: Image
    results: Mapping[int | str, Result]  # by the targets' ids
    seconds: float  # time of the tracker alone
    given: tuple[int | str, ...] = ()  # targets whose box a person gave for this frame

    @property
    def result(self) -> Result:
        """That of the first target; a run from a single box has no other."""
        return next(iter(self.results.values()))


@dataclass
class Summary:
    """What a run did."""

    frames: int = 0
    tracking_seconds: float = 0.0  # time inside the tracker, from the second frame on
    total_seconds: float = 0.0
    lost: dict[int | str, list[int]] = field(default_factory=dict)  # by target: the frames in which it was lost
    signal: int | None = None  # the signal that ended the run early
    given: set[tuple[int, int | str]] = field(default_factory=set)  # frames and targets whose box a person gave
    failure: SourceError | None = None  # what ended the source early, or was found wrong with it at its end

    @property
    def status(self) -> int:
        return INCOMPLETE if self.failure else 128 + self.signal if self.signal else 0

    def note(self, step: Step) -> None:
        self.frames += 1
        self.tracking_seconds += step.seconds if self.frames > 1 else 0.0
        self.given.update((step.number, target) for target in step.given)
        for target, result in step.results.items():
            self.lost.setdefault(target, []).extend([step.number] if result.lost else [])


def follow(tracker: MultiTracker, source: FrameSource, given: Given) -> Iterator[Step]:
    """Tracks frame by frame; a frame with a given box answers with it and the score 1.

    Raises:
        Problem: a box is not one in its frame, whose size may be another than the first frame's.
    """
    waiting = sorted(given)
    for frame in source:
        begin = time.perf_counter()
        now: dict[int | str, Box | None] = {}
        while waiting and waiting[0] <= source.index:  # a camera may have dropped the very frame
            now |= given[waiting.pop(0)]
        for target, box in now.items():
            if box is None and target in tracker.targets:
                tracker.remove(target)
        results = tracker.update(frame) if tracker.targets else {}
        for target, box in now.items():
            if box is not None:
                with user_input():
                    if target in tracker.targets:
                        tracker.correct(target, frame, box)
                    else:
                        tracker.add(frame, box, target)
                results[target] = Result(box, 1.0, False)
        taken = tuple(target for target, box in now.items() if box is not None)
        yield Step(source.index, frame, results, time.perf_counter() - begin, taken)


def track(
    tracker: MultiTracker,
    source: FrameSource,
    *first: Box,
    boxes: str | Path | None = None,
    video: Path | None = None,
    times: bool = False,
    given: Given | None = None,
    products: Sequence[Product] = (),
    quiet: bool = False,
    watch: Callable[[Step], None] = lambda step: None,
) -> Summary:
    """Tracks a whole source and writes what is asked for, each frame before the next one is tracked.

    Args:
        tracker: without targets.
        source: where.
        first: the box of each target in the first frame; they get the ids 1, 2, 3 ... Or, instead,
        given: boxes of frames and targets.
        boxes, video: files to write (``"-"``: standard output), or None.
        times: the table has the column ``time``.
        products: what else is written.
        quiet: no progress is shown.
        watch: called with every step.

    Raises:
        Problem: a file cannot be written.
    """
    boxes_given: Given = given or {source.index + 1: dict(enumerate(first, 1))}
    several = {target for found in boxes_given.values() for target in found} != {1}
    summary, begin = Summary(), time.perf_counter()
    quiet = quiet or (boxes == "-" and sys.stdout.isatty())
    with ExitStack() as stack:
        with user_input():
            table = stack.enter_context(BoxWriter(boxes, several, times))
            film = stack.enter_context(VideoWriter(video, rate_to_play(source.fps), source.pixel_aspect))
            for product in products:
                stack.enter_context(product)
        progress = stack.enter_context(TrackingProgress(source.name, source.frame_count, quiet))
        stop = stack.enter_context(StopRequest())
        try:
            for step in follow(tracker, source, boxes_given):
                for target, result in step.results.items():
                    table.write(step.number, *result, target if several else None, source.time)
                if video is not None:
                    film.write(_drawn(step, several), source.time)
                for product in products:
                    product.write(step.frame, step.results, source.time)
                watch(step)
                progress.step(step.results)
                summary.note(step)
                if stop.signal is not None:
                    summary.signal = stop.signal
                    break
        except SourceError as error:
            summary.failure = error
    summary.total_seconds = time.perf_counter() - begin
    return summary


def _drawn(step: Step, several: bool) -> Image:
    """The frame with the boxes on it; a single one has no id."""
    if not step.results:
        return step.frame
    if several:
        return draw_targets(step.frame, step.results, step.number)
    return draw(step.frame, *step.result, number=step.number)


def run(options: TrackOptions) -> int:
    """Runs the command; returns the exit code."""
    first = [parse_box(text) for text in options.box if text != PICK]  # before a source is opened, which may take its time
    for text in options.correct:
        parse_correction(text)
    parse_settings(options.set_)
    if options.json and options.boxes == "-":
        raise Problem("--json and --boxes - both write to standard output; give the table a file")
    plan = Plan(options.boxes, options.format, options.video, options.crop_video, options.blur, options.dataset)
    plan.check(options.source, options.boxes_from, options.times)
    check_source(options.source)
    file = None
    if not options.box and options.boxes_from is None and not (options.quiet or options.json) and page_for(options.source):
        from metatrack.app.page import draw_on_page

        if (file := draw_on_page(options.source, plan.wanted)) is None:
            return 0
    if PICK in options.box:
        with user_input(), open_source(options.source, start=options.start, allow=options.allow) as shown:
            first += draw_in_window(next(shown), shown.name)
    with user_input():
        source = open_source(options.source, start=options.start, end=options.end, allow=options.allow)
    with source:
        facts = Video(source.size, source.fps, source.frame_count, sequence_name(source.name))
        if options.boxes_from is not None:
            file = (options.boxes_from, read_given(options.boxes_from, facts))
        last = None if source.frame_count is None else options.start + source.frame_count
        given = gather(first, options.correct, file, (options.start, last), source.name, source.size)
        if file is not None and not options.quiet:
            print(f"{'given':<9}{used(given)} ({file[0]})", file=sys.stderr)
        with user_input(ModuleNotFoundError):
            tracker = make_tracker(options)
            products = plan.products(source, given)
        outputs: dict[str, Any] = {"boxes": plan.table, "video": options.video, "times": options.times, "quiet": options.quiet}
        summary = track(tracker, source, given=given, products=products, **outputs)
        plan.finish(facts, summary.given)
    if options.json:
        print(json.dumps(for_scripts(summary, source, tracker, plan.made())))
    if not options.quiet:
        made = (f"{what:<9}{path}" for what, path in plan.made())
        print(describe(summary, source, tracker), *made, sep="\n", file=sys.stderr)
    for note in plan.notes(summary.frames):
        print(f"note: {note}", file=sys.stderr)
    if not options.quiet:
        print(f"{'next':<9}{next_step(summary, options)}", file=sys.stderr)
    if summary.failure is not None:
        print(f"error: {summary.failure}", file=sys.stderr)
    return summary.status


def make_tracker(options: TrackOptions) -> MultiTracker:
    """The tracker that the options ask for, without targets.

    Raises:
        ValueError: the model cannot track as printed; or as :class:`MultiTracker`.
        Problem: a setting cannot be read.
    """
    model = load_model(options.model or ("paper" if options.as_printed else "lite"), options.threads, engine=options.engine)
    settings = parse_settings(options.set_)
    if not options.as_printed:
        return MultiTracker(model, options.adapt, settings)
    if model.has_boxes:
        raise ValueError(f"model {model.name!r} has a box head, which the paper has not: use --as-printed with model paper")
    return MultiTracker(model, options.adapt, replace(TrackerSettings.preset("paper.v1"), **(settings or {})))


def next_step(summary: Summary, options: TrackOptions) -> str:
    """What a person may want to do now."""
    firsts = [numbers[0] for numbers in summary.lost.values() if numbers]
    if summary.signal or summary.failure is not None:
        return f"go on with --start {options.start + max(summary.frames - 1, 0)} and the box of that frame"
    if firsts:
        which = "ID:" if len(summary.lost) > 1 else ""
        return f"lost first in frame {min(firsts)}: say where it is there, with --correct {min(firsts)}:{which}x,y,w,h"
    if made := options.video or options.blur or options.crop_video:
        return f"look at {made}"
    if options.boxes not in (None, "-"):
        return "see it with --video tracked.mp4; for another tool: metatrack convert; many videos: metatrack batch"
    return "keep the boxes with --boxes boxes.csv, see them with --video tracked.mp4"


def for_scripts(summary: Summary, source: FrameSource, tracker: MultiTracker, made: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """The summary as JSON has it; ``made`` are the files, as :meth:`metatrack.app.plan.Plan.made` tells them."""
    updates, seconds = max(0, summary.frames - 1), summary.tracking_seconds
    return {
        "source": source.name,
        "size": list(source.size),
        "model": tracker.model.name,
        "adapt": tracker.adapt,
        "frames": summary.frames,
        "declared_frames": source.frame_count,
        "dropped_frames": source.dropped,
        "fps_tracking": round(updates / seconds, 2) if seconds else None,
        "fps": round(updates / summary.total_seconds, 2) if summary.total_seconds else None,
        "lost": {str(target): numbers for target, numbers in summary.lost.items()},
        "files": [list(each) for each in made],
        "interrupted": summary.signal is not None,
        "error": None if summary.failure is None else str(summary.failure),
        "exit_code": summary.status,
    }


def describe(summary: Summary, source: FrameSource, tracker: MultiTracker) -> str:
    """The summary in three lines: frames, speed, losses; of several targets, those that were lost have a line each."""
    of = f" of {source.frame_count}" if source.frame_count and source.frame_count != summary.frames else ""
    end = "; interrupted" if summary.signal else "; stopped early" if of and summary.failure else ""
    size = "x".join(map(str, source.size))
    if source.pixel_aspect != 1:
        shown = round(source.size[0] * source.pixel_aspect)
        size += f" stored, shown as {shown}x{source.size[1]}: boxes are in stored pixels"
    dropped = f", {source.dropped} dropped" if source.dropped else ""
    adapting = "adapting" if tracker.adapt else "not adapting"
    targets = f"{len(summary.lost)} targets in " if len(summary.lost) > 1 else ""
    updates = max(0, summary.frames - 1)
    alone = f"{updates / summary.tracking_seconds:.1f} fps tracking alone, " if summary.tracking_seconds else ""
    every = updates / summary.total_seconds if summary.total_seconds else 0.0
    return "\n".join(
        (
            f"{'tracked':<9}{targets}{summary.frames}{of} frames of {source.name} ({size}){dropped}"
            f" with {tracker.model.name}, {adapting}{end}",
            f"{'speed':<9}{alone}{every:.1f} fps with decoding and writing",
            f"{'lost':<9}{_losses(summary.lost, summary.frames)}",
        )
    )


def _losses(lost: Mapping[int | str, list[int]], of: int) -> str:
    """Which targets were lost, and when.

    >>> _losses({1: []}, 20), _losses({1: [3, 4]}, 20), _losses({1: [], 2: [3, 4]}, 20)
    ('never', '2 of 20 frames: 3-4', 'target 2 in 2 of 20 frames: 3-4')
    """
    if len(lost) <= 1:
        return _frames_lost([number for numbers in lost.values() for number in numbers], of)
    lines = [f"target {target} in {_frames_lost(numbers, of)}" for target, numbers in lost.items() if numbers]
    return f"\n{'':<9}".join(lines) or "never"


def _frames_lost(numbers: list[int], of: int) -> str:
    """Frame numbers as a person writes them: their count, and the first runs of them.

    >>> _frames_lost([3, 4, 5, 9], 20)
    '4 of 20 frames: 3-5, 9'
    """
    if not numbers:
        return "never"
    runs = number_spans(numbers)
    return f"{len(numbers)} of {of} frames: {', '.join(runs[:5])}" + (", ..." if len(runs) > 5 else "")
