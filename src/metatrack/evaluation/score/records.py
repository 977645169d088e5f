"""What result files hold, whatever their format: the runs of a tracker, as the file states them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from metatrack.arrays import Float64
from metatrack.data.regions import polygons_to_boxes


class Trajectory(NamedTuple):
    """One run of a tracker over one sequence."""

    boxes: Float64  # ``(n, 4)`` ``x, y, w, h`` as the file states them; NaN where the tracker gave none
    start: int | None = None  # number of the first row's frame, where the file states it
    fps: float | None = None  # speed, where the file states it


def trajectories(results: Any, source: str) -> list[Trajectory]:
    """The runs in what an OTB toolkit's file holds under ``results``: a record with the field ``res``, or several.

    Raises:
        ValueError: it holds none, or a record is not as it should be; the message names ``source``.
    """
    records = [results] if isinstance(results, dict) else list(results) if isinstance(results, list | np.ndarray) else []
    if not records or not all(isinstance(record, dict) and "res" in record for record in records):
        raise ValueError(f"{source} holds no results with a field 'res'; it is not a result file of an OTB toolkit")
    return [_trajectory(record, source) for record in records]


def boxes_of(rows: Float64, source: str) -> Float64:
    """Rows of boxes or of four corners to ``(n, 4)`` boxes; a ``ValueError`` where they are neither."""
    if rows.ndim != 2 or rows.shape[1] not in (4, 8):
        raise ValueError(f"{source}: boxes of shape {rows.shape}; rows of 4 (x, y, w, h) or 8 (four corners) are expected")
    rows = np.where(np.isinf(rows), np.nan, rows)  # no box, as NaN
    return polygons_to_boxes(rows) if rows.shape[1] == 8 else rows


def _trajectory(record: dict[str, Any], source: str) -> Trajectory:
    kind = str(record.get("type", record.get("resType", "rect")))[:100]
    try:
        rows = np.array(record["res"], np.float64)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ValueError(f"{source}: 'res' is not an array of numbers ({error})") from error
    if kind == "4corner":  # two lines a frame: the x of four corners, then their y
        if rows.ndim != 2 or rows.shape[1] != 4 or len(rows) % 2:
            raise ValueError(f"{source}: 4corner results of shape {rows.shape}, two lines of four numbers a frame are expected")
        rows = rows.reshape(-1, 2, 4).transpose(0, 2, 1).reshape(-1, 8)
    elif kind != "rect":
        raise ValueError(f"{source}: results of type {kind!r} cannot be read; known are 'rect' and '4corner'")
    start, fps = (_finite(record.get(key)) for key in ("startFrame", "fps"))
    boxes = boxes_of(rows[None] if rows.ndim == 1 else rows, source)
    return Trajectory(boxes, None if start is None else int(start), fps)


def _finite(value: Any) -> float | None:
    """A number that a file may state or not; None if it is no finite number."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):  # [] in a .mat that knows none, words, several
        return None
    return number if np.isfinite(number) else None
