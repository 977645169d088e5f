"""Reader of folders as the VOT challenges have them.

Old layout: ``<name>/00000001.jpg`` and so on with ``<name>/groundtruth.txt``. New layout: frames in ``<name>/color/`` (or where
the line ``channels.color=`` of the file ``<name>/sequence`` says), and ``groundtruth.txt``, or one ``groundtruth_<object>.txt``
per target. ``list.txt`` beside the sequences names them, one a line; without it every folder with a ground truth is read.

A line of ground truth is a box, a polygon, a mask, or says that there is no target: see ``parse_region`` of
:mod:`metatrack.data.regions`. A polygon or mask becomes the smallest upright box around it; VOT itself scores the region, so
scores of these boxes are not VOT's. Coordinates are taken as they stand; whether VOT's boxes count the first pixel as 0 or 1
could not be confirmed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from metatrack.arrays import Float64
from metatrack.data.folders import choose, frames_in, root_folder
from metatrack.data.regions import parse_region
from metatrack.data.rows import read_text
from metatrack.data.sequence import Sequence
from metatrack.files import inside

SOURCE = "VOT: https://www.votchallenge.net (its toolkit fetches the sequences: pip install vot-toolkit, then vot initialize)"


def read_vot(root: Path, allow_partial: bool = False) -> list[Sequence]:
    """Reads the sequences of a folder, in the order of ``list.txt`` or, without it, sorted by name.

    Frames without a target are absent and have the box NaN; so have frames after the last line of the ground truth, which VOT
    calls unknown. The attributes of a sequence are the tags (``<tag>.tag``, ``<tag>.label``: a flag per frame) that are set in
    any of its frames. With several targets, each is a sequence of its own, ``<name>-<object>``.

    Args:
        root: folder that holds the sequences, or a workspace of VOT's toolkit, which has them in ``sequences``.
        allow_partial: read what is there of ``list.txt``.

    Raises:
        FileNotFoundError: ``root``, sequences of ``list.txt``, frames or ground truth are missing.
        ValueError: a file cannot be parsed, has more lines than there are frames, or names frames outside its folder.
    """
    root = root_folder(root, "the sequences and list.txt", SOURCE)
    if (root / "sequences" / "list.txt").is_file():
        root = root / "sequences"
    there = {path.name for path in root.iterdir() if path.is_dir() and any(path.glob("groundtruth*.txt"))}
    listing = root / "list.txt"
    if listing.is_file():
        lines = (line.strip() for line in read_text(listing).splitlines())
        wanted = [line for line in lines if line and inside(root, line, listing)]
        names = choose(root, wanted, there, "list.txt", allow_partial, SOURCE)
    elif there:
        names = sorted(there)
    else:
        raise FileNotFoundError(f"{root} holds neither list.txt nor folders with a groundtruth.txt. {SOURCE}")
    return [sequence for name in names for sequence in _read(root / name)]


def _read(folder: Path) -> list[Sequence]:
    frames = frames_in(_frame_folder(folder), None, folder.name, SOURCE)
    paths, first = tuple(frames.values()), next(iter(frames))
    several = sorted(folder.glob("groundtruth_*.txt"))
    truths = {f"{folder.name}-{path.stem.removeprefix('groundtruth_')}": path for path in several}
    flags = sorted([*folder.glob("*.tag"), *folder.glob("*.label")])
    tags = frozenset(file.stem for file in flags if "1" in read_text(file).split())
    found = []
    for name, truth in (truths or {folder.name: folder / "groundtruth.txt"}).items():
        boxes = _boxes(truth, len(paths))
        found.append(Sequence(name, paths, boxes, tags, np.array(~(boxes[:, 2:] > 0).all(axis=1)), first))
    return found


def _frame_folder(folder: Path) -> Path:
    """Where the colour frames are."""
    properties = folder / "sequence"
    lines = read_text(properties).splitlines() if properties.is_file() else []
    for line in lines:
        key, _, value = line.partition("=")
        if key.strip() == "channels.color":
            pattern = value.strip().replace("\\", "/")
            place = (pattern.rpartition("/")[0] if "%" in pattern else pattern) or "."
            return inside(folder, place, properties)
    return folder / "color" if (folder / "color").is_dir() else folder


def _boxes(truth: Path, count: int) -> Float64:
    """``(count, 4)``, NaN where there is no target or no line."""
    boxes = np.full((count, 4), np.nan)
    lines = [line.strip() for line in read_text(truth).splitlines() if line.strip()]
    if len(lines) > count:
        raise ValueError(f"{truth} holds {len(lines)} lines, the sequence {count} frames. {SOURCE}")
    for i, line in enumerate(lines):
        try:
            boxes[i] = parse_region(line)
        except ValueError as error:
            raise ValueError(f"{truth}, line {i + 1}: {line[:60]!r} is no region ({error})") from error
    return boxes
