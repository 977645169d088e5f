"""Many videos as a job (:mod:`metatrack.evaluation.run.worker`): the list of them, the folder of results, one video's run."""

from __future__ import annotations

import csv
import io
import time
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from metatrack.app.given import Given, from_tracks, read_given
from metatrack.app.problem import Problem
from metatrack.app.track import follow
from metatrack.convert.tracks import Video
from metatrack.data.numbers import finite_number, whole_number
from metatrack.data.rows import read_text, refused_table
from metatrack.evaluation.run.folder import Unit, WorkFolder, as_json, check_name
from metatrack.evaluation.run.trackers import Ours
from metatrack.evaluation.run.worker import Job, NoResult, Progress, Report, Send, failed
from metatrack.files import write_atomically
from metatrack.geometry import Box
from metatrack.hints import hint
from metatrack.runtime.load import load_model
from metatrack.tracking.multi import MultiTracker
from metatrack.typed import read_json
from metatrack.video import BoxWriter, SourceError, open_source
from metatrack.video.source import local_path, scheme_of

COLUMNS = ("source", "x", "y", "w", "h", "frame", "name", "boxes")  # of a list with a header, in any order
WITHOUT_HEADER = {
    2: ("source", "boxes"),
    5: COLUMNS[:5],
    6: COLUMNS[:6],
    7: COLUMNS[:7],
}
"""What the cells of a row are where there is no header, by their number."""


@dataclass(frozen=True)
class ListedVideo:
    """A row of a list, or several rows of one video."""

    name: str  # of its results
    source: str  # an absolute path, or an address
    given: Given  # the boxes that a person gave, by frame and target
    problem: str = ""  # why it cannot be tracked, where that is known before

    @property
    def targets(self) -> list[int | str]:
        """Ids of those that are followed."""
        return list(dict.fromkeys(target for found in self.given.values() for target in found))

    def row(self) -> dict[str, Any]:
        """What its result depends on, as JSON has it."""
        boxes = [[n, target, box and list(box)] for n, found in sorted(self.given.items()) for target, box in found.items()]
        return {"source": self.source, "given": boxes}


def read_list(path: Path) -> list[ListedVideo]:
    """Reads a list of videos: CSV with the columns ``source,x,y,w,h`` or ``source,boxes``, and optionally ``frame,name``.

    A relative source or file of boxes starts from the list's folder. Rows of one source and name are its targets, with ids from 1
    on; where no name is given it is the source's without the suffix. A header may be left out where the columns are
    ``source,x,y,w,h[,frame[,name]]`` or ``source,boxes``.

    Raises:
        OSError: the list cannot be read.
        ValueError: a row is not as it should be (the message names it), or two sources have one name.
    """
    by_name: dict[str, ListedVideo] = {}
    lines: dict[str, int] = {}
    for line, row in _rows(path):
        video = _video(path, line, row)
        before = by_name.get(video.name)
        if before is None:
            lines[video.name] = line
        elif before.source != video.source:
            raise ValueError(
                f"{path}, line {line}: {video.source} and that of line {lines[video.name]} would both be called {video.name!r};"
                " give the list a column name"
            )
        elif before.problem or video.problem or row.get("boxes"):
            raise ValueError(f"{path}, line {line}: {video.name} is in line {lines[video.name]} already; give one a name")
        else:
            given: Given = {frame: dict(found) for frame, found in before.given.items()}
            for frame, found in video.given.items():
                given.setdefault(frame, {})[len(before.targets) + 1] = found[1]
            video = ListedVideo(video.name, video.source, given)
        by_name[video.name] = video
    if not by_name:
        raise ValueError(f"{path} lists no video; a row is source,x,y,w,h or source,boxes")
    return list(by_name.values())


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Every row's line and its cells by column."""
    reader = csv.reader(io.StringIO(read_text(path).removeprefix("\ufeff"), newline=""), skipinitialspace=True)
    head: tuple[str, ...] | None = None
    with refused_table(path, reader):
        for cells in reader:
            row = [cell.strip() for cell in cells]
            if not any(row) or row[0].startswith("#"):
                continue
            if head is None and row[0].lower() in COLUMNS and "source" in map(str.lower, row):
                head = tuple(cell.lower() for cell in row)
                for name in head:
                    if name not in COLUMNS:
                        raise ValueError(f"{path}: there is no column {name!r}; {hint(name, COLUMNS)}")
                continue
            columns = head or WITHOUT_HEADER.get(len(row), ())
            if len(columns) != len(row):
                wanted = ",".join(head) if head else "source,x,y,w,h[,frame[,name]] or source,boxes"
                raise ValueError(f"{path}, line {reader.line_num}: {len(row)} cells; a row is {wanted}")
            yield reader.line_num, dict(zip(columns, row))


