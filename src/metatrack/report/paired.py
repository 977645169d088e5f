"""Differences between trackers, sequence by sequence: both met the same videos, so much of the chance falls out."""

from __future__ import annotations

import math

import numpy as np

from metatrack.evaluation.score.metrics import bootstrap_interval
from metatrack.report.findings import METRIC_TITLES, Entry, Findings, Group
from metatrack.report.tables import Cell, ReportTable


def paired(findings: Findings) -> ReportTable:
    """The tracker in focus minus each other one, on the sequences of both: mean and 95 % interval of the difference.

    The interval is a percentile bootstrap over sequences, of the differences.
    """
    focus = findings.entry(findings.focus)
    rows = []
    for other in findings.entries:
        if other is focus:
            continue
        names = tuple(name for name in findings.everything.sequences if name in focus.findings and name in other.findings)
        differences = [_difference(focus, other, names, metric) for metric in findings.metrics]
        rows.append((Cell(other.name), *differences, Cell(str(len(names)))))
    head = ("compared with", *(METRIC_TITLES[metric] for metric in findings.metrics), "sequences of both")
    note = (
        f"{focus.name} minus each of the others on the sequences of both, with 95 % bootstrap intervals over sequences. Where an "
        "interval holds 0, other videos of this kind might turn the order round."
    )
    return ReportTable(f"Differences to {focus.name}", head, tuple(rows), note, "differences")


def _difference(one: Entry, other: Entry, names: tuple[str, ...], metric: str) -> Cell:
    both = Group("", "", names)
    weights = one.table(both).weights(metric)
    values = one.table(both).column(metric) - other.table(both).column(metric)
    use = np.isfinite(values) & (weights > 0)
    if not use.any():
        return Cell("–")
    low, high = bootstrap_interval(values[use], np.random.default_rng(0), weights=weights[use])
    mean = float(np.average(values[use], weights=weights[use]))
    return Cell(_signed(mean), small="" if math.isnan(low) else f"{_signed(low)} to {_signed(high)}")


def _signed(value: float) -> str:
    """With its sign, and never a minus before 0.

    >>> _signed(0.01234), _signed(-0.0001)
    ('+0.012', '0.000')
    """
    return "0.000" if round(value, 3) == 0 else f"{value:+.3f}"
