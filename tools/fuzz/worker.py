"""One process of :mod:`tools.fuzz.run`: inputs of a target, an answer in JSON on a line for each."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path

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


def limit_memory() -> None:
    """Gives the process a limit on memory where the system keeps one."""
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except (ImportError, OSError):
        return
    most = pages * resource.getpagesize() + LIMIT
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))


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


def main(name: str, seed: int, first: int, count: int) -> None:
    """Answers for inputs, see :func:`examine`."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    with open(os.devnull, "w", encoding="utf-8") as nowhere:  # what a parser prints is no answer of ours
        os.dup2(nowhere.fileno(), 1)
    warnings.simplefilter("ignore")
    limit_memory()
    with tempfile.TemporaryDirectory() as folder:
        for answer in examine(name, Path(folder), seed, first, count):
            answers.write(json.dumps(answer) + "\n")
            answers.flush()


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:5]))
