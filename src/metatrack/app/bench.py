"""``metatrack bench``: frames per second of the tracker on this machine, and where the time goes."""

from __future__ import annotations

import os
import platform
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from itertools import islice
from typing import Annotated, NamedTuple

import numpy as np
import onnxruntime
import tyro
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from metatrack.app.boxes import first_box, parse_box
from metatrack.app.demo import demo_clip
from metatrack.app.problem import Problem, user_input
from metatrack.app.track import BoxText, ModelName
from metatrack.arrays import Float32, UInt8
from metatrack.geometry import Box, Image
from metatrack.runtime.load import load_model
from metatrack.runtime.model import Model, Within
from metatrack.runtime.processor import Engine, Precision, processor, usable_cores
from metatrack.tracking.patches import Patches
from metatrack.tracking.tracker import Tracker
from metatrack.video import open_source

PARTS = ("crop", "embed", "match", "adapt")


@dataclass(frozen=True)
class BenchOptions:
    """Measures the tracker's speed end to end without decoding: the frames are decoded before.

    Leave the machine alone meanwhile: everything else that runs is measured too.
    """

    source: Annotated[tyro.conf.Positional[str | None], tyro.conf.arg(metavar="SOURCE")] = None
    """Video, folder of images or camera; by default the clip inside the package."""
    box: BoxText = None
    """Where the target is in the first frame, if a source is given."""
    model: ModelName = "lite"
    """Shipped model (see metatrack models), or folder of a bundle."""
    adapt: bool = True
    """Adapt while tracking."""
    frames: int = 200
    """Number of frames, at most; they are all kept in memory."""
    repeats: int = 3
    """Runs over the frames; the median counts."""
    threads: int = 0
    """Threads of the networks; 0 is one for each core that the process may use."""
    engine: Engine = "onnxruntime"
    """What runs the networks; openvino comes with pip install 'metatrack[openvino]', cuda with onnxruntime-gpu."""
    precision: Precision = "auto"
    """Of trunk and box head; auto takes what is fastest on this processor, by its instructions, and says why."""


class Clock:
    """Seconds by part of the work."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """While the block runs, its time is added to a part."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - begin


GRAPH_PARTS = {"embed": "embed", "search": "embed", "match": "match", "locate": "match"}
"""Graphs that are timed, and the part that each belongs to; the meta-learner works in a thread of its own."""


def timed_model(model: Model, clock: Clock) -> Model:
    """The same model, whose graphs are timed."""
    parts = {name: partial(clock.part, part) for name, part in GRAPH_PARTS.items()}
    return model.wrapped(lambda name, graph: Within(graph, parts[name]) if name in parts else graph)


class TimedTracker(Tracker):
    """A tracker of a :func:`timed_model` whose steps are timed where no graph is run: cutting contexts, asking for kernels."""

    def __init__(self, model: Model, adapt: bool, clock: Clock) -> None:
        super().__init__(model, adapt)
        self.clock = clock

    def contexts(self, patches: Patches) -> UInt8:
        with self.clock.part("crop"):
            return super().contexts(patches)

    def update_kernels(self) -> None:
        with self.clock.part("adapt"):  # what frames lose by the meta-learner, which works in the background
            super().update_kernels()


class Timing(NamedTuple):
    """Seconds of one run over all frames but the first."""

    total: float
    parts: dict[str, float]

    @property
    def rest(self) -> float:
        """What no part accounts for: the search of the peak, the memory, Python."""
        return self.total - sum(self.parts.values())


def measure(tracker: TimedTracker, frames: Sequence[Image], box: Box, parts: Sequence[str] = PARTS) -> Timing:
    """One run of a timed tracker: the first frame is init's and is not timed."""
    tracker.init(frames[0], box)
    seconds = tracker.clock.seconds
    seconds.clear()
    begin = time.perf_counter()
    for frame in frames[1:]:
        tracker.update(frame)
    total = time.perf_counter() - begin
    return Timing(total, {part: seconds[part] for part in parts})


