"""Threads that read beside the consumer: a few frames ahead of it, or the newest frame alone."""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import Generic, TypeVar

from metatrack.video.errors import SourceError

T = TypeVar("T")
GRACE = 2.0
"""Seconds that closing waits for the thread. It may sit in a read that nothing can interrupt: it then lets go of the source by
itself as soon as that read returns, after the 10 s at most that an address may be silent."""
WAKE = 0.2
"""Seconds after which a waiting consumer looks up. On Windows, Ctrl-C does not reach a thread that waits without a limit."""


class _Feed(Generic[T]):
    """What the thread and the consumer share. The thread does not hold the reader, so a forgotten reader can be collected."""

    def __init__(self, source: Iterable[T], room: int, drops: bool) -> None:
        self.source, self.room, self.drops = source, room, drops
        # On a re-entrant lock, because the garbage collector may close a reader in any thread, its own included.
        self.change = threading.Condition()
        self.ready: deque[tuple[int, T]] = deque()  # numbers and items, the oldest first
        self.delivered = self.dropped = 0
        self.ended = self.closed = False
        self.error: BaseException | None = None
        self.process = os.getpid()
        self.thread = threading.Thread(target=self.run, name="metatrack-reader", daemon=True)

    def run(self) -> None:
        """The thread: reads the source to its end, or until it is closed; then closes it."""
        error = None
        try:
            with ExitStack() as stack:
                stack.callback(getattr(self.source, "close", lambda: None))
                for item in self.source:
                    if not self.put(item):
                        break
        except BaseException as caught:  # whatever it is, it belongs to the consumer
            error = caught
        with self.change:
            self.ended, self.error = True, error
            self.change.notify_all()

    def put(self, item: T) -> bool:
        """Hands an item over; False says that nobody wants another one."""
        with self.change:
            while len(self.ready) == self.room and not self.drops and not self.closed:
                self.change.wait()
            if not self.closed:
                if len(self.ready) == self.room:
                    self.ready.popleft()
                    self.dropped += 1
                self.ready.append((self.delivered, item))
                self.delivered += 1
                self.change.notify_all()
            return not self.closed

    @property
    def forked(self) -> bool:
        """Whether this is a forked process, into which the thread has not come along."""
        return self.process != os.getpid()

    def close(self) -> None:
        """Ends the thread; waits for it, but no longer than :data:`GRACE`."""
        if self.forked:  # the thread, and whoever holds the lock, are the parent's
            return
        with self.change:
            self.closed = True
            self.ready.clear()
            self.change.notify_all()
        if self.thread is not threading.current_thread():
            self.thread.join(GRACE)


class _Reader(Iterator[T], AbstractContextManager["_Reader[T]"]):
    """An iterator whose items a thread reads, from now on.

    The items keep their order. What the source raises is raised to the consumer, behind the last item. The source belongs to the
    reader: it is closed, if it has a ``close``, by the thread that reads it. One consumer; ``close`` may come from any thread.

    Attributes:
        index: 0-based number in the source of the item that ``next`` returned last; -1 before the first.
    """

    def __init__(self, source: Iterable[T], room: int, drops: bool) -> None:
        self.index = -1
        self._feed = _Feed(source, room, drops)
        self._feed.thread.start()
        # Also called when the interpreter exits: a thread that is killed inside of OpenCV takes the process down with it.
        self._close = weakref.finalize(self, self._feed.close)

    @property
    def dropped(self) -> int:
        """How many items were passed over so far, because a newer one came before they were asked for."""
        return self._feed.dropped

    @property
    def pending(self) -> int:
        """How many items wait to be asked for."""
        return len(self._feed.ready)

    def __next__(self) -> T:
        """The next item; waits until there is one.

        Raises:
            StopIteration: that was all, or the reader was closed.
            SourceError: the process has forked since the reader began.
        """
        feed = self._feed
        if feed.forked:
            raise SourceError("this source was opened before the process forked, and its reader stayed behind; open it here")
        with feed.change:
            while not (feed.ready or feed.ended or feed.closed):
                feed.change.wait(WAKE)
            if feed.ready:
                self.index, item = feed.ready.popleft()
                feed.change.notify_all()
                return item
            error, feed.error = feed.error, None
        if error is None or feed.closed:
            raise StopIteration
        try:
            raise error
        finally:
            del error  # it knows this frame by its traceback: a circle that would keep the frames it holds

    def close(self) -> None:
        """Ends the thread, which lets go of the source; the items end here. Closing twice is harmless."""
        self._close()

    def __exit__(self, *_: object) -> None:
        self.close()


class ReadAhead(_Reader[T]):
    """Every item of a source, in order, read by a thread that stays at most ``room`` items ahead: decoding beside tracking.

    >>> with ReadAhead(iter("abc")) as letters:
    ...     [(letters.index, letter) for letter in letters]
    [(0, 'a'), (1, 'b'), (2, 'c')]
    """

    def __init__(self, source: Iterable[T], room: int = 3) -> None:
        if room < 1:
            raise ValueError(f"room {room} must be at least 1")
        super().__init__(source, room, drops=False)


class Newest(_Reader[T]):
    """The newest item of a source that does not wait, such as a camera: a slot that is overwritten, never a queue that lags.

    Each ``next`` returns the newest item that has come, or waits for one that was not returned before. What came between is
    counted in ``dropped``; ``index`` says which one it is. The last item of a source that ends is always delivered.

    >>> with Newest(iter("abcdef")) as letters:
    ...     *_, last = letters
    >>> last, letters.index
    ('f', 5)
    """

    def __init__(self, source: Iterable[T]) -> None:
        super().__init__(source, room=1, drops=True)
