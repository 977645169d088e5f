"""Reader of UAV123 (123 targets) and UAV20L (20 long ones), videos taken by drones.

A copy is laid out as the benchmark's archive: frames in ``data_seq/UAV123/<folder>/000001.jpg`` and so on, boxes in
``anno/UAV123/<name>.txt`` or ``anno/UAV20L/<name>.txt`` (a row ``x,y,w,h`` per frame, NaN while the target is occluded or out of
the frame), attributes in ``att/<name>.txt`` beside the boxes (12 flags). A name with an underscore and a number is a part of a
longer video: ``uav123.json`` beside this file says of which, and from which frame to which.

The order of the 12 flags is the one of the header of the benchmark's DatasetAnnotation.pdf, as two independent users of the
files state it. Whether boxes count the first pixel as 0 or 1 could not be confirmed; they are taken as they stand. The edition
at 10 frames per second numbers its frames otherwise and is not read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from metatrack.data.folders import check_subset, choose, frames_in, root_folder, table
from metatrack.data.rows import parse_rows, read_text
from metatrack.data.sequence import Sequence

Subset = Literal["UAV123", "UAV20L"]
SUBSETS: tuple[Subset, ...] = ("UAV123", "UAV20L")
SOURCE = "UAV123: https://cemse.kaust.edu.sa/ivul/uav123"


def uav123_targets(subset: Subset = "UAV123") -> dict[str, tuple[str, int, int]]:
    """Targets of one list: name to folder of the frames, first and last frame number; a ``ValueError`` for an unknown list.

    >>> uav123_targets()["bird1_2"]
    ('bird1', 775, 1477)
    """
    check_subset(subset, SUBSETS, "UAV123")
    return {name: (folder, start, end) for name, (folder, start, end) in table("uav123")[subset].items()}


def read_uav123(root: Path, subset: Subset | None = None, allow_partial: bool = False, images: bool = True) -> list[Sequence]:
    """Reads a local copy, in the benchmark's order.

    Arguments and errors are those of :func:`metatrack.data.datasets.read_dataset`. ``root`` holds ``data_seq`` and
    ``anno``; without a subset, the targets of UAV123 that are found are read.
    """
    check_subset(subset, SUBSETS, "UAV123")
    root = root_folder(root, "data_seq and anno", SOURCE)
    targets = uav123_targets(subset or "UAV123")
    boxes, videos = root / "anno" / (subset or "UAV123"), root / "data_seq" / "UAV123"
    for folder in (boxes, videos) if images else (boxes,):
        if not folder.is_dir():
            raise FileNotFoundError(f"{root} holds no {folder.relative_to(root).as_posix()}, which the archive has. {SOURCE}")
    there = {
        name
        for name, (folder, _, _) in targets.items()
        if (boxes / f"{name}.txt").is_file() and (not images or (videos / folder).is_dir())
    }
    names = choose(root, list(targets), there, subset, allow_partial, SOURCE)
    return [_read(name, boxes / f"{name}.txt", videos / targets[name][0], *targets[name][1:], images) for name in names]


def _read(name: str, truth: Path, folder: Path, start: int, end: int, images: bool) -> Sequence:
    rows = parse_rows(read_text(truth), truth)
    if len(rows) != end - start + 1:
        raise ValueError(
            f"{truth} holds {len(rows)} boxes, the benchmark states {end - start + 1} (frames {start} to {end} of {folder.name})"
            f"; the file is damaged or of another edition. {SOURCE}"
        )
    frames = frames_in(folder, range(start, end + 1), name, SOURCE, images)
    absent = np.array(~np.isfinite(rows).all(axis=1))
    return Sequence(name, tuple(frames.values()), rows, _attributes(truth.parent / "att" / truth.name), absent, start)


def _attributes(path: Path) -> frozenset[str]:
    if not path.is_file():
        return frozenset()
    names = table("uav123")["attributes"]  # in the order of the flags
    flags = parse_rows(read_text(path), path, columns=(1, len(names))).ravel()
    if len(flags) != len(names):
        raise ValueError(f"{path} holds {len(flags)} flags; {len(names)} are needed: {' '.join(names)}")
    return frozenset(name for name, flag in zip(names, flags, strict=True) if flag)
