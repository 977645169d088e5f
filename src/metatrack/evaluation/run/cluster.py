"""The units of an evaluation on the machines of a Ray cluster. Ray is imported here alone.

The driver is the process that evaluates. It claims units, sends them out as Ray's tasks, and is the only one to write: results
come back to it as arrays, so the machines share nothing but the data set, which each must find at the same path. A task that
fails takes nothing with it. One whose machine dies is sent out again, a few times; Ray's own retries are off, because they do not
tell a machine that died, which says nothing of the tracker, from a tracker that kills its process.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from collections.abc import Sequence as Seq
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, NamedTuple

import ray
from ray.exceptions import NodeDiedError, ObjectLostError, RayError, RayTaskError, TaskCancelledError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from metatrack.evaluation.run.evaluate import POLL, Agenda, EvaluationError, Workers
from metatrack.evaluation.run.folder import Unit
from metatrack.evaluation.run.worker import Job, NoResult, Report, died
from metatrack.opencv import single_threaded

TRIES = 3  # machines that may die under a unit before it counts as failed
PATIENCE = 60.0  # seconds without any CPU in the cluster after which an evaluation ends


def check_address(address: str) -> None:
    """Raises a ``ValueError`` unless it is ``auto``, or a ``host:port`` where somebody listens: Ray would try for minutes."""
    if address in ("auto", "local"):
        return
    host, _, port = address.rpartition(":")
    if "://" in address or not host or not port.isdecimal():
        raise ValueError(f"--ray {address}: give host:port of the cluster's head, or auto on one of its machines")
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, OverflowError) as error:
        raise ValueError(f"--ray {address}: nobody answers there ({error}); start a head with: ray start --head") from error


class Unfit(NamedTuple):
    """What keeps a machine from being used."""

    machine: str
    reason: str


class _Setting(NamedTuple):
    """What every task is given."""

    folder: str  # the driver's
    paths: list[str]  # where the driver looks for modules
    job: Job
    board: Any


class _Task(NamedTuple):
    """A unit that was sent out."""

    unit: Unit
    number: int  # how often, so far
    claim: ExitStack  # ends our claim of the unit


class Cluster(Workers):
    """Sends units to the machines of a cluster.

    Args:
        address: ``host:port``, or ``auto`` on one of its machines.
        jobs: units at once; 0 is one for each CPU that the cluster has at the time.

    Raises:
        EvaluationError: on entering: no cluster can be used at this address. While running: a machine cannot read the data set
            or make a tracker, or has another version of something; or no machine is left.
    """

    def __init__(self, address: str, job: Job, jobs: int = 0) -> None:
        self.address, self.job, self.jobs = address, job, jobs
        self.tasks: dict[Any, _Task] = {}
        self.frames: Counter[Unit] = Counter()
        """Frames that have been reported of the units in ``tasks``."""

    def __enter__(self) -> Cluster:
        try:
            ray.init(self.address, log_to_driver=False, logging_level=logging.CRITICAL)
        except (RuntimeError, ValueError, OSError, RayError) as error:
            raise EvaluationError(f"no Ray cluster can be used at {self.address}: {error}") from error
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self.board: Any = ray.remote(_Board).options(num_cpus=0, scheduling_strategy=here).remote()
        self.told = self.board.read.remote()
        setting = _Setting(os.getcwd(), sys.path, self.job, self.board)
        self.setting = ray.put(setting)
        # Spread: else Ray fills one machine after the other.
        self.track = ray.remote(_track).options(num_cpus=1, max_retries=0, scheduling_strategy="SPREAD")
        self.last_seen = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        ray.shutdown()  # ends the tasks too
        for task in self.tasks.values():
            task.claim.close()

    def run(self, units: Seq[Unit], items: Mapping[str, Any]) -> Iterator[Report]:
        agenda = Agenda(units)
        while agenda or self.tasks:
            room = self._room()
            while len(self.tasks) < room and (unit := agenda.take()) is not None:
                with ExitStack() as claim:
                    if not claim.enter_context(self.job.folder.claim(unit)):
                        agenda.postpone(unit)
                    elif (report := self.job.settled(unit)) is not None:
                        yield report
                    else:
                        self._send(_Task(unit, 1, claim.pop_all()), items)
            if not self.tasks:
                time.sleep(POLL)
                continue
            ended, _ = ray.wait(list(self.tasks), timeout=POLL)
            yield from self._progress()
            for reference in ended:
                yield self._end(reference, items)

    def _room(self) -> int:
        """Units that may be out at once."""
        cpus = int(ray.cluster_resources().get("CPU", 0))
        if cpus:
            self.last_seen = time.monotonic()
        elif time.monotonic() - self.last_seen > PATIENCE:
            raise EvaluationError(f"the cluster at {self.address} has had no CPU for {PATIENCE:.0f} s; repeat the call to go on")
        return self.jobs or max(cpus, 1)

    def _send(self, task: _Task, items: Mapping[str, Any]) -> None:
        item = items[task.unit.sequence]
        needed = self.job.needs(task.unit, item)
        self.tasks[self.track.remote(self.setting, task.unit, task.number, item, needed)] = task

    def _progress(self) -> Iterator[Report]:
        """What the tasks have told of frames, as far as it is here."""
        if not ray.wait([self.told], timeout=0)[0]:
            return
        current = {task.unit: task.number for task in self.tasks.values()}
        for number, report in ray.get(self.told):
            if current.get(report.unit) == number:
                self.frames[report.unit] += report.frames
                yield report
        self.told = self.board.read.remote()

    def _end(self, reference: Any, items: Mapping[str, Any]) -> Report:
        """The report of a task that has ended; "frames" if it is sent out again."""
        task = self.tasks.pop(reference)
        unit, frames = task.unit, self.frames.pop(task.unit, 0)
        with task.claim:
            came_to: Any
            try:
                came_to = self._result(reference)
            except (NodeDiedError, ObjectLostError) as error:
                if task.number < TRIES:
                    self._send(_Task(unit, task.number + 1, task.claim.pop_all()), items)
                    return Report("frames", unit, -frames)
                came_to = NoResult(f"the machines on which it ran died, {TRIES} times in a row", f"{error}\n")
            return self.job.keep(unit, came_to)

    def _result(self, reference: Any) -> Any:
        try:
            came_to = ray.get(reference)
        except (NodeDiedError, ObjectLostError):
            raise
        except TaskCancelledError as error:  # a tracker's KeyboardInterrupt, for one
            return NoResult("the run was cancelled", f"{error}\n")
        except RayTaskError as error:  # not the tracker's: its errors are results
            raise EvaluationError(f"a machine of the cluster cannot run metatrack ({error.cause}); install it there") from error
        except RayError as error:
            return died(f"{type(error).__name__}: {error}".splitlines()[0])
        if isinstance(came_to, Unfit):
            raise EvaluationError(f"machine {came_to.machine} of the cluster cannot be used: {came_to.reason}")
        return came_to


class _Board:
    """An actor beside the driver that gathers what tasks tell of frames."""

    def __init__(self) -> None:
        self.reports: list[tuple[int, Report]] = []

    def say(self, number: int, report: Report) -> None:
        self.reports.append((number, report))

    def read(self) -> list[tuple[int, Report]]:
        """What has come since the last time."""
        new, self.reports = self.reports, []
        return new


def _track(setting: _Setting, unit: Unit, number: int, item: Any, needed: Path | None) -> Any:
    """The task: does a unit on whatever machine it finds itself; what it came to, or :class:`Unfit`."""
    single_threaded()
    # Relative paths, and modules of the folder in which the user works, mean the same as on the driver, if they are here.
    with suppress(OSError):
        os.chdir(setting.folder)
    sys.path.extend(path for path in setting.paths if path not in sys.path)
    if needed is not None and not needed.exists():
        return Unfit(socket.gethostname(), f"it has no {needed}; what is tracked must be there at the same path on every machine")
    if (reason := setting.job.unfitness(unit)) is not None:
        return Unfit(socket.gethostname(), reason)
    return setting.job.attempt(unit, item, lambda report: setting.board.say.remote(number, report))
