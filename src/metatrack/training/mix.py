"""What is trained on: sources of trajectories, and how often each is drawn."""

from __future__ import annotations

from collections.abc import Sequence as Seq
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Annotated

import numpy as np
from msgspec import Meta

from metatrack.arrays import Float64, Integers
from metatrack.data.got10k import read_got10k, read_stills
from metatrack.data.sequence import Sequence
from metatrack.typed import Text, read_json


@dataclass(frozen=True)
class Source:
    """Trajectories that are drawn with one total weight, each trajectory alike."""

    name: str
    sequences: tuple[Sequence, ...]
    weight: float
    reframed: float = 0.0
    """Share of samples whose target is another rectangle that is fixed to the one in the data."""


@dataclass(frozen=True)
class MixEntry:
    """An entry of a mix, as its JSON file has it."""

    name: Text
    root: Text
    """Folder of the data; a relative one starts from the mix file's."""
    weight: Annotated[float, Meta(gt=0, le=1e9)]
    split: Text | None = None
    """Folder inside the root, of data in GOT-10k's layout."""
    stills: bool = False
    """Single images with a table, in place of GOT-10k's layout."""
    pattern: Text = "*"
    """Which trajectories, by name; several patterns are separated by ``|``."""
    reframed: Annotated[float, Meta(ge=0, le=1)] = 0.0
    """Share of samples whose target is not the rectangle in the data, but another that is fixed to it: a part, or a part and
    what is around it. For stills, and for what keeps its shape."""


def load_mix(path: Path) -> list[Source]:
    """Reads a mix of training data: a JSON list of objects with the fields of :class:`MixEntry`.

    Raises:
        OSError: the mix or what it names cannot be read.
        ValueError: the file is not JSON (the message says where), or an entry is not of that form, or selects nothing.
    """
    entries = read_json(path, list[MixEntry])
    if not entries:
        raise ValueError(f"{path} holds no entry; a mix names at least one source of trajectories, with name, root and weight")
    sources = []
    for entry in entries:
        root = (path.parent / entry.root).resolve()
        found = read_stills(root) if entry.stills else read_got10k(root, entry.split)
        patterns = entry.pattern.split("|")
        chosen = tuple(s for s in found if any(fnmatch(s.name, pattern) for pattern in patterns))
        if not chosen:
            raise ValueError(f"{path}: no trajectory in {root} matches {entry.pattern!r}")
        sources.append(Source(entry.name, chosen, entry.weight, entry.reframed))
    return sources


def split_sources(sources: Seq[Source], held_out: float) -> tuple[list[Source], list[Source]]:
    """Divides every source's trajectories, evenly spaced: most for training, the rest for validation."""
    train, val = [], []
    every = max(2, round(1 / held_out))
    for source in sources:
        kept = tuple(s for i, s in enumerate(source.sequences) if i % every != every - 1)
        train.append(replace(source, sequences=kept))
        if held := source.sequences[every - 1 :: every]:
            val.append(replace(source, sequences=held))
    return train, val


def shares(sources: Seq[Source]) -> Float64:
    """How often each source is drawn: ``(sources,)``, of sum 1."""
    weights = np.array([source.weight for source in sources])
    return np.asarray(weights / weights.sum(), np.float64)


def boxed_frames(sequence: Sequence) -> Integers:
    """Numbers of the frames that have a box of more than 2x2 pixels; a ``ValueError`` where there is none."""
    frames = np.flatnonzero(np.isfinite(sequence.boxes).all(1) & (sequence.boxes[:, 2:] > 2).all(1))
    if len(frames) == 0:
        raise ValueError(f"{sequence.name}: no frame has a box of more than 2x2 pixels")
    return frames
