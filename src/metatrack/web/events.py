"""What happens, told to every page that listens. One that is too slow is told to ask for everything anew, and slows nobody."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import msgspec

MOST_WAITING = 64  # events that wait for a page; when there are more, all of them are dropped, and the page reloads what it shows
BEAT = 10.0  # seconds without an event after which a comment is sent, so that a page that is gone is noticed


class Listener:
    """A page that listens to a project."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop, self._waiting, self._lock = loop, list[bytes](), threading.Lock()
        self._ready = asyncio.Event()
        self._closed = False

    def put(self, event: bytes) -> None:
        """From any thread; never waits."""
        with self._lock:
            if len(self._waiting) >= MOST_WAITING:
                self._waiting = [_event({"type": "reload"})]
            else:
                self._waiting.append(event)
        self._loop.call_soon_threadsafe(self._ready.set)

    def close(self) -> None:
        """Ends the stream."""
        self._closed = True
        self._loop.call_soon_threadsafe(self._ready.set)

    async def stream(self) -> AsyncIterator[bytes]:
        """The events, as ``text/event-stream``."""
        yield _event({"type": "hello"})
        while not self._closed:
            try:
                await asyncio.wait_for(self._ready.wait(), BEAT)
            except (asyncio.TimeoutError, TimeoutError):  # two types up to Python 3.10
                yield b": still here\n\n"
            self._ready.clear()
            with self._lock:
                events, self._waiting = self._waiting, []
            if events:
                yield b"".join(events)


class Hub:
    """Who listens to which project."""

    def __init__(self) -> None:
        self._listeners: dict[str, set[Listener]] = {}
        self._lock = threading.Lock()

    def add(self, project: str) -> Listener:
        """A new listener; to be called in the server's loop."""
        listener = Listener(asyncio.get_running_loop())
        with self._lock:
            self._listeners.setdefault(project, set()).add(listener)
        return listener

    def remove(self, project: str, listener: Listener) -> None:
        """The page is gone."""
        with self._lock:
            self._listeners.get(project, set()).discard(listener)

    def tell(self, project: str, event: object) -> None:
        """Tells all that listen to a project; from any thread, without waiting."""
        with self._lock:
            listeners = list(self._listeners.get(project, ()))
        text = _event(event) if listeners else b""
        for listener in listeners:
            try:
                listener.put(text)
            except RuntimeError:  # the loop has ended
                self.remove(project, listener)

    def close(self) -> None:
        """Ends all streams."""
        with self._lock:
            listeners = [each for group in self._listeners.values() for each in group]
        for listener in listeners:
            listener.close()


def _event(content: object) -> bytes:
    return b"data: " + msgspec.json.encode(content) + b"\n\n"
