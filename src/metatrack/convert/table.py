"""Tables of boxes: our CSV, and the same rows as JSON lines."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from metatrack.convert.tracks import FLAGS, LABEL, MOST_BYTES, Mark, Row, Tracks, Video, collect
from metatrack.data.numbers import finite_number, whole_number
from metatrack.data.rows import decode_text, refused_table
from metatrack.files import replacing, require_size, write_atomically
from metatrack.geometry import Box
from metatrack.typed import parse_json
from metatrack.video.sink import HEADER, HEADER_WITH_IDS, BoxWriter


def read_csv(path: Path, video: Video) -> Tracks:
    """Reads what :class:`BoxWriter` writes, and any table with the columns ``frame,x,y,w,h``, made by hand say.

    Further columns, in any order: ``id``, ``label``, ``score``, ``lost``, ``outside``, ``occluded``, ``keyframe`` (0 or 1);
    others are passed over. A last line without its end, as a killed run may leave it, counts as long as it is whole.

    Raises:
        OSError, ValueError: the file cannot be read, or a line is not as it should be; the message names both.
    """
    require_size(path, MOST_BYTES, "file of boxes")
    text = decode_text(path.read_bytes(), path)
    killed = text.startswith((",".join(HEADER), ",".join(HEADER_WITH_IDS))) and not text.endswith("\n")
    reader = csv.DictReader(io.StringIO(text.rpartition("\n")[0] if killed else text, newline=""))
    with refused_table(path, reader):
        lacking = {*HEADER[:5]} - set(reader.fieldnames or ())
        if lacking:
            raise ValueError(f"{path} lacks the columns {', '.join(sorted(lacking))}; a table of boxes begins with frame,x,y,w,h")
        return collect(path, list(_rows(path, reader)), video)


def _rows(path: Path, reader: csv.DictReader[str]) -> Iterator[Row]:
    for row in reader:
        where = f"{path}, line {reader.line_num}"
        box = Box(*(finite_number(row[key], f"{where}: {key}") for key in "xywh"))
        score = finite_number(row["score"], f"{where}: score") if row.get("score") else None
        flags = {key: bool(whole_number(row[key], f"{where}: {key}", most=1)) for key in FLAGS if row.get(key)}
        frame = whole_number(row["frame"] or "", f"{where}: frame")
        yield row.get("id") or 1, row.get("label") or LABEL, Mark(frame, box, score, **flags)


def write_csv(path: Path, tracks: Tracks) -> None:
    """Writes the table of ``metatrack track``: with ids where there are several targets, or one whose id is not 1."""
    several = len(tracks.targets) != 1 or tracks.targets[0].target != 1
    with replacing(path) as part, BoxWriter(part, ids=several) as table:
        for frame, marks in tracks.by_frame().items():
            for track, mark in marks:
                if not mark.outside:
                    score = 1.0 if mark.score is None else mark.score
                    table.write(frame, mark.box, score, mark.lost, track.target if several else None)


@dataclass(frozen=True)
class TableLine:
    """One line of JSON lines."""

    frame: int
    x: float
    y: float
    w: float
    h: float
    id: int | str = 1
    label: str = LABEL
    score: float | None = None
    lost: bool = False
    outside: bool = False
    occluded: bool = False
    keyframe: bool = False


def read_jsonl(path: Path, video: Video) -> Tracks:
    """Reads a JSON object a line: ``frame, x, y, w, h``, and what of the others in :class:`TableLine` there is.

    Raises:
        OSError, ValueError: as :func:`read_csv`.
    """
    require_size(path, MOST_BYTES, "file of boxes")
    lines = path.read_bytes().split(b"\n")
    stated = (parse_json(line, TableLine, f"{path}, line {n}", open_keys=True) for n, line in enumerate(lines, 1) if line.strip())
    rows = [
        (s.id, s.label, Mark(s.frame, Box(s.x, s.y, s.w, s.h), s.score, s.lost, s.outside, s.occluded, s.keyframe))
        for s in stated
    ]
    return collect(path, rows, video)


def write_jsonl(path: Path, tracks: Tracks) -> None:
    """Writes a line for each box, by frame; flags that are not set, and scores that are not known, are left out."""
    lines = []
    for frame, marks in tracks.by_frame().items():
        for track, mark in marks:
            box = {key: round(value, 4) for key, value in zip("xywh", mark.box)}
            score = {} if mark.score is None else {"score": round(mark.score, 4)}
            flags = {key: True for key in FLAGS if getattr(mark, key)}
            lines.append(json.dumps({"frame": frame, "id": track.target, "label": track.label, **box, **score, **flags}))
    write_atomically(path, "".join(f"{line}\n" for line in lines))
