"""Evaluations that may be interrupted at any moment, continued, and shared by several processes.

The parent only hands out units (a tracker, a sequence, a run); workers run the trackers, in processes of their own, so that one
that crashes takes nothing with it. Whoever works on a unit holds its claim (``claims.py``), which is also how several
evaluations of one folder, on one machine or on many, share the work without knowing of each other. What a unit leaves behind is
one file of boxes, written in one step; scores are made of these files alone, so they are the same bytes whether the work was
done in one go or in ten.
"""

from __future__ import annotations

import multiprocessing as mp
import time
from abc import abstractmethod
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Sequence as Seq
from contextlib import AbstractContextManager, suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

import numpy as np

from metatrack.data.folders import SHOWN
from metatrack.data.otb import otb_omitted
from metatrack.data.sequence import Sequence
from metatrack.evaluation.run.folder import Failure, Unit
from metatrack.evaluation.run.protocols import Protocol as Name
from metatrack.evaluation.run.protocols import first_frames
from metatrack.evaluation.run.store import Store
from metatrack.evaluation.run.trackers import TrackerSpec
from metatrack.evaluation.run.worker import NO_UNIT, Job, Report, Runs, died, work

POLL = 0.5  # seconds between two looks at units that another evaluation is working on


class EvaluationError(RuntimeError):
    """Worker processes cannot be started, or a cluster cannot be used."""


class Workers(AbstractContextManager["Workers"]):
    """Where trackers run: processes of this machine, or a cluster (:mod:`metatrack.evaluation.run.cluster`)."""

    @abstractmethod
    def run(self, units: Seq[Unit], items: Mapping[str, Any]) -> Iterator[Report]:
        """Yields every report; ends when each unit is done or has failed."""


def plan(store: Store, trackers: Seq[str], sequences: Seq[Sequence]) -> list[Unit]:
    """The units of an evaluation, tracker by tracker: each tracker on each sequence, as often as the protocol says.

    On OTB, TRE starts no run in the frames that the benchmark leaves out (``OtbTarget.omit``). Two sequences of one name are a
    ``ValueError``.
    """
    twice = [name for name, count in Counter(sequence.name for sequence in sequences).items() if count > 1]
    if twice:
        raise ValueError(f"two sequences are named {twice[0]!r}; results would overwrite each other")
    omit = otb_omitted() if store.data_set == "otb" else {}
    starts = {s.name: first_frames(store.protocol, s, omit.get(s.name, ())) for s in sequences}
    return [
        Unit(tracker, sequence.name, run, start, len(sequence) - start)
        for tracker in trackers
        for sequence in sequences
        for run, start in enumerate(starts[sequence.name], start=1)
    ]


def check_starts(protocol: Name, sequences: Seq[Sequence]) -> None:
    """Raises a ``ValueError`` for sequences with a run that would start in a frame whose box is not known."""
    known = {s.name: np.isfinite(s.boxes[first_frames(protocol, s)]).all() for s in sequences}
    bad = [name for name, good in known.items() if not good]
    if bad:
        shown = ", ".join([*bad[:SHOWN], *(["..."] if len(bad) > SHOWN else [])])
        raise ValueError(
            f"no tracker can start on {shown}: the box of the first frame is not known (line 1 of the ground truth is NaN, has "
            "no area, or is marked as absent); begin the sequence at its first known box, or choose others with --only"
        )


def runs(store: Store, trackers: Seq[TrackerSpec]) -> Runs:
    """The job of an evaluation that begins now; the folder notes what its trackers are.

    Raises:
        OSError, ValueError, ImportError: a tracker cannot be made.
        ValueError: the folder's results were made by another tracker of the same name.
    """
    identities = {tracker.name: tracker.identity() for tracker in trackers}
    for name, identity in identities.items():
        store.pin_tracker(name, identity)
    return Runs(store, store.now(), {tracker.name: tracker for tracker in trackers}, identities)


def carry_out(
    job: Job,
    units: Seq[Unit],
    items: Mapping[str, Any],
    jobs: int = 1,
    watch: Callable[[Report], None] = lambda report: None,
    workers: Callable[[Job, int], Workers] | None = None,
) -> list[Failure]:
    """Does the units, as far as they are not done yet, and returns those without a result, in their order.

    Units that failed in an earlier call are tried again. Returns when every unit is done or has failed, by this call or by
    another one that works on the same folder. Call it under ``if __name__ == "__main__":`` in a script: processes are spawned.

    Args:
        items: what they are done on, by ``unit.sequence``.
        jobs: units that are run at once. Speed is only meaningful with 1.
        watch: told each report of the workers, and "done" for what was done before.
        workers: makes those that do the work, given the job and ``jobs``; None are processes of this machine.

    Raises:
        EvaluationError: worker processes die before they do anything, or a cluster cannot be used.
    """
    failures: dict[Unit, Failure] = {}
    todo: list[Unit] = []
    for unit in units:
        if job.folder.is_done(unit):
            watch(Report("done", unit))
        else:
            todo.append(unit)
    if todo:
        with (workers or Processes)(job, jobs) as crew:
            for report in crew.run(todo, items):
                if report.kind == "failed":
                    failures[report.unit] = Failure(report.unit, report.reason, job.folder.file("errors", report.unit))
                watch(report)
    return [failures[unit] for unit in units if unit in failures]


