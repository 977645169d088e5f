"""Throughput with several targets: is it as many frames times targets a second as with one?"""

from __future__ import annotations

import time
from collections import defaultdict
from pathlib import Path

import numpy as np

from benchmarks.clip import Clip, read_clip
from benchmarks.fps import in_turn
from benchmarks.options import Options
from benchmarks.page import Section, Table, median, number, percent, spread
from metatrack.geometry import Box
from metatrack.runtime.load import load_model
from metatrack.runtime.model import Model
from metatrack.tracking.multi import MultiTracker
from metatrack.tracking.tracker import Tracker

SHAKE = 0.05
"""Standard deviation of a target's box from the labelled one, in sides: all see the same thing, and none is lost sooner."""
MOST_ALONE = 16
"""Targets that are also followed one by one, for comparison; more would only take time."""


def measure(options: Options) -> Section:
    """The first model."""
    name = options.model_names[0]
    model, clip = load_model(name, options.thread_count), read_clip(options.frames)
    counts = options.target_counts
    alone = [count for count in counts if count <= MOST_ALONE]
    jobs = [(count, True) for count in counts] + [(count, False) for count in alone]
    rates: dict[tuple[int, bool], list[float]] = defaultdict(list)
    lost: dict[int, float] = {}
    follow_together(model, clip, boxes(clip, 1), 5)
    for n in range(options.rounds):
        for count, together in in_turn(jobs, n):
            frames = min(max(2, 1 + options.target_frames // count), len(clip.frames))
            if together:
                seconds, lost[count] = follow_together(model, clip, boxes(clip, count), frames)
            else:
                seconds = follow_alone(model, clip, boxes(clip, count), frames)
            rates[count, together].append(count * (frames - 1) / seconds)
    base = rates[counts[0], True]
    rows = [
        (
            str(count),
            number(median(rates[count, True])),
            spread(rates[count, True]),
            number(1000 * count / median(rates[count, True])),
            number(median([rate / first for rate, first in zip(rates[count, True], base)])),
            number(median([rate / other for rate, other in zip(rates[count, True], rates[count, False])])),
            percent(lost[count]),
        )
        for count in counts
    ]
    columns = (
        *("targets", "targets times frames a second", "quartiles", "ms a frame"),
        *(f"throughput against {counts[0]}", "against as many Trackers in turn", "lost"),
    )
    says = (
        f"`MultiTracker` with {Path(name).name}, adapting where the model can. The targets are the labelled one, with boxes"
        " shaken a little, so each costs the same. A throughput of 1 against one target is time that grows linearly."
    )
    return Section("Several targets", [says, Table(columns, rows)])


def boxes(clip: Clip, count: int) -> list[Box]:
    """The labelled box and others near it, always the same."""
    x, y, w, h = clip.box
    shifts = np.random.default_rng(0).normal(0, SHAKE, (count, 2))
    shifts[0] = 0
    return [Box(x + w * dx, y + h * dy, w, h) for dx, dy in shifts.tolist()]


def follow_together(model: Model, clip: Clip, targets: list[Box], frames: int) -> tuple[float, float]:
    """Seconds of all frames but the first, and the share of targets that are lost in the end."""
    tracker = MultiTracker(model)
    for box in targets:
        tracker.add(clip.frames[0], box)
    begin = time.perf_counter()
    for frame in clip.frames[1:frames]:
        results = tracker.update(frame)
    return time.perf_counter() - begin, sum(result.lost for result in results.values()) / len(targets)


def follow_alone(model: Model, clip: Clip, targets: list[Box], frames: int) -> float:
    """The same with a tracker for each."""
    trackers = [Tracker(model) for _ in targets]
    for tracker, box in zip(trackers, targets):
        tracker.init(clip.frames[0], box)
    begin = time.perf_counter()
    for frame in clip.frames[1:frames]:
        for tracker in trackers:
            tracker.update(frame)
    return time.perf_counter() - begin
