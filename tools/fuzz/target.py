"""What a target of the fuzzing is, and the ways in which parsers are given their files."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from metatrack.data.datasets import read_dataset
from metatrack.evaluation.run.store import Store
from tools.fuzz.mutate import mutate

REFUSALS: tuple[type[BaseException], ...] = (ValueError, OSError)
Good = Callable[[], Sequence[bytes]]


def nothing(folder: Path) -> None:
    """Prepares nothing."""


@dataclass(frozen=True)
class Target:
    """A parser."""

    call: Callable[[Path, bytes], object]
    """Gives it a file's contents; the folder is this target's alone, and the next file takes the place of this one."""
    good: Good
    """Files that it reads."""
    refusals: tuple[type[BaseException], ...] = REFUSALS
    """What it raises, with a sentence, for what it cannot read."""
    prepare: Callable[[Path], object] = nothing
    """Puts into the folder, once, what all inputs share."""

    def damaged(self, seed: int, index: int) -> bytes:
        """The damaged file of this number; the same each time."""
        rng = random.Random(f"{seed}-{index}")  # noqa: S311 - to be repeated, not to be secret
        return mutate(rng.choice(self.good()), rng)


def cached(make: Good) -> Good:
    """Makes the good files once."""
    made: list[Sequence[bytes]] = []

    def good() -> Sequence[bytes]:
        if not made:
            made.append(make())
        return made[0]

    return good


def these(*given: object) -> Good:
    """Good files that are texts, bytes, or values for JSON."""
    texts = [
        each if isinstance(each, bytes) else (each if isinstance(each, str) else json.dumps(each)).encode() for each in given
    ]
    return lambda: texts


def in_file(name: str, read: Callable[[Path], object]) -> Callable[[Path, bytes], object]:
    """Calls a reader of a file with that name."""

    def call(folder: Path, data: bytes) -> object:
        (folder / name).write_bytes(data)
        return read(folder / name)

    return call


def of_text(read: Callable[[str], object], refusals: tuple[type[BaseException], ...] = REFUSALS) -> Callable[[Path, bytes], None]:
    """Calls a reader of a text with each line, also behind one that it has refused; the first refusal is the answer."""

    def call(folder: Path, data: bytes) -> None:
        first: BaseException | None = None
        for line in data.decode("utf-8", "surrogateescape").rstrip("\n").split("\n"):
            try:
                read(line)
            except refusals as error:
                first = first or error
        if first is not None:
            raise first

    return call


def in_data_set(kind: str, file: str, frames: Sequence[str], good: Good, others: dict[str, str] | None = None) -> Target:
    """The reader of a data set, one file of which is given."""

    def prepare(folder: Path) -> None:
        for name in (*frames, file, *(others or {})):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
        for name in frames:
            (folder / name).touch()
        for name, text in (others or {}).items():
            (folder / name).write_text(text, encoding="utf-8")

    def call(folder: Path, data: bytes) -> object:
        (folder / file).write_bytes(data)
        return read_dataset(kind, folder)

    return Target(call, good, prepare=prepare)


def in_store(file: str, read: Callable[[Store], object], good: Good) -> Target:
    """A reader of an evaluation's folder, one file of which is given."""

    def prepare(folder: Path) -> None:
        Store(folder, "plain", "ope")
        (folder / file).parent.mkdir(parents=True, exist_ok=True)

    def call(folder: Path, data: bytes) -> object:
        (folder / file).write_bytes(data)
        return read(Store(folder, "plain", "ope"))

    return Target(call, good, prepare=prepare)
