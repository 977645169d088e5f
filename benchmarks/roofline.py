"""The roofline: how many operations and bytes a frame costs, what the machine can do at best, and the share that we reach."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from benchmarks.clip import Clip, read_clip
from benchmarks.fps import WARM, follow, in_turn
from benchmarks.graphs import Recorder, Work, record, work
from benchmarks.options import Options
from benchmarks.page import ABSENT, Section, Table, median, number, percent
from benchmarks.peaks import Peaks, find_peaks
from metatrack.runtime.load import load_model
from metatrack.runtime.model import Model
from metatrack.tracking.tracker import Tracker

PEAK_ROUNDS = 3
"""At most; the best one counts."""


@dataclass(frozen=True)
class Point:
    """A graph of a model, in a mean frame."""

    model: str
    graph: str
    calls: float
    cost: Work
    seconds: float

    def share(self, peaks: Peaks) -> float:
        """Of what the machine can do at best: the least time by the time."""
        return peaks.seconds(*self.cost) / self.seconds

    @property
    def intensity(self) -> float:
        """Operations for each byte."""
        return self.cost.ops / max(self.cost.bytes, 1.0)


@dataclass(frozen=True)
class Roofline:
    """What the plot shows."""

    peaks: Peaks
    points: list[Point]


def measure(options: Options) -> Section:
    """All models, adapting where they can."""
    clip = read_clip(options.frames)
    peaks = find_peaks(options.thread_count, min(options.rounds, PEAK_ROUNDS))
    points = [point for name, graphs in run(options, clip).items() for point in whole(name, graphs)]
    return Section(
        "Roofline",
        [
            "The machine's peak is the best that onnxruntime reaches here on one large node, with as many threads; the bandwidth"
            " that of numpy's copy, read and written. Depthwise convolutions have too few operations for each byte to come near,"
            " and do not count as a peak.",
            peak_table(peaks),
            "Operations are two for each multiplication and addition of the convolutions and matrix products in the graphs, bytes"
            " are their weights, inputs and outputs, each once for each call, with the shapes of this very run; all else"
            " (activations, resizing, norms) is taken as free. *Share reached*: the least time by the roofline, from these"
            " operations, bytes and the peaks above, as a share of the time measured. What"
            " stays in a core's cache may be faster than this roof.",
            point_table(points, peaks),
        ],
        Roofline(peaks, points),
    )


def run(options: Options, clip: Clip) -> dict[str, list[Point]]:
    """Every model's graphs, in the order of their time."""
    updates = len(clip.frames) - 1
    models = {name: record(model) for name, model in variants(options).items()}
    recorders = {name: own for name, (_, own) in models.items()}
    trackers = {name: Tracker(model) for name, (model, _) in models.items()}
    seconds: dict[tuple[str, str], list[float]] = defaultdict(list)
    for tracker in trackers.values():
        follow(tracker, clip, WARM)
    for n in range(options.rounds):
        for name in in_turn(list(models), n):
            start = clip.frames[0]
            trackers[name].init(start, clip.box)
            for recorder in recorders[name].values():
                recorder.reset()  # init's calls belong to no frame
            for frame in clip.frames[1:]:
                trackers[name].update(frame)
            for graph, recorder in recorders[name].items():
                seconds[name, graph].append(recorder.seconds)
    found = {}
    for name in models:
        own = [_point(name, graph, each, median(seconds[name, graph]), updates) for graph, each in recorders[name].items()]
        found[name] = sorted((point for point in own if point.calls), key=lambda point: -point.seconds)
    return found


def variants(options: Options) -> dict[str, Model]:
    """Every model as the tracker takes it, and those of them that run in 8 bits in float32, too."""
    models: dict[str, Model] = {}
    for name in options.model_names:
        short = Path(name).name
        models[short] = load_model(name, options.thread_count)
        if models[short].precision == "int8":
            models[f"{short}, float32"] = load_model(name, options.thread_count, "float32")
    return models


def _point(name: str, graph: str, recorder: Recorder, seconds: float, updates: int) -> Point:
    calls = sum(each.count for each in recorder.calls.values())
    return Point(name, graph, calls / updates, work(recorder) * (1 / updates), seconds / updates)


def whole(name: str, points: list[Point]) -> list[Point]:
    """The graphs, and behind them their sum."""
    total = Work()
    for point in points:
        total = total.plus(point.cost)
    return [*points, Point(name, "all", sum(p.calls for p in points), total, sum(p.seconds for p in points))]


def peak_table(peaks: Peaks) -> Table:
    """The machine."""
    rows = [(name, number(rate / 1e9), "Gop/s") for name, rate in peaks.rates.items()]
    rows += [
        ("**peak, float32**", number(peaks.float32 / 1e9), "Gop/s"),
        ("**peak, int8**", number(peaks.int8 / 1e9), "Gop/s"),
        ("**copy, large memory**", number(peaks.bandwidth / 1e9), "GB/s"),
        ("copy, a core's cache", number(peaks.cache / 1e9), "GB/s"),
    ]
    return Table(("what", "measured", "unit"), rows)


def point_table(points: list[Point], peaks: Peaks) -> Table:
    """The graphs."""
    columns = (
        *("model, graph", "calls a frame", "Mop a frame", "of them int8", "MB a frame", "op/byte", "ms a frame", "Gop/s"),
        *("roof, ms", "share reached"),
    )
    rows = [
        (
            f"{point.model}, {point.graph}",
            number(point.calls),
            number(point.cost.ops / 1e6),
            percent(point.cost.int8_ops / point.cost.ops) if point.cost.ops else ABSENT,
            number(point.cost.bytes / 1e6),
            number(point.intensity),
            number(1000 * point.seconds),
            number(point.cost.ops / point.seconds / 1e9),
            number(1000 * peaks.seconds(*point.cost)),
            percent(point.share(peaks)),
        )
        for point in points
    ]
    return Table(columns, rows)
