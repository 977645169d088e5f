"""Tracks as hypothesis makes them, and what a format leaves of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from metatrack.convert.formats import FORMATS
from metatrack.convert.tracks import LABEL, Mark, Track, Tracks, Video, inside_frame
from metatrack.geometry import Box

SIZE = (640, 360)
_sides = st.floats(1, 300).map(lambda v: round(v, 3))
_places = st.floats(-50, 600).map(lambda v: round(v, 3))


@st.composite
def marks(draw, frame: int) -> Mark:
    box = Box(draw(_places), draw(_places), draw(_sides), draw(_sides))
    score = draw(st.none() | st.floats(0, 1).map(lambda v: round(v, 4)))
    kind = draw(st.sampled_from(["seen", "seen", "lost", "outside"]))
    return Mark(frame, box, score, kind == "lost", kind == "outside", draw(st.booleans()), draw(st.booleans()))


@st.composite
def some_tracks(draw, targets: int = 3, frames: int = 8) -> Tracks:
    """Of up to so many targets, each in at least one frame; ids are numbers or names."""
    ids = draw(
        st.lists(st.integers(1, 9) | st.sampled_from(["dog", "a&b <c>", "é"]), min_size=1, max_size=targets, unique_by=str)
    )
    made = []
    for target in ids:
        numbers = draw(st.lists(st.integers(0, frames - 1), min_size=1, unique=True))
        label = draw(st.sampled_from([LABEL, "car", 'x "y" & z']))
        made.append(Track(target, tuple(draw(marks(n)) for n in sorted(numbers)), label))
    return Tracks(tuple(made), Video(SIZE, 25.0, frames))


Held = dict[int | str, dict[int, Mark]]


def seen(tracks: Tracks) -> Held:
    """By target and frame, the marks in which it is to be seen."""
    found = {t.target: {m.frame: m for m in t.visible} for t in tracks.targets}
    return {target: marks for target, marks in found.items() if marks}


def held(tracks: Tracks, name: str) -> Held:
    """What a format holds of that: by target, or its number, without the fields that it lacks."""
    holds, found = FORMATS[name].holds, seen(tracks)
    if name == "labelstudio":  # what is lost is a gap
        found = {t: {f: m for f, m in marks.items() if not m.lost} for t, marks in found.items()}
    if name == "vot":  # the toolkit gives the first box, and does not keep it
        found = {t: {f: m for f, m in marks.items() if f != min(marks)} for t, marks in found.items()}
    blank: dict[str, Any] = {flag: False for flag in ("lost", "occluded", "keyframe") if flag not in holds}
    blank |= {} if "score" in holds else {"score": None}
    numbers: dict[int | str, Any] = {**tracks.numbers()} if "names" not in holds else {t.target: t.target for t in tracks.targets}
    kept: Held = {}
    for target, marks in found.items():
        boxes = {f: m.box if "beyond" in holds else inside_frame(m.box, SIZE) for f, m in marks.items()}
        left = {f: m._replace(**blank, box=boxes[f]) for f, m in marks.items() if boxes[f]}
        kept |= {numbers[target]: left} if left else {}
    return kept


def scored(tracks: Tracks) -> Tracks:
    """With a score of 1 where there is none: what formats write that must have one."""
    return replace(
        tracks,
        targets=tuple(
            replace(t, marks=tuple(m if m.score is not None else m._replace(score=1.0) for m in t.marks)) for t in tracks.targets
        ),
    )
