"""One process of :mod:`tools.fuzz.run`: inputs of a target, an answer in JSON on a line for each."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import traceback
import warnings
from pathlib import Path

from tools.fuzz.targets import TARGETS

MOST_MEMORY = 1 << 30
"""Bytes that one input may add to the process's greatest use of memory."""


def peak_memory() -> int:
    """Greatest use of memory by this process so far, in bytes; 0 where that cannot be asked (Windows)."""
    try:
        import resource
    except ImportError:
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def main(name: str, seed: int, first: int, count: int) -> None:
    """Answers for ``count`` inputs from number ``first`` on."""
    target = TARGETS[name]
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    with open(os.devnull, "w", encoding="utf-8") as nowhere:  # what a parser prints is no answer of ours
        os.dup2(nowhere.fileno(), 1)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        for index in range(first, first + count):
            place = Path(folder) / "input"
            place.mkdir()
            before = peak_memory()
            verdict, detail = "fine", ""
            try:
                target.call(place, target.damaged(seed, index))
            except target.refusals as error:
                verdict, detail = "refused", str(error)
                if not detail.strip():
                    verdict, detail = "wordless", repr(error)
            except Exception:  # noqa: BLE001 - any other is what is looked for
                verdict, detail = "traceback", traceback.format_exc()
            if peak_memory() - before > MOST_MEMORY:
                verdict, detail = "memory", f"{(peak_memory() - before) / 1e6:.0f} MB more"
            shutil.rmtree(place, ignore_errors=True)
            answers.write(json.dumps([index, verdict, detail[-2000:]]) + "\n")
            answers.flush()


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:5]))
