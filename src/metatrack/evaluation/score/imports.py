"""Results that others have made, on their way into the folder of an evaluation.

Which files belong to which tracker and which file to which sequence is found out here; the formats themselves are
``formats.py``'s. Boxes are counted as the data set's own files count them, unless said otherwise: trackers are nearly always
run on, and compared with, the data set's boxes as they stand.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from collections.abc import Sequence as Seq
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from metatrack.arrays import Float64
from metatrack.data.datasets import listed_names
from metatrack.data.otb import otb_aliases, otb_targets
from metatrack.data.rows import decode_text, parse_rows
from metatrack.data.sequence import Sequence
from metatrack.evaluation.score.formats import SUFFIXES, align_otb, match_target, parse_trajectories, result_files
from metatrack.evaluation.score.metrics import hold_last

FIRST_PIXEL = {"otb": 1, "lasot": 1}
"""What the files of a data set call the first pixel, where it is not 0; as their readers have it."""
_RUN = re.compile(r"[._-]([0-9]{3})$")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")


class ResultSource(NamedTuple):
    """Where one tracker's results are."""

    tracker: str
    paths: tuple[Path, ...]  # folders, archives and files


class ImportedRun(NamedTuple):
    """One tracker on one sequence of n frames."""

    boxes: Float64  # (n, 4) x, y, w, h, 0-based; NaN where the tracker gave none, or the file has ended
    seconds: Float64 | None  # (n,) time of each frame, all alike where a speed is stated; None if nothing is
    rows: int  # frames for which the file has a row


class Imported(NamedTuple):
    """What a source holds."""

    results: dict[str, ImportedRun]  # by sequence, in the order of the data set
    others: int  # files about none of the sequences
    identity: dict[str, Any]  # what decides the boxes: a hash of all files, of other sequences too, so that more may follow


def find_sources(paths: Seq[Path], sequences: Seq[Sequence], tracker: str | None = None) -> list[ResultSource]:
    """Which trackers' results there are, sorted by name.

    - Files are all of one tracker, which must be named.
    - A folder or ``.zip`` whose files (or, as in GOT-10k, folders) are named after sequences is one tracker's, and is named
      after it: without the ``_tracking_result`` of LaSOT's layout, and without what follows two underscores, if that still
      tells all trackers apart (collections of results name who handed them in: ``KCF__someone.zip``).
    - In any other folder, each folder and ``.zip`` is one tracker's.

    Args:
        tracker: the name of the one tracker; where there are several, the one to take.

    Raises:
        FileNotFoundError: a path does not exist, or there is nothing in it.
        ValueError: it is not clear whose results these are, or a name cannot be a tracker's.
    """
    names = [sequence.name for sequence in sequences]
    places: list[Path] = []
    files = [path for path in paths if path.is_file() and path.suffix.lower() in SUFFIXES]
    for path in (path for path in paths if path not in files):
        if not path.exists():
            raise FileNotFoundError(f"{path} does not exist; give result files, a folder or a .zip of them, or a folder of such")
        inside = _places(path) if path.is_dir() and not _is_one(path, names) else []
        places += inside or [path]
    if files and (places or tracker is None):
        what = "files and folders cannot be mixed" if places else "whose are single files? Name the tracker: --tracker NAME"
        raise ValueError(f"{files[0]}: {what}")
    if files:
        return [ResultSource(check_name(str(tracker)), tuple(files))]
    sources = _named(places)
    if tracker is None:
        return [ResultSource(check_name(source.tracker), source.paths) for source in sources]
    if len(sources) > 1:
        chosen = [source for source in sources if tracker in {source.tracker, *(_name(path) for path in source.paths)}]
        if not chosen:
            raise ValueError(f"no results of {tracker!r}; there are {', '.join(source.tracker for source in sources)}")
        sources = chosen
    return [ResultSource(check_name(tracker), tuple(path for source in sources for path in source.paths))]


def load_results(source: ResultSource, sequences: Seq[Sequence], data_set: str, first_pixel: int | None = None) -> Imported:
    """Reads one tracker's results on the sequences at hand.

    Of several runs (GOT-10k's ``_001``, ``_002``; a ``.mat`` of TRE) the first counts. Times are read from
    ``<sequence>_time.txt`` (GOT-10k, pytracking), or made of the speed that a ``.mat`` or ``.json`` states. On OTB, files may
    have rows for frames that the benchmark skips (Tiger1's first five) or not. A file that stops early is continued by NaN.

    Args:
        first_pixel: what the files call the first pixel, 0 or 1; None: as the data set's own files (:data:`FIRST_PIXEL`).

    Raises:
        ValueError: a file cannot be read or has more rows than its sequence frames, or two are about the same sequence.
        OSError: a file has gone.
        ModuleNotFoundError: ``.mat`` files need scipy.
    """
    by_name = {sequence.name: sequence for sequence in sequences}
    first = FIRST_PIXEL.get(data_set, 0) if first_pixel is None else first_pixel
    targets = {target.name: target for target in otb_targets()} if data_set == "otb" else {}
    aliases = otb_aliases() if data_set == "otb" else {}
    # All of the benchmark's names, so that a file about car_side is not taken for one about car by a tracker called side.
    known = [*by_name, *(name for name in listed_names(data_set) if name not in by_name)]
    digests: list[str] = []
    boxes: dict[str, tuple[int, str, bytes]] = {}  # run, file, contents
    times: dict[str, tuple[int, str, bytes]] = {}
    others = 0
    for file, data in chain.from_iterable(map(result_files, source.paths)):
        digests.append(f"{Path(file).name} {hashlib.sha256(data).hexdigest()}")
        stem = Path(file).stem
        timed = stem.lower().endswith("_time") and Path(file).suffix.lower() in (".txt", ".csv")
        stem = stem[: -len("_time")] if timed else stem
        name, run = _about(stem, known, aliases)
        if name is None or name not in by_name:
            others += not timed
            continue
        held = times if timed else boxes
        if name in held and held[name][0] == run:
            raise ValueError(f"{source.tracker}: two files are about {name}, {held[name][1]} and {file}; keep one")
        if name not in held or run < held[name][0]:
            held[name] = (run, file, data)
    results = {}
    for name, sequence in by_name.items():
        if name in boxes:
            _, file, data = boxes[name]
            trajectory = parse_trajectories(data, file)[0]
            rows = trajectory.boxes
            if name in targets:
                aligned = align_otb(hold_last(rows), targets[name], f"{source.tracker}: {file}")
            else:
                aligned = _align(rows, sequence, data_set, f"{source.tracker}: {file}")
            seconds = _seconds(times.get(name), trajectory.fps, len(sequence))
            results[name] = ImportedRun(aligned - [first, first, 0, 0], seconds, min(len(rows), len(sequence)))
    sha256 = hashlib.sha256("\n".join(sorted(digests)).encode()).hexdigest()
    identity = {"imported": {"files": len(digests), "first_pixel": first, "sha256": sha256}}
    return Imported(results, others, identity)


