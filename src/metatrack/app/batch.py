"""``metatrack batch``: many videos, in a folder that any interruption leaves whole."""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

from metatrack.app.batch_job import BatchFolder, ListedVideo, Videos, read_list
from metatrack.app.evaluate import chosen_workers
from metatrack.app.problem import INCOMPLETE, Problem, user_input
from metatrack.app.progress import Bar
from metatrack.app.track import ModelName
from metatrack.evaluation.run.evaluate import EvaluationError, carry_out
from metatrack.evaluation.run.folder import Failure, Unit
from metatrack.evaluation.run.trackers import Ours
from metatrack.evaluation.run.worker import Report
from metatrack.files import csv_text, write_atomically
from metatrack.runtime.processor import usable_cores

SHOWN = 10  # failures that are named, at most
FIELDS = (
    *("name", "source", "status", "frames", "targets", "lost_frames", "first_lost", "mean_score", "lowest_score", "seconds"),
    "reason",
)
"""Columns of summary.csv."""


@dataclass(frozen=True)
class BatchOptions:
    """Tracks through many videos. Repeat the call to continue an interrupted one, or to try failures again.

    A video that cannot be read stops no other. Several calls may work on one folder at once, on machines that share a disk, too:
    each video is tracked by one of them. The exit code is 0 if every video is done, 1 if some failed (the others are done), 130
    if you interrupted, 2 if the list or a setting cannot be used. docs/batch.md says more.
    """

    videos: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="LIST.csv")]
    """Table of videos with the columns source,x,y,w,h (a target's box) or source,boxes (a file of boxes), and as you like frame
    (in which the box is, from 0) and name (of the results). Paths start from the table's folder."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder of the results: boxes/NAME.csv of each video, errors/NAME.txt, summary.csv and summary.json."""
    jobs: int | None = None
    """Videos at once, with one thread each; by default one for each core that the process may use, with --ray of the cluster."""
    ray: Annotated[str | None, tyro.conf.arg(metavar="HOST:PORT|auto")] = None
    """Cluster to run on instead of this machine: address of its head, or auto on one of its machines. Each machine needs this
    package, and the videos at the same paths."""
    model: ModelName = "lite"
    """Shipped model (see metatrack models), or folder of a bundle."""
    adapt: bool = True
    """Let the meta-learner adapt the model to each target while it tracks."""
    times: bool = False
    """Give the tables a last column, time: seconds in the video's own time."""
    quiet: bool = False
    """Show nothing but failures."""
    json: bool = False
    """Print the summary as JSON on standard output, for scripts."""


def run(options: BatchOptions) -> int:
    """Runs the command; returns the exit code."""
    jobs, workers = chosen_workers(options.jobs, options.ray, "metatrack batch", here=usable_cores())
    folder, model = BatchFolder(options.out), Ours(options.model, options.adapt, "")
    with user_input():
        videos = read_list(options.videos)
        identity = model.identity()
        folder.refuse_foreign("batch", ("boxes", "videos", "partial", "errors", "summary.csv", "summary.json"))
        folder.pin(folder.root / "batch.json", {"format": 1, **identity, "times": options.times}, "batch")
    units = [Unit(options.model, video.name, 1, 0, 0) for video in videos]
    for video, unit in zip(videos, units):
        if folder.forget_others(video, unit) and not options.quiet:
            print(f"{video.name} was tracked from other boxes; it is tracked again", file=sys.stderr)
    job = Videos(folder, folder.now(), model, identity, options.times)
    failures: list[Failure] = []
    try:
        with BatchProgress(len(units), options.quiet) as progress:
            items = {video.name: video for video in videos}
            failures = carry_out(job, units, items, jobs, progress.report, workers)
    except EvaluationError as error:
        raise Problem(str(error), INCOMPLETE) from error
    finally:  # also of an interrupted batch
        summary = write_summary(folder, videos, units)
    return _finish(folder, summary, failures, options)


def write_summary(folder: BatchFolder, videos: Sequence[ListedVideo], units: Sequence[Unit]) -> dict[str, Any]:
    """Writes summary.csv and summary.json of what is there now; returns what the second holds."""
    rows = [_row(folder, video, unit) for video, unit in zip(videos, units)]
    counts = Counter(row["status"] for row in rows)
    summary = {
        "videos": len(rows),
        **{status: counts[status] for status in ("done", "failed", "waiting")},
        "frames": sum(row.get("frames", 0) for row in rows),
        "results": rows,
    }
    table = csv_text([FIELDS, *([row.get(field) for field in FIELDS] for row in rows)])
    write_atomically(folder.root / "summary.csv", table)
    write_atomically(folder.root / "summary.json", json.dumps(summary, indent=1) + "\n")
    return summary


def _row(folder: BatchFolder, video: ListedVideo, unit: Unit) -> dict[str, Any]:
    """What is known of a video."""
    row: dict[str, Any] = {"name": video.name, "source": video.source}
    if facts := folder.facts(unit):
        facts.pop("row", None)
        return {**row, "status": "done", **facts, "boxes": str(folder.file("boxes", unit))}
    if failure := folder.failure_since(unit, 0.0):
        partial_table = folder.file("partial", unit)
        more = {"partial": str(partial_table)} if partial_table.is_file() else {}
        return {**row, "status": "failed", "reason": failure.reason, **more}
    return {**row, "status": "waiting"}


def _finish(folder: BatchFolder, summary: dict[str, Any], failures: list[Failure], options: BatchOptions) -> int:
    if options.json:
        print(json.dumps(summary, indent=1))
    if not options.quiet:
        print(f"tracked  {summary['done']} of {summary['videos']} videos, {summary['frames']} frames", file=sys.stderr)
        print(f"results  {folder.root / 'boxes'}{os.sep}NAME.csv, {folder.root / 'summary.csv'}", file=sys.stderr)
    for failure in failures[:SHOWN]:
        print(f"failed: {failure.unit.sequence}: {failure.reason} ({failure.file})", file=sys.stderr)
    if failures:
        more = f", the first {SHOWN} above" if len(failures) > SHOWN else ""
        print(
            f"FAILED: {len(failures)} of {summary['videos']} videos{more}; the others are done. Repeat the call to try again",
            file=sys.stderr,
        )
    return INCOMPLETE if failures else 0


class BatchProgress(Bar):
    """Videos done of all, and frames per second of all jobs; failures at once, and alone if ``quiet``."""

    def __init__(self, total: int, quiet: bool) -> None:
        self.total, self.done, self.failed, self.frames = total, 0, 0, 0
        self._begin = time.monotonic()
        super().__init__(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True),
            total=total,
            description="videos",
            quiet=quiet,
        )

    def report(self, report: Report) -> None:
        self.frames += report.frames
        self.done += report.kind == "done"
        self.failed += report.kind == "failed"
        if report.kind == "failed":
            self.say("failed", f"{report.unit.sequence}: {report.reason}")
        state = self._state()
        self.show(
            lambda: f"{self.done} of {self.total} videos, {state}",
            completed=self.done + self.failed,
            description=f"videos, {state}",
        )

    def _state(self) -> str:
        failed = f", {self.failed} failed" if self.failed else ""
        seconds = time.monotonic() - self._begin
        return f"{self.frames / seconds if seconds else 0.0:.1f} fps{failed}"
