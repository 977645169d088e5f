"""``python -m tools.validate.run --root DIR``: what a tracker does on the validation's clips, with intervals over targets.

Boxes are compared where they lie in the frame, so that it does not matter whether a tracker draws what is outside. ``--out``
keeps what was found, a table a clip and start, and ``--against`` compares with what another call kept. Where a target has a
double, the last digit of a float may decide whom a tracker follows: ``--starts 3`` follows each target from three first boxes,
and a clip's mean counts.
"""

from __future__ import annotations

import csv
import multiprocessing
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from benchmarks.accuracy import starts

from metatrack.app.setting import SetTexts, parse_settings
from metatrack.arrays import Float64
from metatrack.data.got10k import read_got10k
from metatrack.data.sequence import Sequence as Video
from metatrack.evaluation.score.metrics import auc, bootstrap_interval, overlaps, success_curve
from metatrack.runtime.load import load_model
from metatrack.tracking.tracker import Tracker

RIGHT, MISSED = 0.5, 0.1
"""Overlap above which a box is right, and under which it misses."""
WRONG_SIZE = 1.4
"""Ratio of sizes (roots of areas) from which a box in place is wrong in size."""
DRAWS = 2000
"""Of a bootstrap over clips."""
SURE = 0.3
"""Score from which a tracker claims to see its target."""
MEASURES = (
    "AUC",
    "missed and flagged",
    "missed and unsure",
    "right and flagged",
    "flagged and missed",
    "wrong size",
    "elsewhere",
)


@dataclass(frozen=True)
class RunOptions:
    """Follows the targets of the validation."""

    root: Path
    """Folder that tools.validate.make wrote."""
    split: str = "choose"
    """choose or report."""
    model: str = "lite"
    adapt: bool = True
    settings: SetTexts = ()
    """A setting of the tracker, for example --set box_search.size_rate=0.4; may be repeated."""
    kinds: tuple[str, ...] = ()
    """Kinds of scenes: filmed, leaves, doubled, grows; all by default."""
    every: int = 1
    """Take every so many clips alone."""
    out: Path | None = None
    """Folder that keeps what was found."""
    against: Path | None = None
    """Such a folder, of another call, to compare with."""
    starts: int = 1
    """First boxes of a clip: the given one, and others moved by up to half a pixel (as benchmarks.accuracy moves them)."""
    jobs: int = 1
    """Processes, one thread each."""


def follow(tracker: Tracker, video: Video, box: Float64) -> Float64:
    """Boxes, score and ``lost`` of every frame but the first: ``(n - 1, 6)``."""
    tracker.init(video.frame(0), box.tolist())
    found = (tracker.update(video.frame(i)) for i in range(1, len(video)))
    return np.array([[*each.box, each.score, each.lost] for each in found], np.float64)


def measured(found: Float64, video: Video) -> dict[str, Any]:
    """What counts of every frame but the first: overlap, and flags."""
    height, width = video.frame(0).shape[:2]
    truth = _within(video.boxes[1:], width, height)
    boxes = _within(found[:, :4], width, height)
    overlap = overlaps(boxes, truth)
    there = np.isfinite(overlap)
    missed = ~there | (overlap < MISSED)
    middle = boxes[:, :2] + boxes[:, 2:] / 2 - truth[:, :2]
    inside = ((middle > 0) & (middle < truth[:, 2:])).all(1)
    ratio = np.sqrt(found[:, 2:4].prod(1) / np.where(there, video.boxes[1:, 2:].prod(1), 1))
    return {
        "overlap": overlap,
        "there": there,
        "missed": missed,
        "right": there & (overlap > RIGHT),
        "flagged": found[:, 5] > 0,
        "sure": found[:, 4] >= SURE,
        "wrong size": there & inside & (np.maximum(ratio, 1 / ratio) >= WRONG_SIZE),
        "elsewhere": there & (overlap < MISSED),
    }


