"""One pass evaluation in memory: trackers over sequences to a table. ``python -m metatrack.evaluation.ope --help`` runs it."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from metatrack.data.otb import SUBSETS, read_otb
from metatrack.data.sequence import Sequence as Video
from metatrack.evaluation import metrics
from metatrack.evaluation.results import load_otb
from metatrack.evaluation.runner import Tracker, run_sequence


@dataclass(frozen=True)
class Row:
    """Scores of one tracker on one sequence."""

    sequence: str
    auc: float
    """Success AUC: 21 thresholds, strictly above."""
    precision: float
    """Share of frames whose centre is at most 20 px off."""
    fps: float
    """Frames per second, NaN where unknown."""
    attributes: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Table:
    """Scores of one tracker on several sequences; means are over sequences."""

    tracker: str
    rows: tuple[Row, ...]

    @property
    def auc(self) -> float:
        """Mean success AUC."""
        return float(np.mean([row.auc for row in self.rows]))

    @property
    def precision(self) -> float:
        """Mean P@20."""
        return float(np.mean([row.precision for row in self.rows]))

    @property
    def fps(self) -> float:
        """Mean frames per second over the sequences for which it is known (the OTB papers' way)."""
        known = [row.fps for row in self.rows if not np.isnan(row.fps)]
        return float(np.mean(known)) if known else float("nan")

    def interval(self, rng: np.random.Generator) -> tuple[float, float]:
        """95 % bootstrap interval of the mean AUC."""
        return metrics.bootstrap_interval([row.auc for row in self.rows], rng)


def score(sequence: Video, boxes: npt.ArrayLike, fps: float = float("nan")) -> Row:
    """Scores boxes ``(n, 4)``, 0-based, on a sequence of n frames.

    Raises:
        ValueError: the numbers of frames differ.
    """
    return Row(
        sequence=sequence.name,
        auc=metrics.auc(metrics.success_curve(metrics.overlaps(boxes, sequence.boxes))),
        precision=metrics.precision_at(metrics.center_errors(boxes, sequence.boxes)),
        fps=fps,
        attributes=sequence.attributes,
    )


def evaluate_ope(
    make_tracker: Callable[[], Tracker],
    sequences: Sequence[Video],
    jobs: int = 1,
    name: str | None = None,
    on_row: Callable[[Row], None] = lambda row: None,
) -> Table:
    """Runs a new tracker on each sequence and scores it.

    Args:
        make_tracker: called once per sequence; with ``jobs > 1`` it must be picklable (a function or class of a module, or
            a ``functools.partial`` of one).
        sequences: what to run on.
        jobs: processes. Speed is only meaningful with 1.
        name: of the tracker in the table; None takes ``make_tracker``'s.
        on_row: told each row when it is there, in order.

    Raises:
        RuntimeError: the tracker failed; the message names the sequence, the cause is chained.
    """
    run = partial(_run_and_score, make_tracker)
    rows: list[Row] = []
    for row in _mapped(run, sequences, jobs):
        rows.append(row)
        on_row(row)
    return Table(name or str(getattr(make_tracker, "__name__", "tracker")), tuple(rows))


def published_table(name: str, source: Path, sequences: Sequence[Video]) -> Table:
    """The table of result files published on OTB, on the same targets.

    Raises:
        ValueError: no results for one of the sequences, or a file that cannot be read.
    """
    found = load_otb(source)
    missing = [sequence.name for sequence in sequences if sequence.name not in found]
    if missing:
        raise ValueError(f"{source} holds no results for {', '.join(missing)}")
    rows = (score(s, found[s.name].boxes, found[s.name].fps or float("nan")) for s in sequences)
    return Table(name, tuple(rows))


def format_tables(tables: Sequence[Table], rng: np.random.Generator) -> str:
    """Tables of the same sequences side by side, as text: ``AUC P@20`` per tracker, then the means, then the intervals."""
    width = max([len(row.sequence) for table in tables for row in table.rows] + [len("95 % of AUC")])
    column = max(len("0.000 0.000"), *(len(table.tracker) for table in tables))
    lines = [f"{'':{width}}  " + "  ".join(f"{table.tracker:>{column}}" for table in tables)]
    lines.append(f"{'':{width}}  " + "  ".join(f"{'AUC  P@20':>{column}}" for _ in tables))
    for rows in zip(*(table.rows for table in tables), strict=True):
        cells = [f"{row.auc:.3f} {row.precision:.3f}" for row in rows]
        lines.append(f"{rows[0].sequence:{width}}  " + "  ".join(f"{cell:>{column}}" for cell in cells))
    summary = {
        "mean": [f"{table.auc:.3f} {table.precision:.3f}" for table in tables],
        "95 % of AUC": ["{:.3f}-{:.3f}".format(*table.interval(rng)) for table in tables],
        "fps": ["-" if np.isnan(table.fps) else f"{table.fps:.1f}" for table in tables],
    }
    for title, cells in summary.items():
        lines.append(f"{title:{width}}  " + "  ".join(f"{cell:>{column}}" for cell in cells))
    return "\n".join(lines)


def load_factory(spec: str) -> Callable[[], Tracker]:
    """``package.module:name`` to that callable.

    Raises:
        ValueError: the text has another form or the module lacks the name.
        ImportError: the module cannot be imported.
    """
    module, _, name = spec.partition(":")
    if not module or not name:
        raise ValueError(f"{spec!r} does not name a factory; give package.module:callable")
    factory = getattr(importlib.import_module(module), name, None)
    if not callable(factory):
        raise ValueError(f"module {module} holds no callable {name!r}")
    made: Callable[[], Tracker] = factory
    return made


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m metatrack.evaluation.ope", description="OPE on a local copy of OTB.")
    parser.add_argument("--root", type=Path, required=True, help="folder with one folder per sequence")
    parser.add_argument("--subset", choices=SUBSETS, help="list that must be there in full; default: what is found")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these targets alone")
    parser.add_argument("--tracker", nargs="*", default=[], metavar="MODULE:FACTORY", help="trackers to run")
    parser.add_argument("--published", nargs="*", default=[], type=Path, metavar="ZIP", help="result files to set beside them")
    parser.add_argument("--jobs", type=int, default=1, help="processes (speed is only meaningful with 1)")
    options = parser.parse_args(arguments)
    sequences = read_otb(options.root, options.subset)
    if options.only:
        unknown = set(options.only) - {sequence.name for sequence in sequences}
        if unknown:
            parser.error(f"{options.root} holds no {', '.join(sorted(unknown))}")
        sequences = [sequence for sequence in sequences if sequence.name in options.only]
    tables = [evaluate_ope(load_factory(s), sequences, options.jobs, s.partition(":")[2], _print_row) for s in options.tracker]
    tables += [published_table(path.name.split("__")[0], path, sequences) for path in options.published]
    if not tables:
        parser.error("nothing to evaluate; give --tracker or --published")
    print(format_tables(tables, np.random.default_rng(0)))


def _print_row(row: Row) -> None:
    print(f"{row.sequence}: AUC {row.auc:.3f}  P@20 {row.precision:.3f}  {row.fps:.1f} fps", file=sys.stderr, flush=True)


def _run_and_score(make_tracker: Callable[[], Tracker], sequence: Video) -> Row:
    try:
        boxes, seconds = run_sequence(make_tracker(), sequence)
    except Exception as error:
        raise RuntimeError(f"the tracker failed on sequence {sequence.name}: {error!r}") from error
    return score(sequence, boxes, metrics.fps(seconds))


def _mapped(run: Callable[[Video], Row], sequences: Iterable[Video], jobs: int) -> Iterator[Row]:
    if jobs <= 1:
        yield from map(run, sequences)
        return
    # Spawned, not forked: a forked child of a process with OpenCV's or onnxruntime's threads may hang.
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        yield from pool.map(run, sequences)


if __name__ == "__main__":
    main()
