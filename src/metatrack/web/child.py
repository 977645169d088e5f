"""Processes that decode what cannot be trusted: started with limits, spoken to by messages, ended when they are silent.

A message is JSON and, behind it, bytes (a picture). What a child says is checked like anything else from outside.
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, TypeVar, cast

import msgspec

from metatrack.limits import address_space, limit, seconds_used

MOST_MESSAGE = 128 << 20
"""Bytes of a message, at most: a picture of the largest size that is read, and more."""
PATIENCE = 120.0
"""Seconds of silence after which a child is given up: so many that a busy machine does not matter."""
LEAST_MEMORY = 256 << 20
"""Bytes; with less no child could start."""

T = TypeVar("T")


class Opened(msgspec.Struct, tag=True, frozen=True):
    """A video was opened."""

    frames: int
    width: int
    height: int
    fps: float | None = None
    seconds: float | None = None
    reach: int = 1
    """Frames that must be decoded for one of them, at most."""


class Picture(msgspec.Struct, tag=True, frozen=True):
    """A frame; its JPEG is what comes behind the message."""

    frame: int


class SentBox(msgspec.Struct, frozen=True, array_like=True):
    """A target's box in a frame."""

    target: int
    frame: int
    x: float
    y: float
    w: float
    h: float
    score: float
    lost: bool


class TrackedFrame(msgspec.Struct, tag=True, frozen=True):
    """A frame was tracked; its JPEG may come behind the message."""

    frame: int
    rows: list[SentBox]


class Ended(msgspec.Struct, tag=True, frozen=True):
    """The work is over; ``problem`` says why, if not because all of it was done."""

    problem: str | None = None
    refused: bool = False
    """The input is at fault."""


Said = Opened | Picture | TrackedFrame | Ended


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


class ChildError(RuntimeError):
    """A child could not do its work; the message is for the user.

    Attributes:
        refused: the input is at fault, not the machine.
    """

    def __init__(self, message: str, refused: bool = False) -> None:
        super().__init__(message)
        self.refused = refused


class WorkerProcess:
    """A process of our own, as its parent sees it.

    Args:
        role: what it does, see :mod:`metatrack.web.worker`.
        memory: bytes that it may take besides what it has when it starts.
        patience: seconds that it may be silent while it is being listened to.
    """

    def __init__(self, role: str, memory: int, patience: float = PATIENCE) -> None:
        paths = [str(Path(__file__).resolve().parents[2]), *filter(None, sys.path)]
        self._patience = patience
        self.process = subprocess.Popen(  # noqa: S603 - a module of ours
            [sys.executable, "-m", "metatrack.web.worker", role, str(memory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            cwd=Path(__file__).parent,
        )
        self._in = cast("IO[bytes]", self.process.stdin)
        self._out = cast("IO[bytes]", self.process.stdout)
        self._late = False

    def tell(self, message: Any) -> None:
        """Sends a message.

        Raises:
            ChildError: it has ended.
        """
        try:
            send(self._in, message)
        except (OSError, ValueError) as error:
            raise ChildError(self._how_it_ended()) from error

    def hear(self) -> tuple[Said, bytes]:
        """Waits for the next message.

        Raises:
            ChildError: it has ended, was silent for too long, or said what makes no sense.
        """
        watch = threading.Timer(self._patience, self._give_up)
        watch.daemon = True
        watch.start()
        try:
            return receive(self._out, Said)  # type: ignore[arg-type] # a union is no type to mypy
        except (OSError, EOFError, ValueError) as error:  # msgspec's errors are among the last
            self.end()
            raise ChildError(self._how_it_ended()) from error
        finally:
            watch.cancel()

    def _give_up(self) -> None:
        self._late = True
        self.process.kill()

    def _how_it_ended(self) -> str:
        if self._late:
            return f"the video was not read within {self._patience:.0f} s, so reading it was given up; try again, or re-encode it"
        return (
            "whoever reads the video has ended: it is damaged, or needs more memory than is allowed;"
            " re-encode it smaller (ffmpeg -i in.mp4 -c:v libx264 out.mp4), or start metatrack app with a larger --memory"
        )

    def ask_to_stop(self) -> None:
        """The end of what it reads is its sign to end after the frame in hand."""
        with suppress(OSError):
            self._in.close()

    def end(self) -> None:
        """Ends it at once; ending it twice is harmless."""
        self.process.kill()
        self.process.wait()
        for pipe in (self._in, self._out):
            with suppress(OSError):
                pipe.close()


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
