"""The folder of an evaluation: what is done, what failed, and how it stays whole however often it is interrupted.

::

    evaluation.json              data set and protocol; one folder holds one of each
    trackers/<tracker>.json      what the tracker is (for ours, the hashes of its weights; for imported results, of the files)
    sequences/<sequence>.json    what is scored against: the true boxes and the attributes, so that a report needs no data set
    boxes/<tracker>/<unit>.txt   the result: a row x,y,w,h per frame, 0-based, in full precision
    seconds/<tracker>/<unit>.txt time of each frame, a number a line
    errors/<tracker>/<unit>.txt  what went wrong, with the traceback; removed once the unit succeeds
    locks/                       claims of the processes at work; empty otherwise
    summary.json, summary.csv    scores, made of boxes/ alone
    report/                      what `metatrack report` makes of all this
    speed.json                   frames per second, made of seconds/

A unit is one run of one tracker over one sequence: ``<sequence>`` in OPE, ``<sequence>_<run>``, from 01, in TRE and SRE. Every
file is written in one step, and the boxes last: a unit is done when its boxes are there. Times are apart from boxes because they
alone differ from run to run.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from msgspec import Meta

from metatrack.arrays import Float64
from metatrack.data.numbers import MOST
from metatrack.data.rows import parse_rows, read_text
from metatrack.data.sequence import Sequence
from metatrack.evaluation.run.folder import Unit, WorkFolder, check_name, read_noted
from metatrack.evaluation.run.protocols import Protocol
from metatrack.files import natural_order, write_atomically

__all__ = ["FORMAT", "Store", "Unit"]
FORMAT = 1
RENAME = "rename the sequence's folder"
NAMES = ("trackers", "sequences", "boxes", "seconds", "errors", "summary.json", "summary.csv", "speed.json")
"""What an evaluation writes beside ``evaluation.json``, which comes first."""
Size = Annotated[int, Meta(ge=1, le=MOST)]


@dataclass(frozen=True)
class Pinned:
    """What ``evaluation.json`` holds."""

    format: int
    data_set: str
    protocol: Protocol


@dataclass(frozen=True)
class NotedSequence:
    """What ``sequences/<sequence>.json`` holds."""

    start_frame: Annotated[int, Meta(ge=0, le=MOST)]
    frame_size: tuple[Size, Size] | None
    attributes: list[str]
    boxes: list[tuple[float, float, float, float] | None]


class Store(WorkFolder):
    """Reads and writes the folder of an evaluation.

    Args:
        root: the folder; it is made if it does not exist.

    Raises:
        ValueError: the folder holds an evaluation of another data set, protocol or format, or what is no evaluation's.
    """

    def __init__(self, root: Path, data_set: str, protocol: Protocol) -> None:
        super().__init__(root)
        self.data_set, self.protocol = data_set, protocol
        self.refuse_foreign("evaluation", NAMES)
        self.pin(self.root / "evaluation.json", {"format": FORMAT, "data_set": data_set, "protocol": protocol}, "evaluation")

    @classmethod
    def open(cls, root: Path) -> Store:
        """The evaluation that a folder holds: a ``FileNotFoundError`` where there is none, a ``ValueError`` if it is damaged."""
        path = Path(root) / "evaluation.json"
        if not path.is_file():
            raise FileNotFoundError(f"{root} is not the folder of an evaluation: it holds no evaluation.json; give its --out")
        facts = read_noted(path, Pinned, "evaluate into another folder")
        return cls(root, facts.data_set, facts.protocol)

    def trackers(self) -> dict[str, dict[str, Any]]:
        """Identities by name of all trackers that were evaluated or imported here; a ``ValueError`` where a file is damaged."""
        files = sorted((self.root / "trackers").glob("*.json"), key=lambda path: path.stem.lower())
        return {
            path.stem: read_noted(path, dict[str, Any], "evaluate or import this tracker into another folder") for path in files
        }

    def note_sequences(self, sequences: Iterable[Sequence]) -> None:
        """Notes what results are scored against, anew where boxes differ; a ``ValueError`` for a name that no file can have."""
        for sequence in sequences:
            known = np.asarray(np.isfinite(sequence.boxes).all(axis=1))
            facts = {
                "start_frame": sequence.start_frame,
                "frame_size": sequence.frame_size,
                "attributes": sorted(sequence.attributes),
                "boxes": [box if there else None for box, there in zip(sequence.boxes.tolist(), known)],
            }
            check_name(sequence.name, RENAME)
            path = self.root / "sequences" / f"{sequence.name}.json"
            data = json.dumps(facts, allow_nan=False).encode()
            if not path.is_file() or path.read_bytes() != data:
                write_atomically(path, data)

    def sequences(self) -> list[Sequence]:
        """All noted sequences, sorted by name, whose frames cannot be read; a ``ValueError`` where a file is damaged."""
        files = sorted((self.root / "sequences").glob("*.json"), key=lambda path: natural_order(path.stem))
        return [self._read_sequence(path) for path in files]

    def _read_sequence(self, path: Path) -> Sequence:
        facts = read_noted(path, NotedSequence, "repeat the evaluation")
        rows = [(np.nan,) * 4 if box is None else box for box in facts.boxes]
        boxes = np.array(rows, np.float64).reshape(-1, 4)
        start = facts.start_frame
        frames = tuple(Path(path.stem, f"frame {start + i} of the data set") for i in range(len(boxes)))
        return Sequence(path.stem, frames, boxes, frozenset(facts.attributes), None, start, facts.frame_size)

    def pin_tracker(self, name: str, identity: dict[str, Any]) -> None:
        """Notes what a tracker is; a ``ValueError`` where the folder's results were made with another one."""
        self.pin(
            self.root / "trackers" / f"{name}.json",
            identity,
            f"tracker {name}",
            "give another folder, or the tracker another name: name=...",
        )

    def is_done(self, unit: Unit) -> bool:
        """Whether a result with a row per frame is there; one of another length was made on other data and is made again."""
        try:
            with self.file("boxes", unit).open("rb") as file:
                return sum(1 for _ in file) == unit.frames
        except FileNotFoundError:
            return False

    def write(self, unit: Unit, boxes: npt.ArrayLike, seconds: npt.ArrayLike | None) -> None:
        """Stores a result: ``(n, 4)`` boxes and ``(n,)`` seconds (None: not known); it replaces an earlier one and its error."""
        if seconds is None:
            self.file("seconds", unit).unlink(missing_ok=True)
        else:
            times = "".join(f"{value:.9f}\n" for value in np.asarray(seconds, np.float64).tolist())
            write_atomically(self.file("seconds", unit), times.encode())
        rows = np.asarray(boxes, np.float64).tolist()
        # repr is the shortest text that reads back as the same number: scores made from files equal those made in memory.
        text = "".join(",".join(repr(float(value)) for value in row) + "\n" for row in rows)
        write_atomically(self.file("boxes", unit), text.encode())
        self.file("errors", unit).unlink(missing_ok=True)

    def read_boxes(self, unit: Unit) -> Float64:
        """``(n, 4)`` boxes of a unit that is done; a ``ValueError`` unless the file holds a row of four numbers per frame."""
        path = self.file("boxes", unit)
        boxes = parse_rows(read_text(path), path, infinite=True)
        if len(boxes) != unit.frames:
            raise ValueError(
                f"{path} holds {len(boxes)} boxes, the run has {unit.frames} frames; remove the file to make it again"
            )
        return boxes

    def read_seconds(self, unit: Unit) -> Float64:
        """``(n,)`` seconds; empty where there are none, as for results that come from elsewhere."""
        path = self.file("seconds", unit)
        if not path.is_file():
            return np.empty(0)
        return parse_rows(read_text(path), path, columns=(1,))[:, 0]

    def file(self, kind: str, unit: Unit) -> Path:
        """See :meth:`WorkFolder.file`; ``boxes``, ``seconds`` or ``errors``."""
        check_name(unit.sequence, RENAME)
        stem = unit.sequence if self.protocol == "ope" else f"{unit.sequence}_{unit.run:02d}"
        return self.root / kind / unit.tracker / f"{stem}.txt"
