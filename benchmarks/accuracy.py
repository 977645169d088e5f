"""``python -m benchmarks.accuracy --root DIR``: what the fast ways cost in accuracy, on sequences of OTB, with intervals.

One run of a sequence says little of a small change: where a target has a double, the last digit of a float may decide whom the
tracker follows from then on, for better or worse. So every sequence is run from several first boxes, of which all but the given
one are moved by up to half a pixel, and the mean counts.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import tyro

from benchmarks.page import Section, Table, markdown
from metatrack.compared.opencv import Nano
from metatrack.data.otb import read_otb
from metatrack.data.sequence import Sequence as Video
from metatrack.evaluation.score.metrics import auc, bootstrap_interval, center_errors, overlaps, precision_at, success_curve
from metatrack.hints import hint
from metatrack.runtime.load import load_model
from metatrack.runtime.processor import Engine, Precision, usable_cores
from metatrack.tracking.tracker import Tracker

SHAKEN = 0.5
"""Pixels by which a first box is moved, at most."""
Score = tuple[float, float]


@dataclass(frozen=True)
class Way:
    """One way to run a model."""

    name: str
    model: str = "lite"
    precision: Precision = "auto"
    engine: Engine = "onnxruntime"
    adapt: bool = True
    settings: dict[str, Any] = field(default_factory=dict)
    nano: Path | None = None
    """Folder of OpenCV's NanoTrack, which is the way then, for comparison."""

    def make(self) -> Any:
        """A tracker with one thread."""
        if self.nano is not None:
            return Nano(self.nano)
        return Tracker(load_model(self.model, 1, self.precision, self.engine), self.adapt, self.settings)


FULL: dict[str, Any] = {"near_size": 255}
WAYS = (
    Way("float32", precision="float32", settings=FULL),
    Way("int8", precision="int8", settings=FULL),
    Way("int8, small contexts", precision="int8"),
    Way("int8, small contexts, no adaptation", precision="int8", adapt=False),
    Way("OpenVINO, bfloat16, small contexts", precision="bfloat16", engine="openvino"),
    Way("paper", "paper", settings={"pyramid": "search", "scale_interval": 1}),
    Way("paper, three scales every third frame", "paper", settings={"pyramid": "search", "scale_interval": 3}),
    Way("paper, one context", "paper", settings={"pyramid": "template"}),
)
"""The ways of each model, the first of which the others are compared with."""


@dataclass(frozen=True)
class AccuracyOptions:
    """Accuracy of the fast ways against the plain one."""

    root: Path
    """Folder with OTB's sequences."""
    starts: int = 5
    """First boxes of a sequence."""
    only: tuple[str, ...] = ()
    """Names of ways; all by default."""
    jobs: int = 0
    """Processes; 0 is one per core."""
    nano: Path | None = None
    """Folder with OpenCV's NanoTrack files, to compare with."""


def starts(video: Video, count: int) -> npt.NDArray[np.float64]:
    """The given box, and such as are moved by up to half a pixel: ``(count, 4)``."""
    given = np.asarray(video.boxes[0], np.float64)
    rng = np.random.default_rng(list(video.name.encode()))
    moves = np.concatenate([np.zeros((1, 4)), rng.uniform(-SHAKEN, SHAKEN, (count - 1, 4))])
    boxes: npt.NDArray[np.float64] = given + moves
    boxes[:, 2:] = np.maximum(boxes[:, 2:], 1)
    return boxes


def follow(job: tuple[Way, Video, int]) -> tuple[str, str, list[Score]]:
    """AUC and P@20 of every run of a sequence."""
    way, video, count = job
    cv2.setNumThreads(1)
    tracker, scores = way.make(), []
    for box in starts(video, count):
        tracker.init(video.frame(0), box.tolist())
        boxes = np.array([video.boxes[0], *(tracker.update(video.frame(i)).box for i in range(1, len(video)))])
        known = np.isfinite(video.boxes).all(1)
        overlap, errors = overlaps(boxes[known], video.boxes[known]), center_errors(boxes[known], video.boxes[known])
        scores.append((auc(success_curve(overlap)), precision_at(errors)))
    return way.name, video.name, scores


def table(ways: Sequence[Way], scores: dict[str, npt.NDArray[np.float64]]) -> Table:
    """Rows from ``(sequences, starts, 2)`` of every way; differences from the first way of the same model."""
    rows = []
    for way in ways:
        own = scores[way.name]
        first = next(other for other in ways if other.model == way.model)
        mean, runs = own.mean((0, 1)), own[..., 0].mean(0)
        row = [way.name, f"{mean[0]:.3f}", f"{runs.min():.3f} to {runs.max():.3f}", f"{mean[1]:.3f}"]
        if way is first:
            row.append("")
        else:
            differences = (own - scores[first.name])[..., 0].mean(1)
            low, high = bootstrap_interval(differences, np.random.default_rng(0))
            row.append(f"{differences.mean():+.3f} [{low:+.3f}, {high:+.3f}]")
        rows.append(row)
    return Table(("way", "AUC", "of single runs", "P@20", "AUC against the first [95 %]"), rows)


def main(options: AccuracyOptions) -> None:
    """Runs every way, in processes, and prints the table."""
    names = [way.name for way in WAYS]
    for name in options.only:
        if name not in names:
            raise SystemExit(f"--only: no way {name!r}; {hint(name, names)}")
    ways = [way for way in WAYS if not options.only or way.name in options.only]
    if options.nano is not None:
        ways.append(Way("NanoTrack", nano=options.nano))
    videos = read_otb(options.root)
    jobs = [(way, video, options.starts) for way in ways for video in sorted(videos, key=len, reverse=True)]
    found: dict[str, dict[str, list[Score]]] = {way.name: {} for way in ways}
    with multiprocessing.get_context("spawn").Pool(options.jobs or usable_cores()) as pool:
        for name, video, values in pool.imap_unordered(follow, jobs):
            found[name][video] = values
    scores = {name: np.array([values[video.name] for video in videos]) for name, values in found.items()}
    says = (
        f"{len(videos)} sequences, {options.starts} first boxes each; the interval is a bootstrap over the sequences of"
        " the paired differences."
    )
    print("\n".join(markdown(Section("Accuracy of the fast ways", [says, table(ways, scores)]))))
    for way in ways:
        print(way.name, " ".join(f"{v.name} {s:.3f}" for v, s in zip(videos, scores[way.name][..., 0].mean(1))))


if __name__ == "__main__":
    main(tyro.cli(AccuracyOptions))
