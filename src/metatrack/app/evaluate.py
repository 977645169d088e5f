"""``metatrack evaluate``: trackers over a data set to a table, in a folder that any interruption leaves whole."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated

import tyro
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn

from metatrack.app.problem import INCOMPLETE, Problem, needs_extra, user_input
from metatrack.app.progress import Bar
from metatrack.app.setting import SetTexts, parse_settings
from metatrack.data.datasets import DATA_SETS, data_set, only, read_dataset
from metatrack.data.sequence import Sequence
from metatrack.evaluation.run.evaluate import EvaluationError, Workers, carry_out, check_starts, plan, runs
from metatrack.evaluation.run.folder import Failure, Unit
from metatrack.evaluation.run.protocols import Protocol
from metatrack.evaluation.run.store import Store
from metatrack.evaluation.run.trackers import tracker_specs, trackers_help
from metatrack.evaluation.run.worker import Job, Report
from metatrack.evaluation.score.summary import format_summary, frame_size, tables, write_summary

LINE_EVERY = 10.0  # seconds between two lines where there is no terminal
SHOWN = 10  # failures that are named, at most


@dataclass(frozen=True)
class EvaluateOptions:
    """Runs trackers over a data set and scores them. Repeat the call to continue an interrupted one, or to try failures again.

    Several calls may work on one folder at once: each unit of work is done by one of them. docs/evaluation.md says how a copy of
    each data set is laid out, and by which convention each number is made. The exit code is 0 if everything is done, 1 if a
    tracker failed somewhere (the others are done), 130 if you interrupted, 2 if the input cannot be used.
    """

    dataset: Annotated[str, tyro.conf.arg(metavar="|".join(DATA_SETS))]
    """Name of the data set."""
    root: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder of your copy of it."""
    trackers: Annotated[str, tyro.conf.arg(metavar="A,B,...", help=trackers_help())]
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder of the results: one data set and one protocol each."""
    set_: SetTexts = ()
    """A setting of our trackers, as in adaptation.interval=30; help(metatrack.TrackerSettings) lists them. Repeat it at will."""
    protocol: Protocol = "ope"
    """Where trackers are started: once (ope), in up to 20 frames (tre), with 12 disturbed boxes (sre)."""
    jobs: int | None = None
    """Runs at once, of one thread each; 1 by default, with --ray all CPUs. Speed is only measured well with 1."""
    ray: Annotated[str | None, tyro.conf.arg(metavar="HOST:PORT|auto")] = None
    """Cluster to run on instead of this machine: address of its head, or auto on one of its machines. Each machine needs this
    package, and the data set at the same path."""
    subset: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """List that must be there in full, or split of GOT-10k; by default what is found."""
    only: Annotated[str | None, tyro.conf.arg(metavar="NAME,...")] = None
    """These sequences alone."""
    allow_partial: bool = False
    """Take what is there of the subset."""


def run(options: EvaluateOptions) -> int:
    """Runs the command; returns the exit code."""
    jobs, workers = chosen_workers(options.jobs, options.ray, "metatrack evaluate", here=1)
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # where people keep the module of their own tracker
    settings = parse_settings(options.set_)
    with user_input(ImportError):
        name = data_set(options.dataset)
        trackers = tracker_specs(options.trackers.split(","), settings)
        sequences = only(read_dataset(name, options.root, options.subset, options.allow_partial), options.only)
        check_starts(options.protocol, sequences)
        store = Store(options.out, name, options.protocol)
        job = runs(store, trackers)
        units = plan(store, [tracker.name for tracker in trackers], sequences)
        store.note_sequences(replace(s, frame_size=frame_size(store, s)) for s in sequences)
    try:
        with EvaluationProgress(units) as progress:
            failures = carry_out(job, units, {each.name: each for each in sequences}, jobs, progress.report, workers)
    except EvaluationError as error:
        raise Problem(str(error), INCOMPLETE) from error
    return _finish(store, units, failures, sequences)


MakeWorkers = Callable[[Job, int], Workers]


def chosen_workers(jobs: int | None, ray: str | None, command: str, here: int) -> tuple[int, MakeWorkers | None]:
    """What ``--jobs`` and ``--ray`` ask for.

    Args:
        jobs: units at once, or None.
        ray: address of a cluster's head, or ``auto``; None is this machine.
        command: for messages.
        here: units at once on this machine where nothing is said.

    Returns:
        Units at once, 0 being one for each CPU of the cluster; and what makes the cluster's workers.

    Raises:
        Problem: ``jobs`` is less than 1, Ray is not installed, or nobody answers at the address.
    """
    if jobs is not None and jobs < 1:
        raise Problem(f"--jobs {jobs}: at least 1 is needed")
    if ray is None:
        return jobs or here, None
    with needs_extra("cluster", f"{command} --ray"):
        from metatrack.evaluation.run.cluster import Cluster, check_address
    with user_input():
        check_address(ray)
    return jobs or 0, partial(Cluster, ray)


def _finish(store: Store, units: list[Unit], failures: list[Failure], sequences: list[Sequence]) -> int:
    with user_input():  # a result that somebody has changed by hand, a frame that has gone
        scored = tables(store, units, sequences)
    write_summary(store, scored, sequences)
    print(format_summary(scored, len(sequences)), flush=True)
    for failure in failures[:SHOWN]:
        unit = failure.unit
        print(f"failed: {unit.tracker} on {unit.sequence}: {failure.reason} ({failure.file})", file=sys.stderr)
    if len(failures) > SHOWN:
        print(f"failed: {len(failures) - SHOWN} more, see {store.root / 'errors'}", file=sys.stderr)
    return INCOMPLETE if failures else 0


class EvaluationProgress(Bar):
    """Frames tracked of all frames, on standard error: a bar on a terminal, lines elsewhere; failures at once."""

    def __init__(self, units: list[Unit]) -> None:
        self.frames = dict.fromkeys(units, 0)
        self.total, self.tracked, self.done, self.failed = sum(unit.frames for unit in units), 0, 0, 0
        super().__init__(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TaskProgressColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f} frames"),
            TimeRemainingColumn(compact=True),
            total=self.total,
            description=self._state(),
            every=LINE_EVERY,
        )

    def report(self, report: Report) -> None:
        unit = report.unit
        # A running sum: there may be 100,000 runs, and a report of each that was done before.
        more = report.frames if report.kind == "frames" else unit.frames - self.frames[unit]
        self.frames[unit] += more
        self.tracked += more
        if report.kind != "frames":
            self.done += report.kind == "done"
            self.failed += report.kind == "failed"
        if report.kind == "failed":
            self.say("failed", f"{unit.tracker} on {unit.sequence}: {report.reason}")
        line = f"{self._state()}, {self.tracked} of {self.total} frames"
        self.show(lambda: line, completed=self.tracked, description=self._state())

    def _state(self) -> str:
        failed = f", {self.failed} failed" if self.failed else ""
        return f"{self.done} of {len(self.frames)} runs{failed}"
