"""Tables as Markdown, LaTeX (booktabs), CSV and HTML: numbers first, one form for all, then four ways to write it."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable
from collections.abc import Sequence as Seq
from typing import Literal, NamedTuple

import numpy as np

from metatrack.evaluation.score.metrics import bootstrap_interval
from metatrack.evaluation.score.scores import METRIC_TITLES
from metatrack.evaluation.score.summary import or_none
from metatrack.files import csv_text
from metatrack.report.diagnosis import TITLES, Loss
from metatrack.report.findings import Entry, Findings, Group

Mark = Literal["", "best", "second"]
MISSING = "–"  # stands where there is no score


class Cell(NamedTuple):
    """One number, or words."""

    text: str
    mark: Mark = ""
    small: str = ""  # below or after it, smaller: an interval


class ReportTable(NamedTuple):
    """A table: a title, the head, and a row of cells each, of which the first names the row."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    label: str = "table"  # for LaTeX's ``\label``


def ranked(values: Seq[float], counted: Seq[bool] | None = None, digits: int = 3, smallest: bool = False) -> list[Mark]:
    """Marks the best and the second best value; equal to the last digit shown, they share a mark.

    Of fewer than two values nothing is marked, and second only if something is left beside the best.

    Args:
        values: numbers, NaN where there is none.
        counted: False for those that are not to be compared.
        digits: how many are shown.
        smallest: whether the smallest is the best.

    >>> ranked([0.5, 0.7004, 0.7001, 0.6, math.nan])
    ['', 'best', 'best', 'second', '']
    """
    usable = [not math.isnan(value) and (counted is None or counted[i]) for i, value in enumerate(values)]
    shown = [round(value, digits) if use else math.nan for value, use in zip(values, usable)]
    levels = sorted({value for value in shown if not math.isnan(value)}, reverse=not smallest)
    if sum(usable) < 2:
        return [""] * len(shown)
    names: dict[float, Mark] = dict(zip(levels[:2], ("best", "second")))
    return [names.get(value, "") for value in shown]


def number(value: float, digits: int = 3) -> str:
    """A number as tables show it."""
    return MISSING if math.isnan(value) else f"{value:.{digits}f}"


def overall(findings: Findings) -> ReportTable:
    """A row for each tracker: means with 95 % intervals, frames per second, and how many sequences it has."""
    group, metrics = findings.everything, findings.metrics
    tables = [entry.table(group) for entry in findings.entries]
    complete = [entry.complete(group) for entry in findings.entries]
    marks = {metric: ranked([table.mean(metric) for table in tables], complete) for metric in metrics}
    speeds = ranked([math.nan if e.imported else t.fps for e, t in zip(findings.entries, tables)], complete, digits=1)
    rows = []
    for i, (entry, table) in enumerate(zip(findings.entries, tables)):
        cells = [Cell(entry.name)]
        for metric in metrics:
            low, high = table.interval(metric)
            span = "" if math.isnan(low) else f"{low:.3f}–{high:.3f}"
            cells.append(Cell(number(table.mean(metric)), marks[metric][i], span))
        stated = "*" if entry.imported and not math.isnan(table.fps) else ""
        cells.append(Cell(number(table.fps, 1) + stated, speeds[i]))
        rows.append((*cells, Cell(entry.count(group) or str(len(table.rows)))))
    head = ("tracker", *(METRIC_TITLES[metric] for metric in metrics), "fps", "sequences")
    note = "Means, and 95 % bootstrap intervals over sequences."
    if not all(complete):
        note += " Trackers that lack sequences are not compared: neither best nor second."
    if any(entry.imported and not math.isnan(table.fps) for entry, table in zip(findings.entries, tables)):
        note += " * as its result files state it, measured on another machine."
    return ReportTable("Overall", head, tuple(rows), note, "overall")


def by_attribute(findings: Findings, metric: str) -> ReportTable:
    """A row for each attribute, a column for each tracker."""
    rows = [_row(f"{group.title} ({len(group.sequences)})", findings, group, metric) for group in findings.attributes]
    rows.append(_row(f"all ({len(findings.sequences)})", findings, findings.everything, metric))
    return _matrix(findings, f"{METRIC_TITLES[metric]} by attribute", "attribute", rows, f"attributes-{metric}")


def by_sequence(findings: Findings, metric: str) -> ReportTable:
    """A row for each sequence, a column for each tracker."""
    groups = [Group(sequence.name, sequence.name, (sequence.name,)) for sequence in findings.sequences]
    rows = [_row(group.title, findings, group, metric) for group in groups]
    rows.append(_row("mean", findings, findings.everything, metric))
    return _matrix(findings, f"{METRIC_TITLES[metric]} by sequence", "sequence", rows, f"sequences-{metric}")


