"""Result files of trackers: OTB toolkit ``.mat``, benchmark ``.json``, text of any separator, GOT-10k's and LaSOT's folders.

What a file states is a :class:`Trajectory`: its boxes exactly as written, whatever the file's origin. All writers replace the
file in one step, so that a reader never sees half of one.
"""

from __future__ import annotations

import io
import json
import re
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from metatrack.arrays import Float64
from metatrack.data.otb import OtbTarget
from metatrack.data.rows import decode_text, parse_rows
from metatrack.evaluation.score.mat import read_mat
from metatrack.evaluation.score.records import Trajectory, boxes_of, trajectories
from metatrack.files import require_size, write_atomically

SUFFIXES = (".mat", ".json", ".txt", ".csv")
MAX_BYTES = 16 * 2**20
"""Largest result file that is read: many times the largest published one, so that a hostile archive cannot fill memory."""
MAX_UNPACKED = 512 * 2**20  # bytes of all result files in one archive
ZIP_FAULTS = (
    *(zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, OSError, ValueError, OverflowError, struct.error),
    *(IndexError, KeyError, AttributeError, TypeError),
)
"""What zipfile raises for damaged archives. NotImplementedError is a RuntimeError."""
NO_ALIASES: Mapping[str, str] = {}


def read_trajectories(path: Path) -> list[Trajectory]:
    """Reads a result file, see :func:`parse_trajectories`.

    Raises:
        OSError: it cannot be read.
        ValueError: it is too large, or see there.
    """
    return parse_trajectories(_content(path), str(path))


def _content(path: Path) -> bytes:
    require_size(path, MAX_BYTES, "result file")
    return path.read_bytes()


def parse_trajectories(data: bytes, source: str) -> list[Trajectory]:
    """Reads the contents of a result file by its suffix; a ``.mat`` or ``.json`` of TRE or SRE holds several runs, others one.

    Raises:
        ValueError: the file is of no known kind, or does not hold what its kind should.
    """
    suffix = Path(source).suffix.lower()
    if suffix == ".mat":
        return read_mat(data, source)
    if suffix == ".json":
        try:
            content = json.loads(data)
        except (ValueError, RecursionError) as error:  # a number of 5000 digits is the first, too
            raise ValueError(f"{source} is not JSON ({error})") from error
        return trajectories(content, source)
    if suffix in SUFFIXES:
        rows = parse_rows(decode_text(data, source), source, columns=(4, 8), infinite=True)
        return [Trajectory(boxes_of(rows, source))]
    raise ValueError(f"{source}: unknown kind of result file; known are {', '.join(SUFFIXES)}")


def result_files(source: Path) -> Iterator[tuple[str, bytes]]:
    """Names and contents of the result files in a folder or a ``.zip``, at any depth, sorted by name; or of the one that it is.

    Raises:
        FileNotFoundError: ``source`` does not exist.
        ValueError: ``source`` is neither a folder nor a readable ``.zip``, or a file in it is too large.
    """
    source = Path(source)
    if source.is_dir():
        for path in sorted(p for p in source.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file()):
            yield path.relative_to(source).as_posix(), _content(path)
        return
    if source.is_file() and source.suffix.lower() in SUFFIXES:
        yield str(source), _content(source)
        return
    if not source.exists():
        raise FileNotFoundError(f"{source} does not exist; give a folder of result files or a .zip of them")
    try:
        archive = zipfile.ZipFile(source)
    except ZIP_FAULTS as error:
        raise ValueError(f"{source} is neither a folder nor a .zip of result files ({error})") from error
    with archive:
        left = MAX_UNPACKED
        for info in sorted(archive.infolist(), key=lambda info: info.filename):
            if Path(info.filename).suffix.lower() in SUFFIXES and not info.is_dir():
                data = _unpacked(archive, info, f"{source}: {info.filename}")
                left -= len(data)
                if left < 0:
                    raise ValueError(f"{source}: its result files unpack to more than {MAX_UNPACKED} bytes; divide the archive")
                yield info.filename, data


def _unpacked(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> bytes:
    """A file of an archive; what comes out is counted, whatever the archive says about its size."""
    if info.file_size > MAX_BYTES:
        raise ValueError(f"{name} has {info.file_size} bytes; at most {MAX_BYTES} are read")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{name} cannot be unpacked: it is packed in an uncommon way; pack the archive anew")
    parts: list[bytes] = []
    try:
        with archive.open(info) as file:
            while part := file.read(1 << 20):  # all at once, zipfile would unpack up to 2 GB, and then cut them off
                parts.append(part)
    except ZIP_FAULTS as error:  # RuntimeError: encrypted
        raise ValueError(f"{name} cannot be unpacked ({error or type(error).__name__})") from error
    return b"".join(parts)


def match_target(stem: str, names: Iterable[str], aliases: Mapping[str, str] = NO_ALIASES) -> str | None:
    """The target that a result file's stem means, or None: the stem is the name, or the name and ``_<tracker>``.

    Case is ignored, and ``Jogging.1``, ``Jogging_1``, ``Jogging-1`` and ``Jogging(1)`` are the same.

    >>> match_target("skating2.1_KCF_GaussHog", ["Skating1", "Skating2-1"])
    'Skating2-1'
    >>> match_target("Skating2", ["Skating1", "Skating2-1"], {"Skating2": "Skating2-1"})
    'Skating2-1'

    Args:
        stem: a file's name without its suffix.
        aliases: further names, each of one of the targets (:func:`metatrack.data.otb.otb_aliases`).
    """
    plain, known = _plain(stem), list(names)
    meant = {_plain(alias): name for alias, name in aliases.items() if name in known}
    fitting = {alias: name for alias, name in meant.items() if plain == alias or _is_of(plain, alias)}
    fitting |= {_plain(name): name for name in known if plain == _plain(name) or plain.startswith(_plain(name) + "-")}
    return fitting[max(fitting, key=len)] if fitting else None


def _is_of(plain: str, alias: str) -> bool:
    """Whether a name is an alias and a tracker's; a number of one or two digits would be that of another target."""
    return plain.startswith(alias + "-") and not re.match(r"[0-9]{1,2}(-|$)", plain[len(alias) + 1 :])


def _plain(name: str) -> str:
    return re.sub(r"[-._ ()\[\]]+", "-", name).strip("-").lower()


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
