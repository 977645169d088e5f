"""Parquet and Arrow: a table with a row for each box, for data frames; size, rate and count of frames are its metadata."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from metatrack.convert.tracks import FLAGS, MOST_BYTES, Mark, Tracks, Video, collect, size_of
from metatrack.files import replacing, require_size
from metatrack.geometry import Box
from metatrack.typed import parse_json

COLUMNS = ("frame", "id", "label", "x", "y", "w", "h", "score", *FLAGS)
NEEDED = frozenset(("frame", "x", "y", "w", "h"))
MOST_ROWS = 20_000_000


def read_arrow(path: Path, video: Video) -> Tracks:
    """Reads the columns ``frame, x, y, w, h``, and of the others those that there are.

    Raises:
        OSError, ValueError: the file cannot be read, or is no such table.
        ModuleNotFoundError: pyarrow is not installed.
    """
    _require_pyarrow()
    import pyarrow as pa
    import pyarrow.feather
    import pyarrow.parquet

    require_size(path, 4 * MOST_BYTES, "file of boxes")
    try:
        if path.suffix.lower() == ".parquet":
            rows = pyarrow.parquet.read_metadata(path).num_rows  # known before anything is unpacked
            if rows > MOST_ROWS:
                raise ValueError(f"{rows} rows; at most {MOST_ROWS} are read")
            table = pyarrow.parquet.read_table(path)
        else:
            table = pyarrow.feather.read_table(path)
    except (pa.ArrowException, ValueError, OSError) as error:
        raise ValueError(f"{path} is no {path.suffix[1:]} file of boxes ({error})") from error
    if lacking := NEEDED - set(table.column_names):
        raise ValueError(f"{path} lacks the columns {', '.join(sorted(lacking))}; a table of boxes has frame, x, y, w, h")
    stated = (table.schema.metadata or {}).get(b"metatrack")
    about = parse_json(stated, dict[str, Any], f"{path}: metadata") if stated else {}
    known = Video(size_of(about.get("size")), about.get("fps"), about.get("frames"))
    return collect(path, [_row(path, n, row) for n, row in enumerate(table.to_pylist())], known.or_else(video))


def _row(path: Path, n: int, row: dict[str, Any]) -> tuple[object, str, Mark]:
    try:
        box = Box(*(float(row[key]) for key in "xywh"))
        score = None if row.get("score") is None else float(row["score"])
        flags = {flag: bool(row.get(flag)) for flag in FLAGS}
        return row.get("id") or 1, str(row.get("label") or "target"), Mark(int(row["frame"]), box, score, **flags)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}, row {n}: {str(row)[:200]} is not a box ({error})") from error


def write_arrow(path: Path, tracks: Tracks) -> None:
    """Writes a row for each box, by frame; by the suffix as Parquet, or as Arrow (which is Feather 2).

    Raises:
        ModuleNotFoundError: pyarrow is not installed.
    """
    _require_pyarrow()
    import pyarrow as pa
    import pyarrow.feather
    import pyarrow.parquet

    rows = [
        (frame, str(track.target), track.label, *map(float, mark.box), *mark[2:])
        for frame, marks in tracks.by_frame().items()
        for track, mark in marks
    ]
    kinds = [pa.int64(), pa.string(), pa.string(), *[pa.float64()] * 5, *[pa.bool_()] * 4]
    columns = list(zip(*rows)) or [()] * len(COLUMNS)
    video = tracks.video
    about = {"size": video.size and list(video.size), "fps": video.fps, "frames": tracks.count}
    schema = pa.schema(list(zip(COLUMNS, kinds)), metadata={"metatrack": json.dumps(about)})
    table = pa.table([pa.array(column, kind) for column, kind in zip(columns, kinds)], schema=schema)
    with replacing(path) as part:
        if path.suffix.lower() == ".parquet":
            pyarrow.parquet.write_table(table, part)
        else:
            pyarrow.feather.write_feather(table, str(part))


def _require_pyarrow() -> None:
    try:
        import pyarrow  # noqa: F401
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "Parquet and Arrow need pyarrow, which is not installed: pip install 'metatrack[arrow]'"
        ) from error