def _video(path: Path, line: int, row: Mapping[str, str]) -> ListedVideo:
    """One row."""
    where = f"{path}, line {line}"
    source = row.get("source", "")
    if not source:
        raise ValueError(f"{where}: no source; give the path of a video or of a folder of images, or an address")
    if scheme_of(source) is None:
        source = str((path.parent / local_path(source)).resolve())
    name = row.get("name") or Path(source.rstrip("/")).stem
    check_name(name, f"give {where} a name in the column name")
    there = [key for key in "xywh" if row.get(key)]
    if row.get("boxes"):
        if there or row.get("frame"):
            raise ValueError(f"{where}: boxes and {', '.join(there or ['frame'])}; a file of boxes says where and in which frame")
        file = path.parent / row["boxes"]
        try:
            return ListedVideo(name, source, from_tracks(read_given(file, Video())))
        except Problem as problem:  # one video's fault, which stops no other
            return ListedVideo(name, source, {}, str(problem))
    if len(there) < 4:
        missing = [key for key in "xywh" if key not in there]
        raise ValueError(f"{where}: no {', '.join(missing)}; give x,y,w,h of the target, or a file of boxes in the column boxes")
    x, y, w, h = (finite_number(row[key], f"{where}, {key}") for key in "xywh")
    if w <= 0 or h <= 0:
        raise ValueError(f"{where}: the box {x:g},{y:g},{w:g},{h:g} has no area; give x,y,w,h: the top-left corner and the size")
    frame = whole_number(row["frame"], f"{where}, frame") if row.get("frame") else 0
    return ListedVideo(name, source, {frame: {1: Box(x, y, w, h)}})


class BatchFolder(WorkFolder):
    """The results of a batch.

    ::

        batch.json            what they were made with
        boxes/<name>.csv      a video's table of boxes
        videos/<name>.json    what is known of it; written last, so a video with one is done
        partial/<name>.csv    boxes of a video that ended early, up to there
        errors/<name>.txt     why
        locks/                claims of the processes at work; empty otherwise
        summary.csv, summary.json
    """

    def file(self, kind: str, unit: Unit) -> Path:
        suffix = {"errors": ".txt", "videos": ".json"}.get(kind, ".csv")
        return self.root / kind / f"{unit.sequence}{suffix}"

    def is_done(self, unit: Unit) -> bool:
        return self.file("videos", unit).is_file()

    def facts(self, unit: Unit) -> dict[str, Any] | None:
        """What is known of a video that is done; None of others, and where the file is damaged, so that it is made again."""
        try:
            return read_json(self.file("videos", unit), dict[str, Any])
        except (OSError, ValueError):
            return None

    def forget_others(self, video: ListedVideo, unit: Unit) -> bool:
        """Makes a video that was tracked from other boxes one that is not done; whether it was."""
        if not self.is_done(unit) or (self.facts(unit) or {}).get("row") == video.row():
            return False
        self.file("videos", unit).unlink(missing_ok=True)
        return True


class Tracked(NamedTuple):
    """What a video came to."""

    table: bytes  # as ``metatrack track --boxes`` writes it
    facts: dict[str, Any]
    ended: NoResult | None  # what ended it early, if anything did


