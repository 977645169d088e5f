"""A folder that several processes fill at once, on one machine or on many, and that any interruption leaves whole."""

from __future__ import annotations

import json
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from metatrack.claims import claim
from metatrack.files import write_atomically
from metatrack.typed import parse_json, read_json

T = TypeVar("T")


class Unit(NamedTuple):
    """One run of one tracker over one sequence, or over one video."""

    tracker: str
    sequence: str
    run: int  # from 1
    start: int  # index of the frame it starts in
    frames: int  # number of frames it tracks; 0 where that is not known before


class Failure(NamedTuple):
    """A unit that raised an error."""

    unit: Unit
    reason: str  # one line
    file: Path  # holds the traceback


class WorkFolder(ABC):
    """Claims, errors, and what the results were made with; what a result is, is a subclass' affair.

    The folder is made when the first file is written.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    @abstractmethod
    def is_done(self, unit: Unit) -> bool:
        """Whether the unit's result is there."""

    @abstractmethod
    def file(self, kind: str, unit: Unit) -> Path:
        """Where a file of a kind (``errors`` ...) of a unit is; no two units share one."""

    def claim(self, unit: Unit) -> AbstractContextManager[bool]:
        """True if the unit is this process's until the block ends, False if another is at work on it."""
        return claim(self._lock("~".join(self.file("errors", unit).relative_to(self.root).with_suffix("").parts[1:])))

    def write_error(self, unit: Unit, reason: str, details: str) -> None:
        """Notes that a unit failed: one line, and the traceback."""
        write_atomically(self.file("errors", unit), f"{reason}\n\n{details}")

    def failure_since(self, unit: Unit, moment: float) -> Failure | None:
        """The unit's error, if it was written at or after a moment (of :meth:`now`)."""
        path = self.file("errors", unit)
        try:
            if path.stat().st_mtime < moment:
                return None
            return Failure(unit, path.read_text(encoding="utf-8").partition("\n")[0], path)
        except FileNotFoundError:
            return None

    def now(self) -> float:
        """The time by the clock of the file system that holds the folder, which may be another machine's."""
        path = self._lock(f"clock-{secrets.token_hex(8)}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        moment = path.stat().st_mtime
        path.unlink()
        return moment

    def refuse_foreign(self, what: str, names: Sequence[str]) -> None:
        """Refuses a folder which is none of ours yet and holds something that a result would take the place of.

        Args:
            what: the folder is of; ``<what>.json`` is in each that is, and is written first.
            names: of what is written.

        Raises:
            ValueError: there is such.
        """
        note = self.root / f"{what}.json"
        there = [] if note.exists() else [name for name in names if (self.root / name).exists()]
        if there and not note.exists():  # another process may have begun it meanwhile
            raise ValueError(
                f"{self.root} holds {', '.join(there)} and no {note.name}, so it is not the folder of an earlier {what}, which "
                "would replace them; name a new folder"
            )

    def pin(self, path: Path, facts: dict[str, Any], what: str, remedy: str = "give another folder") -> None:
        """Notes what the folder's results are made with; a ``ValueError`` where they were made with something else."""
        while not path.is_file():
            with claim(self._lock(path.stem)) as ours:
                if ours and not path.is_file():
                    write_atomically(path, as_json(facts))
            time.sleep(0.001)
        there = read_noted(path, dict[str, Any], "give another folder")
        facts = parse_json(as_json(facts), dict[str, Any], str(path))
        if there != facts:
            changed = [f"{k}: {there.get(k)!r}, now {facts.get(k)!r}" for k in {**there, **facts} if there.get(k) != facts.get(k)]
            raise ValueError(f"{self.root} holds results of another {what} ({'; '.join(changed)}); {remedy}")

    def _lock(self, name: str) -> Path:
        return self.root / "locks" / f"{name}.lock"


def read_noted(path: Path, kind: type[T], remedy: str) -> T:
    """What a file of the folder notes; of a damaged one, a ``ValueError`` that ends with the remedy."""
    try:
        return read_json(path, kind)
    except ValueError as error:
        raise ValueError(f"{error}: {path.name} is damaged; {remedy}") from error


def check_name(name: str, remedy: str) -> None:
    """Raises a ``ValueError``, whose message ends with the remedy, for what cannot be the name of a file."""
    if not name or name in (".", "..") or set(name) & set('/\\:*?"<>|\0'):
        raise ValueError(f"{name!r} cannot be the name of a file; {remedy}")


def as_json(value: Any) -> bytes:
    """A file of JSON that a person can read."""
    return (json.dumps(value, indent=1, allow_nan=False) + "\n").encode()
