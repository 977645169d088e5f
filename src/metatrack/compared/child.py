"""A process that is spoken to by lines, whatever it does: it can neither hang us nor outlive us, and nor can what it starts.

Except, on Linux and macOS, for what leaves its process group on purpose (``setsid``, a container's daemon).
"""

from __future__ import annotations

import io
import math
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, Queue
from typing import IO, cast

GRACE = 2.0
"""Seconds in which a process may end by itself once it was told to."""
LAST_WORDS = 20
"""Lines of standard error that are kept for the message, should it fail."""
LINE_LENGTH = 1 << 20
"""Bytes of a line, at most; what is longer is broken."""
AHEAD = 64
"""Lines that are read ahead of us, so 64 MiB at most: a process that writes without end shall wait, not fill memory."""


class Trouble(Exception):  # noqa: N818 - for the caller to finish: who has trouble, and with what
    """Why a process cannot go on, in half a sentence."""


class Child:
    """A process: lines to it, lines from it.

    Args:
        command: the program and its arguments.
        folder: where it runs.
        environment: all of it.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self, command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
        self._patience, self._deadline = math.inf, math.inf
        self._process = subprocess.Popen(  # noqa: S603 - to run what the user names is its purpose
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,  # its children are killed with it, and Ctrl-C is for us alone
        )
        try:
            self._guard = _guard(self._process.pid)
        except OSError:  # no more processes are to be had
            _kill_tree(self._process.pid)
            raise
        self._lines: Queue[bytes | None] = Queue(AHEAD)
        self._words: deque[str] = deque(maxlen=LAST_WORDS)
        pipes = self._process.stdin, self._process.stdout, self._process.stderr
        self._input, output, errors = (cast("IO[bytes]", pipe) for pipe in pipes)
        if sys.platform != "win32":
            os.set_blocking(self._input.fileno(), False)  # a process that never reads must not stop us
        # The threads know nothing of this object, so that it may be collected; then the process is ended too.
        self._threads = [
            threading.Thread(target=_read_lines, args=(output, self._lines), daemon=True),
            threading.Thread(target=_read_words, args=(errors, self._words), daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        self._end = weakref.finalize(self, _end, self._process, self._guard, self._lines, self._threads)

    def wait_for(self, seconds: float) -> None:
        """From now on, this long: :meth:`hear` raises once it is over, however many lines have come."""
        self._patience, self._deadline = seconds, time.monotonic() + seconds

    def say(self, line: str) -> None:
        """Writes a line, which holds its end. If the process has ended, :meth:`hear` says so.

        Raises:
            Trouble: it does not read.
        """
        data = line.encode("utf-8", "surrogateescape")
        with suppress(BrokenPipeError, ConnectionError):
            if self._input.write(data) != len(data):  # None if the pipe is full
                raise Trouble("does not read what it is told")

    def hear(self) -> str:
        """The next line, without its end.

        Raises:
            Trouble: it has ended, or is silent for too long.
        """
        while True:
            left = self._deadline - time.monotonic()
            gone = self._process.poll() is not None
            if left <= 0:
                raise Trouble(f"has not answered for {self._patience:g} s (raise timeout_s if it needs longer)")
            try:
                # A child of a process that has ended may still hold the pipe: then no end of file ever comes.
                line = self._lines.get(timeout=min(left, 0.2 if gone else 0.5))
            except Empty:
                if gone:
                    raise Trouble(self._how_it_ended()) from None
                continue
            if line is None:
                raise Trouble(self._how_it_ended())
            return _text(line)

    def unasked(self) -> Iterator[str]:
        """Lines that are here already, before the next question."""
        while True:
            try:
                line = self._lines.get_nowait()
            except Empty:
                return
            if line is None:
                self._lines.put(None)  # for the one who listens
                return
            yield _text(line)

    def _how_it_ended(self) -> str:
        try:
            code = self._process.wait(1)
        except subprocess.TimeoutExpired:
            return "has closed its output"
        return f"has ended with exit code {code}" if code >= 0 else f"was killed by signal {-code} ({_signal_name(-code)})"

    def end(self, farewell: str) -> None:
        """Tells the process to end; if it will not, it is killed, and in any case what it has started is."""
        with suppress(Trouble):
            self.say(farewell)
        with suppress(OSError):
            self._input.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(GRACE)
        self._end()

    def obituary(self, reason: str) -> str:
        """Kills the process; a message of what went wrong, its first line by itself enough."""
        self._end()
        self._threads[1].join(0.5)  # what it wrote last
        words = list(self._words)
        last = f"; its last words: {words[-1]}" if words else ""
        return "\n".join([f"{reason}{last}", *([] if len(words) < 2 else ["Its standard error ended with:", *words])])


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace").rstrip("\r\n")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"


def _read_lines(pipe: IO[bytes], lines: Queue[bytes | None]) -> None:
    with suppress(ValueError, OSError), io.BufferedReader(cast("io.RawIOBase", pipe)) as reader:
        while line := reader.readline(LINE_LENGTH):
            lines.put(line)
    lines.put(None)


def _read_words(pipe: IO[bytes], words: deque[str]) -> None:
    with suppress(ValueError, OSError), io.BufferedReader(cast("io.RawIOBase", pipe)) as reader:
        while line := reader.readline(1000):
            if text := _text(line).strip():
                words.append(text)


def _end(
    process: subprocess.Popen[bytes],
    guard: subprocess.Popen[bytes] | None,
    lines: Queue[bytes | None],
    threads: list[threading.Thread],
) -> None:
    """Kills a process and all that it has started, and forgets about it."""
    _kill_tree(process.pid)
    process.wait()
    if guard is not None:
        guard.kill()
        guard.communicate()
    with suppress(OSError):
        if process.stdin is not None:
            process.stdin.close()
    end = time.monotonic() + 1.0
    while threads[0].is_alive() and time.monotonic() < end:  # it may wait for a place in the queue
        with suppress(Empty):
            lines.get_nowait()
        threads[0].join(0.001)


def _kill_tree(pid: int) -> None:
    if sys.platform == "win32":
        subprocess.run(["taskkill", "/F", "/T", "/PID", str(pid)], capture_output=True, check=False)  # noqa: S603, S607
        return
    with suppress(ProcessLookupError, PermissionError):  # all have ended
        os.killpg(pid, signal.SIGKILL)


_WATCH = """
import os, signal, sys
sys.stdin.read()
try:
    os.killpg(int(sys.argv[1]), signal.SIGKILL)
except OSError:
    pass
"""


def _guard(pid: int) -> subprocess.Popen[bytes] | None:
    """A small process that kills the tracker should we be killed ourselves: it waits for the end of a pipe that only we hold."""
    if sys.platform == "win32":
        return None
    words = [sys.executable, "-I", "-S", "-c", _WATCH, str(pid)]
    silent = subprocess.DEVNULL
    return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=silent, stderr=silent, start_new_session=True)  # noqa: S603
