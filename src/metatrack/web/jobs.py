"""Trackings, written videos and cameras that run: a child process does the work, a thread here keeps and tells what it says."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from metatrack.web.child import ChildError, Ended, Opened, SentBox, TrackedFrame, WorkerProcess
from metatrack.web.events import Hub
from metatrack.web.frames import Frames
from metatrack.web.settings import Limits
from metatrack.web.store import ABSENT, KEY, TRACKED, Project, ProjectStore, Refused, StoredBox, new_id
from metatrack.web.worker import Film, GivenBox, Live, TargetToTrack, TrackingOrder

FLUSH_EVERY = 0.05  # seconds for which results are gathered before they are kept and told
PREVIEW = -1
"""Stands for a width: the picture that a tracking showed."""


@dataclass
class TrackingJob:
    """One piece of work."""

    id: str
    project: str
    kind: str  # ``forwards``, ``backwards``, ``video`` or ``camera``
    total: int  # frames to do; 0 where that is not known
    state: str = "running"  # then ``done``, ``paused`` or ``failed``
    done: int = 0
    frame: int = -1  # the last one that was done
    message: str | None = None
    child: WorkerProcess | None = field(default=None, repr=False)
    thread: threading.Thread | None = field(default=None, repr=False)
    times: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=40), repr=False)

    def facts(self) -> dict[str, Any]:
        """For the page: how far it is, how fast, and how many seconds are left."""
        fps = 0.0
        if len(self.times) > 1 and self.times[-1][0] > self.times[0][0]:
            fps = (self.times[-1][1] - self.times[0][1]) / (self.times[-1][0] - self.times[0][0])
        left = (self.total - self.done) / fps if fps and self.total else None
        names = ("id", "kind", "total", "state", "done", "frame", "message")
        return {**{name: getattr(self, name) for name in names}, "fps": round(fps, 1), "left": left}


class Jobs:
    """All jobs of a server."""

    def __init__(self, store: ProjectStore, hub: Hub, frames: Frames, limits: Limits) -> None:
        self._store, self._hub, self._frames, self._limits = store, hub, frames, limits
        self._lock = threading.Lock()
        self._jobs: dict[str, TrackingJob] = {}
        self._spare: WorkerProcess | None = None
        self._ended = False

    # --- what is asked for

    def warm_up(self) -> None:
        """Starts a tracker before it is asked for: loading Python and the model takes most of a second."""
        with self._lock:
            if self._spare is None and not self._ended:
                self._spare = WorkerProcess("track", self._limits.memory << 20)

    def running(self, project: str | None = None) -> list[TrackingJob]:
        """Jobs at work, of one project or of all."""
        with self._lock:
            return [job for job in self._jobs.values() if job.state == "running" and project in (None, job.project)]

    def of(self, project: str) -> list[TrackingJob]:
        """A project's jobs that run, and the one that ended last."""
        with self._lock:
            own = [job for job in self._jobs.values() if job.project == project]
        return [job for job in own if job.state == "running" or job is own[-1]]

    def track(
        self, project: Project, frame: int, forwards: bool, targets: Sequence[int] | None, stop_when_lost: bool
    ) -> TrackingJob:
        """Tracks from a frame to the end of the video, or to its beginning.

        Args:
            project, forwards: where, and which way.
            frame, targets: from which each of these targets (None: all that have a box there) is tracked.
            stop_when_lost: ends as soon as one is lost.

        Raises:
            Refused: no target has a box there, or enough jobs run.
        """
        last = project.frames - 1 if forwards else 0
        if frame == last:
            where = "last frame: nothing comes after it; track backwards" if forwards else "first frame; track forwards"
            raise Refused(f"this is the {where} from here")
        wanted = [each.id for each in self._store.targets(project.id)]
        if targets is not None:
            wanted = [each for each in wanted if each in targets]
        orders = [found for found in (self._target(project.id, each, frame, forwards) for each in wanted) if found]
        if not orders:
            raise Refused(f"no target has a box in frame {frame}: draw one there first, or go to a frame that has one")
        order = TrackingOrder(project.source, frame, last, orders, stop_when_lost)
        job = TrackingJob(new_id(), project.id, "forwards" if forwards else "backwards", abs(last - frame))
        action = self._store.begin_tracking(project.id, f"track {job.kind} from frame {frame}")
        self._start(job, "track", order, lambda job: self._keep_tracked(job, action))
        return job

    def _target(self, project: str, target: int, frame: int, forwards: bool) -> TargetToTrack | None:
        """How a target begins; None if it has no box in that frame."""
        rows = self._store.rows(project, target)
        keys = {row.frame: (row.x, row.y, row.w, row.h) for row in rows if row.kind == KEY}
        here = next((row for row in rows if row.frame == frame and row.kind != ABSENT), None)
        if here is None:
            return None
        box = (here.x, here.y, here.w, here.h)
        # Its appearance is learnt from what a person drew: the nearest such frame on the way that the tracking came from.
        past = [number for number in keys if (number <= frame if forwards else number >= frame)]
        key = min(past or keys or [frame], key=lambda number: abs(number - frame))
        ahead = {number: box for number, box in keys.items() if (number > frame if forwards else number < frame)}
        absent = {row.frame for row in rows if row.kind == ABSENT}
        return TargetToTrack(target, box, key, keys.get(key, box), ahead, absent)

    def film(self, project: Project, done: Path) -> TrackingJob:
        """Writes the video again with the boxes of visible targets, in one step; :class:`Refused` where enough jobs run."""
        boxes = []
        for target in self._store.targets(project.id):
            rows = [row for row in self._store.rows(project.id, target.id) if row.kind != ABSENT]
            color = tuple(bytes.fromhex(target.color[1:]))
            if not target.hidden:
                boxes.append((target.name, color, [_wire(row) for row in rows]))
        order = Film(project.source, str(done), project.fps, boxes)  # type: ignore[arg-type] # three bytes are a colour
        job = TrackingJob(new_id(), project.id, "video", project.frames)
        self._start(job, "film", order, self._keep_nothing)
        return job

    def camera(self, project: Project, camera: int | str, ended: Callable[[], None]) -> TrackingJob:
        """Shows a camera and records it into the project's video; :class:`Refused` where enough jobs run."""
        job = TrackingJob(new_id(), project.id, "camera", 0)
        action = self._store.begin_tracking(project.id, "track at the camera")

        def keep(job: TrackingJob) -> None:
            try:
                self._keep_tracked(job, action)
            finally:
                ended()

        self._start(job, "live", Live(camera, project.source, self._limits.minutes * 60.0), keep)
        return job

    def mark(self, project: str, target: int, box: tuple[float, float, float, float] | None) -> None:
        """Tells a running camera to follow a target from this box on, or to forget it."""
        for job in self.running(project):
            if job.kind == "camera" and job.child is not None:
                job.child.tell(GivenBox(target, box))

    def pause(self, project: str, job: str) -> TrackingJob:
        """Asks a job to end after the frame in hand; :class:`Refused` where there is no such job."""
        with self._lock:
            found = self._jobs.get(job)
        if found is None or found.project != project:
            raise Refused("there is no such job; it may have ended. Reload the page")
        if found.child is not None:
            found.child.ask_to_stop()
        return found

    def end(self, project: str | None = None) -> None:
        """Ends the jobs of a project, or all, and waits for that."""
        for job in self.running(project):
            if job.child is not None:
                job.child.ask_to_stop()
        for job in self.running(project):
            if job.thread is not None:
                job.thread.join(10.0)
            if job.child is not None and job.state == "running":
                job.child.end()

    def close(self) -> None:
        """Ends everything."""
        self._ended = True
        self.end()
        if self._spare is not None:
            self._spare.end()

    # --- what runs

    def _start(self, job: TrackingJob, role: str, order: Any, keep: Callable[[TrackingJob], None]) -> None:
        with self._lock:
            busy = [each for each in self._jobs.values() if each.state == "running"]
            if any(each.project == job.project for each in busy):
                raise Refused("this project is being worked on already; pause that first")
            if len(busy) >= self._limits.jobs:
                raise Refused(
                    f"{len(busy)} of at most {self._limits.jobs} jobs run, in another project; wait for its end or pause it,"
                    " or start metatrack app with a larger --jobs"
                )
            spare, self._spare = (self._spare, None) if role == "track" else (None, self._spare)
            job.child = (
                spare if spare is not None and spare.process.poll() is None else WorkerProcess(role, self._limits.memory << 20)
            )
            self._jobs[job.id] = job
            for old in [each for each in self._jobs.values() if each.state != "running"][:-50]:
                del self._jobs[old.id]
        job.thread = threading.Thread(target=self._run, args=(job, order, keep), name=f"metatrack-{job.kind}", daemon=True)
        job.thread.start()

    def _run(self, job: TrackingJob, order: Any, keep: Callable[[TrackingJob], None]) -> None:
        child = job.child
        assert child is not None  # noqa: S101 - set by _start
        state, message = "failed", "the server ended it by mistake; please report this"
        try:
            child.tell(order)
            keep(job)
            state, message = "done", None  # type: ignore[assignment]
        except _Early as early:
            state, message = early.args
        except ChildError as error:
            message = str(error)
        finally:
            child.end()
            job.state, job.message = state, message
            self._hub.tell(job.project, {"type": "job", "job": job.facts(), "actions": self._store.next_actions(job.project)})
            if job.kind in ("forwards", "backwards"):
                self.warm_up()

    def _messages(self, job: TrackingJob) -> Any:
        """What the child says, to the end of its work."""
        assert job.child is not None  # noqa: S101 - set by _start
        while True:
            said, data = job.child.hear()
            if isinstance(said, Ended):
                if said.problem is not None:
                    raise _Early("failed" if said.refused else "paused", said.problem)
                return
            yield said, data

    def _note(self, job: TrackingJob, said: TrackedFrame) -> None:
        job.done, job.frame = job.done + 1, said.frame
        job.times.append((time.monotonic(), job.done))

    def _keep_tracked(self, job: TrackingJob, action: int) -> None:
        """Keeps the rows, then tells them: nothing is shown that a kill could take away."""
        rows: list[StoredBox] = []
        shown: tuple[int, bytes] | None = None
        flushed = 0.0

        def flush() -> None:
            nonlocal rows, shown, flushed
            kept = self._store.add_tracked(job.project, action, rows)
            if shown is not None:
                self._frames.keep(job.project, shown[0], PREVIEW, shown[1])
            self._hub.tell(
                job.project,
                {"type": "job", "job": job.facts(), "rows": kept, "shown": None if shown is None else shown[0]},
            )
            rows, shown, flushed = [], None, time.monotonic()

        try:
            for said, data in self._messages(job):
                if isinstance(said, Opened) and job.kind == "camera":
                    self._store.update_project(job.project, width=said.width, height=said.height, fps=said.fps)
                    self._hub.tell(job.project, {"type": "reload"})
                elif isinstance(said, TrackedFrame):
                    self._note(job, said)
                    rows += [_kept(row) for row in said.rows]
                    shown = (said.frame, data) if data else shown
                    if time.monotonic() - flushed >= FLUSH_EVERY:
                        flush()
        finally:
            flush()

    def _keep_nothing(self, job: TrackingJob) -> None:
        flushed = 0.0
        for said, _ in self._messages(job):
            if isinstance(said, TrackedFrame):
                self._note(job, said)
                if time.monotonic() - flushed >= 5 * FLUSH_EVERY:
                    self._hub.tell(job.project, {"type": "job", "job": job.facts()})
                    flushed = time.monotonic()


class _Early(Exception):  # noqa: N818 - not an error
    """The work ended before its end: a state and a message."""


def _kept(row: Any) -> StoredBox:
    return StoredBox(row.target, row.frame, TRACKED, row.x, row.y, row.w, row.h, row.score, int(row.lost))


def _wire(row: StoredBox) -> SentBox:
    return SentBox(row.target, row.frame, row.x, row.y, row.w, row.h, row.score, bool(row.lost))
