"""One thread at a time: whoever calls a tracker while another thread is inside it is told so, before any state is torn."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

Method = TypeVar("Method", bound=Callable[..., Any])


class Turns:
    """To be entered around every call that changes a tracker; copies and pickles of it are new.

    Raises:
        RuntimeError: another thread is inside.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=False):
            raise RuntimeError(
                "this tracker is at work in another thread; give each thread a tracker of its own (they may share a model),"
                " or let one wait for the other"
            )

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def __reduce__(self) -> tuple[Any, ...]:
        return Turns, ()


def in_turn(method: Method) -> Method:
    """A method, of an object that has turns in ``_turns``, that one thread at a time may call."""

    @wraps(method)
    def call(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        with self._turns:
            return method(self, *args, **kwargs)

    return cast("Method", call)
