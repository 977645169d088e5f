"""Milliseconds per stage, with the clock of ``metatrack bench``, which knows the networks; here the tracker's own stages join."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from benchmarks.clip import read_clip
from benchmarks.fps import WARM, in_turn
from benchmarks.options import Options
from benchmarks.page import ABSENT, Section, Table, median, number
from metatrack.app.bench import Clock, TimedTracker, Timing, lesson, timed_model
from metatrack.app.bench import measure as timed
from metatrack.arrays import Float32
from metatrack.runtime.load import load_model
from metatrack.runtime.model import Model
from metatrack.tracking.search import Candidate, Searcher

STAGES = ("crop", "embed", "match", "choose", "remember", "adapt")


class StagedTracker(TimedTracker):
    """A timed tracker, with the rest of its steps timed too."""

    def __init__(self, model: Model, adapt: bool, clock: Clock) -> None:
        super().__init__(model, adapt, clock)
        self.searcher = cast(Searcher, StagedSearcher(self.searcher, clock))

    def remember(self, features: Float32, found: Candidate, score: float) -> None:
        with self.clock.part("remember"):
            super().remember(features, found, score)

    def remember_distractors(self, found: Candidate, score: float) -> None:
        with self.clock.part("remember"):
            super().remember_distractors(found, score)


@dataclass(frozen=True)
class StagedSearcher:
    """A searcher whose choice of scale and place is timed."""

    searcher: Searcher
    clock: Clock

    def __getattr__(self, name: str) -> Any:
        return getattr(self.searcher, name)

    def find(self, *response: Any) -> Candidate:
        """See :class:`Searcher`."""
        with self.clock.part("choose"):
            return self.searcher.find(*response)


@dataclass(frozen=True)
class Setup:
    """A model, adapting or not, and its runs."""

    name: str
    tracker: StagedTracker
    timings: list[Timing]

    def stages(self, updates: int) -> dict[str, float]:
        """Milliseconds a frame of each stage, of the rest, and of all."""
        values = {stage: median([timing.parts[stage] for timing in self.timings]) for stage in STAGES}
        values["rest"] = median([timing.rest for timing in self.timings])
        values["all"] = median([timing.total for timing in self.timings])
        return {stage: 1000 * seconds / updates for stage, seconds in values.items()}


def measure(options: Options) -> Section:
    """All models."""
    clip, setups = read_clip(options.frames), make(options)
    for setup in setups:
        timed(setup.tracker, clip.frames[:WARM], clip.box, STAGES)
    for n in range(options.rounds):
        for setup in in_turn(setups, n):
            setup.timings.append(timed(setup.tracker, clip.frames, clip.box, STAGES))
    found = {setup.name: setup.stages(len(clip.frames) - 1) for setup in setups}
    columns = ("ms a frame", *STAGES, "rest", "all")
    rows = [(name, *(number(values[c]) if values[c] else ABSENT for c in columns[1:])) for name, values in found.items()]
    says = (
        "*crop* cuts contexts out of the frame, *embed* is the trunk, *match* the response of equation (4) or the box head,"
        " *choose* reads scale and place off it, *remember* is the memory with equation (5) and that of distractors,"
        " *adapt* what frames lose by the meta-learner, which works in the background; *rest* is what no stage"
        " accounts for: Python."
    )
    shares = [(setup.name, ms, ms / found[setup.name]["all"]) for setup, ms in adaptations(setups, options)]
    calls = [f"{name} {number(ms)} ms, {number(share)} of a frame" for name, ms, share in shares]
    learns = f"One call of the meta-learner, in its thread: {'; '.join(calls)}." if calls else "No model here adapts."
    return Section("Milliseconds per stage", [says, Table(columns, rows), learns], found)


def adaptations(setups: list[Setup], options: Options) -> list[tuple[Setup, float]]:
    """Milliseconds of one call of the meta-learner of each model that has one and uses it."""
    found = []
    for setup in setups:
        model = setup.tracker.model
        if not setup.tracker.adapt:
            continue
        inputs, seconds = lesson(model), []
        for _ in range(1 + 5 * options.rounds):
            begin = time.perf_counter()
            model.adapt(*inputs)
            seconds.append(time.perf_counter() - begin)
        found.append((setup, 1000 * median(seconds[1:])))
    return found


def make(options: Options) -> list[Setup]:
    """Every model, with and without adaptation."""
    setups = []
    for name in options.model_names:
        clock = Clock()
        model = timed_model(load_model(name, options.thread_count), clock)
        for adapt in (True, False) if model.can_adapt else (False,):
            title = Path(name).name + ("" if adapt or not model.can_adapt else ", no adaptation")
            setups.append(Setup(title, StagedTracker(model, adapt, clock), []))
    return setups
