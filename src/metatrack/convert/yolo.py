"""YOLO's text files, one for each frame, ``<video>_<frame>.txt``, frames counted from 1, and ``data.yaml``.

``labels/`` is for training: lines ``class x y w h``, centre and size in shares of the frame, and nothing behind them, which
ultralytics would refuse. ``tracks/`` has confidence and id behind each box, as its ``track(save_txt=True, save_conf=True)``
writes them. Source: https://docs.ultralytics.com/datasets/detect.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from metatrack.convert.tracks import LABEL, Mark, Row, Tracks, Video, collect, inside_frame, size_of
from metatrack.data.rows import parse_rows, read_text
from metatrack.files import write_atomically
from metatrack.geometry import Box
from metatrack.typed import parse_json

NAME = re.compile(r"(?P<video>.*?)[_-]?(?P<frame>\d+)", re.DOTALL)


def read_yolo(path: Path, video: Video) -> Tracks:
    """Reads the files in ``tracks/`` or, without, ``labels/``, or in the folder itself.

    A sixth number is a confidence, a seventh the target's id; six numbers of which the last is whole in every line of all files
    are a box and an id. Without ids each file may hold one box. Labels, the frame's size and the count of frames are read from a
    ``data.yaml`` that is written as JSON, which is YAML: ours is; otherwise labels are ``class 0`` and so on.

    Raises:
        OSError, ValueError: a file cannot be read, or a line is not as it should be; or the frame's size is not known.
    """
    folder = next((each for each in (path / "tracks", path / "labels") if each.is_dir()), path)
    files = sorted(each for each in folder.iterdir() if each.suffix == ".txt" and NAME.fullmatch(each.stem))
    tables = {file: parse_rows(read_text(file), file, columns=(5, 6, 7)).tolist() for file in files}
    about, names = _about(path / "data.yaml")
    known = about.or_else(video)
    width, height = known.pixels(path)
    ids = all(row[-1] == int(row[-1]) for rows in tables.values() for row in rows if len(row) == 6)
    rows: list[Row] = []
    for file, table in tables.items():
        match = NAME.fullmatch(file.stem)
        frame = int(match["frame"][:12]) - 1 if match else 0
        for kind, x, y, w, h, *rest in table:
            box = Box((x - w / 2) * width, (y - h / 2) * height, w * width, h * height)
            score = rest[0] if len(rest) == 2 or (rest and not ids) else None
            target = int(rest[-1]) if len(rest) == 2 or (rest and ids) else 1
            label = names[int(kind)] if 0 <= kind < len(names) else f"class {kind:g}"
            rows.append((target, label, Mark(frame, box, score)))
    return collect(path, rows, known)


def _about(file: Path) -> tuple[Video, list[str]]:
    """What ``data.yaml`` says, if it is ours."""
    if not file.is_file() or not (text := read_text(file)).lstrip().startswith("{"):
        return Video(), []
    content = parse_json(text.encode(), dict[str, Any], str(file))
    names, frames, fps = (content.get(key) for key in ("names", "frames", "fps"))
    video = Video(
        size_of(content.get("size")),
        float(fps) if isinstance(fps, int | float) and fps > 0 else None,
        frames if isinstance(frames, int) and frames > 0 else None,
    )
    return video, list(map(str, names)) if isinstance(names, list) else [LABEL]


def write_yolo(path: Path, tracks: Tracks) -> None:
    """Writes files for each frame in which a target is to be seen; what lies outside the frame is cut off.

    A target that is lost is in ``tracks/`` alone: where it is, is a guess.

    Raises:
        ValueError: the frame's size is not known.
    """
    size, numbers = tracks.video.pixels(path), tracks.numbers()
    labels = sorted({track.label for track in tracks.targets})
    digits = max(6, len(str(tracks.count)))
    for frame, marks in tracks.by_frame().items():
        name, labelled, tracked = f"{tracks.video.name}_{frame + 1:0{digits}d}.txt", [], []
        for track, mark in marks:
            if mark.outside or (box := inside_frame(mark.box, size)) is None:
                continue
            middle = (box.x + box.w / 2) / size[0], (box.y + box.h / 2) / size[1], box.w / size[0], box.h / size[1]
            score = 1.0 if mark.score is None else mark.score
            place = " ".join(f"{value:.8f}" for value in middle)
            line = f"{labels.index(track.label)} {place}"
            labelled += [] if mark.lost else [f"{line}\n"]
            tracked.append(f"{line} {score:.4f} {numbers[track.target]}\n")
        for folder, lines in (("labels", labelled), ("tracks", tracked)):
            if lines:
                write_atomically(path / folder / name, "".join(lines))
    about = {"path": ".", "train": "images", "val": "images", "names": labels, "size": list(size), "frames": tracks.count}
    write_atomically(path / "data.yaml", json.dumps(about | ({"fps": tracks.video.fps} if tracks.video.fps else {}), indent=1))
