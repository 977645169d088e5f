"""Gives damaged files to every parser, in processes of their own, and tells what was not refused with a sentence.

python -m tools.fuzz.run --minutes 10
python -m tools.fuzz.run --inputs 200 --targets card,mix

A fault is: an exception that the parser does not promise, a process that dies, no answer for a while, or more than a gigabyte of
memory. The input is kept in ``--keep`` for each fault, and the exit code is 1. With ``--minutes`` each parser has the same time,
up to ``--most`` inputs.
"""

from __future__ import annotations

import argparse
import collections
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tools.fuzz.targets import TARGETS
from tools.fuzz.worker import work

BATCH, MOST_BATCH = 100, 5000
"""Inputs that one process is given, at first and at most: what leaks shows, and a death costs little."""
BATCH_SECONDS = 10.0
"""A process's time, about; most of them take a second or two to start."""


class Answer(NamedTuple):
    """What became of one input."""

    number: int
    verdict: str  # "fine", "refused", or the name of a fault
    detail: str

    @property
    def is_fault(self) -> bool:
        """Whether it is something to be mended."""
        return self.verdict not in ("fine", "refused")


def ask(target: str, seed: int, first: int, count: int, patience: float) -> Iterator[Answer]:
    """Runs inputs ``first .. first + count`` of a target in a process; the last answer is the fault that ended it, if one did.

    Processes are forked off one that has imported everything, where the system can: imports take longer than a hundred inputs.
    """
    kind = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context: Any = multiprocessing.get_context(kind)  # typeshed's base of all kinds has no Process
    context.set_forkserver_preload(["tools.fuzz.worker"])
    receiver, sender = context.Pipe(duplex=False)
    with tempfile.NamedTemporaryFile() as words:
        process = context.Process(target=work, args=(sender, words.name, target, seed, first, count), daemon=True)
        process.start()
        sender.close()
        next_index = first
        try:
            while next_index < first + count:
                if not receiver.poll(patience):
                    yield Answer(next_index, "hang", f"no answer for {patience:g} s")
                    return
                try:
                    answer = Answer(*receiver.recv())
                except EOFError:
                    process.join()
                    last = words.read()[-2000:].decode(errors="replace")
                    yield Answer(next_index, "death", f"exit code {process.exitcode}: {last}")
                    return
                yield answer
                if answer.verdict == "memory":
                    return
                next_index = answer.number + 1
        finally:
            process.kill()
            process.join()
            receiver.close()


class Tally:
    """What was tried of one target so far."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.done = 0
        self.seconds = 0.0
        self.verdicts: collections.Counter[str] = collections.Counter()

    @property
    def batch(self) -> int:
        """How many inputs the next process is given."""
        return BATCH if not self.done else max(BATCH, min(MOST_BATCH, int(BATCH_SECONDS * self.done / self.seconds)))

    def __str__(self) -> str:
        shown = ", ".join(f"{count} {verdict}" for verdict, count in sorted(self.verdicts.items()))
        total = sum(self.verdicts.values())
        return f"{self.name:<20}{total:>8} inputs, {1000 * self.seconds / max(1, total):7.1f} ms each: {shown}"


def turns(tallies: Sequence[Tally], most: int, minutes: float | None) -> Iterator[tuple[Tally, int]]:
    """Whose turn it is, with how many inputs: the one that has had the least time, until there is none left."""
    end = time.monotonic() + 60 * minutes if minutes is not None else float("inf")
    while time.monotonic() < end:
        left = [tally for tally in tallies if tally.done < most]
        if not left:
            return
        tally = min(left, key=lambda each: each.seconds)
        yield tally, min(tally.batch, most - tally.done)


def main() -> int:
    """Runs what the command line asks for; the exit code is 1 if there was a fault."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, help="how long, over all targets; without it, --inputs decides")
    parser.add_argument("--inputs", type=int, default=200, help="inputs for each target, without --minutes")
    parser.add_argument("--most", type=int, default=20_000, help="inputs for each target, with --minutes")
    parser.add_argument("--targets", default=",".join(TARGETS), help="names, separated by commas")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--patience", type=float, default=60.0, help="seconds after which a parser hangs; more on a busy machine")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-faults"), help="folder for the inputs that were faults")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    chosen = options.targets.split(",")
    if unknown := sorted(set(chosen) - set(TARGETS)):
        parser.error(f"no target {', '.join(unknown)}; there are {', '.join(TARGETS)}")
    tallies, faults = [Tally(name) for name in chosen], 0
    for tally, count in turns(tallies, options.inputs if options.minutes is None else options.most, options.minutes):
        begin = time.monotonic()
        for answer in ask(tally.name, options.seed, tally.done, count, options.patience):
            tally.verdicts[answer.verdict] += 1
            tally.done = answer.number + 1
            if answer.is_fault:
                faults += 1
                kept = _keep(options.keep, tally.name, options.seed, answer)
                said = answer.detail.strip()[-600:]
                print(f"{tally.name} {answer.number}: {answer.verdict}: {said}\n  kept as {kept}", flush=True)
        tally.seconds += time.monotonic() - begin
    print(*tallies, sep="\n")
    print(f"{sum(sum(tally.verdicts.values()) for tally in tallies)} inputs, {faults} faults")
    return 1 if faults else 0


def _keep(folder: Path, name: str, seed: int, answer: Answer) -> Path:
    """Writes the input of a fault again, from target, seed and index."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}-{seed}-{answer.number}"
    file.write_bytes(TARGETS[name].damaged(seed, answer.number))
    return file


if __name__ == "__main__":
    sys.exit(main())
