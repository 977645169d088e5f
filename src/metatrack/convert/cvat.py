"""CVAT for video 1.1: XML of tracks with key frames, ``outside`` and ``occluded``.

Source: https://docs.cvat.ai/docs/dataset_management/formats/format-cvat/ and .../manual/advanced/xml_format. CVAT takes boxes
with ``keyframe="1"`` alone and draws straight lines between them, so every box of ours is one; which of them a person gave
is an attribute, as are score and ``lost``: CVAT passes over attributes that a task's labels do not have.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from metatrack.convert.tracks import MOST_BYTES, Mark, Stretch, Track, Tracks, Video, collect, filled, require_few
from metatrack.data.numbers import finite_number, whole_number
from metatrack.files import require_size, write_atomically
from metatrack.geometry import Box

CORNERS = ("xtl", "ytl", "xbr", "ybr")
ATTRIBUTES = ("score", "lost", "given")  # ours: ``given`` says that a person drew the box


class _CvatReader:
    """Gathers tracks from the events of expat; entities and document types, which can make a small file huge, are refused."""

    def __init__(self, path: Path) -> None:
        self.path, self.parser = path, expat.ParserCreate()
        self.parser.StartDoctypeDeclHandler = self._refuse
        self.parser.EntityDeclHandler = self._refuse
        self.parser.StartElementHandler, self.parser.EndElementHandler = self._start, self._end
        self.parser.CharacterDataHandler = self._characters
        self.parser.buffer_text = True
        self.tracks: list[tuple[str, str, list[Mark]]] = []  # id, label, marks
        self.facts: dict[str, str] = {}
        self.root, self.others = "", 0
        self._in_track, self._text, self._attribute = False, "", ""
        self._box: dict[str, str] | None = None
        self._own: dict[str, str] = {}

    @property
    def where(self) -> str:
        return f"{self.path}, line {self.parser.CurrentLineNumber}"

    def read(self) -> None:
        """Reads the file; a ``ValueError`` where it is not XML, or not of this kind."""
        try:
            with self.path.open("rb") as file:
                self.parser.ParseFile(file)
        except LookupError as error:
            raise ValueError(f"{self.path}: not XML in an encoding that is known ({error}); export it again") from error
        except expat.ExpatError as error:
            raise ValueError(
                f"{self.path}, line {error.lineno}: not XML ({expat.ErrorString(error.code)}); export it again"
            ) from error

    def _refuse(self, *_: Any) -> None:
        raise ValueError(f"{self.where}: a document type or an entity, which no file of CVAT has; it is not read")

    def _start(self, tag: str, given: dict[str, str]) -> None:
        self.root, self._text = self.root or tag, ""
        if self.root != "annotations":
            raise ValueError(f"{self.path} begins with <{tag}>, not <annotations>; export as CVAT for video 1.1")
        if tag == "image":
            raise ValueError(f"{self.where}: <image>: this is CVAT for images; export as CVAT for video 1.1")
        if tag == "track":
            self._in_track = True
            self.tracks.append((given.get("id", str(len(self.tracks))), given.get("label", ""), []))
        elif self._in_track and tag == "box":
            self._box, self._own = given, {}
        elif self._in_track and tag == "attribute":
            self._attribute = given.get("name", "")
        elif self._in_track:
            self.others += 1  # polygons, points, masks

    def _characters(self, text: str) -> None:
        self._text += text

    def _end(self, tag: str) -> None:
        if tag == "track":
            self._in_track = False
        elif tag == "attribute" and self._box is not None:
            self._own[self._attribute] = self._text
        elif tag == "box" and self._box is not None:
            self.tracks[-1][2].append(self._mark(self._box))
            self._box = None
        elif not self._in_track and tag in ("size", "width", "height"):
            self.facts.setdefault(tag, self._text.strip())

    def _mark(self, box: dict[str, str]) -> Mark:
        missing = [key for key in ("frame", *CORNERS) if key not in box]
        if missing:
            raise ValueError(f"{self.where}: <box> lacks {', '.join(missing)}")
        left, top, right, bottom = (finite_number(box[key], f"{self.where}: {key}") for key in CORNERS)
        outside, occluded, key = (box.get(flag) == "1" for flag in ("outside", "occluded", "keyframe"))
        lost = self._own.get("lost") == "true"
        score = finite_number(self._own["score"], f"{self.where}: score") if "score" in self._own else None
        given = self._own["given"] == "true" if "given" in self._own else key
        frame = whole_number(box["frame"], f"{self.where}: frame")
        return Mark(frame, Box(left, top, right - left, bottom - top), score, lost, outside and not lost, occluded, given)


def read_cvat(path: Path, video: Video) -> Tracks:
    """Reads the boxes of tracks; between key frames they are filled in as CVAT shows them.

    Raises:
        OSError, ValueError: the file cannot be read, or is not of this kind; the message names the line.
    """
    require_size(path, MOST_BYTES, "file of boxes")
    reader = _CvatReader(path)
    reader.read()
    facts = reader.facts
    size = tuple(whole_number(facts[key], f"{path}: {key}", 1) for key in ("width", "height") if facts.get(key))
    frames = whole_number(facts["size"], f"{path}: size") if facts.get("size") else None
    stretches = [Stretch(sorted(marks, key=lambda mark: mark.frame), frames) for *_, marks in reader.tracks]
    require_few(path, stretches)
    named = zip(reader.tracks, stretches, strict=True)
    rows = [(target, label or "target", mark) for (target, label, _), stretch in named for mark in filled(stretch)]
    notes = [f"{reader.others} shapes that are no boxes are left out"] if reader.others else []
    known = Video((size[0], size[1]) if len(size) == 2 else None, None, frames)
    return collect(path, rows, known.or_else(video), notes)


def write_cvat(path: Path, tracks: Tracks) -> None:
    """Writes a task of one video. A box that is lost is ``outside``; one behind which nothing is known is followed by such."""
    numbers = tracks.numbers()
    parts = ['<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n', _meta(tracks)]
    for track in tracks.targets:
        parts.append(f'  <track id="{numbers[track.target]}" label={quoteattr(track.label)} source="auto">\n')
        parts += [_box(mark) for mark in closed(track, tracks.count)]
        parts.append("  </track>\n")
    parts.append("</annotations>\n")
    write_atomically(path, "".join(parts))


def closed(track: Track, count: int) -> list[Mark]:
    """The marks, and one that is ``outside`` where a gap of unknown frames begins: CVAT would draw a line across it."""
    result: list[Mark] = []
    for mark, after in zip(track.marks, [*(m.frame for m in track.marks[1:]), count]):
        result.append(mark)
        if not mark.outside and after > mark.frame + 1:
            result.append(Mark(mark.frame + 1, mark.box, outside=True))
    return result


def _box(mark: Mark) -> str:
    x, y, w, h = mark.box
    corners = " ".join(f'{key}="{value:.4f}"' for key, value in zip(CORNERS, (x, y, x + w, y + h)))
    outside = int(mark.outside or mark.lost)
    head = (
        f'    <box frame="{mark.frame}" keyframe="1" outside="{outside}" occluded="{int(mark.occluded)}" {corners} z_order="0">\n'
    )
    own = {} if mark.score is None else {"score": f"{mark.score:.4f}"}
    own |= {"lost": str(mark.lost).lower(), "given": str(mark.keyframe).lower()}
    return head + "".join(f'      <attribute name="{key}">{value}</attribute>\n' for key, value in own.items()) + "    </box>\n"


def _meta(tracks: Tracks) -> str:
    name, size = escape(tracks.video.name), tracks.video.size
    attributes = "".join(
        f"<attribute><name>{key}</name><mutable>True</mutable><input_type>{kind}</input_type>"
        f"<default_value>{default}</default_value><values>{values}</values></attribute>"
        for key, (kind, default, values) in zip(
            ATTRIBUTES, (("number", 0, "0\n1\n0.0001"), ("checkbox", "false", ""), ("checkbox", "false", ""))
        )
    )
    labels = "".join(
        f"<label><name>{escape(label)}</name><attributes>{attributes}</attributes></label>"
        for label in sorted({track.label for track in tracks.targets})
    )
    pixels = "" if size is None else f"<original_size><width>{size[0]}</width><height>{size[1]}</height></original_size>"
    return (
        f"  <meta><task><name>{name}</name><size>{tracks.count}</size><mode>interpolation</mode><start_frame>0</start_frame>"
        f"<stop_frame>{max(0, tracks.count - 1)}</stop_frame><labels>{labels}</labels>{pixels}</task></meta>\n"
    )
