"""Reader of LaSOT: 1,400 sequences of 70 classes, of which 280 are the testing set, and the extension subset of 150.

A copy is laid out as in the archives, ``<class>/<class>-<n>/``, or without the folders of the classes, ``<class>-<n>/``. Each
sequence holds ``img/00000001.jpg`` and so on, ``groundtruth.txt`` (a row ``x,y,w,h`` per frame), ``full_occlusion.txt`` and
``out_of_view.txt`` (a flag per frame, separated by commas), and ``nlp.txt``, which is not read.

The boxes count the first pixel as 1. The papers do not say so; it was measured on the annotations in the evaluation toolkit:
targets that leave the frame pile up at 1 (of 3.5 million boxes 70,876 have x = 1 and 1,585 have x = 0; for y 105,929 and 2,291).

``lasot.json`` beside this file holds the lists and the 14 attributes, which the archives lack: they come with the toolkit. The
extension's attributes could not be found and are left empty.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import numpy as np

from metatrack.arrays import Bools
from metatrack.data.folders import check_subset, choose, frames_in, root_folder, table, truth_file
from metatrack.data.otb import zero_based
from metatrack.data.rows import parse_rows, read_text
from metatrack.data.sequence import Sequence

Subset = Literal["test", "train", "all", "extension"]
SUBSETS: tuple[Subset, ...] = ("test", "train", "all", "extension")
SOURCE = "LaSOT: http://vision.cs.stonybrook.edu/~lasot/ (links in the readme of github.com/HengLan/LaSOT_Evaluation_Toolkit)"


def lasot_names(subset: Subset = "test") -> list[str]:
    """Names of a list, by class and number; no local copy is needed. A ``ValueError`` where there is no such list."""
    check_subset(subset, SUBSETS, "LaSOT")
    if subset == "extension":
        return [f"{kind}-{n}" for kind in table("lasot")["extension"] for n in range(1, 11)]
    names = []
    for kind, facts in table("lasot")["classes"].items():
        test = set(facts["test"])
        names += [f"{kind}-{n}" for n in range(1, 21) if subset == "all" or (n in test) == (subset == "test")]
    return names


def read_lasot(root: Path, subset: Subset | None = None, allow_partial: bool = False, images: bool = True) -> list[Sequence]:
    """Reads a local copy of LaSOT, sorted by class and number.

    Frames in which the target is fully occluded or out of view are absent and have the box NaN, whatever the file says there.
    Frames after the last row of the ground truth are left out, as in the toolkit (monkey-17).

    Arguments and errors are those of :func:`metatrack.data.datasets.read_dataset`. ``root`` holds the classes, or the
    sequences themselves; without a subset, what is found of all lists is read.
    """
    check_subset(subset, SUBSETS, "LaSOT")
    root = root_folder(root, "the classes airplane, basketball, ...", SOURCE)
    wanted = lasot_names(subset) if subset else lasot_names("all") + lasot_names("extension")
    there = {path.name: path for path in root.iterdir() if path.is_dir()}
    for kind in {name.rpartition("-")[0] for name in wanted} & there.keys():
        there |= {path.name: path for path in there[kind].iterdir() if path.is_dir()}
    found = {name: there[name] for name in wanted if name in there}
    names = choose(root, wanted, found, f"the list {subset}" if subset else None, allow_partial, SOURCE)
    return [_read(name, found[name], images) for name in names]


def _read(name: str, folder: Path, images: bool) -> Sequence:
    truth = truth_file(folder / "groundtruth.txt", name, SOURCE)
    rows = parse_rows(read_text(truth), truth)
    frames = frames_in(folder / "img", range(1, len(rows) + 1), name, SOURCE, images)
    absent = np.zeros(len(rows), np.bool_)
    for file in ("full_occlusion.txt", "out_of_view.txt"):
        absent |= _flags(truth_file(folder / file, name, SOURCE), len(rows))
    return Sequence(name, tuple(frames.values()), zero_based(rows), _attributes(name), absent)


def _flags(path: Path, count: int) -> Bools:
    words = [word for word in re.split(r"[\s,;]+", read_text(path)) if word]
    if len(words) != count or not set(words) <= {"0", "1"}:
        raise ValueError(
            f"{path} holds {len(words)} entries; {count} flags, each 0 or 1, are needed: one per row of groundtruth.txt"
        )
    return np.array([word == "1" for word in words], np.bool_)


def _attributes(name: str) -> frozenset[str]:
    kind, _, number = name.rpartition("-")
    facts = table("lasot")["classes"].get(kind)
    if facts is None:  # of the extension
        return frozenset()
    bits = facts["attributes"][int(number) - 1]
    return frozenset(short for i, short in enumerate(table("lasot")["attributes"]) if bits >> i & 1)
