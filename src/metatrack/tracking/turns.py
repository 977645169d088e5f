"""One thread at a time: whoever calls a tracker while another thread is inside it is told so, before any state is torn."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

Method = TypeVar("Method", bound=Callable[..., Any])


class Turns:
    """A lock, held by whoever is inside a tracker; copies and pickles of it are new."""

    def __init__(self) -> None:
        self.lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return Turns, ()


def in_turn(method: Method) -> Method:
    """A method, of an object that has turns in ``_turns``, that one thread at a time may call.

    Raises:
        RuntimeError: another thread is inside.
    """

    @wraps(method)
    def call(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        if not self._turns.lock.acquire(blocking=False):
            raise RuntimeError(
                "this tracker is at work in another thread; give each thread a tracker of its own (they may share a model),"
                " or let one wait for the other"
            )
        try:
            return method(self, *args, **kwargs)
        finally:
            self._turns.lock.release()

    return cast("Method", call)