class _Worker:
    """A process, the pipe to it, and what it is at."""

    def __init__(self, job: Job) -> None:
        # Spawned, not forked: a forked child of a process with OpenCV's or onnxruntime's threads may hang.
        context = mp.get_context("spawn")
        ours, theirs = context.Pipe()
        self.pipe: Connection = ours
        self.process: SpawnProcess = context.Process(target=work, args=(theirs, job))
        self.process.start()
        theirs.close()  # the child has its own; so its death is an end of file here
        self.unit: Unit | None = None
        self.ready = False

    def give(self, unit: Unit, item: Any) -> None:
        self.unit = unit
        with suppress(BrokenPipeError):  # it has just died; reading from it says so
            self.pipe.send((unit, item))

    def end(self, kill: bool) -> None:
        if kill:
            self.process.terminate()
        else:
            with suppress(BrokenPipeError):
                self.pipe.send(None)
        self.process.join(5)
        if self.process.is_alive():  # a tracker that does not listen to SIGTERM
            self.process.kill()
            self.process.join()
        self.pipe.close()


class Agenda:
    """Units that are to be done. Those that another evaluation is at come up again after a while, until they are settled."""

    def __init__(self, units: Iterable[Unit]) -> None:
        self._waiting: deque[Unit] = deque(units)
        self._elsewhere: list[Unit] = []
        self._look = time.monotonic() + POLL

    def take(self) -> Unit | None:
        """The next one; None if there is none now. While the agenda is true, ask again later."""
        if not self._waiting and time.monotonic() >= self._look:
            self._waiting.extend(self._elsewhere)
            self._elsewhere.clear()
            self._look = time.monotonic() + POLL
        return self._waiting.popleft() if self._waiting else None

    def postpone(self, unit: Unit) -> None:
        self._elsewhere.append(unit)

    def __bool__(self) -> bool:
        return bool(self._waiting or self._elsewhere)


class Processes(Workers):
    """Workers on this machine, replaced when they die."""

    def __init__(self, job: Job, jobs: int) -> None:
        self.job, self.jobs = job, jobs
        self.workers: list[_Worker] = []

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for worker in self.workers:
            worker.end(kill=kind is not None)

    def run(self, units: Seq[Unit], items: Mapping[str, Any]) -> Iterator[Report]:
        self.workers = [_Worker(self.job) for _ in range(min(max(self.jobs, 1), len(units)))]
        agenda = Agenda(units)
        while True:
            for worker in self.workers:
                while worker.ready and worker.unit is None and (unit := agenda.take()) is not None:
                    if (report := self.job.settled(unit)) is not None:
                        yield report
                    else:
                        worker.give(unit, items[unit.sequence])
            if not (agenda or any(worker.unit for worker in self.workers)):
                return  # all that was left had been done by another evaluation; no worker will ever speak
            for ready in wait([worker.pipe for worker in self.workers], timeout=POLL if agenda else None):
                worker = next(worker for worker in self.workers if worker.pipe is ready)
                report = self._hear(worker)
                if report.kind == "busy":
                    agenda.postpone(report.unit)
                elif report.kind != "ready":
                    yield report

    def _hear(self, worker: _Worker) -> Report:
        """The next report of a worker; if it has died, its unit has failed and another takes its place."""
        try:
            report: Report = worker.pipe.recv()
        except (EOFError, OSError):
            return self._replace(worker)
        worker.ready = True
        if report.kind != "frames":
            worker.unit = None
        return report

    def _replace(self, worker: _Worker) -> Report:
        worker.end(kill=False)
        code = worker.process.exitcode
        how = f"killed by signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        if not worker.ready:
            raise EvaluationError(f"a worker process ended before it had any work ({how}); its own message, if any, is above")
        self.workers[self.workers.index(worker)] = _Worker(self.job)
        if worker.unit is None:  # what its last tracker has left running has taken it down, when its result was kept already
            return Report("ready", NO_UNIT)
        return self.job.keep(worker.unit, died(how))
