"""What is trained on: sources of trajectories, and how often each is drawn."""

from __future__ import annotations

import json
from collections.abc import Sequence as Seq
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import numpy.typing as npt

from metatrack.data.got10k import read_got10k, read_stills
from metatrack.data.sequence import Sequence


@dataclass(frozen=True)
class Source:
    """Trajectories that are drawn with one total weight, each trajectory alike."""

    name: str
    sequences: tuple[Sequence, ...]
    weight: float


def load_mix(path: Path) -> list[Source]:
    """Reads a mix of training data: a JSON list of ``{"name", "root", "split" or "stills": true, "pattern", "weight"}``.

    Relative roots start from the mix file's folder; ``pattern`` (default ``*``) selects trajectories by name.

    Raises:
        ValueError: the file is not JSON (the message says where), or an entry is not of that form, or selects nothing.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not a JSON file: {error}") from error
    sources = []
    for entry in entries:
        unknown = set(entry) - {"name", "root", "split", "stills", "pattern", "weight"}
        if unknown or not {"name", "root", "weight"} <= set(entry):
            raise ValueError(
                f"{path}: entry {entry} needs name, root, weight; may have split, stills, pattern; not {sorted(unknown)}"
            )
        root = (path.parent / entry["root"]).resolve()
        found = read_stills(root) if entry.get("stills") else read_got10k(root, entry.get("split"))
        pattern = entry.get("pattern", "*")
        chosen = tuple(s for s in found if any(fnmatch(s.name, p) for p in pattern.split("|")))
        if not chosen:
            raise ValueError(f"{path}: no trajectory in {root} matches {pattern!r}")
        sources.append(Source(entry["name"], chosen, float(entry["weight"])))
    return sources


def split_sources(sources: Seq[Source], held_out: float) -> tuple[list[Source], list[Source]]:
    """Divides every source's trajectories, evenly spaced: most for training, the rest for validation."""
    train, val = [], []
    for source in sources:
        every = max(2, round(1 / held_out))
        kept = tuple(s for i, s in enumerate(source.sequences) if i % every != every - 1)
        held = tuple(s for i, s in enumerate(source.sequences) if i % every == every - 1)
        train.append(Source(source.name, kept, source.weight))
        if held:
            val.append(Source(source.name, held, source.weight))
    return train, val


def shares(sources: Seq[Source]) -> npt.NDArray[np.float64]:
    """How often each source is drawn: ``(sources,)``, of sum 1."""
    weights = np.array([source.weight for source in sources])
    return np.asarray(weights / weights.sum(), np.float64)


def boxed_frames(sequence: Sequence) -> npt.NDArray[np.intp]:
    """Numbers of the frames that have a box of more than 2x2 pixels."""
    return np.flatnonzero(np.isfinite(sequence.boxes).all(1) & (sequence.boxes[:, 2:] > 2).all(1))
