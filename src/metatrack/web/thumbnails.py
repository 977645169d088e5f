"""A small picture of every frame of a video whose frames take long to find: shown at once, until the exact picture comes.

A child process decodes the video once, from its beginning, when nothing else is to be done; what it sends is kept in two files,
one of JPEGs behind each other and one of their sizes, so that any of them is found without decoding anything.
"""

from __future__ import annotations

import os
import threading
import time
from array import array
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from metatrack.web.child import ChildError, Picture, WorkerProcess
from metatrack.web.settings import Limits
from metatrack.web.store import Project
from metatrack.web.worker import Shrink

WIDTHS = (640, 480, 320, 240, 160)  # widths of thumbnails; the largest with which all of a video's fit is taken
BYTES_PER_PIXEL = 0.13  # of a thumbnail, for the choice of the width: measured on a picture with much texture
SHARE = 4
"""A video's thumbnails take a quarter of the room for all."""
WORTH = 50_000_000
"""Pixels that must be decoded for one frame, at most, of a video that needs thumbnails: about a tenth of a second's work."""
TOLD_EVERY = 2.0  # seconds between two words about how many there are


class ThumbnailFile:
    """Thumbnails of a video's frames, from the first on, without a gap.

    A process that dies while it writes leaves at most a picture that no size is written of: it is overwritten.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._sizes_path = path.with_suffix(".jpegs"), path.with_suffix(".sizes")
        self._lock = threading.Lock()
        for each in (self.path, self._sizes_path):
            each.touch()
        sizes = array("I")
        data = self._sizes_path.read_bytes()
        sizes.frombytes(data[: len(data) // sizes.itemsize * sizes.itemsize])
        self._ends = array("Q", [0])
        for size in sizes:
            if self._ends[-1] + size > self.path.stat().st_size:
                break
            self._ends.append(self._ends[-1] + size)
        os.truncate(self._sizes_path, sizes.itemsize * len(self))

    def __len__(self) -> int:
        return len(self._ends) - 1

    @property
    def size(self) -> int:
        """Bytes of all of them."""
        return self._ends[-1]

    def append(self, data: bytes) -> None:
        """Keeps the next frame's; an ``OSError`` where the disk is full."""
        with self._lock:
            with self.path.open("r+b") as file:
                file.seek(self._ends[-1])
                file.write(data)
            with self._sizes_path.open("ab") as file:
                file.write(array("I", [len(data)]).tobytes())
            self._ends.append(self._ends[-1] + len(data))

    def read(self, frame: int) -> bytes | None:
        """A frame's, or None where it has none yet."""
        with self._lock:
            if frame >= len(self):
                return None
            with self.path.open("rb") as file:
                file.seek(self._ends[frame])
                return file.read(self._ends[frame + 1] - self._ends[frame])

    def delete(self) -> None:
        """Deletes both files."""
        with self._lock:
            self._ends = array("Q", [0])
            for each in (self.path, self._sizes_path):
                each.unlink(missing_ok=True)


