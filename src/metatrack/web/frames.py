"""Frames as JPEG for the page: a cache, and a child process for each of the few videos that are looked at."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path

from metatrack.web.child import ChildError, Ended, Opened, Picture, WorkerProcess
from metatrack.web.settings import Limits
from metatrack.web.worker import Ask, Open

MOST_CACHED = 96 << 20  # bytes of JPEGs that are kept
MOST_READERS = 2  # videos that are open at a time; a further one takes the place of the one that was asked longest ago


class FrameReader:
    """A video in a process of its own; a :class:`ChildError` where it cannot be opened, or is larger than the limits allow."""

    def __init__(self, source: Path, limits: Limits) -> None:
        self._child = WorkerProcess("read", limits.memory << 20)
        self.lock = threading.Lock()
        try:
            self._child.tell(Open(str(source), limits.pixels, limits.minutes * 60.0))
            said, _ = self._child.hear()
            if not isinstance(said, Opened):
                raise ChildError(getattr(said, "problem", None) or "the video cannot be opened", refused=True)
        except ChildError:
            self.close()
            raise
        self.opened = said

    def jpeg(self, frame: int, width: int) -> bytes:
        """A frame, not wider than ``width`` (0: as it is); a :class:`ChildError` where it cannot be read."""
        self._child.tell(Ask(frame, width))
        said, data = self._child.hear()
        if isinstance(said, Ended):
            raise ChildError(said.problem or "the frame cannot be read", refused=True)
        if not isinstance(said, Picture) or said.frame != frame:
            raise ChildError("the frame cannot be read; try again")
        return data

    @property
    def ended(self) -> bool:
        """Whether the process is gone."""
        return self._child.process.poll() is not None

    def close(self) -> None:
        """Ends the process."""
        self._child.end()


class Frames:
    """The frames of all projects."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._lock, self._opening = threading.Lock(), threading.Lock()
        self._readers: OrderedDict[str, FrameReader] = OrderedDict()
        self._cache: OrderedDict[tuple[str, int, int], bytes] = OrderedDict()
        self._size = 0

    def keep(self, project: str, frame: int, width: int, data: bytes) -> None:
        """Puts a picture into the cache."""
        with self._lock:
            self._size += len(data) - len(self._cache.pop((project, frame, width), b""))
            self._cache[project, frame, width] = data
            while self._size > MOST_CACHED:
                self._size -= len(self._cache.popitem(last=False)[1])

    def cached(self, project: str, frame: int, width: int) -> bytes | None:
        """A picture that is at hand."""
        with self._lock:
            data = self._cache.get((project, frame, width))
            if data is not None:
                self._cache.move_to_end((project, frame, width))
            return data

    def jpeg(self, project: str, source: Path, frame: int, width: int) -> bytes:
        """A frame of a project; a :class:`ChildError` where it cannot be read."""
        data = self.cached(project, frame, width)
        if data is None:
            reader = self._reader(project, source)
            with reader.lock:
                data = self.cached(project, frame, width) or reader.jpeg(frame, width)
            self.keep(project, frame, width, data)
        return data

    def reach(self, project: str, source: Path) -> int:
        """Frames that must be decoded for one of a project, at most; a :class:`ChildError` where the video cannot be opened."""
        return self._reader(project, source).opened.reach

    def _reader(self, project: str, source: Path) -> FrameReader:
        with self._opening:  # not the other lock: pictures that are at hand do not wait for a video to be looked through
            with self._lock:
                reader = self._readers.get(project)
                if reader is not None and not reader.ended:
                    self._readers.move_to_end(project)
                    return reader
            reader = FrameReader(source, self._limits)
            self.adopt(project, reader)
        return reader

    def adopt(self, project: str, reader: FrameReader) -> None:
        """Takes over a video that has been opened."""
        with self._lock:
            old = [self._readers.pop(project)] if project in self._readers else []
            self._readers[project] = reader
            old += [self._readers.popitem(last=False)[1] for _ in range(len(self._readers) - MOST_READERS)]
        for each in old:
            each.close()

    def forget(self, project: str) -> None:
        """Lets go of a project's video and pictures."""
        with self._lock:
            reader = self._readers.pop(project, None)
            for key in [key for key in self._cache if key[0] == project]:
                self._size -= len(self._cache.pop(key))
        if reader is not None:
            reader.close()

    def close(self) -> None:
        """Ends all processes."""
        for project in list(self._readers):
            self.forget(project)
