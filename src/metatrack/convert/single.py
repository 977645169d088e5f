"""Result files of benchmarks of one target: OTB, GOT-10k, LaSOT and VOT. Several targets are as many files.

The files are those of :mod:`metatrack.evaluation.score.formats`; VOT's toolkit has its own. A frame without a box is NaN.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from metatrack.arrays import Float64
from metatrack.convert.tracks import LABEL, MOST_BYTES, Mark, Row, Track, Tracks, Video, collect
from metatrack.data.rows import read_text
from metatrack.evaluation.score.formats import read_trajectories, write_got10k, write_json, write_lasot, write_mat, write_txt
from metatrack.evaluation.score.imports import FIRST_PIXEL
from metatrack.evaluation.score.records import Trajectory
from metatrack.files import natural_order, require_size, write_atomically
from metatrack.geometry import Box

TRACKER = "metatrack"  # the tracker's name in folders that have one
FIRST_OTB = np.array([FIRST_PIXEL["otb"], FIRST_PIXEL["otb"], 0, 0])
FIRST_LASOT = np.array([FIRST_PIXEL["lasot"], FIRST_PIXEL["lasot"], 0, 0])


def boxes_of(track: Track, count: int) -> Float64:
    """``(count, 4)``: a row for each frame, NaN where there is no box."""
    boxes = np.full((count, 4), np.nan)
    for mark in track.visible:
        boxes[mark.frame] = mark.box
    return boxes


def names_of(tracks: Tracks) -> dict[str, Track]:
    """A name for each target's sequence: the video's or, of several, with the id behind it."""
    if len(tracks.targets) == 1 and tracks.targets[0].target == 1:
        return {tracks.video.name: tracks.targets[0]}
    numbers = tracks.numbers()
    return {f"{tracks.video.name}-{numbers[track.target]}": track for track in tracks.targets}


def write_otb(path: Path, tracks: Tracks) -> None:
    """Writes a row ``x,y,w,h`` a frame, first pixel 1; a file for the one target, else a folder of a file for each.

    ``.mat`` and ``.json`` are the files of OTB's toolkits; they begin at the target's first frame.

    Raises:
        ValueError: there are several targets, and the path is that of a file.
        ModuleNotFoundError: a ``.mat`` file needs scipy.
    """
    single = bool(path.suffix)
    if single and len(tracks.targets) != 1:
        raise ValueError(f"{path}: a file of OTB is of one target, and here are {len(tracks.targets)}; name a folder instead")
    for name, track in names_of(tracks).items():
        file = path if single else path / f"{name}.txt"
        boxes = boxes_of(track, tracks.count) + FIRST_OTB
        first = min((mark.frame for mark in track.visible), default=0)
        if file.suffix.lower() == ".mat":
            write_mat(file, [Trajectory(boxes[first:], first + 1)])
        elif file.suffix.lower() == ".json":
            write_json(file, [Trajectory(boxes[first:], first + 1)], TRACKER, name, "ope")
        else:
            write_txt(file, boxes)


def read_otb(path: Path, video: Video) -> Tracks:
    """Reads a result file of OTB's toolkits or a text of rows ``x,y,w,h``, or a folder with a file for each target.

    Raises:
        OSError, ValueError: a file cannot be read, or holds several runs.
        ModuleNotFoundError: a ``.mat`` file needs scipy.
    """
    files = [path] if path.is_file() else [each for each in path.iterdir() if each.suffix.lower() in (".txt", ".mat", ".json")]
    return collect(path, _rows(files, FIRST_OTB), video)


def write_got(path: Path, tracks: Tracks) -> None:
    """Writes GOT-10k's folders; times are 0, which its toolkit passes over, since boxes alone are known."""
    for name, track in names_of(tracks).items():
        write_got10k(path, TRACKER, name, boxes_of(track, tracks.count), np.zeros(tracks.count))


def read_got(path: Path, video: Video) -> Tracks:
    """Reads the first run of each sequence, ``<sequence>_001.txt``; an ``OSError`` or ``ValueError`` if it cannot be read."""
    return collect(path, _rows(_found(path, "*_001.txt"), np.zeros(4)), video)


