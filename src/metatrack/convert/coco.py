"""COCO for video: instances with track ids, one file; pycocotools reads it, and so do tools that know ``videos``.

The layout is COCO's (https://cocodataset.org/#format-data) with what its relatives for video add: ``videos``, an image's
``video_id`` and ``frame_id``, an annotation's ``track_id``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from metatrack.convert.tracks import FLAGS, LABEL, MOST_BYTES, Mark, Row, Tracks, Video, collect
from metatrack.data.numbers import whole_number
from metatrack.files import natural_order, write_atomically
from metatrack.geometry import Box
from metatrack.typed import read_json


@dataclass(frozen=True)
class _Category:
    id: int
    name: str


@dataclass(frozen=True)
class _Video:
    id: int
    name: str = ""
    width: int | None = None
    height: int | None = None
    fps: float | None = None
    length: int | None = None


@dataclass(frozen=True)
class _Image:
    id: int
    file_name: str = ""
    width: int | None = None
    height: int | None = None
    video_id: int | None = None
    frame_id: int | None = None
    frame_index: int | None = None


@dataclass(frozen=True)
class _Annotation:
    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float] | None = None
    track_id: int | str | None = None
    instance_id: int | str | None = None
    score: float | None = None
    attributes: dict[str, Any] = field(default_factory=dict)

    @property
    def target(self) -> object:
        """Whichever of the fields for it there is; among the attributes, as CVAT and we write it, it may be a name."""
        stated = (self.attributes.get("track_id"), self.track_id, self.instance_id)
        return next((each for each in stated if each is not None), None)


@dataclass(frozen=True)
class _CocoFile:
    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category] = field(default_factory=list)
    videos: list[_Video] = field(default_factory=list)


def read_coco(path: Path, video: Video) -> Tracks:
    """Reads instances of one video. Frames are ``frame_id`` (or ``frame_index``), else the images in the order of their names.

    Raises:
        OSError, ValueError: the file cannot be read, is no such file, has several videos, or no track ids.
    """
    file = read_json(path, _CocoFile, open_keys=True, most=MOST_BYTES)
    if len(file.videos) > 1:
        names = ", ".join(each.name or str(each.id) for each in file.videos[:10])
        raise ValueError(f"{path} holds {len(file.videos)} videos ({names}); convert a file of one video")
    frames, notes = _frames(path, file)
    labels = {each.id: each.name for each in file.categories}
    rows: list[Row] = []
    single = 0
    for n, note in enumerate(file.annotations):
        if note.image_id not in frames:
            raise ValueError(f"{path}: annotations[{n}] is of image {note.image_id}, which is not among the images")
        if note.bbox is None or note.target is None:
            single += 1
            continue
        flags = {key: note.attributes.get(key) in (True, "true") for key in FLAGS}
        mark = Mark(frames[note.image_id], Box(*note.bbox), note.score, **flags)
        rows.append((note.target, labels.get(note.category_id, LABEL), mark))
    if file.annotations and not rows:
        raise ValueError(f"{path}: no annotation has a track_id (or instance_id) and a bbox; export the video's tracks")
    notes += [f"{single} annotations without track_id or bbox are left out"] if single else []
    return collect(path, rows, _facts(file).or_else(video), notes)


def _frames(path: Path, file: _CocoFile) -> tuple[dict[int, int], list[str]]:
    """The number of each image's frame."""
    stated = {each.id: each.frame_id if each.frame_id is not None else each.frame_index for each in file.images}
    if all(number is not None for number in stated.values()):
        return {key: whole_number(number or 0, f"{path}: frame_id of image {key}") for key, number in stated.items()}, []
    ordered = sorted(file.images, key=lambda each: natural_order(each.file_name))
    return {each.id: n for n, each in enumerate(ordered)}, ["frames are counted by the names of the images"]


def _facts(file: _CocoFile) -> Video:
    stated = file.videos[0] if file.videos else _Video(0)
    sizes = [(stated.width, stated.height), *((each.width, each.height) for each in file.images)]
    size = next(((width, height) for width, height in sizes if width and height), None)
    return Video(size, stated.fps or None, stated.length or None)


def write_coco(path: Path, tracks: Tracks) -> None:
    """Writes one video, an image for each frame of it, and an annotation for each box."""
    numbers, video = tracks.numbers(), tracks.video
    size = {} if video.size is None else {"width": video.size[0], "height": video.size[1]}
    labels = sorted({track.label for track in tracks.targets})
    about = {"id": 1, "name": video.name, **size, "length": tracks.count} | ({"fps": video.fps} if video.fps else {})
    images = [
        {"id": n + 1, "video_id": 1, "frame_id": n, "file_name": f"{video.name}/{n:06d}.jpg", **size} for n in range(tracks.count)
    ]
    annotations: list[dict[str, Any]] = []
    for frame, marks in tracks.by_frame().items():
        for track, mark in marks:
            box = [round(value, 4) for value in mark.box]
            number = numbers[track.target]
            note: dict[str, Any] = {"id": len(annotations) + 1, "image_id": frame + 1, "video_id": 1, "track_id": number}
            note |= {"instance_id": number, "category_id": labels.index(track.label) + 1, "bbox": box, "area": box[2] * box[3]}
            note |= {"iscrowd": 0, "segmentation": []} | ({} if mark.score is None else {"score": round(mark.score, 4)})
            note["attributes"] = {"track_id": track.target, **{key: getattr(mark, key) for key in FLAGS}}
            annotations.append(note)
    content = {
        "info": {"description": "tracks written by metatrack"},
        "videos": [about],
        "categories": [{"id": n, "name": label} for n, label in enumerate(labels, 1)],
        "images": images,
        "annotations": annotations,
    }
    write_atomically(path, json.dumps(content, allow_nan=False))
