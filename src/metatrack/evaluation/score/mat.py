"""MATLAB's files, which a native parser reads: scipy's, in a process of its own, since damaged files can take it down.

The process stays for further files. It has a limit on memory and, for each file, on its processor's time (Linux and macOS; macOS
may not keep the first), and whatever it does it is given up after :data:`PATIENCE` seconds (Windows has this limit alone). What a
file unpacks to is counted before it is parsed. What comes back is numbers in JSON, and nothing that could be run.
"""

from __future__ import annotations

import atexit
import io
import os
import struct
import sys
import threading
import zlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec
import numpy as np

from metatrack.confined import ConfinedProcess, limit, receive, restrict, seconds_used, send
from metatrack.evaluation.score.records import Trajectory, trajectories

MOST_UNPACKED = 64 << 20  # bytes that a file may unpack to: a hundred times the largest published one
MOST_MEMORY = 512 << 20  # bytes that the process may take, besides what it has when it starts
MOST_SECONDS = 30  # of its processor's time, for one file
PATIENCE = 180.0  # seconds for one file, and for the start: so many that a busy machine does not matter
COMPRESSED = 15  # type of a packed element (miCOMPRESSED) in version 5 of the format
HEADER = 128  # bytes before the first element


class _Run(msgspec.Struct):
    """A trajectory on its way through the pipe."""

    boxes: bytes  # of float64, four of them a row; base64 in JSON
    start: int | None
    fps: float | None


class _Reply(msgspec.Struct):
    runs: list[_Run] = []
    error: str | None = None


def read_mat(data: bytes, source: str) -> list[Trajectory]:
    """The runs in an OTB toolkit's ``.mat``, of version 4 to 7.

    Raises:
        ValueError: it is no such file, is damaged, or unpacks to too much.
        ModuleNotFoundError: scipy is not installed.
    """
    import scipy  # noqa: F401 - what the process needs is asked for here, where it can be told

    check_unpacked(data, source)
    with _LOCK:
        reply = _ask(data)
    if reply.error is not None:
        raise ValueError(f"{source}{reply.error}")
    return [Trajectory(np.frombuffer(run.boxes, np.float64).reshape(-1, 4).copy(), run.start, run.fps) for run in reply.runs]


def check_unpacked(data: bytes, source: str) -> None:
    """Counts what the packed elements of a file of version 5 unpack to, piece by piece, and so without the memory for it.

    Raises:
        ValueError: it is more than :data:`MOST_UNPACKED`.
    """
    order = ">" if data[126:128] == b"MI" else "<"
    place, left = HEADER, MOST_UNPACKED
    while place + 8 <= len(data):
        kind, size = struct.unpack_from(f"{order}II", data, place)
        place += 8
        if kind == COMPRESSED:
            packed, unpack = memoryview(data)[place : place + size], zlib.decompressobj()
            with suppress(zlib.error):  # the parser says so in its words
                while packed and not unpack.eof:
                    left -= len(unpack.decompress(packed, 1 << 20))
                    packed = memoryview(unpack.unconsumed_tail)
                    if left < 0:
                        raise ValueError(f"{source} unpacks to more than {MOST_UNPACKED} bytes; no result file does")
            place += size
        else:
            place += size + -size % 8


_LOCK = threading.Lock()
_readers: list[ConfinedProcess] = []


def _ask(data: bytes) -> _Reply:
    """What a file holds, or why it cannot be read."""
    process = _reader()
    try:
        process.say(None, data)
        return process.wait_for(_Reply, PATIENCE)[0]
    except (OSError, EOFError, ValueError):
        process.end()
        code = process.process.returncode
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return _Reply(error=f" is damaged: whoever reads it {how}; get the file anew")


def _reader() -> ConfinedProcess:
    """The process, started anew where there is none, or where it is another's that we were forked from."""
    if _readers and (not _readers[0].ours or _readers[0].process.poll() is not None):
        _readers.pop().end()
    if not _readers:
        single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        _readers.append(ConfinedProcess(["-c", "from metatrack.evaluation.score.mat import serve; serve()"], single))
        atexit.register(_readers[0].end)
    return _readers[0]


def serve() -> None:
    """The process: answers for each file that comes through standard input, until that ends."""
    import scipy.io

    lines, out = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a parser prints is no answer
    restrict(MOST_MEMORY)
    with suppress(EOFError):
        while True:
            data = receive(lines, Any)[1]
            limit("RLIMIT_CPU", seconds_used() + MOST_SECONDS)
            send(out, _parsed(data, scipy.io.loadmat))


def _parsed(data: bytes, load: Callable[..., Any]) -> _Reply:
    try:
        content = load(io.BytesIO(data), simplify_cells=True, variable_names=["results"])
    except MemoryError:
        return _Reply(error=f" needs more than {MOST_MEMORY} bytes of memory; no result file does")
    except Exception as error:  # scipy lets through whatever its parser meets: TypeError, IndexError, zlib.error ..
        return _Reply(error=f" is not a readable .mat file of version 4 to 7 ({str(error)[:300] or type(error).__name__})")
    try:
        found = trajectories(content.get("results"), "")
    except (ValueError, MemoryError) as error:
        return _Reply(error=str(error) or f" needs more than {MOST_MEMORY} bytes of memory; no result file does")
    return _Reply([_Run(np.ascontiguousarray(run.boxes).tobytes(), run.start, run.fps) for run in found])