def _row(name: str, findings: Findings, group: Group, metric: str) -> tuple[Cell, ...]:
    values = [entry.table(group).mean(metric) for entry in findings.entries]
    marks = ranked(values, [entry.complete(group) for entry in findings.entries])
    return (Cell(name), *(Cell(number(value), mark) for value, mark in zip(values, marks)))


def _matrix(findings: Findings, title: str, first: str, rows: list[tuple[Cell, ...]], label: str) -> ReportTable:
    lacking = [entry.name for entry in findings.entries if not entry.complete(findings.everything)]
    note = f"Means of {', '.join(lacking)} are over fewer sequences where some are lacking, and not ranked." if lacking else ""
    return ReportTable(title, (first, *(entry.name for entry in findings.entries)), tuple(rows), note, label)


def loss_parts(findings: Findings) -> tuple[str, ...]:
    """The parts of a loss that are worth a column: absence only where it costs anything."""
    return tuple(part for part in Loss._fields if part != "absent" or findings.absent)


def diagnosis(findings: Findings) -> ReportTable:
    """A row for each tracker: what each fault costs of its AUC. The smallest loss is the best.

    The parts are not ranked: who has lost the target in every frame has no wrong scale in any.
    """
    group, parts = findings.everything, loss_parts(findings)
    losses = [entry.mean_loss(group) for entry in findings.entries]
    complete = [entry.complete(group) for entry in findings.entries]
    totals = [sum(loss) for loss in losses]
    marks = ranked(totals, complete, smallest=True)
    rows = [
        (
            Cell(entry.name, "", entry.count(group)),
            Cell(number(entry.table(group).mean("auc"))),
            Cell(number(totals[i]), marks[i]),
            *(Cell(number(getattr(losses[i], part))) for part in parts),
        )
        for i, entry in enumerate(findings.entries)
    ]
    head = ("tracker", "AUC", "loss", *(TITLES[part] for part in parts))
    note = "A perfect tracker reaches an AUC of 20/21 = 0.952; the parts sum to what is missing. A lost frame has no other fault."
    return ReportTable("What the AUC is lost to", head, tuple(rows), note, "diagnosis")


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
        return Cell(MISSING)
    low, high = bootstrap_interval(values[use], np.random.default_rng(0), weights=weights[use])
    mean = float(np.average(values[use], weights=weights[use]))
    return Cell(_signed(mean), small="" if math.isnan(low) else f"{_signed(low)} to {_signed(high)}")


def _signed(value: float) -> str:
    """With its sign, and never a minus before 0.

    >>> _signed(0.01234), _signed(-0.0001)
    ('+0.012', '0.000')
    """
    return "0.000" if round(value, 3) == 0 else f"{value:+.3f}"


# -- ways to write them


def to_markdown(grid: ReportTable) -> str:
    """A table for GitHub: the best bold, the second underlined."""
    lines = [_line(map(md, grid.head)), _line(["---", *["---:"] * (len(grid.head) - 1)])]
    for row in grid.rows:
        cells = []
        for cell in row:
            text = {"best": "**{}**", "second": "<ins>{}</ins>", "": "{}"}[cell.mark].format(md(cell.text))
            cells.append(text + (f" <sub>{cell.small}</sub>" if cell.small else ""))
        lines.append(_line(cells))
    return "\n".join(lines) + "\n" + (f"\n{md(grid.note)}\n" if grid.note else "")


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def md(text: str) -> str:
    r"""Text that Markdown shows as it is.

    >>> print(md("a_b<c|d"))
    a\_b&lt;c\|d
    """
    return re.sub(r"([\\`*_\[\]|~#])", r"\\\1", html.escape(text, quote=False))


