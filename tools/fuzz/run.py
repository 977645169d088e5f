"""Gives damaged files to every parser, in processes of their own, and tells what was not refused with a sentence.

python -m tools.fuzz.run --minutes 10
python -m tools.fuzz.run --inputs 200 --targets card,mix

A fault is: an exception that the parser does not promise, a process that dies, no answer for a while, or more than a gigabyte of
memory. The input is kept in ``--keep`` for each fault, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tools.fuzz.targets import TARGETS

ROOT = Path(__file__).resolve().parents[2]
BATCH = 200
"""Inputs that one process is given: what leaks shows, and a death costs little."""


class Answer(NamedTuple):
    """What became of one input."""

    number: int
    verdict: str  # "fine", "refused", or the name of a fault
    detail: str


def ask(target: str, seed: int, first: int, count: int, patience: float) -> Iterator[Answer]:
    """Runs inputs ``first .. first + count`` of a target in a process; the last answer is the fault that ended it, if one did."""
    command = [sys.executable, "-m", "tools.fuzz.worker", target, str(seed), str(first), str(count)]
    with tempfile.TemporaryFile() as words:
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=words, text=True, env=_environment())  # noqa: S603
        selector = selectors.DefaultSelector()
        if process.stdout is None:
            raise RuntimeError("no pipe")
        selector.register(process.stdout, selectors.EVENT_READ)
        next_index = first
        try:
            while next_index < first + count:
                line = process.stdout.readline() if selector.select(patience) else "late"
                if line == "late":
                    yield Answer(next_index, "hang", f"no answer for {patience:g} s")
                    return
                if not line:
                    words.seek(0)
                    last = words.read()[-2000:].decode(errors="replace")
                    yield Answer(next_index, "death", f"exit code {process.wait()}: {last}")
                    return
                answer = Answer(*json.loads(line))
                yield answer
                next_index = answer.number + 1
        finally:
            process.kill()
            process.wait()
            selector.close()
            process.stdout.close()


def _environment() -> dict[str, str]:
    paths = [str(ROOT / "src"), str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "OMP_NUM_THREADS": "1"}


def main() -> int:
    """Runs what the command line asks for; the exit code is 1 if there was a fault."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, help="how long, over all targets; without it, --inputs decides")
    parser.add_argument("--inputs", type=int, default=200, help="inputs for each target")
    parser.add_argument("--targets", default=",".join(TARGETS), help="names, separated by commas")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--patience", type=float, default=60.0, help="seconds after which a parser hangs; more on a busy machine")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-faults"), help="folder for the inputs that were faults")
    options = parser.parse_args()
    chosen = options.targets.split(",")
    if unknown := sorted(set(chosen) - set(TARGETS)):
        parser.error(f"no target {', '.join(unknown)}; there are {', '.join(TARGETS)}")
    end = time.monotonic() + 60 * options.minutes if options.minutes else None
    done = dict.fromkeys(chosen, 0)
    counts: dict[str, collections.Counter[str]] = {name: collections.Counter() for name in chosen}
    faults = 0
    while any(done[name] < options.inputs for name in chosen) if end is None else time.monotonic() < end:
        for name in chosen:
            count = BATCH if end is not None else min(BATCH, options.inputs - done[name])
            first = done[name]
            for answer in ask(name, options.seed, first, count, options.patience) if count > 0 else ():
                counts[name][answer.verdict] += 1
                done[name] = answer.number + 1
                if answer.verdict not in ("fine", "refused"):
                    faults += 1
                    kept = _keep(options.keep, name, options.seed, answer)
                    said = answer.detail.strip()[-600:]
                    print(f"{name} {answer.number}: {answer.verdict}: {said}\n  kept as {kept}", flush=True)
    for name in chosen:
        shown = ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts[name].items()))
        print(f"{name:<20}{sum(counts[name].values()):>8} inputs: {shown}")
    print(f"{sum(sum(c.values()) for c in counts.values())} inputs, {faults} faults")
    return 1 if faults else 0


def _keep(folder: Path, name: str, seed: int, answer: Answer) -> Path:
    """Writes the input of a fault again, from target, seed and index."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}-{seed}-{answer.number}"
    file.write_bytes(TARGETS[name].damaged(seed, answer.number))
    return file


if __name__ == "__main__":
    sys.exit(main())