def _within(boxes: Float64, width: int, height: int) -> Float64:
    corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1).clip(0, [width, height, width, height])
    return np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], 1)


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Float64]:
    """Of each clip the AUC, and counts of frames: ``(clips, 2)`` of what is meant and of what it is a share of."""

    def pairs(of: str, among: str) -> Float64:
        return np.array([[(row[of] & row[among]).sum(), row[among].sum()] for row in rows], np.float64)

    for row in rows:
        row["unsure"] = ~row["sure"]
    return {
        "AUC": np.array([[auc(success_curve(row["overlap"][row["there"]])), 1] for row in rows]),
        "missed and flagged": pairs("flagged", "missed"),
        "missed and unsure": pairs("unsure", "missed"),
        "right and flagged": pairs("flagged", "right"),
        "flagged and missed": pairs("missed", "flagged"),
        "wrong size": pairs("wrong size", "there"),
        "elsewhere": pairs("elsewhere", "there"),
    }


def line(name: str, own: dict[str, Float64], other: dict[str, Float64] | None) -> str:
    """A row of the table."""
    rng = np.random.default_rng(0)
    cells = []
    for measure in MEASURES:
        counts = own[measure]
        if measure == "AUC":
            low, high = bootstrap_interval(counts[:, 0], rng)
            text = f"{counts[:, 0].mean():.3f} [{low:.3f}, {high:.3f}]"
            if other is not None:
                change = counts[:, 0] - other[measure][:, 0]
                low, high = bootstrap_interval(change, rng)
                text += f" ({change.mean():+.3f} [{low:+.3f}, {high:+.3f}])"
        else:
            draws = counts[rng.integers(len(counts), size=(DRAWS, len(counts)))].sum(1)
            low, high = np.percentile(draws[:, 0] / np.maximum(draws[:, 1], 1), (2.5, 97.5))
            text = f"{_share(counts):.3f} [{low:.3f}, {high:.3f}]"
            text += "" if other is None else f" ({_share(other[measure]):.3f})"
        cells.append(text)
    return f"| {name} ({len(own['AUC'])}) | " + " | ".join(cells) + " |"


def _share(counts: Float64) -> float:
    return float(counts[:, 0].sum() / max(counts[:, 1].sum(), 1))


def of_clips(counts: dict[str, Float64], runs: int) -> dict[str, Float64]:
    """A :func:`summary` of runs, so many of each clip in turn, as one of clips: the mean AUC, and counts of all frames."""
    together = {name: each.reshape(-1, runs, 2) for name, each in counts.items()}
    return {name: each.mean(1) if name == "AUC" else each.sum(1) for name, each in together.items()}


def main(options: RunOptions) -> None:
    """Follows every target, and prints a table of all clips and of each kind."""
    _started(options)  # what fails, fails here: a pool would start processes without end
    videos = [each for each in read_got10k(options.root, options.split) if not options.kinds or _kind(each) in options.kinds]
    videos = videos[:: options.every]
    rows, others = [], []
    jobs = [(video, start) for video in videos for start in range(options.starts)]
    with multiprocessing.get_context("spawn").Pool(options.jobs, _started, (options,)) as pool:
        for (video, start), found in zip(jobs, pool.imap(_follow, jobs), strict=True):
            table = f"{video.name}.{start}.csv" if start else f"{video.name}.csv"
            if options.out is not None:
                _keep(options.out / table, found)
            rows.append(measured(found, video))
            if options.against is not None:
                others.append(measured(np.loadtxt(options.against / table, delimiter=",", skiprows=1), video))
    own = of_clips(summary(rows), options.starts)
    other = of_clips(summary(others), options.starts) if others else None
    print("| clips | " + " | ".join(MEASURES) + " |\n|" + " --- |" * (len(MEASURES) + 1))
    print(line("all", own, other))
    for kind in sorted({_kind(each) for each in videos}):
        chosen = np.array([_kind(each) == kind for each in videos])
        before = {name: counts[chosen] for name, counts in other.items()} if other else None
        print(line(kind, {name: counts[chosen] for name, counts in own.items()}, before))
    for video, score in zip(videos, own["AUC"][:, 0], strict=True):
        print(f"{video.name} {score:.3f}")


_trackers: list[Tracker] = []
"""A process's own."""


def _started(options: RunOptions) -> None:
    _trackers[:] = [Tracker(load_model(options.model, 1), options.adapt, parse_settings(options.settings))]


def _follow(job: tuple[Video, int]) -> Float64:
    video, start = job
    return follow(_trackers[0], video, starts(video, start + 1)[start])


def _kind(video: Video) -> str:
    return video.name.split("-")[0]


def _keep(path: Path, found: Float64) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["x", "y", "w", "h", "score", "lost"], *found.round(4).tolist()])


if __name__ == "__main__":
    main(tyro.cli(RunOptions))
