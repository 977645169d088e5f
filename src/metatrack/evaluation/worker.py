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

from metatrack.data.sequence import Sequence
from metatrack.evaluation.protocols import first_box
from metatrack.evaluation.runner import run_sequence
from metatrack.evaluation.store import Store, Unit
from metatrack.evaluation.trackers import TrackerSpec
from metatrack.geometry import Box

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
    """With "frames": how many more have been tracked."""
    reason: str = ""
    """With "failed": one line."""


def work(connection: Connection, job: Job) -> None:
    """Receives ``(unit, sequence)`` and sends :class:`Report`, until it receives None or the parent is gone."""
    threading.Thread(target=_die_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; the parent decides what it means
    import cv2

    cv2.setNumThreads(1)
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
    store = job.store
    with store.claim(unit) as ours:
        if not ours:
            return Report("busy", unit)
        if store.is_done(unit):  # by another evaluation, since our parent looked
            return Report("done", unit)
        if (earlier := store.failure_since(unit, job.session)) is not None:
            return Report("failed", unit, reason=earlier.reason)
        try:
            progress = _Progress(unit, send)

            def box(size: tuple[int, int]) -> Box:
                return first_box(store.protocol, sequence, unit.run, unit.start, size)

            tracker = job.trackers[unit.tracker].make()
            store.write(unit, *run_sequence(tracker, sequence, unit.start, box, progress.step))
        except Exception as error:  # whatever a tracker raises: the others go on
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            store.write_error(unit, reason, traceback.format_exc())
            return Report("failed", unit, reason=reason)
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
