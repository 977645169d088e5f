"""Projects as the routes need them: opening and uploading videos, and what the page shows of a project."""

from __future__ import annotations

import re
import shutil
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from metatrack.files import take_place
from metatrack.geometry import check_box
from metatrack.video.errors import SourceError
from metatrack.web.child import ChildError
from metatrack.web.events import Hub
from metatrack.web.frames import FrameReader, Frames
from metatrack.web.jobs import Jobs
from metatrack.web.settings import Limits
from metatrack.web.store import KEY, Project, ProjectStore, Refused, StoredBox, new_id
from metatrack.web.thumbnails import Thumbnails


class Studio:
    """Everything behind the routes."""

    def __init__(self, folder: Path, limits: Limits) -> None:
        self.limits = limits
        self.store, self.hub, self.frames = ProjectStore(folder), Hub(), Frames(limits)
        self.jobs = Jobs(self.store, self.hub, self.frames, limits)
        self.thumbnails = Thumbnails(folder / "thumbnails", limits, self.jobs.running, self._count_thumbnails)
        self._opening = threading.Semaphore(2)  # videos that are being looked through at a time
        self._clean()

    def _clean(self) -> None:
        """Takes up or deletes what a killed server left behind: a recording, half an upload, a video that was being written."""
        for project in self.store.projects():  # a camera's recording, as far as it came
            path = Path(project.source)
            if project.uploaded and not path.exists():
                for part in list(self.store.uploads.glob(f"{path.stem}.*.part{path.suffix}"))[:1]:
                    take_place(part, path)
                    with suppress(ChildError):
                        self._recorded(project.id)
        known = {Path(project.source).name for project in self.store.projects()}
        for path in self.store.uploads.iterdir():
            if path.name not in known and path.is_file():
                path.unlink(missing_ok=True)
        self.thumbnails.keep_only({project.id for project in self.store.projects()})

    def _count_thumbnails(self, project: str, count: int) -> None:
        self.hub.tell(project, {"type": "thumbnails", "count": count})

    def close(self) -> None:
        """Ends all processes, then closes the store."""
        self.hub.close()
        self.jobs.close()
        self.thumbnails.close()
        self.frames.close()
        self.store.close()

    # --- projects

    def room_for(self, size: int | None) -> None:
        """Raises :class:`Refused` where no further video may come: too many projects, too large a video, or a full disk."""
        most, megabytes = self.limits.projects, self.limits.upload
        if len(self.store.projects()) >= most:
            raise Refused(f"there are {most} projects already; delete one, or start metatrack app with a larger --projects")
        if size is not None and size > megabytes << 20:
            raise Refused(
                f"the video has {size >> 20} megabytes; at most {megabytes} are taken: make it smaller, or pass its path"
                " when you start metatrack app, or a larger --upload"
            )
        free = shutil.disk_usage(self.store.folder).free
        if free < (size or 0) + (64 << 20):
            raise Refused(f"the disk is full: {free >> 20} megabytes are left in the folder of projects; make room first")

    def add(self, source: Path, name: str, uploaded: bool) -> Project:
        """A new project of a video, looked through first; a :class:`ChildError` where it is none, damaged, or too large."""
        with self._opening:
            try:
                reader = FrameReader(source, self.limits)
            except ChildError as error:  # by its own name: where an upload lies is nobody's business
                raise ChildError(str(error).replace(str(source), clean_name(name)), error.refused) from error
        opened = reader.opened
        project = self.store.add_project(
            clean_name(name), str(source), uploaded, opened.frames, (opened.width, opened.height), opened.fps, opened.seconds
        )
        self.frames.adopt(project.id, reader)
        return project

    def add_path(self, path: Path) -> Project:
        """The project of a video of this machine, an old or a new one, for the command line; a ``SourceError`` if it is none."""
        path = path.resolve()
        for project in self.store.projects():
            if project.source == str(path):
                return project
        try:
            return self.add(path, path.name, uploaded=False)
        except ChildError as error:
            raise SourceError(str(error)) from error

    def delete(self, project: str) -> None:
        """Deletes a project; a video that was not uploaded stays where it is."""
        self.store.project(project)
        self.jobs.end(project)
        self.frames.forget(project)
        self.thumbnails.forget(project)
        self.store.delete_project(project)
        self.film(project).unlink(missing_ok=True)

    def film(self, project: str) -> Path:
        """Where a project's video with boxes on it is, once it has been written."""
        return self.store.uploads / f"{project}.film.mp4"

    def video(self, project: Project) -> Path:
        """Where a project's video is; :class:`Refused` where it is gone."""
        path = Path(project.source)
        if not path.exists():
            raise Refused(f"the video of this project, {path}, is no longer there; put it back, or delete the project")
        return path

    def camera(self, number: int, source: int | str | None = None) -> Project:
        """A new project that a camera fills; ``source`` stands in for it in tests.

        Raises:
            Refused: that camera was not allowed, or enough jobs run.
        """
        if number not in self.limits.cameras:
            allowed = ", ".join(map(str, self.limits.cameras)) or "none"
            raise Refused(f"camera {number} was not allowed (allowed: {allowed}); start metatrack app with --cameras {number}")
        self.room_for(None)
        path = self.store.uploads / f"{new_id()}.mp4"
        project = self.store.add_project(f"camera {number}", str(path), True, 0, (0, 0), None, None)
        try:
            self.jobs.camera(project, number if source is None else source, lambda: self._recorded(project.id))
        except Refused:
            self.store.delete_project(project.id)
            raise
        return project

    def _recorded(self, project: str) -> None:
        """The camera's recording is an ordinary video from here on."""
        path = Path(self.store.project(project).source)
        if not path.exists():
            return
        opened = (reader := FrameReader(path, self.limits)).opened
        self.store.update_project(
            project, frames=opened.frames, width=opened.width, height=opened.height, fps=opened.fps, seconds=opened.seconds
        )
        self.frames.adopt(project, reader)
        self.hub.tell(project, {"type": "reload"})

    # --- what the page shows

    def facts(self, project: Project) -> dict[str, Any]:
        """A project, for the page."""
        undo, redo = self.store.next_actions(project.id)
        shown = ("id", "name", "frames", "width", "height", "fps", "seconds")
        jobs = [job.facts() for job in self.jobs.of(project.id)]
        live = any(job["kind"] == "camera" and job["state"] == "running" for job in jobs)
        targets = [each._asdict() for each in self.store.targets(project.id)]
        facts = {name: getattr(project, name) for name in shown}
        facts["thumbnails"] = self.thumbnails.count(project.id)
        return {**facts, "targets": targets, "undo": undo, "redo": redo, "jobs": jobs, "live": live}

    def prepare(self, project: Project) -> None:
        """What a page will want next: a tracker that is ready, and thumbnails of a video in which frames take long to find."""
        self.jobs.warm_up()
        if project.frames and Path(project.source).exists():
            with suppress(ChildError):  # told where a frame is asked for
                reach = self.frames.reach(project.id, Path(project.source))
                self.thumbnails.want(project, Path(project.source), reach)

    def changed(self, project: str, rows: list[StoredBox]) -> dict[str, Any]:
        """What an edit changed: told to all pages, and the answer to the one that asked."""
        undo, redo = self.store.next_actions(project)
        targets = [each._asdict() for each in self.store.targets(project)]
        delta = {"type": "change", "targets": targets, "rows": rows, "undo": undo, "redo": redo}
        self.hub.tell(project, delta)
        return delta

    # --- edits

    def key(self, project: Project, frame: int, box: tuple[float, float, float, float], target: int = 0) -> StoredBox:
        """A key frame; :class:`Refused` where there is no such frame, or the box is none in it."""
        live = any(job.kind == "camera" for job in self.jobs.running(project.id))
        if not live:
            project.require_frame(frame)
        try:
            checked = check_box(box, (project.height, project.width))
        except ValueError as error:
            raise Refused(str(error)) from error
        return StoredBox(target, frame, KEY, *checked, 1.0, 0)

    def not_while_tracking(self, project: str) -> None:
        """Raises :class:`Refused` where a tracking runs: the past may not be changed then."""
        if any(job.kind != "video" for job in self.jobs.running(project)):
            raise Refused("tracking runs; pause it first")


def clean_name(name: str) -> str:
    """A file's name as a project's: without folders, and without what a table or a page cannot hold.

    >>> clean_name("../../etc/holiday, 1.mp4")
    'holiday 1.mp4'
    """
    last = re.split(r"[/\\]", name)[-1]
    return " ".join(re.sub(r'[\x00-\x1f\x7f,"]', " ", last).split())[:100] or "video"
