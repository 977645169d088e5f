"""Section 4 of the paper, run here: whom it compares, its figures 4 to 7, and the numbers of its text beside ours."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from collections.abc import Sequence as Seq
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np

from metatrack.data.otb import Subset, otb_targets
from metatrack.data.sequence import Sequence
from metatrack.evaluation.score.formats import match_target
from metatrack.report.filmstrip import Strip, strip
from metatrack.report.findings import Entry, Findings, Group
from metatrack.report.plots import Plot, curve_plot
from metatrack.report.style import LineStyle, line_styles
from metatrack.report.tables import MISSING, Cell, ReportTable, number, ranked

Models = Literal["paper", "lite"]
OURS: dict[Models, tuple[str, str]] = {
    "paper": ("mlt-as-printed", "mlt-as-printed-no-meta"),
    "lite": ("mlt", "mlt-no-meta"),
}
"""By models, the trackers that stand for MLT and for MLT w/o meta."""
LISTS: tuple[Subset, ...] = ("OTB50", "OTB100")
ATTRIBUTES = ("BC", "LR", "SV", "IV", "DEF", "MB", "IPR", "OCC", "OV")
"""The nine of figure 6, in the order in which section 4.2.1 names them."""
QUALITATIVE = {"Box": "OCC", "Rubik": "OPR", "Human3": "BC", "Girl2": "FM", "Car24": "SV"}
"""The sequences of figure 7, and the attribute nearest to what section 4.2.2 shows each for."""
BOXED = ("MLT", "SRDCF", "SiamFC", "CNN-SVM", "DSST", "HDT")
"""The six trackers of figure 7. In this order our colours are nearest to the paper's: red, blue, green, yellow, violet, cyan."""


class Entrant(NamedTuple):
    """A tracker of the comparison."""

    paper: str  # what the paper calls it
    tracker: str  # one of ``evaluation.run.trackers.NAMED``
    title: str  # its name in our figures, which says what stands in for a network that cannot be had


RIVALS = (
    Entrant("SRDCF", "srdcf", "SRDCF"),
    Entrant("SiamFC", "siamfc", "SiamFC (our network)"),
    Entrant("CNN-SVM", "cnn-svm-lite0", "CNN-SVM (Lite0)"),
    Entrant("DSST", "dsst", "DSST"),
    Entrant("HDT", "hdt-vgg16", "HDT (VGG-16)"),
    Entrant("MEEM", "meem", "MEEM"),
    Entrant("KCF", "kcf", "KCF"),
    Entrant("TLD", "tld", "TLD"),
    Entrant("CSK", "csk", "CSK"),
    Entrant("DeepSRDCF", "deepsrdcf-lite0", "DeepSRDCF (Lite0)"),
    Entrant("C-COT", "ccot-lite0", "C-COT (Lite0)"),
)
"""The eleven other trackers."""
COLOURED = (*BOXED, "MLT w/o meta", "C-COT", "DeepSRDCF", "KCF", "MEEM", "CSK", "TLD")
"""Who gets which line: the last six the colours of the first, dashed."""


def entrants(models: Models) -> tuple[Entrant, ...]:
    """All thirteen, ours first."""
    mlt, without = OURS[models]
    return (Entrant("MLT", mlt, "MLT"), Entrant("MLT w/o meta", without, "MLT w/o meta"), *RIVALS)


def published_names(there: Seq[str]) -> dict[str, str]:
    """By the paper's name, whose boxes are published under which name; of several the last.

    >>> published_names(["DSST__a", "DSST__b", "KCF_GaussHog", "SiamRPN++"])
    {'DSST': 'DSST__b', 'KCF': 'KCF_GaussHog'}
    """
    names = [rival.paper for rival in RIVALS]
    aliases = {"CCOT": "C-COT", "CNNSVM": "CNN-SVM"}
    found = {match_target(name, names, aliases): name for name in sorted(there, key=str.lower)}
    return {name: found[name] for name in names if name in found}


