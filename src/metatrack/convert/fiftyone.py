"""FiftyOne's labels of a video: ETA's ``VideoLabels`` in JSON, corners in shares of the frame, frames counted from 1.

Source: FiftyOneVideoLabelsDataset in https://docs.voxel51.com/user_guide/import_datasets.html: the file goes into ``labels/`` and
the video, of the same name, into ``data/``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from metatrack.convert.tracks import FLAGS, LABEL, MOST_BYTES, Mark, Row, Tracks, Video, collect
from metatrack.data.numbers import whole_number
from metatrack.files import write_atomically
from metatrack.geometry import Box
from metatrack.typed import read_json


@dataclass(frozen=True)
class _Point:
    x: float
    y: float


@dataclass(frozen=True)
class _BoundingBox:
    top_left: _Point
    bottom_right: _Point


@dataclass(frozen=True)
class _Attribute:
    name: str
    value: Any = None


@dataclass(frozen=True)
class _Attributes:
    attrs: list[_Attribute] = field(default_factory=list)


@dataclass(frozen=True)
class _Object:
    bounding_box: _BoundingBox
    label: str = LABEL
    confidence: float | None = None
    index: int | None = None
    attrs: _Attributes = _Attributes()


@dataclass(frozen=True)
class _Objects:
    objects: list[_Object] = field(default_factory=list)


@dataclass(frozen=True)
class _Frame:
    objects: _Objects = _Objects()


@dataclass(frozen=True)
class _Metadata:
    frame_size: tuple[int, int] | None = None
    frame_rate: float | None = None
    total_frame_count: int | None = None


@dataclass(frozen=True)
class _FiftyoneFile:
    frames: dict[str, _Frame]
    metadata: _Metadata = _Metadata()


def read_fiftyone(path: Path, video: Video) -> Tracks:
    """Reads the objects that have an ``index``.

    Raises:
        OSError, ValueError: the file cannot be read or is no such file; no object has an index; or the frame's size is not known.
    """
    file = read_json(path, _FiftyoneFile, open_keys=True, most=MOST_BYTES)
    about = file.metadata
    size = about.frame_size if about.frame_size and min(about.frame_size) > 0 else None
    known = Video(size, about.frame_rate or None, about.total_frame_count or None).or_else(video)
    width, height = known.pixels(path)
    rows: list[Row] = []
    single = 0
    for number, content in file.frames.items():
        frame = whole_number(number, f"{path}: frames", 1) - 1
        for each in content.objects.objects:
            own = {attribute.name: attribute.value for attribute in each.attrs.attrs}
            target = own.get("name", each.index)
            if target is None:
                single += 1
                continue
            (x, y), (right, bottom) = (
                (p.x * width, p.y * height) for p in (each.bounding_box.top_left, each.bounding_box.bottom_right)
            )
            flags = {flag: own.get(flag) is True for flag in FLAGS}
            rows.append((target, each.label, Mark(frame, Box(x, y, right - x, bottom - y), each.confidence, **flags)))
    if single and not rows:
        raise ValueError(f"{path}: no object has an index, which says what is one target through the frames; export tracks")
    return collect(path, rows, known, [f"{single} objects without an index are left out"] if single else [])


def write_fiftyone(path: Path, tracks: Tracks) -> None:
    """Writes the labels; names of targets and flags are attributes. A ``ValueError`` where the frame's size is not known."""
    (width, height), numbers, video = tracks.video.pixels(path), tracks.numbers(), tracks.video
    frames: dict[str, Any] = {}
    for frame, marks in tracks.by_frame().items():
        objects: list[dict[str, Any]] = []
        for track, mark in marks:
            x, y, w, h = mark.box
            corners = {"top_left": (x, y), "bottom_right": (x + w, y + h)}
            box = {name: {"x": round(px / width, 8), "y": round(py / height, 8)} for name, (px, py) in corners.items()}
            attributes = [_attribute("Boolean", flag, True) for flag in FLAGS if getattr(mark, flag)]
            if isinstance(track.target, str):
                attributes.append(_attribute("Categorical", "name", track.target))
            made = {"type": "eta.core.objects.DetectedObject", "label": track.label, "bounding_box": box}
            score = {} if mark.score is None else {"confidence": round(mark.score, 4)}
            objects.append({**made, **score, "index": numbers[track.target], "attrs": {"attrs": attributes}})
        frames[str(frame + 1)] = {"frame_number": frame + 1, "objects": {"objects": objects}}
    about = {"type": "eta.core.video.VideoMetadata", "frame_size": [width, height], "total_frame_count": tracks.count}
    about |= {"frame_rate": video.fps} if video.fps else {}
    write_atomically(path, json.dumps({"frames": frames, "metadata": about}, allow_nan=False))


def _attribute(kind: str, name: str, value: object) -> dict[str, object]:
    return {"type": f"eta.core.data.{kind}Attribute", "name": name, "value": value}
