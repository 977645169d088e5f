"""Targets of what other programs give and take: files of boxes in all formats, lists of videos, what the page is told."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from metatrack.app.batch_job import read_list
from metatrack.app.given import parse_correction
from metatrack.app.problem import Problem
from metatrack.app.setting import parse_settings
from metatrack.convert.formats import FORMATS, read_tracks
from metatrack.convert.tracks import Mark, Track, Tracks, Video
from metatrack.geometry import Box
from tools.fuzz.target import REFUSALS, Good, Target, cached, in_file, of_text, these

VIDEO = Video((640, 360), 25.0, 12, "clip")
MARKS = tuple(Mark(k, Box(10.5 + k, 20, 30, 40), 0.5, k == 3, keyframe=k == 0) for k in range(6))
BODIES = {
    "NewTarget": {"frame": 0, "box": {"x": 1, "y": 2, "w": 3, "h": 4}, "color": "#ff0000"},
    "ChangedTarget": {"name": "dog", "hidden": True},
    "Span": {"first": 0, "last": 5, "mark": "absent"},
    "NewJob": {"frame": 3, "direction": "forwards", "targets": [1]},
    "ChangedProject": {"name": "x"},
    "CameraBody": {"camera": 3},
}
"""Bodies of the page's requests; that of another kind or form is refused."""


def tracks(several: bool) -> Tracks:
    """What the good files hold."""
    found = (Track(1, MARKS), Track(2, MARKS[2:5], "dog")) if several else (Track(1, MARKS),)
    return Tracks(found, VIDEO)


def made(name: str) -> dict[str, bytes]:
    """The files of a format, by their paths in its folder; a format of one file has it under its suffix alone."""
    form = FORMATS[name]
    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / f"out{form.suffixes[0] if form.suffixes else ''}"
        form.write(out, tracks(several=name not in ("otb", "got10k", "lasot", "vot")))
        if out.is_file():
            return {form.suffixes[0]: out.read_bytes()}
        return {path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def of_format(name: str) -> Target:
    """The reader of a format, given each of its files in turn."""
    form = FORMATS[name]

    def good() -> Sequence[bytes]:
        return list(made(name).values())[:1]

    if form.suffixes:
        return Target(in_file(f"boxes{form.suffixes[0]}", lambda path: read_tracks(path, name, VIDEO)), cached(good))
    first = next(iter(made(name)))

    def prepare(folder: Path) -> None:
        for file, data in made(name).items():
            (folder / "in" / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / "in" / file).write_bytes(data)

    def call(folder: Path, data: bytes) -> object:
        (folder / "in" / first).write_bytes(data)
        return read_tracks(folder / "in", name, VIDEO)

    return Target(call, cached(good), prepare=prepare)


def of_all(ending: str) -> Good:
    """A file of each format whose files end so."""
    return cached(lambda: [made(name)[ending] for name, form in FORMATS.items() if form.suffixes[:1] == (ending,)])


def bodies(folder: Path, data: bytes) -> None:
    """Each kind of body."""
    from metatrack.web import bodies as kinds

    refused: ValueError | None = None
    for name in BODIES:
        try:
            getattr(kinds, name).model_validate_json(data)
        except ValueError as error:
            refused = error
        else:
            return
    if refused is not None:
        raise refused


def message(folder: Path, data: bytes) -> None:
    """What the page's children and the page say to each other."""
    from metatrack.confined import receive
    from metatrack.web.child import ChildError, Opened, Picture, TrackedFrame

    kinds: Any = Opened | Picture | TrackedFrame
    try:
        receive(io.BytesIO(data), kinds)
    except (EOFError, ChildError) as error:
        raise ValueError(str(error) or "it ends too early") from error


@cached
def messages() -> Sequence[bytes]:
    """A picture on its way."""
    import msgspec

    from metatrack.confined import send
    from metatrack.web.child import Picture

    pipe = io.BytesIO()
    values = {field.name: 1 for field in msgspec.structs.fields(Picture)}
    send(pipe, Picture(**values), b"jpeg")
    return [pipe.getvalue()]


EXCHANGED = {
    **{f"convert-{name}": of_format(name) for name in FORMATS},
    **{
        f"guess-{ending[1:]}": Target(in_file(f"boxes{ending}", lambda path: read_tracks(path, None, VIDEO)), of_all(ending))
        for ending in (".csv", ".txt", ".json", ".xml")
    },
    "list-of-videos": Target(
        in_file("list.csv", read_list),
        these("a.mp4,1,2,30,40\nb.mp4,1,2,30,40,5,bee\n", "source,x,y,w,h,name\na.mp4,1,2,30,40,ann\nhttp://x/b.mp4,1,2,3,4,b\n"),
        (*REFUSALS, Problem),
    ),
    "corrections": Target(of_text(parse_correction, (Problem,)), these("30:1,2,3,4\n30:dog:1,2,3,4\n0:1:5 6 7 8\n"), (Problem,)),
    "set": Target(
        of_text(lambda text: parse_settings(text.split("|")), (*REFUSALS, Problem)),
        these("adaptation.interval=30\nsearch.window=0.3|redetection.enabled=false\n"),
        (*REFUSALS, Problem),
    ),
    "page-bodies": Target(bodies, these(*BODIES.values())),
    "page-messages": Target(message, messages),
}
"""By name."""
