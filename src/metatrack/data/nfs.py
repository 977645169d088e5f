"""Reader of NfS, Need for Speed: 100 sequences, each at 240 frames per second and thinned out to 30.

A copy is laid out as the archives: ``<name>/30/<name>/00001.jpg`` and so on with the boxes in ``<name>/30/<name>.txt``, and the
same with 240. A row is what the annotation tool VATIC writes: id, xmin, ymin, xmax, ymax, frame, lost, occluded, generated, and
a label in quotation marks, separated by blanks. The column "frame" begins with 0 in some files and with 1 in others and is not
used: rows are in order. Files at 30 frames per second may hold the rows of all 240; every eighth, from the first, is then taken.
Rows and images may differ by one at the end; the surplus one is left out.

A box is ``xmin, ymin, xmax - xmin, ymax - ymin`` as it stands: whether it counts the first pixel as 0 or 1, and whether xmax
belongs to the target, could not be confirmed. The flags "lost" and "occluded" are not used: the benchmark scores the box of
every frame, and so do the public toolkits. Where the files state the benchmark's nine attributes could not be found either.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np

from metatrack.arrays import Float64
from metatrack.data.folders import check_subset, choose, frames_in, root_folder, table, truth_file
from metatrack.data.numbers import finite_number
from metatrack.data.rows import read_text
from metatrack.data.sequence import Sequence

Subset = Literal["30", "240"]
SUBSETS: tuple[Subset, ...] = ("30", "240")
SOURCE = "NfS: http://ci2cv.net/nfs/index.html"


@cache
def nfs_frames() -> dict[str, int]:
    """The 100 sequences: name to its number of frames at 30 frames per second; no local copy is needed."""
    return dict(table("nfs")["frames"])


def read_nfs(root: Path, subset: Subset | None = None, allow_partial: bool = False) -> list[Sequence]:
    """Reads a local copy, in the benchmark's order.

    Arguments and errors are those of :func:`metatrack.data.datasets.read_dataset`. ``root`` holds a folder for each
    sequence; a subset is the frames per second, and without one, what is found at 30 is read.
    """
    check_subset(subset, SUBSETS, "NfS")
    root = root_folder(root, "Gymnastics, MachLoop_jet, ...", SOURCE)
    rate = subset or "30"
    there = {name for name in nfs_frames() if (root / name / rate / name).is_dir()}
    shown = f"{rate} frames per second" if subset else None
    names = choose(root, list(nfs_frames()), there, shown, allow_partial, SOURCE)
    return [_read(name, root / name / rate) for name in names]


def _read(name: str, folder: Path) -> Sequence:
    truth = truth_file(folder / f"{name}.txt", name, SOURCE)
    boxes = _boxes(truth)
    frames = frames_in(folder / name, None, name, SOURCE)
    if len(frames) > 1 and abs(len(boxes) / len(frames) - 8) < 1:
        boxes = boxes[::8]
    count = min(len(boxes), len(frames))
    if max(len(boxes), len(frames)) - count > 1:
        raise ValueError(
            f"{truth} holds {len(boxes)} boxes for {len(frames)} frames in {folder / name}; one is damaged. {SOURCE}"
        )
    paths = tuple(frames.values())[:count]
    return Sequence(name, paths, boxes[:count], start_frame=next(iter(frames)))


def _boxes(path: Path) -> Float64:
    """Rows of VATIC's format to ``(n, 4)``, x, y, w, h."""
    rows = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            left, top, right, bottom = (finite_number(word, "box") for word in re.split(r"\s+", line.strip())[1:5])
        except ValueError as error:
            shown = line.strip()[:100]
            raise ValueError(f"{path}, line {number}: {shown!r} does not begin with id, xmin, ymin, xmax, ymax") from error
        rows.append((left, top, right - left, bottom - top))
    return np.array(rows, np.float64).reshape(-1, 4)
