"""One process of :mod:`tools.fuzz.run`: inputs of a target, an answer for each."""

from __future__ import annotations

import faulthandler
import os
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

from metatrack.confined import address_space, limit
from tools.fuzz.targets import TARGETS

MOST_MEMORY = 1 << 30
"""Bytes that the inputs may add to what the process has at its start."""
LIMIT = 4 << 30
"""Bytes that the process may have at all, beyond that: the machine is to stay whole."""


def peak_memory() -> int:
    """Greatest use of memory by this process so far, in bytes; 0 where that cannot be asked (Windows)."""
    try:
        import resource
    except ImportError:
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def examine(name: str, folder: Path, seed: int, first: int, count: int) -> Iterator[tuple[int, str, str]]:
    """Number, verdict and detail of ``count`` inputs from number ``first`` on; ends behind one that took too much memory."""
    target = TARGETS[name]
    target.prepare(folder)
    before = peak_memory()
    for index in range(first, first + count):
        verdict, detail = "fine", ""
        try:
            target.call(folder, target.damaged(seed, index))
        except target.refusals as error:
            verdict, detail = "refused", str(error)
            if not detail.strip():
                verdict, detail = "wordless", repr(error)
        except Exception:  # noqa: BLE001 - any other is what is looked for
            verdict, detail = "traceback", traceback.format_exc()
        more = peak_memory() - before
        if more > MOST_MEMORY:
            verdict, detail = "memory", f"{more / 1e6:.0f} MB more"
        yield index, verdict, detail[-2000:]
        if verdict == "memory":
            return


def work(answers: Connection, words: str, name: str, seed: int, first: int, count: int) -> None:
    """The process: sends an answer for each input, see :func:`examine`; ``words`` is the file of its standard error."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere, open(words, "w", encoding="utf-8") as told:
        os.dup2(nowhere.fileno(), 1)  # what a parser prints is of no interest
        os.dup2(told.fileno(), 2)
    faulthandler.enable()
    warnings.simplefilter("ignore")
    limit("RLIMIT_AS", address_space() + LIMIT)
    with tempfile.TemporaryDirectory() as folder:
        for answer in examine(name, Path(folder), seed, first, count):
            answers.send(answer)
