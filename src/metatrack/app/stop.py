"""Ctrl-C and SIGTERM as a wish: the frame in hand is finished and written, then the loop ends."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType


class StopRequest:
    """While the ``with`` block runs, notes the first SIGINT or SIGTERM; a second one interrupts at once (``KeyboardInterrupt``).

    Attributes:
        signal: the number of the signal that came, or None.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._old: dict[signal.Signals, object] = {}

    def _note(self, number: int, _: FrameType | None) -> None:
        if self.signal is not None:
            raise KeyboardInterrupt
        self.signal = number

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():  # others may not set handlers
            for kind in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(kind) is not signal.SIG_IGN:  # nohup, or a shell's background job: stays ignored
                    self._old[kind] = signal.signal(kind, self._note)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
