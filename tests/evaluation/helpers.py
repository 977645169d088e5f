"""Evaluations as commands, and what they leave; scores of boxes that are at hand."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence as Seq
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import metatrack
from metatrack.data.otb import otb_targets
from metatrack.data.sequence import Sequence
from metatrack.evaluation.run.evaluate import carry_out, runs
from metatrack.evaluation.run.folder import Failure, Unit
from metatrack.evaluation.run.store import Store
from metatrack.evaluation.run.trackers import TrackerSpec
from metatrack.evaluation.score.imports import ImportedRun, ResultSource, load_results
from metatrack.evaluation.score.scores import Convention, Row, measure, score_measured
from tests.conftest import REPOSITORY

FAKES = "tests.fake_trackers"
PATHS = os.pathsep.join([str(Path(metatrack.__file__).parents[1]), str(REPOSITORY)])
SCORES = ("summary.json", "summary.csv")


def spec(name: str) -> TrackerSpec:
    return TrackerSpec(name.lower(), f"{FAKES}:{name}")


def evaluate(
    store: Store, trackers: Seq[TrackerSpec], units: Seq[Unit], sequences: Seq[Sequence], jobs: int = 1, **more: Any
) -> list[Failure]:
    return carry_out(runs(store, trackers), units, {each.name: each for each in sequences}, jobs, **more)


def command(root: Path, out: Path, trackers: str, *more: str) -> list[str]:
    words = ["evaluate", "--dataset", "plain", "--root", str(root), "--out", str(out), "--trackers", trackers, *more]
    return [sys.executable, "-m", "metatrack", *words]


def start(words: list[str], log: Path, slow: float = 0.0, meet: int = 1) -> subprocess.Popen[str]:
    fakes = {"FAKE_LOG": str(log), "FAKE_SLOW": str(slow), "FAKE_MEET": str(meet)}
    environment = {**os.environ, **fakes, "PYTHONPATH": PATHS, "NO_COLOR": "1"}
    return subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    try:
        out, err = process.communicate(timeout=1200)
    finally:
        process.kill()
    return process.returncode, out, err


def results(out: Path) -> list[Path]:
    """The files of boxes; one that is only being written has a hidden name and is none yet."""
    return sorted(path for path in (out / "boxes").rglob("*.txt") if not path.name.startswith("."))


def contents(out: Path, *names: str) -> dict[str, bytes]:
    files = [out / name for name in names] + results(out)
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in files}


def wait_for(condition, seconds: float = 1200) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.01)


def score_runs(
    sequence: Sequence,
    runs: Seq[tuple[int, npt.ArrayLike]],
    convention: Convention = Convention(),  # noqa: B008 - immutable
    fps: float = float("nan"),
    frame_size: tuple[int, int] | None = None,
) -> Row:
    """Of each run the first frame and its boxes."""
    return score_measured(sequence, measure(sequence, runs, convention, frame_size), fps)


def score(sequence: Sequence, boxes: npt.ArrayLike, fps: float = float("nan")) -> Row:
    """Of one pass."""
    return score_runs(sequence, [(0, boxes)], fps=fps)


def published_results(source: Path) -> dict[str, ImportedRun]:
    """What result files say of OTB's targets, none of whose frames need to be at hand."""
    frames = {target.name: len(target.frames) for target in otb_targets()}
    sequences = [Sequence(name, (Path("none"),) * count, np.full((count, 4), np.nan)) for name, count in frames.items()]
    return load_results(ResultSource("theirs", (source,)), sequences, "otb").results