@dataclass(frozen=True)
class Comparison:
    """All that is shown."""

    entrants: tuple[Entrant, ...]  # those with results, or whose boxes are published
    here: Findings  # entries bear the titles of their entrants
    published: Findings | None  # entries bear the paper's names
    ablation: str  # tracker that stands for MLT w/o meta

    @property
    def styles(self) -> dict[str, LineStyle]:
        """A line for each name: a tracker has the same here and as published."""
        lines = line_styles(COLOURED, COLOURED[0])
        return {name: lines[each.paper] for each in self.entrants for name in (each.title, each.paper)}

    def of(self, paper: str) -> Entry | None:
        """The tracker of this name, as it ran here."""
        return next((self._entry(self.here, e.title) for e in self.entrants if e.paper == paper), None)

    def published_of(self, paper: str) -> Entry | None:
        """The tracker of this name, as published."""
        return None if self.published is None else self._entry(self.published, paper)

    @staticmethod
    def _entry(findings: Findings, name: str) -> Entry | None:
        return next((entry for entry in findings.entries if entry.name == name), None)

    def group(self, subset: Subset) -> Group:
        """The targets of one of OTB's lists that are there."""
        listed = {target.name for target in otb_targets(subset)}
        return Group("", f"OTB-{subset.removeprefix('OTB')}", tuple(s.name for s in self.here.sequences if s.name in listed))


def renamed(findings: Findings, names: Mapping[str, str]) -> Findings:
    """Findings whose trackers have other names."""
    entries = tuple(replace(entry, name=names[entry.name]) for entry in findings.entries)
    return replace(findings, entries=entries, focus=names[findings.focus], empty=tuple(names[name] for name in findings.empty))


def only(findings: Findings, wanted: Callable[[Entry], bool], *more: Entry) -> Findings | None:
    """Findings of some of the trackers, and of more; None if there are none."""
    entries = (*(entry for entry in findings.entries if wanted(entry)), *more)
    if not entries:
        return None
    names = [entry.name for entry in entries]
    return replace(findings, entries=entries, focus="MLT" if "MLT" in names else names[0])


# -- figures


def ours(comparison: Comparison) -> Findings | None:
    """MLT and MLT w/o meta alone."""
    return only(comparison.here, lambda entry: entry.name in ("MLT", "MLT w/o meta"))


def figure4(comparison: Comparison) -> list[Plot]:
    """MLT against MLT w/o meta, on OTB-50 and OTB-100."""
    pair = ours(comparison)
    plots = []
    for subset in LISTS:
        group = comparison.group(subset)
        if pair is not None and group.sequences:
            whole = len(otb_targets(subset))
            title = f"{group.title}: {_of(len(group.sequences), whole)} sequences"
            name = f"figure-4-{group.title.lower()}"
            plots.append(curve_plot(pair, comparison.styles, "success", group, name, title))
    return plots


def with_ours(comparison: Comparison) -> Findings | None:
    """Published boxes, and ours of MLT among them."""
    ours = comparison.of("MLT")
    if comparison.published is None:
        return None
    return only(comparison.published, lambda entry: True, *([] if ours is None else [ours]))


def figure5(comparison: Comparison) -> list[Plot]:
    """All trackers on OTB-100, with their speed: as they run here and, where boxes are published, by those."""
    group, plots = comparison.group("OTB100"), []
    for findings, name, what in (
        (comparison.here, "figure-5", "run here"),
        (with_ours(comparison), "figure-5-published", "published boxes"),
    ):
        if findings is not None:
            title = f"OTB-100: {_of(len(group.sequences), 100)} sequences, {what}"
            plot = curve_plot(findings, comparison.styles, "success", group, name, title, speed=True)
            note = "" if findings is comparison.here else "MLT as it runs here; speeds of the others as their files state them."
            plots.append(plot._replace(note=note))
    return plots


def figure6(comparison: Comparison, findings: Findings, name: str) -> list[Plot]:
    """A success plot for each of the nine attributes that any sequence has."""
    groups = {group.key: group for group in findings.attributes}
    shown = [groups[key] for key in ATTRIBUTES if key in groups]
    return [curve_plot(findings, comparison.styles, "success", group, f"{name}-{group.key}") for group in shown]


