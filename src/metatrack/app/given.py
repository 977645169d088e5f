"""Boxes that a person gives: first ones and corrections, from the command line and from files."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from metatrack.app.boxes import check_given, first_box, parse_numbers
from metatrack.app.problem import Problem, user_input
from metatrack.convert.formats import read_tracks
from metatrack.convert.tracks import Tracks, Video, target_id
from metatrack.geometry import Box
from metatrack.hints import hint

Target = int | str
Given = dict[int, dict[Target, Box | None]]
"""By frame and target; None: the target is not to be seen from there on, and is not followed until its next box."""
CORRECTION = re.compile(r"(?P<frame>\d{1,9}):(?:(?P<target>[^:,]+):)?(?P<box>[^:]+)")


def parse_correction(text: str) -> tuple[int, Target | None, tuple[float, float, float, float]]:
    """``FRAME:x,y,w,h`` or ``FRAME:ID:x,y,w,h``; a :class:`Problem` where it is neither.

    >>> parse_correction("30:dog:1,2,3,4")
    (30, 'dog', (1.0, 2.0, 3.0, 4.0))
    """
    found = CORRECTION.fullmatch(text.strip())
    box = parse_numbers(found["box"]) if found else None
    if found is None or box is None:
        raise Problem(f"--correct {text}: give FRAME:x,y,w,h, as in 120:185,120,69,87 (several targets: FRAME:ID:x,y,w,h)")
    return int(found["frame"]), None if found["target"] is None else target_id(found["target"]), box


def gather(
    boxes: Sequence[Sequence[float]],
    corrections: Sequence[str],
    file: tuple[Path, Tracks] | None,
    frames: tuple[int, int | None],
    name: str,
    size: tuple[int, int],
) -> Given:
    """All that a person gave for the frames from ``frames[0]`` on, up to ``frames[1]``.

    Args:
        boxes: of ``--box``: in the first frame, with the ids 1, 2, 3 ...
        corrections: of ``--correct``.
        file: of ``--boxes-from``, and what it holds.
        frames: number of the first frame, and of the one behind the last, where it is known.
        name, size: of the source; its width and height in pixels.

    Raises:
        Problem: there is no first box; a box is none in the frame; a frame is not among those that are tracked, or gets two
            boxes; or a correction is of no target, or of nobody knows which.
    """
    start, end = frames
    given: Given = {}
    for number, box in enumerate(boxes, 1):
        given.setdefault(start, {})[number] = first_box(box, start, name, size)
    for frame, found in (from_tracks(file[1], start) if file else {}).items():
        for target, each in found.items():
            _add(given, frame, target, None if each is None else check_given(each, frame, name, size))
    if not any(box is not None for found in given.values() for box in found.values()):
        if file is None:
            first_box(None, start, name, size)
        raise Problem(f"{file[0] if file else name} holds no box in frame {start} or behind it; begin earlier with --start")
    known: dict[Target, int] = {}
    for frame in sorted(given, reverse=True):
        known |= dict.fromkeys(given[frame], frame)
    for text in corrections:
        frame, stated, box = parse_correction(text)
        corrected = _target(text, stated, known)
        if frame <= known[corrected]:
            raise Problem(f"--correct {text}: target {corrected} begins in frame {known[corrected]}; correct a frame behind it")
        _add(given, frame, corrected, check_given(box, frame, name, size, f"--correct {text}"))
    late = max(given)
    if end is not None and late >= end:
        raise Problem(f"frame {late} has a box, but the last frame that is tracked is {end - 1}; frames count from 0")
    return given


def _add(given: Given, frame: int, target: Target, box: Box | None) -> None:
    if target in given.setdefault(frame, {}):
        raise Problem(f"target {target} is given two boxes in frame {frame}; give one")
    given[frame][target] = box


def _target(text: str, stated: Target | None, known: Mapping[Target, int]) -> Target:
    """Which target a correction is of."""
    if stated is None and len(known) == 1:
        return next(iter(known))
    if stated is None:
        ids = ", ".join(map(str, known))
        raise Problem(f"--correct {text}: which of the targets {ids}? Give FRAME:ID:x,y,w,h")
    if stated not in known:
        raise Problem(f"--correct {text}: no target {stated}; {hint(str(stated), [str(each) for each in known])}")
    return stated


def read_given(path: Path, video: Video) -> Tracks:
    """Reads the file of ``--boxes-from``; a :class:`Problem` where it cannot be read, is in no known format, or holds no box."""
    with user_input(ModuleNotFoundError):
        tracks = read_tracks(path, None, video)
    if not any(track.visible for track in tracks.targets):
        raise Problem(f"{path} holds no box; give one for each target, in the frame in which it is first seen")
    return tracks


def from_tracks(tracks: Tracks, start: int = 0) -> Given:
    """What of a file a person gave: its key frames and where they end or, in a file that marks none, the first of boxes in a row.

    >>> from metatrack.convert.tracks import Mark, Track
    >>> rows = [Mark(frame, Box(frame, 0, 9, 9)) for frame in (3, 4, 5, 9)]
    >>> sorted(from_tracks(Tracks((Track(1, tuple(rows)),))))
    [3, 9]
    """
    marked = any(mark.keyframe and not mark.outside for track in tracks.targets for mark in track.marks)
    given: Given = {}
    for track in tracks.targets:
        before, followed = -2, False
        for mark in track.marks:
            fresh = mark.keyframe if marked else mark.frame != before + 1
            # A track that was begun before the first frame is taken up behind it, where the file says where it is.
            taken = not (mark.outside or (mark.lost and not mark.keyframe)) and (fresh or not followed)
            if mark.frame >= start and (taken or (mark.outside and followed)):
                given.setdefault(mark.frame, {})[track.target] = None if mark.outside else mark.box
            followed = not mark.outside and (followed or (taken and mark.frame >= start))
            before = mark.frame if not mark.outside else -2
    return given


def used(given: Given) -> str:
    """How many boxes were taken, for a person.

    >>> used({0: {1: Box(0, 0, 9, 9)}, 7: {1: None, 2: Box(0, 0, 9, 9)}})
    '2 boxes of 2 targets in frames 0, 7'
    """
    count = sum(box is not None for found in given.values() for box in found.values())
    targets = len({target for found in given.values() for target in found})
    shown = ", ".join(map(str, sorted(given)[:8])) + (", ..." if len(given) > 8 else "")
    plural = ("es" if count != 1 else "", "s" if targets != 1 else "", "s" if len(given) != 1 else "")
    return f"{count} box{plural[0]} of {targets} target{plural[1]} in frame{plural[2]} {shown}"