def to_latex(grid: ReportTable) -> str:
    """A table environment with booktabs' rules: the best bold, the second underlined, intervals small in a line below."""
    lines = [
        r"\begin{table}",
        r"\centering\small\setlength{\tabcolsep}{4pt}",
        rf"\caption{{{tex(' '.join(filter(None, (grid.title + '.', grid.note))))}}}",
        rf"\label{{tab:{re.sub('[^A-Za-z0-9-]', '-', grid.label)}}}",
        rf"\begin{{tabular}}{{l{'r' * (len(grid.head) - 1)}}}",
        r"\toprule",
        " & ".join(map(tex, grid.head)) + r" \\",
        r"\midrule",
    ]
    for row in grid.rows:
        marked = ({"best": r"\textbf{%s}", "second": r"\underline{%s}", "": "%s"}[c.mark] % tex(c.text) for c in row)
        lines.append(" & ".join(marked) + r" \\")
        if any(cell.small for cell in row):
            below = [rf"{{\scriptsize {tex(cell.small)}}}" if cell.small else "" for cell in row]
            lines.append(" & ".join(below) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"]) + "\n"


_TEX = {
    **{character: f"\\{character}" for character in "_%&#${}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': "{''}", MISSING: "--"},
}


def tex(text: str) -> str:
    r"""Text that LaTeX prints as it is.

    >>> print(tex("A_b 5% & c"))
    A\_b 5\% \& c
    """
    return "".join(_TEX.get(character, character) for character in text)


def to_html(grid: ReportTable, colors: dict[str, str] | None = None) -> str:
    """A table that scrolls sideways inside its frame; ``colors`` is HTML to stand before the names of trackers."""
    keys = colors or {}

    def name(text: str) -> str:
        return f"{keys[text]}{html.escape(text)}" if text in keys else html.escape(text)

    first, *others = grid.head
    head = f'<th scope="col">{name(first)}</th>' + "".join(f'<th scope="col">{name(text)}</th>' for text in others)
    body = []
    for row in grid.rows:
        small = [f"<small>{html.escape(cell.small)}</small>" if cell.small else "" for cell in row]
        cells = [f'<th scope="row">{name(row[0].text)}{small[0]}</th>']
        for cell, below in zip(row[1:], small[1:]):
            text = {"best": "<b>{}</b>", "second": "<u>{}</u>", "": "{}"}[cell.mark].format(html.escape(cell.text))
            cells.append(f"<td>{text}{below}</td>")
        body.append(f"<tr>{''.join(cells)}</tr>")
    note = f'<p class="note">{html.escape(grid.note)}</p>' if grid.note else ""
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"
    return f'<div class="scroll">{table}</div>{note}'


# -- CSV: a line per tracker and row, every metric in full precision


def overall_csv(findings: Findings) -> str:
    """Means, lower and upper ends of the intervals, frames per second."""
    ends = [f"{metric}{end}" for metric in findings.metrics for end in ("", "_low", "_high")]
    lines: list[list[object]] = [["tracker", "imported", "sequences", "of", *ends, "fps"]]
    for entry in findings.entries:
        table = entry.table(findings.everything)
        scores = [value for metric in findings.metrics for value in (table.mean(metric), *table.interval(metric))]
        of = len(findings.sequences)
        lines.append([entry.name, int(entry.imported), len(table.rows), of, *map(or_none, scores), or_none(table.fps)])
    return csv_text(lines)


def attributes_csv(findings: Findings) -> str:
    """A line for each attribute and tracker."""
    lines: list[list[object]] = [["attribute", "title", "tracker", "sequences", "of", *findings.metrics]]
    for group in findings.attributes:
        for entry in findings.entries:
            table = entry.table(group)
            scores = [or_none(table.mean(metric)) for metric in findings.metrics]
            lines.append([group.key, group.title, entry.name, len(table.rows), len(group.sequences), *scores])
    return csv_text(lines)


def sequences_csv(findings: Findings) -> str:
    """A line for each sequence and tracker, with the parts of the loss."""
    parts = [f"loss_{part}" for part in Loss._fields]
    head = ["sequence", "attributes", "frames", "tracker", *findings.metrics, "fps", *parts]
    lines: list[list[object]] = [[*head]]
    for sequence in findings.sequences:
        for entry in findings.entries:
            if (finding := entry.findings.get(sequence.name)) is not None:
                values = [*(getattr(finding.row, metric) for metric in findings.metrics), finding.row.fps, *finding.loss]
                attributes = " ".join(sorted(sequence.attributes))
                lines.append([sequence.name, attributes, len(sequence), entry.name, *map(or_none, values)])
    return csv_text(lines)


def diagnosis_csv(findings: Findings) -> str:
    """The mean loss of each tracker."""
    losses = [(entry, entry.mean_loss(findings.everything)) for entry in findings.entries]
    lines = [[entry.name, *map(or_none, (sum(loss), *loss))] for entry, loss in losses]
    return csv_text([("tracker", "loss", *Loss._fields), *lines])


def all_tables(findings: Findings) -> dict[str, str]:
    """Name of each file and its contents."""
    levels: dict[str, list[ReportTable]] = {
        "overall": [overall(findings)],
        "attributes": [by_attribute(findings, metric) for metric in findings.metrics] if findings.attributes else [],
        "sequences": [by_sequence(findings, metric) for metric in findings.metrics],
        "diagnosis": [diagnosis(findings)],
    }
    made: dict[str, str] = {}
    for level, grids in levels.items():
        if grids:
            made[f"{level}.md"] = "\n".join(f"## {md(grid.title)}\n\n{to_markdown(grid)}" for grid in grids)
            made[f"{level}.tex"] = "% \\usepackage{booktabs}\n" + "\n".join(to_latex(grid) for grid in grids)
    made["overall.csv"], made["sequences.csv"] = overall_csv(findings), sequences_csv(findings)
    made["diagnosis.csv"] = diagnosis_csv(findings)
    if findings.attributes:
        made["attributes.csv"] = attributes_csv(findings)
    return made
