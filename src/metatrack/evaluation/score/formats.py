"""Result files of trackers: OTB toolkit ``.mat``, benchmark ``.json``, text of any separator, GOT-10k's and LaSOT's folders.

What a file states is a :class:`Trajectory`: its boxes exactly as written, whatever the file's origin. All writers replace the
file in one step, so that a reader never sees half of one.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from metatrack.arrays import Float64
from metatrack.data.otb import OtbTarget
from metatrack.data.regions import polygons_to_boxes
from metatrack.data.rows import parse_rows
from metatrack.files import write_atomically

SUFFIXES = (".mat", ".json", ".txt", ".csv")
MAX_BYTES = 64 * 2**20
"""Largest result file that is read: a hundred times the largest published one, so that a hostile archive cannot fill memory."""


@dataclass(frozen=True)
class Trajectory:
    """One run of a tracker over one sequence."""

    boxes: Float64
    """``(n, 4)`` ``x, y, w, h`` as the file states them; NaN where the tracker gave none."""
    start: int | None = None
    """Number of the first row's frame, where the file states it."""
    fps: float | None = None
    """Speed, where the file states it."""


def parse_trajectories(data: bytes, source: str) -> list[Trajectory]:
    """Reads the contents of a result file by its suffix; a ``.mat`` or ``.json`` of TRE or SRE holds several runs, others one.

    Args:
        data: the contents.
        source: the file's name.

    Raises:
        ValueError: the file is of no known kind, or does not hold what its kind should.
    """
    suffix = Path(source).suffix.lower()
    if suffix == ".mat":
        return [_from_record(record, source) for record in _mat_records(data, source)]
    if suffix == ".json":
        return [_from_record(record, source) for record in _json_records(data, source)]
    if suffix in SUFFIXES:
        return [Trajectory(_boxes(parse_rows(data.decode("utf-8", errors="replace"), source, columns=(4, 8)), source))]
    raise ValueError(f"{source}: unknown kind of result file; known are {', '.join(SUFFIXES)}")


def result_files(source: Path) -> Iterator[tuple[str, bytes]]:
    """Names and contents of the result files in a folder or a ``.zip``, at any depth, sorted by name; nothing is unpacked.

    Raises:
        FileNotFoundError: ``source`` does not exist.
        ValueError: ``source`` is neither a folder nor a readable ``.zip``, or a file in it is too large.
    """
    source = Path(source)
    if source.is_dir():
        for path in sorted(p for p in source.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file()):
            if path.stat().st_size > MAX_BYTES:
                raise ValueError(f"{path}: {path.stat().st_size} bytes is no result file; at most {MAX_BYTES} are read")
            yield path.relative_to(source).as_posix(), path.read_bytes()
        return
    if not source.exists():
        raise FileNotFoundError(f"{source} does not exist; give a folder of result files or a .zip of them")
    try:
        archive = zipfile.ZipFile(source)
    except zipfile.BadZipFile as error:
        raise ValueError(f"{source} is neither a folder nor a .zip of result files ({error})") from error
    with archive:
        for info in sorted(archive.infolist(), key=lambda info: info.filename):
            if Path(info.filename).suffix.lower() in SUFFIXES:
                if info.file_size > MAX_BYTES:
                    raise ValueError(f"{source}: {info.filename} has {info.file_size} bytes; at most {MAX_BYTES} are read")
                try:
                    data = archive.read(info)
                except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:  # the last: encrypted, or packed oddly
                    raise ValueError(f"{source}: {info.filename} cannot be unpacked ({error})") from error
                yield info.filename, data


def match_target(stem: str, names: Sequence[str]) -> str | None:
    """The target that a result file's stem means, or None: the stem is the name, or the name and ``_<tracker>``.

    Case is ignored, and ``Jogging.1``, ``Jogging_1`` and ``Jogging-1`` are the same.

    >>> match_target("skating2.1_KCF_GaussHog", ["Skating1", "Skating2-1"])
    'Skating2-1'
    """
    plain = _plain(stem)
    fitting = [name for name in names if plain == _plain(name) or plain.startswith(_plain(name) + "-")]
    return max(fitting, key=len, default=None)


def _plain(name: str) -> str:
    return re.sub(r"[._]", "-", name).lower()


def write_mat(path: Path, trajectories: Sequence[Trajectory]) -> None:
    """Writes an OTB toolkit file: a cell ``results{1..k}`` of structs with res, type, len, fps, annoBegin and startFrame.

    The toolkit expects 1-based boxes.
    """
    from scipy.io import savemat

    cell = np.empty((1, len(trajectories)), dtype=object)
    for i, run in enumerate(trajectories):
        start = 1 if run.start is None else run.start
        cell[0, i] = {
            "type": "rect",
            "res": run.boxes,
            "fps": float("nan") if run.fps is None else run.fps,
            "len": len(run.boxes),
            "annoBegin": start,
            "startFrame": start,
        }
    buffer = io.BytesIO()
    savemat(buffer, {"results": cell}, do_compression=True)
    write_atomically(path, buffer.getvalue())