def write_lasot_results(path: Path, tracks: Tracks) -> None:
    """Writes LaSOT's folder of results, first pixel 1."""
    for name, track in names_of(tracks).items():
        write_lasot(path, TRACKER, name, boxes_of(track, tracks.count) + FIRST_LASOT)


def read_lasot_results(path: Path, video: Video) -> Tracks:
    """Reads each sequence as a target; an ``OSError`` or ``ValueError`` where there is none, or it cannot be read."""
    return collect(path, _rows(_found(path, "*.txt"), FIRST_LASOT), video)


def write_vot(path: Path, tracks: Tracks) -> None:
    """Writes what VOT's toolkit keeps of an unsupervised run: regions, and confidences beside them.

    The first frame, in which the toolkit gives the box, is ``1`` there: its box is not held. ``0`` is no box.
    """
    for name, track in names_of(tracks).items():
        seen = {mark.frame: mark for mark in track.visible}
        first = min(seen, default=0)
        regions = [
            "1" if n == first else ",".join(f"{v:.4f}" for v in seen[n].box) if n in seen else "0" for n in range(tracks.count)
        ]
        scores = [f"{seen[n].score:.4f}" if n in seen and seen[n].score is not None else "" for n in range(tracks.count)]
        folder = path / TRACKER / "unsupervised" / name
        write_atomically(folder / f"{name}_001.txt", "".join(f"{region}\n" for region in regions))
        write_atomically(folder / f"{name}_001_confidence.value", "".join(f"{score}\n" for score in scores))


def read_vot(path: Path, video: Video) -> Tracks:
    """Reads the first run of each sequence as a target; codes of the toolkit (start, failure, unknown) are frames without box.

    Raises:
        OSError, ValueError: there is none, it cannot be read, or its regions are masks or polygons.
    """
    rows: list[Row] = []
    for order, file in enumerate(_found(path, "*_001.txt"), 1):
        scores = file.with_name(f"{file.stem}_confidence.value")
        values = read_text(scores).split("\n") if scores.is_file() else []
        for n, line in enumerate(read_text(file).splitlines()):
            words = line.split(",")
            if len(words) == 1 and not line.startswith("m"):
                continue
            try:
                x, y, w, h = map(float, words)
                score = float(values[n]) if n < len(values) and values[n].strip() else None
            except ValueError as error:
                raise ValueError(
                    f"{file}, line {n + 1}: {line[:60]!r} is no rectangle x,y,w,h; masks and polygons are not read"
                ) from error
            rows.append((_id(file.stem, order), LABEL, Mark(n, Box(x, y, w, h), score)))
    return collect(path, rows, video)


def _found(path: Path, pattern: str) -> list[Path]:
    files = [file for file in sorted(path.rglob(pattern), key=natural_order) if not file.stem.endswith("_time")]
    if not files:
        raise FileNotFoundError(f"{path} holds no {pattern}; pass the folder of a tracker's results")
    return files


def _rows(files: Iterable[Path], first: Float64) -> list[Row]:
    """What result files state; a row without area is a frame without box, as some toolkits write it."""
    rows: list[Row] = []
    for order, file in enumerate(sorted(files, key=natural_order), 1):
        require_size(file, MOST_BYTES, "file of boxes")
        runs = read_trajectories(file)
        if len(runs) != 1:
            raise ValueError(f"{file} holds {len(runs)} runs (of TRE or SRE); a file of one run is needed")
        begin = (runs[0].start or 1) - 1
        for n, box in enumerate(runs[0].boxes - first):
            if np.isfinite(box).all() and (box[2:] > 0).all():
                rows.append((_id(file.stem, order), LABEL, Mark(begin + n, Box(*box.tolist()))))
    return rows


def _id(stem: str, order: int) -> int:
    """The id that a sequence's name ends with, as ours do, else its place among the files."""
    ended = re.search(r"-(\d{1,9})(_\d{3})?$", stem)
    return int(ended[1]) if ended else order