@dataclass(frozen=True)
class Videos(Job):
    """Our tracker over videos."""

    folder: BatchFolder
    model: Ours
    identity: Mapping[str, Any]  # of the model, where the batch was called
    times: bool = False  # the tables have the column ``time``

    def attempt(self, unit: Unit, item: ListedVideo, send: Send) -> Tracked | NoResult:
        try:
            return self._track(item, Progress(unit, send))
        except Problem as problem:
            return NoResult(str(problem), "")
        except Exception as error:  # whatever it is: the others go on
            return failed(error)

    def _track(self, video: ListedVideo, progress: Progress) -> Tracked | NoResult:
        if video.problem:
            raise Problem(video.problem)
        begin, several = time.perf_counter(), len(video.targets) > 1
        frames, lost, scores = 0, list[int](), array("d")  # frames that were tracked, numbers of those with a lost target, scores
        ended: NoResult | None = None
        tracker = MultiTracker(load_model(self.model.model, 1), self.model.adapt)
        with TemporaryDirectory(prefix="metatrack") as scratch:
            table = Path(scratch) / "boxes.csv"
            try:
                source = open_source(video.source, start=min(video.given), drop=False)
            except SourceError as error:
                raise Problem(str(error)) from error
            with source, BoxWriter(table, several, self.times) as writer:
                try:
                    for step in follow(tracker, source, video.given):
                        for target, result in step.results.items():
                            writer.write(source.index, *result, target if several else None, source.time)
                        frames += 1
                        lost += [step.number] if any(result.lost for result in step.results.values()) else []
                        scores.extend(result.score for result in step.results.values())
                        progress.step()
                    if source.index < max(video.given):
                        raise Problem(
                            f"{video.source} has {source.index + 1} frames; a box is given for frame {max(video.given)}"
                        )
                except (SourceError, Problem) as error:  # what was tracked is kept
                    ended = NoResult(str(error), "")
                except Exception as error:  # a fault of ours; still kept
                    ended = failed(error)
            if ended is not None and not frames:
                return ended
            facts = {
                "row": video.row(),
                "frames": frames,
                "targets": len(video.targets),
                "lost_frames": len(lost),
                "first_lost": lost[0] if lost else None,
                "mean_score": round(sum(scores) / max(len(scores), 1), 4),
                "lowest_score": round(min(scores, default=1.0), 4),
                "size": list(source.size),
                "seconds": round(time.perf_counter() - begin, 3),
            }
            return Tracked(table.read_bytes(), facts, ended)

    def keep(self, unit: Unit, came_to: Tracked | NoResult) -> Report:
        if isinstance(came_to, Tracked) and came_to.ended is None:
            write_atomically(self.folder.file("boxes", unit), came_to.table)
            write_atomically(self.folder.file("videos", unit), as_json(came_to.facts))
            for kind in ("errors", "partial"):
                self.folder.file(kind, unit).unlink(missing_ok=True)
            return Report("done", unit)
        why = came_to if isinstance(came_to, NoResult) else came_to.ended or NoResult("", "")
        if isinstance(came_to, Tracked):
            write_atomically(self.folder.file("partial", unit), came_to.table)
            kept = f"{came_to.facts['frames']} frames were tracked before: {self.folder.file('partial', unit)}\n"
            why = why._replace(details=kept + why.details)
        self.folder.write_error(unit, *why)
        return Report("failed", unit, reason=why.reason)

    def needs(self, unit: Unit, item: ListedVideo) -> Path | None:
        """The video, unless it is an address."""
        return Path(item.source) if scheme_of(item.source) is None and Path(item.source).exists() else None

    def unfitness(self, unit: Unit) -> str | None:
        try:
            if self.model.identity() != self.identity:
                return "its model differs from the driver's; install the same metatrack and model on every machine"
        except (OSError, ValueError) as error:
            return f"{error} (the folder of a model must be at the same path on every machine)"
        return None
