"""The process in which work is done: it takes units from its parent until there are none, and dies with its parent."""

from __future__ import annotations

import multiprocessing as mp
import os
import signal
import threading
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Literal, NamedTuple

from metatrack.arrays import Float64
from metatrack.data.sequence import Sequence
from metatrack.evaluation.run.folder import Unit, WorkFolder
from metatrack.evaluation.run.protocols import first_box
from metatrack.evaluation.run.runner import run_sequence
from metatrack.evaluation.run.store import Store
from metatrack.evaluation.run.trackers import TrackerSpec
from metatrack.geometry import Box
from metatrack.opencv import single_threaded

REPORT_EVERY = 0.25  # seconds between two reports of frames
NO_UNIT = Unit("", "", 0, 0, 0)


class Report(NamedTuple):
    """What a worker says."""

    kind: Literal["ready", "frames", "done", "failed", "busy"]
    unit: Unit
    frames: int = 0  # with "frames": how many more have been tracked; negative where a run begins anew
    reason: str = ""  # with "failed": one line


Send = Callable[[Report], None]


class NoResult(NamedTuple):
    """Why a run came to nothing."""

    reason: str  # one line
    details: str  # the traceback, or why there is none


@dataclass(frozen=True)
class Job(ABC):
    """What is done: a worker is given it once, when it starts; it may be on another machine, so it is cheap to send.

    The items of a job are what its units are done on: a sequence, a video. They are sent one by one, by ``unit.sequence``.
    """

    folder: WorkFolder
    session: float  # when the work began, by the folder's clock

    @abstractmethod
    def attempt(self, unit: Unit, item: Any, send: Send) -> Any:
        """Does the unit and writes nothing to the folder; ``send`` is told of the frames. What went wrong is an answer, too."""

    @abstractmethod
    def keep(self, unit: Unit, came_to: Any) -> Report:
        """Writes what an attempt came to, or a :class:`NoResult`."""

    @abstractmethod
    def needs(self, unit: Unit, item: Any) -> Path | None:
        """A file that every machine must have at the same path; None where this one does not have it either."""

    @abstractmethod
    def unfitness(self, unit: Unit) -> str | None:
        """What keeps the machine on which this is asked from doing the unit as the driver of the job would."""

    def settled(self, unit: Unit) -> Report | None:
        """The report of a unit that another call has finished since ours began."""
        if self.folder.is_done(unit):
            return Report("done", unit)
        failure = self.folder.failure_since(unit, self.session)
        return failure and Report("failed", unit, reason=failure.reason)


@dataclass(frozen=True)
class Runs(Job):
    """Trackers over sequences: the job of an evaluation."""

    folder: Store
    trackers: Mapping[str, TrackerSpec]
    identities: Mapping[str, Mapping[str, Any]]  # of the trackers, where the evaluation was called

    def attempt(self, unit: Unit, item: Sequence, send: Send) -> tuple[Float64, Float64] | NoResult:
        """The boxes and seconds of :func:`run_sequence`, or why there are none."""
        progress = Progress(unit, send)

        def box(size: tuple[int, int]) -> Box:
            return first_box(self.folder.protocol, item, unit.run, unit.start, size)

        try:
            made = self.trackers[unit.tracker].make()
            try:
                return run_sequence(made, item, unit.start, box, progress.step)
            finally:
                getattr(made, "close", lambda: None)()  # those that hold more than memory have one
        except Exception as error:  # whatever a tracker raises: the others go on
            return failed(error)

    def keep(self, unit: Unit, came_to: tuple[Float64, Float64] | NoResult) -> Report:
        if isinstance(came_to, NoResult):
            self.folder.write_error(unit, *came_to)
            return Report("failed", unit, reason=came_to.reason)
        self.folder.write(unit, *came_to)
        return Report("done", unit)

    def needs(self, unit: Unit, item: Sequence) -> Path | None:
        """The first frame: what the driver cannot read either is the data set's fault, and the unit's failure."""
        first = item.frame_paths[unit.start]
        return first if first.is_file() else None

    def unfitness(self, unit: Unit) -> str | None:
        name = unit.tracker
        try:
            if self.trackers[name].identity() != self.identities[name]:
                return f"its {name} differs from the driver's; install the same metatrack and model on every machine"
        except Exception as error:  # whatever importing a user's module raises
            return f"{type(error).__name__}: {error} (tracker {name}; its files must be at the same path on every machine)"
        return None


def work(connection: Connection, job: Job) -> None:
    """Receives ``(unit, item)`` and sends :class:`Report`, until it receives None or the parent is gone."""
    threading.Thread(target=_die_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; the parent decides what it means
    single_threaded()
    connection.send(Report("ready", NO_UNIT))
    while True:
        try:
            task: tuple[Unit, Any] | None = connection.recv()
        except EOFError:
            return
        if task is None:
            return
        connection.send(do(job, *task, connection.send))


def do(job: Job, unit: Unit, item: Any, send: Send) -> Report:
    """Claims the unit and does it; what went wrong ends in the folder. "busy" if another process is at it."""
    with job.folder.claim(unit) as ours:
        if not ours:
            return Report("busy", unit)
        return job.settled(unit) or job.keep(unit, job.attempt(unit, item, send))


def failed(error: Exception) -> NoResult:
    """Why a run came to nothing that ended with an error, while it is handled."""
    return NoResult(f"{type(error).__name__}: {error}".splitlines()[0], traceback.format_exc())


def died(how: str) -> NoResult:
    """Why a run came to nothing whose process ended; ``how`` is its exit code or whatever is known."""
    reason = f"the process in which it ran died ({how}): a crash in native code, memory, or an outside kill"
    return NoResult(reason, "No traceback: the process could not write one.\n")


class Progress:
    """Tells how many frames were tracked, from time to time."""

    def __init__(self, unit: Unit, send: Send) -> None:
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
