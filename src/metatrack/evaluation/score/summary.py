"""From the folder of an evaluation to its tables: ``summary.json``, ``summary.csv``, ``speed.json``, and text for people."""

from __future__ import annotations

import math
from collections.abc import Iterator
from collections.abc import Sequence as Seq
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any, NamedTuple

from metatrack.arrays import Float64
from metatrack.data.sequence import Sequence
from metatrack.evaluation.run.folder import as_json
from metatrack.evaluation.run.store import FORMAT, Store, Unit
from metatrack.evaluation.score import metrics
from metatrack.evaluation.score.scores import (
    CONVENTIONS,
    METRIC_TITLES,
    METRICS,
    Convention,
    Measured,
    Row,
    Table,
    measure,
    score_measured,
)
from metatrack.files import csv_text, write_atomically
from metatrack.typed import read_json

TITLES = {metric: title for metric, title in METRIC_TITLES.items() if metric != "norm_precision_auc"}
"""What the table for people shows."""
MEAN = "(mean)"  # stands for the sequence in the row of ``summary.csv`` that holds a tracker's means


@dataclass(frozen=True)
class LastSummary:
    """What is read of ``summary.json``."""

    trackers: dict[str, Any]


class Scored(NamedTuple):
    """One tracker on one sequence."""

    tracker: str
    sequence: Sequence
    runs: list[tuple[int, Float64]]  # of each run the index of its first frame, and its boxes ``(n, 4)``
    measured: Measured
    row: Row


def tables(store: Store, units: Seq[Unit], sequences: Seq[Sequence]) -> list[Table]:
    """The scores alone of :func:`scored`, a table for each tracker; it raises the same."""
    made: dict[str, list[Row]] = {unit.tracker: [] for unit in units}
    for result in scored(store, units, sequences):
        made[result.tracker].append(result.row)
    return [Table(tracker, tuple(rows)) for tracker, rows in made.items()]


def scored(store: Store, units: Seq[Unit], sequences: Seq[Sequence]) -> Iterator[Scored]:
    """Scores each tracker, in the order of the units, on each sequence of which all runs are done.

    Raises:
        ValueError: a result is damaged; the message names the file.
        OSError: a frame cannot be read (GOT-10k's scores need the size of the first one).
    """
    by_name = {sequence.name: sequence for sequence in sequences}
    convention = CONVENTIONS.get(store.data_set, Convention())
    for (tracker, name), group in groupby(units, lambda unit: (unit.tracker, unit.sequence)):
        done = list(group)
        if all(store.is_done(unit) for unit in done):
            sequence, runs = by_name[name], [(unit.start, store.read_boxes(unit)) for unit in done]
            measured = measure(sequence, runs, convention, frame_size(store, sequence))
            speed = metrics.fps([store.read_seconds(unit) for unit in done])
            yield Scored(tracker, sequence, runs, measured, score_measured(sequence, measured, speed))


def frame_size(store: Store, sequence: Sequence) -> tuple[int, int] | None:
    """Height and width of a sequence's frames, or None where no score needs them; an ``OSError`` where they cannot be read."""
    if not CONVENTIONS.get(store.data_set, Convention()).clip:
        return None
    height, width = sequence.frame_size or sequence.frame(0).shape[:2]
    return height, width


def write_summary(store: Store, scored: Seq[Table], sequences: Seq[Sequence]) -> None:
    """Writes ``summary.json`` and ``summary.csv``, which hold no times and are the same bytes each time, and ``speed.json``."""
    names = [sequence.name for sequence in sequences]
    content = {
        "format": FORMAT,
        "data_set": store.data_set,
        "protocol": store.protocol,
        "convention": asdict(CONVENTIONS.get(store.data_set, Convention())),
        "sequences": len(names),
        "trackers": {table.tracker: _tracker(table, names) for table in scored},
    }
    speed = {
        table.tracker: {"fps": or_none(table.fps), "sequences": {row.sequence: or_none(row.fps) for row in table.rows}}
        for table in scored
    }
    write_atomically(store.root / "summary.json", as_json(content))
    write_atomically(store.root / "summary.csv", _csv(scored).encode())
    write_atomically(store.root / "speed.json", as_json(speed))


def _tracker(table: Table, names: Seq[str]) -> dict[str, Any]:
    there = {row.sequence for row in table.rows}
    scores = {}
    for metric in METRICS:
        low, high = table.interval(metric)
        scores[metric] = {"mean": or_none(table.mean(metric)), "low": or_none(low), "high": or_none(high)}
    by_attribute: dict[str, dict[str, Any]] = {}
    for attribute in sorted({attribute for row in table.rows for attribute in row.attributes}):
        part = table.having(attribute)
        means = {metric: part.mean(metric) for metric in ("auc", "precision") if part.weights(metric).any()}
        if means:
            by_attribute[attribute] = {"sequences": int(part.weights("auc").sum()), **means}
    return {
        "missing": [name for name in names if name not in there],
        "scores": scores,
        "attributes": by_attribute,
        "sequences": {row.sequence: {"frames": row.frames, **_scores(row)} for row in table.rows},
    }


def _scores(row: Row) -> dict[str, float | None]:
    return {metric: or_none(getattr(row, metric)) for metric in METRICS}


def _csv(scored: Seq[Table]) -> str:
    lines: list[list[object]] = [["tracker", "sequence", "frames", *METRICS]]
    for table in scored:
        means = [or_none(table.mean(metric)) for metric in METRICS]
        lines.append([table.tracker, MEAN, sum(row.frames for row in table.rows), *means])
        lines += [[table.tracker, row.sequence, row.frames, *_scores(row).values()] for row in table.rows]
    return csv_text(lines)


def tracker_order(store: Store) -> list[str]:
    """All trackers of an evaluation: first those of ``summary.json``, which the last evaluation was about, then by name."""
    known = store.trackers()
    path = store.root / "summary.json"
    try:
        last = list(read_json(path, LastSummary, open_keys=True).trackers)
    except (OSError, ValueError):  # no evaluation has come to its end yet
        last = []
    return [name for name in last if name in known] + [name for name in known if name not in last]


def format_summary(scored: Seq[Table], sequences: int) -> str:
    """Trackers below each other, with means and 95 % bootstrap intervals; ``sequences`` is how many a complete one has."""
    name_width = max(len(table.tracker) for table in scored) + 2
    head = "".join(f"{title:>13}" for title in [*TITLES.values(), "fps"])
    lines = [f"{'':{name_width}}{head}  sequences"]
    for table in scored:
        scores = (table.mean(metric) for metric in TITLES)
        means = "".join(f"{'-' if math.isnan(score) else f'{score:.3f}':>13}" for score in scores)
        fps = "-" if math.isnan(table.fps) else f"{table.fps:.1f}"
        count = f"{len(table.rows)}" + (f" of {sequences}" if len(table.rows) < sequences else "")
        lines.append(f"{table.tracker:{name_width}}{means}{fps:>13}  {count}")
        intervals = (table.interval(metric) for metric in TITLES)
        spans = "".join(f"{'-' if math.isnan(low) else f'{low:.3f}-{high:.3f}':>13}" for low, high in intervals)
        lines.append(f"{'  95 %':{name_width}}{spans}")
    return "\n".join(line.rstrip() for line in lines)


def or_none(value: float) -> float | None:
    """For JSON and CSV, which know no NaN."""
    return None if math.isnan(value) else value