def run(options: BenchOptions) -> int:
    """Measures and prints; returns the exit code."""
    if options.frames < 2 or options.repeats < 1:
        raise Problem(f"--frames {options.frames} --repeats {options.repeats}: at least 2 frames and 1 repeat are needed")
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0  # before the run's own work
    name, frames, box = read_frames(options)
    with user_input(ModuleNotFoundError):
        clock = Clock()
        model = timed_model(load_model(options.model, options.threads, options.precision, options.engine), clock)
        tracker = TimedTracker(model, options.adapt, clock)
    measure(tracker, frames[:10], box)  # warms up caches and memory
    if options.adapt and model.can_adapt:  # an engine may compile at the first call
        model.adapt(*lesson(model))
    timings = [measure(tracker, frames, box) for _ in range(options.repeats)]
    report(options, model, name, frames, timings, load)
    return 0


def lesson(model: Model) -> tuple[Float32, Float32, Float32]:
    """Template, contexts and labels for :meth:`Model.adapt`, for its time alone: of the right shapes, and without a meaning."""
    rng, r = np.random.default_rng(0), model.response_cells
    shapes = ((1, model.template_cells), (model.support, model.search_cells))
    template, support = (rng.standard_normal((n, model.channels, side, side)).astype(np.float32) for n, side in shapes)
    labels = np.where(rng.random((model.support, r, r)) < 0.02, 1, -1).astype(np.float32)
    return template, support, labels


def read_frames(options: BenchOptions) -> tuple[str, list[Image], Box]:
    """Name, decoded frames and first box of what is to be tracked."""
    with ExitStack() as stack:
        if options.source is None:
            clip, labels = stack.enter_context(demo_clip())
            source = stack.enter_context(open_source(clip))
            box = labels[0].box
        else:
            with user_input():
                source = stack.enter_context(open_source(options.source))
            given = None if options.box is None else parse_box(options.box)
            box = first_box(given, 0, source.name, source.size)
        with user_input():
            frames = list(islice(source, options.frames))
    if len(frames) < 2:
        raise Problem(f"{source.name} has a single frame; there is nothing to track")
    return source.name, frames, box


def report(options: BenchOptions, model: Model, name: str, frames: list[Image], timings: list[Timing], load: float) -> None:
    """Prints machine, table and speed."""
    console = Console(highlight=False)
    updates, (height, width) = len(frames) - 1, frames[0].shape[:2]
    middle = sorted(timings, key=lambda timing: timing.total)[len(timings) // 2]
    speeds = sorted(updates / timing.total for timing in timings)
    console.print(f"[bold]model[/]      {model.name}, {'adapting' if options.adapt and model.can_adapt else 'not adapting'}")
    console.print(f"[bold]frames[/]     {updates} of {escape(name)}, {width}x{height}, decoded before")
    console.print(f"[bold]machine[/]    {machine(options.threads, options.engine)}", soft_wrap=True)
    console.print(f"[bold]precision[/]  {model.precision}: {model.reason}", soft_wrap=True)
    if load > 0.5:
        console.print(f"[dark_orange]busy[/]       other programs are at work (load {load:.1f}): an idle machine is faster")
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 3, 0, 0))
    for column in ("part", "ms a frame", "share"):
        table.add_column(column, justify="left" if column == "part" else "right")
    for part, seconds in [*middle.parts.items(), ("rest", middle.rest)]:
        table.add_row(part, f"{1000 * seconds / updates:.2f}", f"{100 * seconds / middle.total:.1f} %")
    table.add_row("[bold]all[/]", f"[bold]{1000 * middle.total / updates:.2f}[/]", "100.0 %", style="bold")
    console.print()
    console.print(table)
    console.print()
    spread = f", from {speeds[0]:.1f} to {speeds[-1]:.1f}" if len(speeds) > 1 else ""
    console.print(f"[bold green]{updates / middle.total:.1f} frames per second[/] (median of {len(speeds)} runs{spread})")


def machine(threads: int, engine: Engine = "onnxruntime") -> str:
    """The processor and what runs on it, in one line."""
    cores, usable = os.cpu_count() or 1, usable_cores()
    count = f"{cores} cores" if usable == cores else f"{usable} of {cores} cores"
    # onnxruntime for a GPU is another distribution, of the same module.
    release = version(engine) if engine in ("openvino", "torch") else onnxruntime.__version__
    software = f"{engine} {release}, Python {platform.python_version()}, {platform.system()}"
    return f"{processor()}, {count}, {threads or usable} threads, {software}"
