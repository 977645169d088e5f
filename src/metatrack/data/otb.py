"""Reader of the Object Tracking Benchmark: OTB-50, OTB-100 (TB-50, TB-100) and OTB-2013 (CVPR13).

``otb.json`` beside this file holds the benchmark's facts: first and last frame of each target, its attributes, the lists. Frames
and boxes come from a local copy alone, laid out as the benchmark's own archives: ``<Sequence>/img/0001.jpg`` and
``<Sequence>/groundtruth_rect.txt``, or ``groundtruth_rect.1.txt`` where a sequence holds two targets. A target is what the
lists count: the sequence Jogging gives ``Jogging-1`` and ``Jogging-2``.

The files' boxes are ``x, y, w, h`` with the first pixel counted as 1; :func:`zero_based` is the one place that converts them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from metatrack.arrays import Float64
from metatrack.data.folders import frames_in, root_folder, table
from metatrack.data.rows import parse_rows, read_text
from metatrack.data.sequence import Sequence

Subset = Literal["OTB100", "OTB50", "OTB2013"]
SUBSETS: tuple[Subset, ...] = ("OTB100", "OTB50", "OTB2013")


class OtbTarget(NamedTuple):
    """What the benchmark states about one target."""

    name: str  # as in the list TB-100, for example ``Jogging-1``
    folder: str  # folder of the sequence, for example ``Jogging``
    truth: str  # file of the boxes inside that folder
    start: int  # number of the frame to which the file's first row belongs, as in its file name
    end: int  # number of the last frame with a row
    skip: int  # frames at the start that the benchmark does not use (Tiger1: 5)
    video_end: int  # number of the last frame in the archive: Football1 and Diving go on after their last box
    attributes: frozenset[str]  # some of IV SV OCC DEF MB FM IPR OPR OV BC LR
    omit: tuple[tuple[int, int], ...] = ()  # spans of frames, first and last, in which TRE starts no tracker (occlusion)

    @property
    def rows(self) -> int:
        """Rows of the ground truth file."""
        return self.end - self.start + 1

    @property
    def frames(self) -> range:
        """Numbers of the frames that are tracked."""
        return range(self.start + self.skip, self.end + 1)


def otb_targets(subset: Subset = "OTB100") -> list[OtbTarget]:
    """The targets of a list, sorted by name; no local copy is needed. A ``ValueError`` where there is no such list."""
    facts = table("otb")
    if subset not in SUBSETS:
        raise ValueError(f"unknown OTB subset {subset!r}; choose one of {', '.join(SUBSETS)}")
    names = facts["targets"] if subset == "OTB100" else facts["subsets"][subset]
    return [_target(name, facts["targets"][name]) for name in sorted(names, key=str.lower)]


def otb_omitted() -> dict[str, tuple[tuple[int, int], ...]]:
    """Per target that has any, the spans of frames in which the benchmark starts no tracker: first and last number of each."""
    return {target.name: target.omit for target in otb_targets() if target.omit}


def otb_aliases() -> dict[str, str]:
    """Further names of targets that share a sequence: of the sequence, which means its first target, and ``Jogging2``.

    >>> otb_aliases()["Human4"], otb_aliases()["Skating2"], otb_aliases()["Jogging2"]
    ('Human4-2', 'Skating2-1', 'Jogging-2')
    """
    found: dict[str, str] = {}
    for target in otb_targets():
        if target.folder != target.name:
            found.setdefault(target.folder, target.name)
            if not target.folder[-1].isdecimal():
                found[target.folder + target.name.rpartition("-")[2]] = target.name
    return found


def read_otb(root: Path, subset: Subset | None = None, allow_partial: bool = False, images: bool = True) -> list[Sequence]:
    """Reads a local copy of OTB, sorted by name.

    Arguments and errors are those of :func:`metatrack.data.datasets.read_dataset`. ``root`` holds a folder for each
    sequence; without images, the files of the ground truth may lie in the root itself, each named after its target. Without a
    subset, the targets of OTB-100 that are found are read.

    A row of the ground truth without area (the last of Board and of Twinnings) becomes NaN. Damage in a target that is there
    is an error in every case: a short sequence must never pass for a whole one.
    """
    root = root_folder(root, "Basketball, Biker, ...", _remedy())
    folders = {path.name.lower(): path for path in sorted(root.iterdir()) if path.is_dir()}
    targets = otb_targets(subset or "OTB100")
    texts = {} if images else _texts(root)
    truths = {target: _truth_file(target, folders) or texts.get(target.name) for target in targets}
    found = [(target, truth) for target, truth in truths.items() if truth is not None]
    if len(found) < len(targets) and (not found or (subset is not None and not allow_partial)):
        missing = sorted({target.folder for target in targets} - {target.folder for target, _ in found}, key=str.lower)
        halves = [t.name for t in targets if t.folder not in missing and t.name not in {f.name for f, _ in found}]
        lacks = [f"folders {', '.join(missing)}"] * bool(missing) + [f"ground truth of {', '.join(halves)}"] * bool(halves)
        hint = "; a partial copy is read if you allow it (--allow-partial, allow_partial=True)" if found else ""
        raise FileNotFoundError(
            f"{root} lacks {len(targets) - len(found)} of the {len(targets)} targets of {subset or 'OTB100'}: "
            f"{'; '.join(lacks)}{hint}. {_remedy()}"
        )
    return [_read(target, truth, images) for target, truth in found]


def zero_based(rows: npt.ArrayLike) -> Float64:
    """Boxes as OTB's files state them (first pixel 1) to boxes that count from 0: ``(n, 4)`` to ``(n, 4)``."""
    return np.asarray(rows, np.float64) - [1, 1, 0, 0]


def _target(name: str, fact: dict[str, Any]) -> OtbTarget:
    return OtbTarget(
        name=name,
        folder=fact.get("folder", name),
        truth=fact.get("truth", "groundtruth_rect.txt"),
        start=fact["start"],
        end=fact["end"],
        skip=fact.get("skip", 0),
        video_end=fact.get("video_end", fact["end"]),
        attributes=frozenset(fact["attributes"]),
        omit=tuple((first, last) for first, last in fact.get("omit", ())),
    )


def _texts(root: Path) -> dict[str, Path]:
    """Text files of a folder by the names of the targets that they are named after, in any case."""
    names = {target.name.lower(): target.name for target in otb_targets()}
    return {names[path.stem.lower()]: path for path in sorted(root.glob("*.txt")) if path.stem.lower() in names}


def _truth_file(target: OtbTarget, folders: dict[str, Path]) -> Path | None:
    """The target's ground truth; copies differ in the case of folder names, and some give each of two targets a folder."""
    for name, truth in ((target.folder, target.truth), (target.name, target.truth), (target.name, "groundtruth_rect.txt")):
        folder = folders.get(name.lower())
        if folder is not None and (folder / truth).is_file():
            return folder / truth
    return None


def _read(target: OtbTarget, truth: Path, images: bool) -> Sequence:
    rows = parse_rows(read_text(truth), truth)
    if len(rows) != target.rows:
        raise ValueError(
            f"{truth} holds {len(rows)} boxes, the benchmark states {target.rows} (frames {target.start} to {target.end})"
            f"; the file is damaged or of another edition. {_remedy()}"
        )
    frames = frames_in(truth.parent / "img", target.frames, target.name, _remedy(), images)
    return Sequence(
        name=target.name,
        frame_paths=tuple(frames.values()),
        boxes=zero_based(rows)[target.skip :],
        attributes=target.attributes,
        start_frame=target.frames[0],
    )


def _remedy() -> str:
    return f"OTB's sequences: {table('otb')['get_it_from']}"