def check_name(tracker: str) -> str:
    """The name, if it can be a tracker's; else a ``ValueError``."""
    if not _NAME.fullmatch(tracker):
        raise ValueError(f"{tracker!r} cannot be the name of a tracker; use letters, digits and _ . + -: --tracker NAME")
    return tracker


def _is_one(folder: Path, names: list[str]) -> bool:
    """Whether a folder's own files or folders are named after sequences."""
    known = [*names, *(target.name for target in otb_targets())]
    for path in folder.iterdir():
        if path.is_dir():
            if path.name in names:
                return True
        elif path.suffix.lower() in SUFFIXES and _about(path.stem.removesuffix("_time"), known, otb_aliases())[0] is not None:
            return True
    return False


def _places(folder: Path) -> list[Path]:
    """The folders and archives in it that hold any result file; an archive is believed."""
    inside = [path for path in sorted(folder.iterdir(), key=lambda path: path.name.lower()) if not path.name.startswith(".")]
    return [path for path in inside if path.suffix.lower() == ".zip" or (path.is_dir() and _holds_results(path))]


def _holds_results(folder: Path) -> bool:
    return any(path.suffix.lower() in SUFFIXES and path.is_file() for path in folder.rglob("*"))


def _name(path: Path) -> str:
    """A folder's or archive's name as a tracker's."""
    name = path.stem if path.suffix.lower() == ".zip" and not path.is_dir() else path.resolve().name
    return name.removesuffix("_tracking_result")


def _named(places: list[Path]) -> list[ResultSource]:
    full = [_name(path) for path in places]
    short = [name.partition("__")[0] or name for name in full]
    names = [cut if short.count(cut) == 1 else name for cut, name in zip(short, full)]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        where = " and ".join(str(path) for path, name in zip(places, names) if name == twice)
        raise ValueError(f"two sets of results are named {twice!r}: {where}; import them one by one with --tracker")
    return sorted((ResultSource(name, (path,)) for name, path in zip(names, places)), key=lambda source: source.tracker.lower())


def _about(stem: str, names: list[str], aliases: Mapping[str, str]) -> tuple[str | None, int]:
    """The sequence that a file is about, and the number of the run that its name states, 1 if none."""
    exact = match_target(stem, names, aliases)
    numbered = _RUN.search(stem)
    # A sequence may itself end in three digits, after an underscore: the run is what follows a whole name.
    if numbered and match_target(stem[: numbered.start()], names, aliases) == exact and exact is not None:
        return exact, int(numbered[1])
    return exact, 1


def _align(rows: Float64, sequence: Sequence, data_set: str, source: str) -> Float64:
    """One row per frame; LaSOT's toolkit, too, leaves out what follows the last row of the truth (monkey-17)."""
    wanted = len(sequence)
    if len(rows) > wanted and data_set != "lasot":
        raise ValueError(f"{source} holds {len(rows)} boxes, but {sequence.name} has {wanted} frames")
    rows = rows[:wanted]
    return np.concatenate([rows, np.full((wanted - len(rows), 4), np.nan)])


def _seconds(timed: tuple[int, str, bytes] | None, fps: float | None, frames: int) -> Float64 | None:
    if timed is not None:
        _, file, data = timed
        columns = parse_rows(decode_text(data, file), file, columns=range(1, 101))
        if len(columns) == frames and np.isfinite(columns[:, 0]).all():
            return columns[:, 0]
    return np.full(frames, 1 / fps) if fps is not None and fps > 0 else None


def refuse_others(there: Mapping[str, Mapping[str, Any]], tracker: str, identity: Mapping[str, Any]) -> None:
    """Raises a ``ValueError`` for results under the name of a tracker whose other results the folder already holds."""
    if tracker in there and json.dumps(there[tracker], sort_keys=True) != json.dumps(identity, sort_keys=True):
        what = "other files (or counted from another first pixel)" if "imported" in there[tracker] else "an evaluation here"
        raise ValueError(f"{tracker}: the folder holds results of this name already, from {what}; name them anew: --tracker NAME")
