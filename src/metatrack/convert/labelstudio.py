"""Label Studio: a list of tasks with video rectangles, boxes in percent of the frame, frames counted from 1.

Source: https://labelstud.io/tags/videorectangle and label-studio-sdk. A box of a sequence with ``enabled`` is followed by others
in a straight line up to the next one, or the end of the video; one without is the last before a gap.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from metatrack.convert.tracks import (
    LABEL,
    MOST_BYTES,
    MOST_FRAMES,
    Mark,
    Row,
    Stretch,
    Track,
    Tracks,
    Video,
    collect,
    filled,
    inside_frame,
    require_few,
    size_of,
)
from metatrack.files import write_atomically
from metatrack.geometry import Box
from metatrack.typed import read_json


@dataclass(frozen=True)
class _Step:
    frame: int
    x: float = 0.0
    y: float = 0.0
    width: float = 0.0
    height: float = 0.0
    rotation: float = 0.0
    enabled: bool = True
    auto: bool = False


@dataclass(frozen=True)
class _Value:
    sequence: list[_Step] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    framesCount: float | None = None  # noqa: N815 - their name
    duration: float | None = None


@dataclass(frozen=True)
class _Region:
    type: str = ""
    id: str = ""
    value: _Value = _Value()


@dataclass(frozen=True)
class _Results:
    result: list[_Region] = field(default_factory=list)


@dataclass(frozen=True)
class _LabelStudioTask:
    annotations: list[_Results] = field(default_factory=list)
    predictions: list[_Results] = field(default_factory=list)
    meta: dict[str, Any] | None = None


def read_labelstudio(path: Path, video: Video) -> Tracks:
    """Reads the video rectangles of one task: those of its first annotation or, where there is none, of its first prediction.

    Raises:
        OSError, ValueError: the file cannot be read, is no such list of tasks or of several, or the frame's size is not known.
    """
    tasks = read_json(path, list[_LabelStudioTask], open_keys=True, most=MOST_BYTES)
    if len(tasks) != 1:
        raise ValueError(f"{path} holds {len(tasks)} tasks; convert a file of one, which is of one video")
    made = [*tasks[0].annotations, *tasks[0].predictions]
    if not made:
        raise ValueError(f"{path} holds no annotations and no predictions; export as JSON, which has them, not as JSON-MIN")
    regions = made[0].result
    boxes = [region for region in regions if region.type.lower() == "videorectangle"]
    stated = next((region.value for region in boxes if region.value.framesCount), _Value())
    frames = None if stated.framesCount is None else int(min(stated.framesCount, MOST_FRAMES))
    fps = frames / stated.duration if frames and stated.duration else None
    known = Video(size_of((tasks[0].meta or {}).get("size")), fps, frames).or_else(video)
    stretches = [_stretches(f"{path}: region {region.id!r}", region.value, known) for region in boxes]
    require_few(path, itertools.chain.from_iterable(stretches))
    rows: list[Row] = []
    for n, (region, own) in enumerate(zip(boxes, stretches, strict=True), 1):
        label = region.value.labels[0] if region.value.labels else LABEL
        rows += [(region.id or n, label, mark) for stretch in own for mark in filled(stretch)]
    turned = sum(step.rotation % 360 != 0 for region in boxes for step in region.value.sequence)
    notes = (
        [f"{len(regions) - len(boxes)} regions that are no video rectangles are left out"] if len(regions) > len(boxes) else []
    )
    notes += [f"{turned} boxes are turned; their turn is left out"] if turned else []
    notes += [f"{len(made) - 1} further annotations or predictions of the task are left out"] if len(made) > 1 else []
    return collect(path, rows, known, notes)


def _stretches(source: str, value: _Value, video: Video) -> list[Stretch]:
    width, height = video.pixels(source)
    marks: list[Mark] = []
    stretches = []
    for step in sorted(value.sequence, key=lambda step: step.frame):
        box = (step.x * width, step.y * height, step.width * width, step.height * height)
        marks.append(Mark(step.frame - 1, Box(*(side / 100 for side in box)), keyframe=not step.auto))
        if not step.enabled:
            stretches.append(Stretch(marks, None))
            marks = []
    return [*stretches, Stretch(marks, video.frames)]


def write_labelstudio(path: Path, tracks: Tracks) -> None:
    """Writes a task whose prediction has a region for each target; a frame in which it is lost or outside is a gap.

    The task's ``data.video`` is the video's name: put its address in Label Studio there. ``from_name`` and ``to_name`` are those
    of Label Studio's template for video object tracking, ``box`` and ``video``.

    Raises:
        ValueError: the frame's size is not known.
    """
    size, count, fps = tracks.video.pixels(path), tracks.count, tracks.video.fps or 25.0
    regions = []
    for track in tracks.targets:
        sequence = steps_of(track, tracks.video, fps, count)
        if sequence:
            value = {"framesCount": count, "duration": count / fps, "sequence": sequence, "labels": [track.label]}
            names = {"from_name": "box", "to_name": "video", "type": "videorectangle", "origin": "prediction"}
            scores = [mark.score for mark in track.visible if mark.score is not None]
            score = round(sum(scores) / len(scores), 4) if scores else None
            regions.append({"id": str(track.target), **names, "value": value, "score": score})
    prediction = {"model_version": "metatrack", "result": regions}
    task = {"data": {"video": tracks.video.name}, "predictions": [prediction], "meta": {"size": list(size)}}
    write_atomically(path, json.dumps([task], allow_nan=False))


def steps_of(track: Track, video: Video, fps: float, count: int) -> list[dict[str, Any]]:
    """A region's ``sequence``: the frames in which the target is to be seen, up to frame number ``count``, and where gaps begin.

    Raises:
        ValueError: the frame's size is not known.
    """
    size = video.pixels("the tracks")
    seen = [mark for mark in track.visible if not mark.lost]
    cut = [(mark, box) for mark in seen if (box := inside_frame(mark.box, size)) is not None]
    result = []
    for (mark, box), after in zip(cut, [*(mark.frame for mark, _ in cut[1:]), count]):
        shares = (100 * side / whole for side, whole in zip(box, size * 2))
        place = {key: round(share, 6) for key, share in zip(("x", "y", "width", "height"), shares)}
        step = {"frame": mark.frame + 1, **place, "rotation": 0, "time": round(mark.frame / fps, 6)}
        result.append(step | {"enabled": after == mark.frame + 1 < count} | ({} if mark.keyframe else {"auto": True}))
    return result
