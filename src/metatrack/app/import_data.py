"""``metatrack data import``: annotated videos of other tools and data sets into the layout that the training reads."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from metatrack.app.convert import sequence_name
from metatrack.app.outputs import require_new
from metatrack.app.problem import INCOMPLETE, USAGE, Problem, user_input
from metatrack.app.products import TrainingData
from metatrack.convert.formats import FORMATS, read_tracks
from metatrack.convert.layouts import EXPECTED, LAYOUTS, LayoutClip
from metatrack.convert.tracks import LABEL, Mark, Tracks, Video, collect
from metatrack.convert.youtube_bb import youtube_bb
from metatrack.data.datasets import DATA_SETS, read_dataset
from metatrack.data.got10k import read_got10k
from metatrack.data.sequence import Sequence
from metatrack.files import write_atomically
from metatrack.frames import as_rgb
from metatrack.geometry import Box, Image
from metatrack.images import read_image
from metatrack.tracking.tracker import Result
from metatrack.video import SourceError, open_source
from metatrack.video.seek import open_seekable

YOUTUBE_BB = "youtube-bb"
KINDS = (*FORMATS, *LAYOUTS, YOUTUBE_BB, *DATA_SETS)
SHOWN = 10  # clips with faults that are named, at most


@dataclass(frozen=True)
class ImportDataOptions:
    """Brings annotated videos into the layout that training and evaluation read: GOT-10k's, a folder of images for each target.

    What is written is read back and checked. A clip with a fault is named and left out; the exit code is then 1, and 2 if there
    is nothing to import.
    """

    kind: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="KIND")]
    """A format of boxes (cvat, coco, mot, labelstudio, csv and the others of docs/formats.md; with --video), or a data set on
    disk: lasot, got10k, otb, trackingnet, vid (ILSVRC), davis, youtube-vos, mot-folder (MOTChallenge), or youtube-bb (its table,
    with --video FOLDER)."""
    source: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="FILE|DIR")]
    """The file of boxes, or the folder of the data set."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder to write, new or empty."""
    video: Annotated[str | None, tyro.conf.arg(metavar="VIDEO")] = None
    """The video or folder of images that a file of boxes is of; of youtube-bb, the folder of videos named by their ids."""
    every: int = 1
    """Take every so many-th frame alone; neighbours teach little."""


def run(options: ImportDataOptions) -> int:
    """Runs the command; returns the exit code."""
    if options.every < 1:
        raise Problem(f"--every {options.every}: at least 1 is needed")
    require_new(options.out, "--out")
    names: list[str] = []
    faults: list[str] = []
    with user_input():
        for clip in clips(options):
            name = sequence_name(clip.name)
            name = name if name not in {n.rpartition("-")[0] or n for n in names} | set(names) else f"{name}_{len(names)}"
            try:
                names += _write(options.out, name, *_read(clip, options), options.every)
            except (OSError, ValueError) as error:
                faults.append(f"{clip.name}: {error}")
    for fault in faults[:SHOWN]:
        print(f"left out: {fault}", file=sys.stderr)
    if len(faults) > SHOWN:
        print(f"left out: {len(faults) - SHOWN} more", file=sys.stderr)
    if not names:
        raise Problem(f"{options.source}: no clip could be imported" + ("" if faults else "; it holds no box"), USAGE)
    write_atomically(options.out / "list.txt", "".join(f"{name}\n" for name in names))
    found = read_got10k(options.out)
    boxes = sum(int(np.isfinite(sequence.boxes).all(1).sum()) for sequence in found)
    print(f"imported {len(found)} clips with {boxes} boxes into {options.out}", file=sys.stderr)
    print(
        f'next     name it in a mix: {{"name": "mine", "root": "{options.out}", "weight": 1}} (docs/training.md)', file=sys.stderr
    )
    return INCOMPLETE if faults else 0


