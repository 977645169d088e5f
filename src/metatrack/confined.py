"""Processes of our own that read what cannot be trusted: their limits, the messages to and from them, and their end.

A message is JSON and, behind it, bytes (a picture, a file). What such a process says is checked like anything else from outside.
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, TypeVar, cast

import msgspec

MOST_MESSAGE = 128 << 20  # bytes of a message, at most: a picture of the largest size that is read, and more
T = TypeVar("T")


class ConfinedProcess:
    """A process that runs a module of ours, as its parent sees it.

    Args:
        words: of Python's command line.
        environment: variables that are not ours.
    """

    def __init__(self, words: list[str], environment: Mapping[str, str] | None = None) -> None:
        paths = [str(Path(__file__).resolve().parents[1]), *filter(None, sys.path)]
        self.late = False  # whether it was given up, since it was silent for too long
        self._owner = os.getpid()
        self.process = subprocess.Popen(  # noqa: S603 - a module of ours
            [sys.executable, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **(environment or {}), "PYTHONPATH": os.pathsep.join(paths)},
            cwd=Path(__file__).parent,
        )
        self._in = cast("IO[bytes]", self.process.stdin)
        self._out = cast("IO[bytes]", self.process.stdout)

    @property
    def ours(self) -> bool:
        """Whether we started it: a fork of us has its pipes, and not the process."""
        return self._owner == os.getpid()

    def say(self, message: Any, data: bytes = b"") -> None:
        """Sends a message.

        Raises:
            OSError, ValueError: it has ended.
        """
        send(self._in, message, data)

    def wait_for(self, kind: type[T], patience: float) -> tuple[T, bytes]:
        """The next message, for which it has so many seconds; else it is ended.

        Raises:
            OSError, EOFError, ValueError: it has ended, was silent for too long, or said what makes no sense.
        """
        watch = threading.Timer(patience, self._give_up)
        watch.daemon = True
        watch.start()
        try:
            return receive(self._out, kind)
        except (OSError, EOFError, ValueError):  # msgspec's errors are among the last
            self.ask_to_stop()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(1)  # for its exit code
            self.end()
            raise
        finally:
            watch.cancel()

    def _give_up(self) -> None:
        self.late = True
        self.process.kill()

    def ask_to_stop(self) -> None:
        """The end of what it reads is its sign to end after the work in hand."""
        with suppress(OSError):
            self._in.close()

    def end(self) -> None:
        """Ends it at once; ending it twice is harmless."""
        if not self.ours:
            return
        self.process.kill()
        self.process.wait()
        for pipe in (self._in, self._out):
            with suppress(OSError):
                pipe.close()


def send(pipe: IO[bytes], message: Any, data: bytes = b"") -> None:
    """Writes a message.

    Raises:
        OSError: nobody reads any more.
    """
    text = msgspec.json.encode(message)
    pipe.write(struct.pack("<QQ", len(text), len(data)) + text + data)
    pipe.flush()


def receive(pipe: IO[bytes], kind: type[T]) -> tuple[T, bytes]:
    """Reads a message of a kind.

    Raises:
        EOFError: the other side has ended.
        ValueError: it is no such message, or too long.
    """
    head = pipe.read(16)
    if len(head) < 16:
        raise EOFError
    sizes: tuple[int, int] = struct.unpack("<QQ", head)
    if max(sizes) > MOST_MESSAGE:
        raise ValueError(f"a message of {max(sizes)} bytes")
    text, data = pipe.read(sizes[0]), pipe.read(sizes[1])
    if len(text) < sizes[0] or len(data) < sizes[1]:
        raise EOFError
    return msgspec.json.decode(text, type=kind), data


def restrict(memory: int, file_size: int = 0, seconds: int | None = None) -> None:
    """Sets this process its limits; to be called by a child before it opens anything that is not ours.

    Args:
        memory: bytes besides what it has.
        file_size: bytes of a file that it may write; 0: it writes none.
        seconds: of the processor's time from now on; None is no limit.
    """
    limit("RLIMIT_CORE", 0)
    limit("RLIMIT_AS", address_space() + memory)
    limit("RLIMIT_FSIZE", file_size)
    if seconds is not None:
        limit("RLIMIT_CPU", seconds_used() + seconds)


def limit(name: str, value: int) -> None:
    """Sets a limit of the system's, ``RLIMIT_AS`` say, where it has it; Windows has none, and macOS may not keep all."""
    try:
        import resource
    except ImportError:  # Windows
        return
    kind = getattr(resource, name, None)
    if kind is None:
        return
    hard = resource.getrlimit(kind)[1]
    with suppress(ValueError, OSError):
        resource.setrlimit(kind, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def seconds_used() -> int:
    """Of the processor's time, by this process so far, rounded up."""
    used = os.times()
    return int(used.user + used.system) + 1


def address_space() -> int:
    """What the process has already, in bytes."""
    with suppress(OSError):
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * os.sysconf("SC_PAGE_SIZE")
    return 1 << 30