def write_json(path: Path, trajectories: Sequence[Trajectory], tracker: str, sequence: str, protocol: str) -> None:
    """Writes the format of the python ``tracker_benchmark``: a list of records, one per run. A NaN box becomes nulls."""
    records = []
    for run in trajectories:
        start = 1 if run.start is None else run.start
        records.append(
            {
                "tracker": tracker,
                "seqName": sequence,
                "startFrame": start,
                "endFrame": start + len(run.boxes) - 1,
                "evalType": protocol.upper(),
                "fps": run.fps,
                "resType": "rect",
                "res": [[None if np.isnan(value) else float(value) for value in box] for box in run.boxes],
            }
        )
    write_atomically(path, json.dumps(records, allow_nan=False).encode())


def write_txt(path: Path, boxes: npt.ArrayLike, separator: str = ",", digits: int = 4) -> None:
    """Writes one ``x, y, w, h`` a line: what UAV123, LaSOT, GOT-10k and pysot read."""
    rows = np.asarray(boxes, np.float64)
    text = "".join(separator.join(f"{value:.{digits}f}" for value in row) + "\n" for row in rows)
    write_atomically(path, text.encode())


def write_got10k(root: Path, tracker: str, sequence: str, boxes: npt.ArrayLike, seconds: npt.ArrayLike) -> Path:
    """Writes ``<root>/<tracker>/<sequence>/<sequence>_001.txt`` and ``<sequence>_time.txt``; returns the folder.

    Boxes with 4 decimals, times in seconds a frame, as the GOT-10k server takes them.

    Raises:
        ValueError: numbers of boxes and times differ.
    """
    rows, times = np.asarray(boxes, np.float64), np.asarray(seconds, np.float64)
    if len(rows) != len(times):
        raise ValueError(f"{sequence}: {len(rows)} boxes but {len(times)} times")
    folder = Path(root) / tracker / sequence
    write_txt(folder / f"{sequence}_001.txt", rows)
    write_txt(folder / f"{sequence}_time.txt", times[:, None], digits=8)
    return folder


def write_lasot(root: Path, tracker: str, sequence: str, boxes: npt.ArrayLike) -> Path:
    """Writes ``<root>/<tracker>_tracking_result/<sequence>.txt``, the layout of LaSOT's toolkit; returns the file."""
    path = Path(root) / f"{tracker}_tracking_result" / f"{sequence}.txt"
    write_txt(path, boxes)
    return path


def align_otb(rows: Float64, target: OtbTarget, source: str) -> Float64:
    """Rows of a file on OTB to one row per tracked frame: ``(k, 4)`` to ``(len(target.frames), 4)``.

    Files differ in whether skipped or unlabelled frames have rows; one that stops early is continued by NaN.

    Raises:
        ValueError: there are more rows than frames; the message names ``source``.
    """
    wanted = len(target.frames)
    if len(rows) in (target.rows, target.video_end - target.start + 1):
        rows = rows[target.skip : target.rows]
    if len(rows) > wanted:
        raise ValueError(f"{source} holds {len(rows)} boxes, but {target.name} has {wanted} frames ({target.frames})")
    return np.concatenate([rows, np.full((wanted - len(rows), 4), np.nan)])


def _mat_records(data: bytes, source: str) -> list[dict[str, Any]]:
    from scipy.io import loadmat

    try:
        content = loadmat(io.BytesIO(data), simplify_cells=True)
    except Exception as error:  # scipy lets through whatever its parser meets: TypeError, IndexError, zlib.error ..
        raise ValueError(f"{source} is not a readable .mat file of version 4 to 7 ({error})") from error
    return _records(content.get("results"), source)


def _json_records(data: bytes, source: str) -> list[dict[str, Any]]:
    try:
        return _records(json.loads(data), source)
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{source} is not JSON ({error})") from error


def _records(results: Any, source: str) -> list[dict[str, Any]]:
    records = [results] if isinstance(results, dict) else list(results) if isinstance(results, list | np.ndarray) else []
    if not records or not all(isinstance(record, dict) and "res" in record for record in records):
        raise ValueError(f"{source} holds no results with a field 'res'; it is not a result file of an OTB toolkit")
    return records


def _from_record(record: dict[str, Any], source: str) -> Trajectory:
    kind = str(record.get("type", record.get("resType", "rect")))
    try:
        rows = np.array(record["res"], np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{source}: 'res' is not an array of numbers ({error})") from error
    if kind == "4corner":  # two lines a frame: the x of four corners, then their y
        if rows.ndim != 2 or rows.shape[1] != 4 or len(rows) % 2:
            raise ValueError(f"{source}: 4corner results of shape {rows.shape}, two lines of four numbers a frame are expected")
        rows = rows.reshape(-1, 2, 4).transpose(0, 2, 1).reshape(-1, 8)
    elif kind != "rect":
        raise ValueError(f"{source}: results of type {kind!r} cannot be read; known are 'rect' and '4corner'")
    start, fps = (_finite(record.get(key)) for key in ("startFrame", "fps"))
    return Trajectory(
        boxes=_boxes(rows[None] if rows.ndim == 1 else rows, source), start=None if start is None else int(start), fps=fps
    )


def _finite(value: Any) -> float | None:
    """A number that a file may state or not; None if it is no finite number."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):  # [] in a .mat that knows none, words, several
        return None
    return number if np.isfinite(number) else None


def _boxes(rows: Float64, source: str) -> Float64:
    if rows.ndim != 2 or rows.shape[1] not in (4, 8):
        raise ValueError(f"{source}: boxes of shape {rows.shape}; rows of 4 (x, y, w, h) or 8 (four corners) are expected")
    return polygons_to_boxes(rows) if rows.shape[1] == 8 else rows
