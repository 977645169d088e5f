"""What the readers share: their tables, numbered frames in a folder, lists of what is missing, and the choice of a subset."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from metatrack.data.numbers import whole_number
from metatrack.hints import number_spans
from metatrack.images import is_image_name

SHOWN = 20  # missing sequences that an error names, at most


@cache
def table(name: str) -> Any:
    """The table ``name.json`` of this package, read once; it is shared, so it must not be changed."""
    return json.loads(files("metatrack.data").joinpath(f"{name}.json").read_text(encoding="utf-8"))


def numbered_frames(folder: Path) -> dict[int, Path]:
    """Images of a folder whose names are numbers, such as ``00001.jpg``, by number; empty if there is no such folder.

    Only names are looked at: a data set on a network disk is listed once, and no image is opened.
    """
    if not folder.is_dir():
        return {}
    found = {}
    for name in os.listdir(folder):
        number = frame_number(name)
        if number is not None:
            found[number] = folder / name
    return found


def frame_number(name: str) -> int | None:
    """The number that an image is named by; None of a file that is no frame, or whose number no sequence reaches.

    >>> frame_number("0012.jpg"), frame_number("a12.jpg"), frame_number("9999999999999.jpg")
    (12, None, None)
    """
    stem = os.path.splitext(name)[0]
    if not (stem.isascii() and stem.isdecimal() and is_image_name(name)):
        return None
    try:
        return whole_number(stem, name)
    except ValueError:
        return None


def gaps(numbers: Iterable[int]) -> tuple[int, list[str]]:
    """How many numbers are missing between the least and the greatest, and the first :data:`SHOWN` spans of them as texts.

    >>> gaps([1, 2, 5, 10**9])
    (999999996, ['3-4', '6-999999999'])
    """
    ordered = sorted(numbers)
    spans = []
    count = 0
    for before, after in zip(ordered, ordered[1:]):
        if after > before + 1:
            count += after - before - 1
            spans.append(f"{before + 1}-{after - 1}" if after > before + 2 else str(before + 1))
    return count, spans[:SHOWN] + (["..."] if len(spans) > SHOWN else [])


def frames_in(folder: Path, wanted: Iterable[int] | None, name: str, source: str, images: bool = True) -> dict[int, Path]:
    """The frames with the wanted numbers, in that order; with None, all from the first to the last that is there.

    Args:
        folder: holds ``00001.jpg`` and so on.
        wanted: numbers as in the file names.
        name: of the sequence, for messages.
        source: where to get the data set, the end of messages.
        images: there must be frames. False takes a folder without any, and gives the names that its frames would have.

    Raises:
        FileNotFoundError: frames are missing; the message lists their numbers.
    """
    there = numbered_frames(folder)
    if not (images or there) and wanted is not None:
        return {number: folder / f"{number:08d}.jpg" for number in wanted}
    if wanted is None:
        # What is there is counted, and never the numbers that names state: two files may be a thousand million apart.
        count, spans = gaps(there)
        if count:
            raise FileNotFoundError(f"{name}: {folder} lacks {count} frames: {', '.join(spans)}. {source}")
        wanted = sorted(there) or [1]
    numbers = list(wanted)
    missing = [number for number in numbers if number not in there]
    if missing:
        what = f"lacks {len(missing)} frames: {', '.join(number_spans(missing))}" if there else "holds no numbered frames"
        raise FileNotFoundError(f"{name}: {folder} {what}. {source}")
    return {number: there[number] for number in numbers}


def truth_file(path: Path, name: str, source: str) -> Path:
    """The path itself; a ``FileNotFoundError`` where there is no such file."""
    if not path.is_file():
        raise FileNotFoundError(f"{name}: {path} is missing. {source}")
    return path


def root_folder(root: Path, inside: str, source: str) -> Path:
    """The path itself; a ``FileNotFoundError`` where it is no folder. ``inside`` says what it should hold."""
    root = Path(root)
    if not root.is_dir():
        raise FileNotFoundError(f"{root} is not a folder; give the folder that holds {inside}. {source}")
    return root


def choose(
    root: Path, wanted: Sequence[str], there: Collection[str], subset: str | None, allow_partial: bool, source: str
) -> list[str]:
    """Those of the wanted names that are there.

    Args:
        root: the local copy, for messages.
        wanted: names of the list.
        there: names that were found.
        subset: name of the list if it was asked for, which then must be there in full; None takes what is found.
        allow_partial: take what is found of a named list too.
        source: where to get the data set, the end of messages.

    Raises:
        FileNotFoundError: none is there, or some of a named list are missing; the message lists them.
    """
    found = [name for name in wanted if name in there]
    missing = [name for name in wanted if name not in there]
    if missing and (not found or (subset is not None and not allow_partial)):
        shown = ", ".join(missing[:SHOWN]) + (", ..." if len(missing) > SHOWN else "")
        of = f" of {subset}" if subset else ""
        hint = "; a partial copy is read if you allow it (--allow-partial, allow_partial=True)" if found else ""
        raise FileNotFoundError(f"{root} lacks {len(missing)} of the {len(wanted)} sequences{of}: {shown}{hint}. {source}")
    return found


def check_subset(subset: str | None, known: Collection[str], data_set: str) -> None:
    """Raises a ``ValueError`` for a list that the data set does not have."""
    if subset is not None and subset not in known:
        raise ValueError(f"unknown subset {subset!r} of {data_set}; choose one of {', '.join(known)}")
