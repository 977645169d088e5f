"""MOTChallenge: ``frame,id,left,top,width,height,conf,x,y,z``, everything counted from 1.

Source: https://motchallenge.net/instructions; py-motmetrics and TrackEval read it.
"""

from __future__ import annotations

import configparser
from pathlib import Path

from metatrack.convert.tracks import LABEL, MOST_BYTES, Mark, Tracks, Video, collect
from metatrack.data.numbers import whole_number
from metatrack.data.rows import parse_rows, read_text
from metatrack.files import require_size, write_atomically
from metatrack.geometry import Box

CLASSES = (
    *("pedestrian", "person on vehicle", "car", "bicycle", "motorbike", "non motorized vehicle", "static person", "distractor"),
    *("occluder", "occluder on the ground", "occluder full", "reflection", "crowd"),
)
"""Of ground truth: class 1, class 2 ..."""
HIDDEN = 0.5  # a ground truth whose visible share is below this is occluded


def read_mot(path: Path, video: Video) -> Tracks:
    """Reads a result (or detection) file of 7 or 10 columns, or ground truth of 8 or 9.

    A confidence outside [0, 1], as detectors give, is none; of ground truth the class is the label, and a visible share below
    one half is ``occluded``. Size and rate come from the ``seqinfo.ini`` of the sequence, if there is one.

    Raises:
        OSError, ValueError: the file cannot be read, or a line is not as it should be.
    """
    require_size(path, MOST_BYTES, "file of boxes")
    rows = parse_rows(read_text(path), path, columns=(6, 7, 8, 9, 10))
    truth = rows.shape[1] in (8, 9)
    listed, unfit = [], 0
    for n, (frame, target, x, y, w, h, *rest) in enumerate(rows.tolist(), 1):
        number, name = (
            whole_number(value, f"{path}, box {n}: {what}", least)
            for value, what, least in ((frame, "frame", 1), (target, "id", -1))
        )
        score, label, hidden = None, LABEL, False
        if truth:
            kind = int(rest[1])
            label = CLASSES[kind - 1] if 1 <= kind <= len(CLASSES) else f"class {kind}"
            hidden = len(rest) > 2 and 0 <= rest[2] < HIDDEN
        elif rest and 0 <= rest[0] <= 1:
            score = rest[0]
        else:
            unfit += bool(rest)
        listed.append((name, label, Mark(number - 1, Box(x - 1, y - 1, w, h), score, occluded=hidden)))
    if any(name < 0 for name, _, _ in listed):
        raise ValueError(f"{path} has boxes without an id (-1): these are detections, not tracks; give each target a number")
    notes = [f"{unfit} confidences outside 0..1 are left out"] if unfit else []
    return collect(path, listed, _seqinfo(path).or_else(video), notes)


def write_mot(path: Path, tracks: Tracks) -> None:
    """Writes a result file; a box without a score has the confidence 1."""
    numbers = tracks.numbers()
    lines = [
        f"{frame + 1},{numbers[track.target]},{mark.box.x + 1:.3f},{mark.box.y + 1:.3f},{mark.box.w:.3f},{mark.box.h:.3f},"
        f"{1.0 if mark.score is None else mark.score:.4f},-1,-1,-1\n"
        for frame, marks in tracks.by_frame().items()
        for track, mark in marks
        if not mark.outside
    ]
    write_atomically(path, "".join(lines))


def _seqinfo(path: Path) -> Video:
    """What ``seqinfo.ini`` says, which lies beside ``gt``, ``det`` or the file."""
    for folder in (path.parent, path.parent.parent):
        file = folder / "seqinfo.ini"
        if not file.is_file():
            continue
        parser = configparser.ConfigParser(interpolation=None)
        try:
            parser.read_string(read_text(file), str(file))
            facts = parser["Sequence"]
            size = (
                whole_number(facts["imWidth"], f"{file}: imWidth", 1),
                whole_number(facts["imHeight"], f"{file}: imHeight", 1),
            )
            return Video(size, float(facts["frameRate"]), whole_number(facts["seqLength"], f"{file}: seqLength", 1))
        except (configparser.Error, KeyError, ValueError) as error:
            raise ValueError(f"{file} is no seqinfo.ini of MOTChallenge ({error}); mend it or take it away") from error
    return Video()