class StripScene(NamedTuple):
    """A row of figure 7."""

    strip: Strip
    title: str
    published: Strip | None


def figure7(comparison: Comparison, frames: Mapping[str, Sequence], count: int) -> list[StripScene]:
    """The five sequences with the boxes of six trackers; where one is missing, another with the same attribute, which is said."""
    names = {each.title for each in comparison.entrants if each.paper in BOXED}
    here = only(comparison.here, lambda entry: entry.name in names)
    theirs = with_ours(comparison)
    published = None if theirs is None else only(theirs, lambda entry: entry.name in BOXED)
    titles = {group.key: group.title for group in comparison.here.attributes}
    scenes: list[StripScene] = []
    for letter, (wanted, sequence) in zip("abcde", scene_sequences(comparison.here).items()):
        attribute = titles.get(QUALITATIVE[wanted], QUALITATIVE[wanted])
        if here is None or sequence is None:
            continue
        title = f"({letter}) {wanted}: {attribute}"
        if sequence.name != wanted:
            title = f"({letter}) {sequence.name}: {attribute}, in place of {wanted}, which is missing"
        drawn = [strip(frames[sequence.name], each, comparison.styles, count) for each in (here, published) if each is not None]
        scenes.append(StripScene(drawn[0], title, drawn[1] if len(drawn) > 1 else None))
    return scenes


def scene_sequences(findings: Findings) -> dict[str, Sequence | None]:
    """For each sequence of figure 7 itself or, where it is missing, the first with its attribute that is not shown already."""
    there = {sequence.name: sequence for sequence in findings.sequences}
    chosen: dict[str, Sequence | None] = {name: there.get(name) for name in QUALITATIVE}
    for name, attribute in QUALITATIVE.items():
        if chosen[name] is None:
            taken = {sequence.name for sequence in chosen.values() if sequence is not None}
            free = (s for s in findings.sequences if attribute in s.attributes and s.name not in taken)
            chosen[name] = next(free, None)
    return chosen


def _of(there: int, whole: int) -> str:
    return str(whole) if there == whole else f"{there} of {whole}"


# -- tables


def results(comparison: Comparison) -> ReportTable:
    """A row for each tracker: AUC here and by the published boxes on the same sequences, and speed."""
    groups = [comparison.group(subset) for subset in LISTS]
    rows = []
    for each in comparison.entrants:
        entry, theirs = comparison.of(each.paper), comparison.published_of(each.paper)
        cells = [Cell(each.title if entry is not None else each.paper)]
        for group in groups:
            cells += [Cell(_mean(entry, group)), Cell(_mean(theirs, group))]
        whole = [e is not None and e.complete(groups[1]) for e in (entry, theirs)]
        both = [e.table(groups[1]).mean("auc") if e is not None and all(whole) else math.nan for e in (entry, theirs)]
        cells.append(Cell(MISSING if math.isnan(both[0] - both[1]) else f"{both[0] - both[1]:+.3f}"))
        cells += [Cell(MISSING if e is None else number(e.table(groups[1]).fps, 1)) for e in (entry, theirs)]
        cells.append(Cell(MISSING if entry is None else entry.count(groups[1]) or str(len(groups[1].sequences))))
        rows.append(tuple(cells))
    sizes = [f"{group.title} ({len(group.sequences)})" for group in groups]
    head = ("tracker", *(f"AUC {size}, {who}" for size in sizes for who in ("here", "published")))
    note = "Published boxes are scored here, on the same sequences; their speeds are those that the files state."
    return ReportTable("Results", (*head, "difference", "fps, here", "fps, published", "sequences"), tuple(rows), note, "results")


def _mean(entry: Entry | None, group: Group) -> str:
    return MISSING if entry is None or not group.sequences else number(entry.table(group).mean("auc"))


