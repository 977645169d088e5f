"""The registry of file formats: what each is called, what it holds, and who reads and writes it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from metatrack.convert import arrow, coco, cvat, fiftyone, labelstudio, mot, single, table, yolo
from metatrack.convert.guess import guess
from metatrack.convert.tracks import FLAGS, LABEL, Tracks, Video, inside_frame
from metatrack.hints import hint

ALL = frozenset("names labels score lost outside occluded keyframe beyond".split())
"""What a format may hold beside boxes: ids that are names, fields of a track or a mark, and what of boxes is beyond the frame."""


class Format(NamedTuple):
    """One file format."""

    title: str
    suffixes: tuple[str, ...]  # of its files, the usual one first; none: it is a folder
    holds: frozenset[str]  # of ALL
    read: Callable[[Path, Video], Tracks]  # reads a file; the video is what is known of it from elsewhere
    write: Callable[[Path, Tracks], None]  # writes a file, in one step, or a folder that is new or empty
    single: bool = False  # a file is of one target: a name without suffix is a folder of a file for each

    @property
    def folder(self) -> bool:
        """Whether it is written as a folder of files."""
        return not self.suffixes


def _holds(words: str) -> frozenset[str]:
    return frozenset(words.split())


FORMATS: dict[str, Format] = {
    "csv": Format(
        "table of metatrack track: frame,id,x,y,w,h,score,lost",
        (".csv",),
        _holds("names score lost beyond"),
        table.read_csv,
        table.write_csv,
    ),
    "jsonl": Format("JSON lines, an object for each box", (".jsonl", ".ndjson"), ALL, table.read_jsonl, table.write_jsonl),
    "mot": Format("MOTChallenge text", (".txt",), _holds("score beyond"), mot.read_mot, mot.write_mot),
    "coco": Format("COCO video: instances with track ids", (".json",), ALL, coco.read_coco, coco.write_coco),
    "cvat": Format("CVAT for video 1.1", (".xml",), ALL - {"names"}, cvat.read_cvat, cvat.write_cvat),
    "labelstudio": Format(
        "Label Studio, video rectangles",
        (".json",),
        _holds("names labels keyframe"),
        labelstudio.read_labelstudio,
        labelstudio.write_labelstudio,
    ),
    "yolo": Format("YOLO, a text file for each frame", (), _holds("labels score"), yolo.read_yolo, yolo.write_yolo),
    "fiftyone": Format("FiftyOne's labels of a video", (".json",), ALL, fiftyone.read_fiftyone, fiftyone.write_fiftyone),
    "arrow": Format(
        "Parquet or, by the suffix, Arrow", (".parquet", ".arrow", ".feather"), ALL, arrow.read_arrow, arrow.write_arrow
    ),
    "otb": Format("OTB's results", (".txt", ".mat", ".json"), _holds("beyond"), single.read_otb, single.write_otb, single=True),
    "got10k": Format("GOT-10k's results", (), _holds("beyond"), single.read_got, single.write_got),
    "lasot": Format("LaSOT's results", (), _holds("beyond"), single.read_lasot_results, single.write_lasot_results),
    "vot": Format("results of VOT's toolkit", (), _holds("score beyond"), single.read_vot, single.write_vot),
}
"""By name."""
SCORED = frozenset(("csv", "mot", "yolo"))  # formats in which every box has a score


def format_named(name: str) -> Format:
    """A format by its name; a ``ValueError`` that suggests the nearest where there is none."""
    if name not in FORMATS:
        raise ValueError(f"no format {name!r}; {hint(name, FORMATS, 'there are')}")
    return FORMATS[name]


def read_tracks(path: Path, name: str | None = None, video: Video | None = None) -> Tracks:
    """Reads a file of boxes.

    Args:
        path: a file or, for some formats, a folder.
        name: of the format; None finds out from the file.
        video: what is known of the video, for formats that state boxes in shares of the frame.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not clear what it is, or it is not as it should be; the message names the file and the place in it.
        ModuleNotFoundError: the format needs a package.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; pass a file of boxes")
    try:
        return format_named(name or guess(path)).read(path, video or Video())
    except OverflowError as error:
        raise ValueError(f"{path}: a number in it is larger than any video's ({error})") from error


def lacking(tracks: Tracks, name: str) -> list[str]:
    """What of these tracks a format cannot hold, in words; nothing if it holds all.

    >>> from metatrack.convert.tracks import Mark, Track
    >>> from metatrack.geometry import Box
    >>> lacking(Tracks((Track("dog", (Mark(0, Box(1, 2, 3, 4), 0.5, lost=True),)),)), "mot")
    ['names of targets (dog)', 'the flag lost (1 box)']
    """
    missing, marks = ALL - FORMATS[name].holds, [mark for track in tracks.targets for mark in track.marks]
    named = [track.target for track in tracks.targets if isinstance(track.target, str)]
    labels = sorted({track.label for track in tracks.targets} - {LABEL})
    words = []
    if "names" in missing and named:
        words.append(f"names of targets ({', '.join(map(str, named[:5]))}{', ...' if len(named) > 5 else ''})")
    if "labels" in missing and labels:
        words.append(f"labels ({', '.join(labels[:5])}{', ...' if len(labels) > 5 else ''})")
    if "score" in missing and any(mark.score is not None for mark in marks):
        words.append("scores")
    for flag in FLAGS:
        if flag in missing and (count := sum(getattr(mark, flag) for mark in marks)):
            words.append(f"the flag {flag} ({count} box{'es' if count > 1 else ''})")
    if name in SCORED and (bare := sum(mark.score is None and not mark.outside for mark in marks)):
        words.append(f"boxes without a score ({bare} get{'s' * (bare == 1)} the score 1)")
    if "beyond" in missing and tracks.video.size is not None:
        cut = sum(inside_frame(mark.box, tracks.video.size) != mark.box for mark in marks if not mark.outside)
        if cut:
            words.append(f"what lies outside the frame ({cut} box{'es' if cut > 1 else ''} cut)")
    return words