def clips(options: ImportDataOptions) -> Iterable[LayoutClip]:
    """All clips that are there.

    Raises:
        Problem: there is no such kind or none is there; the message says what is expected.
        OSError, ValueError: see :func:`metatrack.data.datasets.read_dataset`.
    """
    kind, source = options.kind.lower(), options.source
    if not source.exists():
        raise Problem(f"{source} does not exist; give a file of boxes, or the folder of a data set")
    if kind in LAYOUTS:
        found = list(LAYOUTS[kind](source))
        if not found:
            raise Problem(f"{source} holds no clip of the kind {kind}; expected is {EXPECTED[kind]}")
        return found
    if kind == YOUTUBE_BB:
        return _youtube_bb(options)
    if kind in FORMATS and (source.is_file() or kind not in DATA_SETS):
        if options.video is None:
            raise Problem(f"{kind} is a file of boxes; say of which video or folder of images with --video")
        return [LayoutClip(sequence_name(options.video), lambda: ([], read_tracks(source, kind)))]
    if kind in DATA_SETS:
        return [LayoutClip(s.name, lambda s=s: _of_sequence(s)) for s in read_dataset(kind, source, None, True)]  # type: ignore[misc]
    raise Problem(f"no kind {options.kind!r}; there are {', '.join(dict.fromkeys(KINDS))}")


def _youtube_bb(options: ImportDataOptions) -> list[LayoutClip]:
    if options.video is None or not Path(options.video).is_dir():
        raise Problem("youtube-bb is a table; pass the folder of its videos, named by their ids (ID.mp4), with --video FOLDER")
    if options.every != 1:
        raise Problem("the boxes of youtube-bb are a second apart already; leave --every out")
    found, absent = youtube_bb(options.source, Path(options.video))
    if absent:
        print(f"note: boxes of {absent} videos that {options.video} does not hold are left out", file=sys.stderr)
    if not found:
        raise Problem(f"{options.video} holds no video that {options.source} has boxes of; videos are named by their ids, ID.mp4")
    return found


def _of_sequence(sequence: Sequence) -> tuple[list[Path], Tracks]:
    known = np.flatnonzero(np.isfinite(sequence.boxes).all(1))
    rows = [("1", LABEL, Mark(int(i), Box(*sequence.boxes[i].tolist()))) for i in known]
    return list(sequence.frame_paths), collect(sequence.name, rows, Video())


def _read(clip: LayoutClip, options: ImportDataOptions) -> tuple[Iterator[tuple[int, Image]], Tracks]:
    """The frames of a clip with their numbers, and its targets."""
    files, tracks = clip.read()
    if clip.video is not None:
        return _some_frames(clip.video, sorted(tracks.by_frame())), tracks
    images = (as_rgb(read_image(file, upright=False)) for file in files)
    return enumerate(images if files else _frames(str(options.video))), tracks


def _some_frames(video: Path, numbers: list[int]) -> Iterator[tuple[int, Image]]:
    with closing(open_seekable(video)) as source:
        for number in numbers:
            yield number, source.read(number)


def _frames(video: str) -> Iterator[Image]:
    with open_source(video, drop=False) as source:
        yield from source


def _write(out: Path, name: str, frames: Iterator[tuple[int, Image]], tracks: Tracks, every: int) -> list[str]:
    """Writes a clip for each target; returns their names.

    Raises:
        OSError: a frame cannot be read, or something not be written.
        ValueError: there is no box, one lies outside its frame, or the video ends before its boxes do.
    """
    by_frame = {n: [(track.target, mark) for track, mark in found if not mark.outside] for n, found in tracks.by_frame().items()}
    shown = [n for n, found in by_frame.items() if found and n % every == 0]
    if not shown:
        raise ValueError("it holds no box" + (f" in every {every}th frame" if every > 1 else ""))
    targets = [track.target for track in tracks.targets if track.visible]
    numbers = tracks.numbers()
    names = {target: name if len(targets) == 1 else f"{name}-{numbers[target]}" for target in targets}
    seen = -1
    try:
        with TrainingData(out, names) as data:
            for seen, frame in frames:
                if seen % every == 0 and by_frame.get(seen):
                    data.write(frame, {target: _result(mark, frame) for target, mark in by_frame[seen]}, None)
                if seen >= shown[-1]:
                    break
        if seen < shown[-1]:
            raise SourceError(f"the video has {seen + 1} frames, and a box is in frame {shown[-1]}; is it the right one?")
    except (OSError, ValueError):
        for clip in names.values():
            shutil.rmtree(out / clip, ignore_errors=True)
        raise
    written = {target for n in shown for target, _ in by_frame[n]}
    return [names[target] for target in targets if target in written]


def _result(mark: Mark, frame: Image) -> Result:
    height, width = frame.shape[:2]
    x, y, w, h = mark.box
    if x >= width or y >= height or x + w <= 0 or y + h <= 0:
        raise ValueError(f"frame {mark.frame}: the box {x:g},{y:g},{w:g},{h:g} lies outside of {width}x{height} pixels")
    return Result(mark.box, 1.0, mark.lost)
