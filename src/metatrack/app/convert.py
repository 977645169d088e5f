"""``metatrack convert``: boxes from one file format into another."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from metatrack.app.problem import Problem, user_input
from metatrack.convert.formats import FORMATS, Format, format_named, lacking, read_tracks
from metatrack.convert.tracks import Tracks, Video
from metatrack.files import require_writable, same_file
from metatrack.video import open_source

FormatName = Annotated[str, tyro.conf.arg(metavar="|".join(FORMATS))]
OptionalFormat = Annotated[str | None, tyro.conf.arg(metavar="|".join(FORMATS))]


@dataclass(frozen=True)
class ConvertOptions:
    """Converts boxes of targets between the file formats of annotation tools, benchmarks and data frames.

    What the new format cannot hold is told. docs/formats.md says what each holds.
    """

    source: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="IN")]
    """File of boxes, or folder of such."""
    to: FormatName
    """The format to write."""
    out: Annotated[Path, tyro.conf.arg(metavar="OUT")]
    """File to write; for formats of several files a folder, new or empty."""
    from_: Annotated[OptionalFormat, tyro.conf.arg(name="from")] = None
    """The format of what is read; by default it is found out."""
    video: Annotated[str | None, tyro.conf.arg(metavar="VIDEO")] = None
    """The video that the boxes are of: it tells size, rate and number of frames where the file does not."""
    size: Annotated[str | None, tyro.conf.arg(metavar="WxH")] = None
    """Its size in pixels, where there is no video."""


def run(options: ConvertOptions) -> int:
    """Runs the command; returns the exit code."""
    with user_input(ModuleNotFoundError):
        chosen = format_named(options.to)
        check_new(options.out, chosen, options.source)
        tracks = read_tracks(options.source, options.from_, _video(options))
        save(tracks, options.to, options.out)
    marks = sum(len(track.marks) for track in tracks.targets)
    print(f"{len(tracks.targets)} target{'s' * (len(tracks.targets) != 1)}, {marks} boxes: {options.out}", file=sys.stderr)
    return 0


def check_new(out: Path, chosen: Format, source: Path | None = None) -> None:
    """That nothing of the user's is in the way of what is to be written.

    Raises:
        Problem: something is, or it cannot be written there.
        OSError: the folder does not exist.
    """
    if source is not None and same_file(out, source):
        raise Problem(f"{out} is what is read; name another file for the result")
    if chosen.folder or (chosen.single and not out.suffix):
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise Problem(f"{out} exists and is not an empty folder; name a new one for {chosen.title}")
        return
    require_writable(out)
    if out.is_file() and out.stat().st_size:
        raise Problem(f"{out} exists; name another file, or delete it")
    if out.suffix.lower() not in chosen.suffixes:
        raise Problem(f"{out} does not end in {' or '.join(chosen.suffixes)}, as files of this format do ({chosen.title})")


def save(tracks: Tracks, name: str, out: Path) -> None:
    """Writes tracks, and says in one line what the format cannot hold.

    Raises:
        OSError: it cannot be written.
        ValueError: the format needs what is not known, the size of the frame say.
    """
    for note in tracks.notes:
        print(f"note: {note}", file=sys.stderr)
    if words := lacking(tracks, name):
        print(f"note: {name} cannot hold {'; '.join(words)}", file=sys.stderr)
    FORMATS[name].write(out, tracks)


def _video(options: ConvertOptions) -> Video:
    """What the options tell of the video."""
    if options.size is not None and not re.fullmatch(r"[1-9]\d{0,5}x[1-9]\d{0,5}", options.size):
        raise Problem(f"--size {options.size}: give width and height in pixels, as in 640x360")
    width, height = map(int, options.size.split("x")) if options.size else (0, 0)
    stated = Video((width, height) if width else None, name=sequence_name(options.video or options.source))
    if options.video is None:
        return stated
    with open_source(options.video) as source:
        return stated.or_else(Video(source.size, source.fps, source.frame_count))._replace(name=stated.name)


def sequence_name(source: str | Path) -> str:
    """A name for sequences and files, from a path.

    >>> sequence_name("clips/my clip.mp4")
    'my_clip'
    """
    return re.sub(r"[^A-Za-z0-9_.+-]+", "_", Path(str(source)).stem).strip("._-")[:80] or "video"
