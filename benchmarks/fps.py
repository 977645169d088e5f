"""Frames per second end to end, without decoding: all trackers in turn, round by round."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np

from benchmarks.clip import Clip, read_clip
from benchmarks.contenders import REFERENCES, Contender, contenders, reason
from benchmarks.options import Options
from benchmarks.page import ABSENT, Section, Table, median, number, percent, spread
from metatrack.evaluation.run.runner import TrackerLike
from metatrack.geometry import Box, iou

Item = TypeVar("Item")
WARM = 10
"""Frames before the first round: memory and caches."""


class Pass(NamedTuple):
    """One tracker over all frames but the first, which is init's."""

    seconds: list[float]  # of each frame
    cpu: float  # seconds of all threads of this process
    boxes: list[Box]

    @property
    def rate(self) -> float:
        """Frames per second."""
        return len(self.seconds) / sum(self.seconds)


@dataclass(frozen=True)
class Runner:
    """A contender that could be made."""

    contender: Contender
    tracker: TrackerLike
    passes: list[Pass]


def measure(options: Options) -> Section:
    """All contenders."""
    clip = read_clip(options.frames)
    runners: list[Runner] = []
    refused: dict[str, str] = {}
    entered = contenders(options)
    for contender in entered:
        try:
            tracker = contender.make(options.thread_count)
            follow(tracker, clip, WARM)
        except (ValueError, ImportError, RuntimeError, OSError) as error:
            refused[contender.name] = reason(error)
        else:
            runners.append(Runner(contender, tracker, []))
    for n in range(options.rounds):
        for runner in in_turn(runners, n):
            runner.passes.append(follow(runner.tracker, clip, len(clip.frames)))
    by_name = {runner.contender.name: runner for runner in runners}
    references = [by_name.get(name) for name in REFERENCES]
    rows = [
        row(by_name[c.name], references, clip) if c.name in by_name else (c.name, *[ABSENT] * 9, refused[c.name]) for c in entered
    ]
    columns = (
        *("tracker", "frames a second", "quartiles", "ms a frame", "95 % of frames within, ms", "CPU ms a frame"),
        *(*(f"speed against {name}" for name in REFERENCES), "answered", "overlap", "note"),
    )
    says = (
        f"{len(clip.frames) - 1} frames of {clip.frames[0].shape[1]}x{clip.frames[0].shape[0]} a round. CPU time is that of all"
        " threads, those included that spin while they wait for work. A ratio is the median over the rounds of the ratio in"
        " each. *Answered*: frames for which the tracker gave a box at all (one that has given up has little left to do);"
        " *overlap*: mean overlap with the boxes drawn by hand."
    )
    return Section("Frames per second, end to end", [says, Table(columns, rows)])


def in_turn(items: Sequence[Item], n: int) -> list[Item]:
    """The same in the order of round ``n``: each begins some round, so that nobody always runs behind the same one.

    >>> in_turn("abc", 1)
    ['b', 'c', 'a']
    """
    first = n % max(len(items), 1)
    return [*items[first:], *items[:first]]


def follow(tracker: TrackerLike, clip: Clip, count: int) -> Pass:
    """Follows the target from its first box through the first frames."""
    frames = clip.frames[:count]
    tracker.init(frames[0], clip.box)
    seconds, boxes = [], []
    cpu = time.process_time()
    for frame in frames[1:]:
        begin = time.perf_counter()
        answer = tracker.update(frame)
        seconds.append(time.perf_counter() - begin)
        boxes.append(answer.box)
    return Pass(seconds, time.process_time() - cpu, boxes)


def row(runner: Runner, references: Sequence[Runner | None], clip: Clip) -> tuple[str, ...]:
    """A line of the table."""
    passes = runner.passes
    rates = [each.rate for each in passes]
    ratios = [[each.rate / its.rate for each, its in zip(passes, other.passes)] if other else [] for other in references]
    frames = np.concatenate([each.seconds for each in passes])
    boxes = passes[-1].boxes
    labelled = [(boxes[i - 1], box) for i, box in clip.labels.items() if 0 < i <= len(boxes)]
    overlap = float(np.mean([float(iou(found, true)) for found, true in labelled])) if labelled else math.nan
    return (
        runner.contender.name,
        number(median(rates)),
        spread(rates),
        number(1000 / median(rates)),
        number(1000 * float(np.percentile(frames, 95))),
        number(median([1000 * each.cpu / len(each.seconds) for each in passes])),
        *(number(median(each)) if each else ABSENT for each in ratios),
        percent(float(np.isfinite(np.asarray(boxes, float)).all(1).mean())),
        ABSENT if math.isnan(overlap) or "untrained" in runner.contender.note else f"{overlap:.2f}",
        runner.contender.note,
    )
