"""The process in which trackers run: it takes units from its parent until there are none, and dies with its parent."""

from __future__ import annotations

import multiprocessing as mp
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from typing import Literal, NamedTuple

from metatrack.arrays import Float64
from metatrack.data.sequence import Sequence
from metatrack.evaluation.run.protocols import Protocol, first_box
from metatrack.evaluation.run.runner import run_sequence
from metatrack.evaluation.run.store import Store, Unit
from metatrack.evaluation.run.trackers import TrackerSpec
from metatrack.geometry import Box
from metatrack.opencv import single_threaded

REPORT_EVERY = 0.25
"""Seconds between two reports of frames."""


NO_UNIT = Unit("", "", 0, 0, 0)


class Job(NamedTuple):
    """What a worker is given once, when it starts."""

    store: Store
    trackers: dict[str, TrackerSpec]
    session: float
    """When the evaluation began, by the store's clock."""


class Report(NamedTuple):
    """What a worker says."""

    kind: Literal["ready", "frames", "done", "failed", "busy"]
    unit: Unit
    frames: int = 0
    """With "frames": how many more have been tracked; negative where a run begins anew."""
    reason: str = ""
    """With "failed": one line."""


class Boxes(NamedTuple):
    """What a run came to."""

    boxes: Float64
    """``(n, 4)``, ``x, y, w, h`` 0-based."""
    seconds: Float64
    """``(n,)``, of each frame."""


class NoResult(NamedTuple):
    """Why a run came to nothing."""

    reason: str
    """One line."""
    details: str
    """The traceback, or why there is none."""


def work(connection: Connection, job: Job) -> None:
    """Receives ``(unit, sequence)`` and sends :class:`Report`, until it receives None or the parent is gone."""
    threading.Thread(target=_die_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; the parent decides what it means
    single_threaded()
    connection.send(Report("ready", NO_UNIT))
    while True:
        try:
            task: tuple[Unit, Sequence] | None = connection.recv()
        except EOFError:
            return
        if task is None:
            return
        connection.send(do(job, *task, connection.send))


def do(job: Job, unit: Unit, sequence: Sequence, send: Callable[[Report], None]) -> Report:
    """Claims the unit and does it; what went wrong ends in the store. "busy" if another process is at it."""
    with job.store.claim(unit) as ours:
        if not ours:
            return Report("busy", unit)
        if (report := settled(job, unit)) is not None:
            return report
        return keep(job.store, unit, attempt(job.trackers[unit.tracker], job.store.protocol, unit, sequence, send))


def settled(job: Job, unit: Unit) -> Report | None:
    """The report of a unit that another evaluation has finished since ours began."""
    if job.store.is_done(unit):
        return Report("done", unit)
    failure = job.store.failure_since(unit, job.session)
    return failure and Report("failed", unit, reason=failure.reason)


def attempt(
    tracker: TrackerSpec, protocol: Protocol, unit: Unit, sequence: Sequence, send: Callable[[Report], None]
) -> Boxes | NoResult:
    """Runs the unit and writes nothing; ``send`` is told of the frames."""
    progress = _Progress(unit, send)

    def box(size: tuple[int, int]) -> Box:
        return first_box(protocol, sequence, unit.run, unit.start, size)

    try:
        made = tracker.make()
        try:
            return Boxes(*run_sequence(made, sequence, unit.start, box, progress.step))
        finally:
            getattr(made, "close", lambda: None)()  # those that hold more than memory have one
    except Exception as error:  # whatever a tracker raises: the others go on
        return NoResult(f"{type(error).__name__}: {error}".splitlines()[0], traceback.format_exc())


def died(how: str) -> NoResult:
    """Why a run came to nothing whose process ended; ``how`` is its exit code or whatever is known."""
    reason = f"the process in which it ran died ({how}): a crash in native code, memory, or an outside kill"
    return NoResult(reason, "No traceback: the process could not write one.\n")


def keep(store: Store, unit: Unit, came_to: Boxes | NoResult) -> Report:
    """Writes what an attempt came to."""
    if isinstance(came_to, NoResult):
        store.write_error(unit, *came_to)
        return Report("failed", unit, reason=came_to.reason)
    store.write(unit, *came_to)
    return Report("done", unit)


class _Progress:
    """Tells how many frames were tracked, from time to time."""

    def __init__(self, unit: Unit, send: Callable[[Report], None]) -> None:
        self.unit, self.send, self.frames, self.last = unit, send, 0, time.monotonic()

    def step(self) -> None:
        self.frames += 1
        if time.monotonic() - self.last >= REPORT_EVERY:
            self.send(Report("frames", self.unit, self.frames))
            self.frames, self.last = 0, time.monotonic()


def _die_with_parent() -> None:
    parent = mp.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)  # at once: nobody is left to report to, and a half-made result is not written
