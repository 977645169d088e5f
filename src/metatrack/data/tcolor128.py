"""Reader of TColor-128 (Temple Color): 129 targets of 128 colour videos, 50 of which are OTB's.

A copy is laid out as the archive: ``<name>/img/0001.jpg`` and so on, ``<name>/<name>_gt.txt`` (a row ``x,y,w,h`` per frame),
``<name>/<name>_frames.txt`` (first and last frame number, to which the rows belong) and ``<name>/<name>_att.txt`` (abbreviations
of OTB's attributes). Upper and lower case differ between file and folder in places, and copies write ``Yo-yos`` or ``Yo_yos``:
neither is minded.

Whether boxes count the first pixel as 0 or 1 could not be confirmed; they are taken as they stand.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Literal

from metatrack.data.folders import check_subset, choose, frames_in, root_folder, table
from metatrack.data.numbers import whole_number
from metatrack.data.rows import parse_rows, read_text
from metatrack.data.sequence import Sequence

Subset = Literal["TColor128"]
SUBSETS: tuple[Subset, ...] = ("TColor128",)
SOURCE = "TColor-128: http://www.dabi.temple.edu/~hbling/data/TColor-128/TColor-128.html"


@cache
def tcolor128_names() -> tuple[str, ...]:
    """Names of the 129 targets; no local copy is needed."""
    return tuple(table("tcolor128")["targets"])


def read_tcolor128(root: Path, subset: Subset | None = None, allow_partial: bool = False, images: bool = True) -> list[Sequence]:
    """Reads a local copy, sorted by name.

    Arguments and errors are those of :func:`metatrack.data.datasets.read_dataset`. ``root`` holds a folder for each target.
    """
    check_subset(subset, SUBSETS, "TColor-128")
    root = root_folder(root, "Airport_ce, Baby_ce, ...", SOURCE)
    folders = {_plain(path.name): path for path in root.iterdir() if path.is_dir()}
    there = {name for name in tcolor128_names() if _plain(name) in folders}
    names = choose(root, tcolor128_names(), there, subset, allow_partial, SOURCE)
    return [_read(name, folders[_plain(name)], images) for name in names]


def _plain(name: str) -> str:
    return name.lower().replace("-", "_")


def _read(name: str, folder: Path, images: bool) -> Sequence:
    files_by_name = {_plain(path.name): path for path in folder.iterdir() if path.suffix.lower() == ".txt"}

    def file(end: str) -> Path:
        path = files_by_name.get(_plain(f"{name}_{end}.txt"))
        if path is None:
            raise FileNotFoundError(f"{name}: {folder / f'{name}_{end}.txt'} is missing. {SOURCE}")
        return path

    span, truth = file("frames"), file("gt")
    numbers = parse_rows(read_text(span), span, columns=(2,))
    if len(numbers) != 1 or not 0 <= numbers[0, 0] <= numbers[0, 1]:
        raise ValueError(f"{span} does not hold the numbers of the first and the last frame")
    start, end = (whole_number(float(value), span) for value in numbers[0])
    rows = parse_rows(read_text(truth), truth)
    if len(rows) != end - start + 1:
        raise ValueError(f"{truth} holds {len(rows)} boxes, but {span.name} states the frames {start} to {end}. {SOURCE}")
    frames = frames_in(folder / "img", range(start, end + 1), name, SOURCE, images)
    words = files_by_name.get(_plain(f"{name}_att.txt"))
    attributes = re.split(r"[\s,;]+", read_text(words).upper()) if words else []
    return Sequence(name, tuple(frames.values()), rows, frozenset(filter(None, attributes)), start_frame=start)
