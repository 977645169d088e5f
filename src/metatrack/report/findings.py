"""What a report shows, drawn once from the folder of an evaluation: scores, curves, losses of each tracker on each sequence."""

from __future__ import annotations

from collections.abc import Sequence as Seq
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from metatrack.arrays import Float64
from metatrack.data.datasets import attribute_titles
from metatrack.data.sequence import Sequence
from metatrack.evaluation.run.evaluate import plan
from metatrack.evaluation.run.store import Store
from metatrack.evaluation.score.scores import CONVENTIONS, METRICS, Convention, Curves, Row, Table, curves, mean_curves, settle
from metatrack.evaluation.score.summary import scored
from metatrack.report.diagnosis import Loss, diagnose, mean_loss

DATA_SET_TITLES = {
    **{"otb": "OTB", "got10k": "GOT-10k", "lasot": "LaSOT", "uav123": "UAV123", "nfs": "NfS", "tcolor128": "TColor-128"},
    **{"vot": "VOT", "plain": "own sequences"},
}


class Finding(NamedTuple):
    """One tracker on one sequence."""

    row: Row
    curves: Curves
    loss: Loss
    boxes: Float64  # (n - s, 4) boxes of the first run as they are scored, which starts in frame s
    start: int


class Group(NamedTuple):
    """Sequences whose mean is shown: all of them, or those with an attribute."""

    key: str  # the attribute's abbreviation; empty for all sequences
    title: str
    sequences: tuple[str, ...]


@dataclass(frozen=True)
class Entry:
    """One tracker."""

    name: str
    imported: bool  # its boxes, and its speed if it has any, come from result files and not from a run of `metatrack evaluate`
    findings: dict[str, Finding]  # by sequence, where it has a result

    def of(self, group: Group) -> list[Finding]:
        """Those of a group for which there is a result."""
        return [self.findings[name] for name in group.sequences if name in self.findings]

    def table(self, group: Group) -> Table:
        """Its scores on a group."""
        return Table(self.name, tuple(finding.row for finding in self.of(group)))

    def complete(self, group: Group) -> bool:
        """Whether it has a result on every sequence of the group, so that its mean compares with others'."""
        return all(name in self.findings for name in group.sequences)

    def count(self, group: Group) -> str:
        """How many of the group's sequences it has, in words where it lacks any; else empty."""
        return "" if self.complete(group) else f"{len(self.of(group))} of {len(group.sequences)}"

    def mean_curves(self, group: Group) -> Curves:
        return mean_curves([finding.curves for finding in self.of(group)])

    def mean_loss(self, group: Group) -> Loss:
        return mean_loss([finding.loss for finding in self.of(group)])


@dataclass(frozen=True)
class Findings:
    """An evaluation, ready to be shown."""

    data_set: str
    protocol: str
    entries: tuple[Entry, ...]  # those with at least one result; the best mean AUC first, complete ones before others
    empty: tuple[str, ...]  # trackers without any result
    sequences: tuple[Sequence, ...]  # sorted by name. Their frames cannot be read
    focus: str  # the tracker by which sequences are ordered
    identities: dict[str, dict[str, Any]] = field(default_factory=dict)  # what they were, as the evaluation noted it
    chosen: str = ""  # which sequences are left out on purpose, in a sentence

    @property
    def title(self) -> str:
        """Name of the data set for people."""
        return DATA_SET_TITLES.get(self.data_set, self.data_set)

    @cached_property
    def everything(self) -> Group:
        return Group("", "all sequences", tuple(sequence.name for sequence in self.sequences))

    @cached_property
    def attributes(self) -> tuple[Group, ...]:
        """A group for each attribute, in the data set's order, then others by name."""
        titles = attribute_titles(self.data_set)
        found = {attribute for sequence in self.sequences for attribute in sequence.attributes}
        keys = [key for key in titles if key in found] + sorted(found - titles.keys())
        return tuple(
            Group(key, titles.get(key, key), tuple(s.name for s in self.sequences if key in s.attributes)) for key in keys
        )

    @cached_property
    def metrics(self) -> tuple[str, ...]:
        """Those of ``scores.METRICS`` that any result has."""
        tables = [entry.table(self.everything) for entry in self.entries]
        return tuple(metric for metric in METRICS if any(table.weights(metric).any() for table in tables))

    @property
    def absent(self) -> bool:
        """Whether frames without a target cost anything (``diagnosis.Loss.absent``)."""
        return any(finding.loss.absent > 0 for entry in self.entries for finding in entry.findings.values())

    @property
    def common(self) -> list[Sequence]:
        """The sequences on which every tracker that is shown has a result."""
        return [s for s in self.sequences if all(s.name in entry.findings for entry in self.entries)]

    def worst_first(self) -> list[Sequence]:
        """The sequences by the focus' AUC, the lowest first; those it has no score for come last."""

        def key(sequence: Sequence) -> float:
            finding = self.entry(self.focus).findings.get(sequence.name)
            return float(np.nan_to_num(finding.row.auc if finding else np.nan, nan=2.0))

        return sorted(self.sequences, key=key)

    def entry(self, tracker: str) -> Entry:
        return next(entry for entry in self.entries if entry.name == tracker)


def find(store: Store, sequences: Seq[Sequence], trackers: Seq[str], focus: str | None = None) -> Findings:
    """Reads all results that are done and scores them.

    Args:
        sequences: what its results are scored against; of those for which no tracker has a result nothing is shown.
        trackers: whom to show, each one of ``store.trackers()``.
        focus: one of them; None is the first that has a result.

    Raises:
        ValueError: a result is damaged, or there is none, or none of ``focus``.
        OSError: a frame cannot be read (GOT-10k's scores need the size of the first one).
    """
    identities = store.trackers()
    convention = CONVENTIONS.get(store.data_set, Convention())
    found: dict[str, dict[str, Finding]] = {tracker: {} for tracker in trackers}
    for result in scored(store, plan(store, trackers, sequences), sequences):
        start, loss = result.runs[0][0], diagnose(result.sequence, result.runs, convention)
        boxes = settle(result.sequence, *result.runs[0])[0]
        found[result.tracker][result.sequence.name] = Finding(result.row, curves(result.measured), loss, boxes, start)
    shown = {name for findings in found.values() for name in findings}
    if not shown:
        raise ValueError(f"{store.root} holds no finished result of {', '.join(trackers)}; repeat the evaluation to go on")
    focus = focus or next(tracker for tracker, findings in found.items() if findings)
    if not found[focus]:
        raise ValueError(f"{store.root} holds no finished result of {focus!r}; name another tracker")
    entries = [Entry(t, "imported" in identities.get(t, {}), findings) for t, findings in found.items() if findings]
    everything = Group("", "", tuple(sequence.name for sequence in sequences if sequence.name in shown))
    scores = {entry.name: float(np.nan_to_num(entry.table(everything).mean("auc"))) for entry in entries}
    entries.sort(key=lambda entry: (not entry.complete(everything), -scores[entry.name], entry.name))
    return Findings(
        data_set=store.data_set,
        protocol=store.protocol,
        entries=tuple(entries),
        empty=tuple(tracker for tracker, findings in found.items() if not findings),
        sequences=tuple(sequence for sequence in sequences if sequence.name in shown),
        focus=focus,
        identities={entry.name: identities.get(entry.name, {}) for entry in entries},
    )
