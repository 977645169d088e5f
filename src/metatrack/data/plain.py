"""Reader of one's own data: a folder of images and one text file of boxes."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

import numpy as np

from metatrack.arrays import Float64
from metatrack.data.folders import SHOWN, root_folder
from metatrack.data.numbers import whole_number
from metatrack.data.regions import polygons_to_boxes
from metatrack.data.rows import parse_rows, read_text, refused_table
from metatrack.data.sequence import Sequence
from metatrack.images import image_files

LAYOUT = (
    "a sequence is a folder of images (or with the images in img/) and one text file: a row x,y,w,h per image in the order of "
    "their names, first pixel 0, or the table that metatrack track --boxes writes"
)
NAMES = ("groundtruth.txt", "groundtruth_rect.txt", "boxes.txt", "boxes.csv")
"""Tried in this order where a folder holds several text files."""


def read_plain(root: Path) -> list[Sequence]:
    """Reads one sequence, or each folder inside ``root`` that is one, sorted by name.

    Images are ordered as a person would: numbers in their names by value. A row is ``x,y,w,h``, or the corners of a polygon, with
    any separators, 0-based; ``nan,nan,nan,nan`` where the target is not known. A file of one row gives the first image's box
    alone: the sequence can be tracked, but not scored. A table with the header ``frame,x,y,w,h,...`` (what ``metatrack track``
    writes) may leave frames out, and may have a column ``id`` if it is of one target.

    Raises:
        FileNotFoundError: there is no such folder, or no sequence in it.
        ValueError: it is not clear which file holds the boxes, it does not fit the images, or it has several targets.
    """
    root = root_folder(root, "your images and boxes", LAYOUT)
    if _images(root):
        return [_read(root)]
    folders = [path for path in sorted(root.iterdir()) if path.is_dir() and not path.name.startswith(".") and _images(path)]
    if not folders:
        raise FileNotFoundError(f"{root} holds no images, and no folders of images: {LAYOUT}")
    return [_read(folder) for folder in folders]


def _images(folder: Path) -> list[Path]:
    for place in (folder, folder / "img"):
        if place.is_dir() and (found := image_files(place)):
            return found
    return []


def _read(folder: Path) -> Sequence:
    paths = _images(folder)
    texts = {path.name: path for path in sorted(folder.iterdir()) if path.suffix.lower() in {".txt", ".csv"}}
    truth = next((texts[name] for name in NAMES if name in texts), None)
    if truth is None:
        if len(texts) != 1:
            there = f"several text files ({', '.join(texts)})" if texts else "no text file"
            raise ValueError(f"{folder} holds {there}; name the one with the boxes {NAMES[0]}: {LAYOUT}")
        truth = next(iter(texts.values()))
    return Sequence(folder.resolve().name, tuple(paths), _boxes(truth, len(paths)), upright=True)


def _boxes(truth: Path, count: int) -> Float64:
    text = read_text(truth)
    if text.lstrip().lower().startswith("frame,"):
        return _table(truth, text, count)
    rows = parse_rows(text, truth, columns=(4, *range(6, 41, 2)))
    rows = polygons_to_boxes(rows) if rows.shape[1] > 4 else rows
    if len(rows) == 1 < count:
        rows = np.concatenate([rows, np.full((count - 1, 4), np.nan)])
    if len(rows) != count:
        raise ValueError(
            f"{truth} holds {len(rows)} boxes, its folder {count} images; a row per image is needed, or a single one"
        )
    return rows


def _table(truth: Path, text: str, count: int) -> Float64:
    boxes = np.full((count, 4), np.nan)
    reader = csv.DictReader(io.StringIO(text.lstrip()))
    with refused_table(truth, reader):
        rows = list(reader)
    ids = list(dict.fromkeys(row["id"] for row in rows if row.get("id") is not None))  # None: a row cut short, refused below
    if len(ids) > 1:
        shown = ", ".join([*ids[:SHOWN], "..."] if len(ids) > SHOWN else ids)
        raise ValueError(
            f"{truth} holds the boxes of {len(ids)} targets, with the ids {shown}; "
            "a sequence has one target: keep the lines of one id, and copy the folder for each further one"
        )
    for line, row in enumerate(rows, start=2):
        try:
            frame, box = whole_number(row["frame"], "frame"), [float(row[key]) for key in "xywh"]
            if any(math.isinf(value) for value in box):
                raise ValueError("a number that is not finite")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            shown = str(row)[:200]
            raise ValueError(f"{truth}, line {line}: {shown} is not a row of a table with the columns frame,x,y,w,h") from error
        if not 0 <= frame < count:
            raise ValueError(f"{truth} has a box for frame {frame}; the folder's {count} images are the frames 0 to {count - 1}")
        boxes[frame] = box
    return boxes