def statements(comparison: Comparison) -> ReportTable:
    """The numbers of the text, and its claims that are numbers, beside ours."""
    whole = comparison.group("OTB100")
    rows: list[tuple[str, ...]] = []

    def add(what: str, paper: str, value: Callable[[Entry], str], name: str) -> None:
        sides = [comparison.of(name), comparison.published_of(name)]
        rows.append((what, paper, *(MISSING if side is None else value(side) for side in sides)))

    def fps(entry: Entry) -> str:
        return number(entry.table(whole).fps, 1)

    add("frames a second, MLT", "62.53", fps, "MLT")
    for name, speed in (("SRDCF", "5"), ("SiamFC", "58"), ("HDT", "10")):
        add(f"frames a second, {name}", speed, fps, name)
    for name, auc in (("C-COT", "0.682"), ("DeepSRDCF", "0.635")):
        add(
            f"AUC {whole.title} ({len(whole.sequences)} sequences here), {name}",
            auc,
            lambda entry: " on ".join(filter(None, (_mean(entry, whole), entry.count(whole)))),
            name,
        )
    for subset in LISTS:
        group = comparison.group(subset)
        rows.append((f"AUC of MLT less that of MLT w/o meta, {group.title}", "above 0", _gain(comparison, group), MISSING))
    for what, rank in (
        ("place of MLT by AUC under low resolution", _rank(comparison, "LR")),
        ("place of MLT by speed", _rank(comparison, "")),
    ):
        rows.append((what, "1", rank, MISSING))
    head = ("section 4", "in the paper", "here", "published boxes")
    note = (
        "The paper's speeds are of its authors' computer (Core i7-4790K, GeForce GTX TITAN X), and its 58 is of SiamFC with five "
        "scales; ours are of the machine of this run, with one thread a run."
    )
    return ReportTable("Numbers of the text", head, tuple(tuple(map(Cell, row)) for row in rows), note, "statements")


def _gain(comparison: Comparison, group: Group) -> str:
    """By how much AUC the meta-learner helps, and on how many sequences."""
    pair = comparison.of("MLT"), comparison.of("MLT w/o meta")
    if pair[0] is None or pair[1] is None:
        return MISSING
    shared = [name for name in group.sequences if name in pair[0].findings and name in pair[1].findings]
    gains = np.array([pair[0].findings[name].row.auc - pair[1].findings[name].row.auc for name in shared])
    return f"{gains.mean():+.3f}, better on {int((gains > 0).sum())} of {len(gains)}" if len(gains) else MISSING


def _rank(comparison: Comparison, attribute: str) -> str:
    """MLT's place among complete trackers: by AUC under an attribute or, where that is empty, by speed."""
    groups = {group.key: group for group in comparison.here.attributes}
    group = groups.get(attribute) if attribute else comparison.here.everything
    mlt = comparison.of("MLT")
    if mlt is None or group is None or not mlt.complete(group):
        return MISSING
    rivals = [entry for entry in comparison.here.entries if entry.complete(group)]
    values = {e.name: e.table(group).mean("auc") if attribute else e.table(group).fps for e in rivals}
    return f"{1 + sum(value > values[mlt.name] for value in values.values())} of {len(values)}"


def attributes_table(comparison: Comparison) -> ReportTable:
    """AUC here, and of published boxes, for each tracker and each of the nine attributes."""
    groups = [group for key in ATTRIBUTES for group in comparison.here.attributes if group.key == key]
    entries = [e for each in comparison.entrants if (e := comparison.of(each.paper)) is not None]
    rows = []
    for group in groups:
        marks = ranked([e.table(group).mean("auc") for e in entries], [e.complete(group) for e in entries])
        cells = [Cell(f"{group.title} ({len(group.sequences)})")]
        for entry, mark, each in zip(entries, marks, (c for c in comparison.entrants if comparison.of(c.paper) is not None)):
            theirs = comparison.published_of(each.paper)
            cells.append(Cell(_mean(entry, group), mark, "" if theirs is None else _mean(theirs, group)))
        rows.append(tuple(cells))
    note = "Below: by the published boxes." if comparison.published is not None else ""
    return ReportTable("AUC by attribute", ("attribute", *(e.name for e in entries)), tuple(rows), note, "attributes")
