"""Readers of the GOT-10k layout, and of single images with one box each.

GOT-10k's layout is ``<root>/<split>/<name>/00000001.jpg, 00000002.jpg, ...`` with ``groundtruth.txt`` (a row ``x,y,w,h`` per
frame), optionally ``absence.label`` and ``cover.label`` (an integer per frame), and optionally ``<root>/<split>/list.txt`` (a
name per line). :func:`metatrack.data.synth.write_clips` writes it too.

Boxes are taken as 0-based, as they stand in the file: the format states no offset, unlike OTB's. In the development set of this
project (330 px crops in this layout) the image edges about the boxes that DAVIS' masks gave lie symmetrically about the box, to
0.2 px, if the box is 0-based; were it 1-based, they would be off by 1. At the size at which the original GOT-10k was annotated
by hand the difference is below the annotators' accuracy.
"""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from metatrack.arrays import Bools
from metatrack.data.folders import choose, frames_in, numbered_frames, truth_file
from metatrack.data.numbers import finite_number
from metatrack.data.rows import parse_rows, read_text, refused_table
from metatrack.data.sequence import Sequence
from metatrack.files import inside

SOURCE = "GOT-10k comes from http://got-10k.aitestunion.com (registration); other data can be brought into the same layout"


def read_got10k(root: Path, split: str | None = None, allow_partial: bool = False, images: bool = True) -> list[Sequence]:
    """Reads the sequences of one split, in the order of ``list.txt`` or, without it, sorted by name.

    A row of the boxes is NaN where the target is absent (``absence.label`` is 1, or ``cover.label`` is 0: nothing of it is to be
    seen), where the box has no area, and where ground truth is withheld (a file of one row, as in GOT-10k's test split).

    Args:
        root: folder that holds the splits; with ``split=None``, the folder that holds the sequences themselves.
        split: name of the split's folder, for example ``train``.
        allow_partial: read what is there of ``list.txt``.
        images: False reads boxes without frames, see :func:`metatrack.data.datasets.read_dataset`.

    Raises:
        FileNotFoundError: a folder, a sequence of ``list.txt``, a frame or a ground truth file is missing.
        ValueError: a file of ground truth or labels cannot be parsed, or has another number of rows than there are frames.
    """
    root = Path(root)
    folder = root if split is None else root / split
    if not folder.is_dir():
        there = sorted(path.name for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
        hint = f"; {root} holds the folders {', '.join(there[:10])}" if there else ""
        raise FileNotFoundError(f"{folder} is not a folder{hint}. {SOURCE}")
    listing = folder / "list.txt"
    if listing.is_file():
        wanted = read_text(listing).split()
        found = {name for name in wanted if inside(folder, name, listing).is_dir()}
        names = choose(folder, wanted, found, "list.txt", allow_partial, SOURCE) if wanted else []
    else:
        # Hidden folders are clips that an interrupted writer left behind.
        names = sorted(p.name for p in folder.iterdir() if not p.name.startswith(".") and (p / "groundtruth.txt").is_file())
    if not names:
        splits = sorted(path.name for path in folder.iterdir() if path.is_dir())
        hint = f"; name one of its folders as the split: {', '.join(splits[:10])}" if splits else ""
        raise FileNotFoundError(f"{folder} holds no sequences (folders with a groundtruth.txt){hint}. {SOURCE}")
    return [_read(folder / name, images) for name in names]


def read_stills(root: Path) -> list[Sequence]:
    """Reads single images with one object each as sequences of one frame.

    ``<root>/boxes.csv`` holds the columns ``file,x,y,w,h`` (0-based, pixels; further columns are ignored), in which ``file`` is
    relative to ``root``. A sequence is named after its file, without the suffix.

    Raises:
        FileNotFoundError: ``boxes.csv`` or an image that it names is missing.
        ValueError: a column is missing, or a row holds no box with an area.
    """
    root = Path(root)
    table = root / "boxes.csv"
    if not table.is_file():
        raise FileNotFoundError(f"{table} is missing: single images need a table with the columns file,x,y,w,h")
    there = set(os.listdir(root))
    found: list[Sequence] = []
    reader = csv.DictReader(io.StringIO(read_text(table), newline=""))
    with refused_table(table, reader):
        lacking = {"file", "x", "y", "w", "h"} - set(reader.fieldnames or ())
        if lacking:
            raise ValueError(f"{table} lacks the columns {', '.join(sorted(lacking))}; needed are file,x,y,w,h")
        for row in reader:
            try:
                box = np.array([[finite_number(row[key], key) for key in "xywh"]])
            except (TypeError, ValueError) as error:
                raise ValueError(f"{table}, line {reader.line_num}: not a box of four numbers ({error})") from error
            if not (box[0, 2:] > 0).all():
                raise ValueError(f"{table}, line {reader.line_num}: the box {box[0].tolist()} has no area")
            path = inside(root, row["file"], f"{table}, line {reader.line_num}")
            if row["file"] not in there and not path.is_file():
                raise FileNotFoundError(f"{path} is missing, which line {reader.line_num} of {table} names")
            found.append(Sequence(path.stem, (path,), box))
    return found


def _read(folder: Path, images: bool) -> Sequence:
    truth = truth_file(folder / "groundtruth.txt", folder.name, SOURCE)
    boxes = parse_rows(read_text(truth), truth)
    there = images or numbered_frames(folder)
    frames = frames_in(folder, None if there else range(1, len(boxes) + 1), folder.name, SOURCE, images)
    n = len(frames)
    if len(boxes) == 1 < n:
        boxes = np.concatenate([boxes, np.full((n - 1, 4), np.nan)])
    if len(boxes) != n:
        raise ValueError(f"{truth} holds {len(boxes)} rows, the folder {n} frames; a row x,y,w,h per frame is needed")
    absence, cover = _labels(folder / "absence.label", n), _labels(folder / "cover.label", n)
    absent: Bools | None = None
    if absence is not None:
        absent = absence != 0
    if cover is not None:
        absent = (cover == 0) if absent is None else absent | (cover == 0)
    return Sequence(folder.name, tuple(frames.values()), boxes, absent=absent, start_frame=next(iter(frames)))


def _labels(path: Path, n: int) -> npt.NDArray[np.int64] | None:
    """The n integers of a label file; None where there is no such file."""
    if not path.is_file():
        return None
    rows = parse_rows(read_text(path), path, columns=(1,))
    if len(rows) != n:
        raise ValueError(f"{path} holds {len(rows)} labels, the folder {n} frames; one per frame is needed")
    if not np.isfinite(rows).all():
        raise ValueError(f"{path} holds NaN; labels are whole numbers, one per frame")
    return rows[:, 0].astype(np.int64)