class Thumbnails:
    """The thumbnails of all projects, and the one process that makes them.

    Args:
        folder: where they are kept.
        limits: how many megabytes they may take, among others.
        busy: what else is to be done, if anything is; nothing is made meanwhile.
        tell: hears of a project how many there are.
    """

    def __init__(self, folder: Path, limits: Limits, busy: Callable[[], object], tell: Callable[[str, int], None]) -> None:
        folder.mkdir(exist_ok=True)
        self._folder, self._limits, self._busy, self._tell = folder, limits, busy, tell
        self._lock = threading.Lock()
        self._files: dict[str, ThumbnailFile] = {}
        self._given_up: set[str] = set()  # a damaged video's end is not sought again
        self._making: str | None = None
        self._thread: threading.Thread | None = None

    def count(self, project: str) -> int:
        """How many frames of a project have one, from the first on."""
        return len(found) if (found := self._file(project)) is not None else 0

    def jpeg(self, project: str, frame: int) -> bytes | None:
        """A frame's, or None where it has none yet."""
        found = self._file(project)
        return None if found is None else found.read(frame)

    def want(self, project: Project, source: Path, reach: int) -> None:
        """Begins to make those of a project, or goes on with them; those of another project wait until it is opened again.

        Args:
            project: its id is the name of the files.
            source: its video.
            reach: frames that must be decoded for one of them, at most.
        """
        room = (self._limits.thumbnails << 20) // SHARE
        if reach * project.width * project.height < WORTH or room == 0 or project.id in self._given_up:
            return
        with self._lock:
            file = self._files.get(project.id) or ThumbnailFile(self._folder / project.id)
            self._files[project.id] = file
            if self._making == project.id or len(file) >= project.frames:
                return
            before, self._making = self._thread, project.id
            self._make_room(project.id, room)
            self._thread = threading.Thread(
                target=self._make, args=(project, source, file, room, before), name="metatrack-thumbnails", daemon=True
            )
            self._thread.start()

    def forget(self, project: str) -> None:
        """Deletes a project's."""
        with self._lock:
            if self._making == project:
                self._making = None
            file = self._files.pop(project, None) or ThumbnailFile(self._folder / project)
        file.delete()

    def keep_only(self, projects: set[str]) -> None:
        """Deletes those of projects that are no longer there."""
        for path in self._folder.iterdir():
            if path.stem not in projects:
                path.unlink(missing_ok=True)

    def close(self) -> None:
        """Ends the process; what was made is kept."""
        with self._lock:
            self._making, thread = None, self._thread
        if thread is not None:
            thread.join(10.0)

    def _file(self, project: str) -> ThumbnailFile | None:
        with self._lock:
            if project not in self._files and (self._folder / f"{project}.sizes").exists():
                self._files[project] = ThumbnailFile(self._folder / project)
            return self._files.get(project)

    def _make_room(self, project: str, room: int) -> None:
        """Deletes those of the videos that were looked at longest ago, until a further one's fit."""
        others = sorted(self._folder.glob("*.jpegs"), key=lambda path: path.stat().st_mtime)
        others = [path for path in others if path.stem != project]
        while others and sum(path.stat().st_size for path in others) + room > self._limits.thumbnails << 20:
            oldest = others.pop(0)
            (self._files.pop(oldest.stem, None) or ThumbnailFile(oldest.with_suffix(""))).delete()

    def _make(self, project: Project, source: Path, file: ThumbnailFile, room: int, before: threading.Thread | None) -> None:
        if before is not None:
            before.join()
        try:
            self._fill(project, source, file, room)
        except (ChildError, OSError, ValueError):
            self._given_up.add(project.id)
        finally:
            with self._lock:
                if self._making == project.id:
                    self._making = None

    def _fill(self, project: Project, source: Path, file: ThumbnailFile, room: int) -> None:
        child = WorkerProcess("shrink", self._limits.memory << 20)
        told = 0.0
        try:
            child.tell(Shrink(str(source), len(file), project.frames - 1, thumbnail_width(project, room)))
            while len(file) < project.frames and file.size < room:
                said, data = child.hear()
                if not isinstance(said, Picture) or said.frame != len(file):
                    raise ValueError("the video ends, or is damaged")
                while self._making == project.id and self._busy():
                    time.sleep(0.2)
                if self._making != project.id:
                    return
                file.append(data)
                if time.monotonic() - told >= TOLD_EVERY:
                    self._tell(project.id, len(file))
                    told = time.monotonic()
            self._tell(project.id, len(file))
        finally:
            with suppress(OSError):
                child.end()


def thumbnail_width(project: Project, room: int) -> int:
    """The largest width with which all of a project's thumbnails fit into so many bytes, or the least there is.

    >>> minutes = lambda count: Project("", "", "", False, 1500 * count, 1920, 1080, 25.0, 60.0 * count, 0.0)
    >>> [thumbnail_width(minutes(count), 256 << 20) for count in (2, 10, 30, 180)]
    [640, 480, 240, 160]
    """
    shape = project.height / max(1, project.width)
    fits = [width for width in WIDTHS if project.frames * width * width * shape * BYTES_PER_PIXEL <= room]
    return (fits or WIDTHS[-1:])[0]
