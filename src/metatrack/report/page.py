"""The report as one HTML page that needs nothing beside it, and as Markdown."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Mapping
from collections.abc import Sequence as Seq
from html import escape
from typing import Any, NamedTuple
from urllib.parse import quote

from metatrack import __version__
from metatrack.data.sequence import Sequence
from metatrack.evaluation.score.scores import METRIC_TITLES
from metatrack.report import markup, tables
from metatrack.report.diagnosis import TITLES
from metatrack.report.filmstrip import Strip
from metatrack.report.findings import Findings
from metatrack.report.plots import Plot
from metatrack.report.style import LineStyle
from metatrack.report.tables import Cell, ReportTable, md, number, ranked
from metatrack.version import current_commit


class Contents(NamedTuple):
    """Everything that a page shows."""

    findings: Findings
    styles: Mapping[str, LineStyle]
    plots: Seq[Plot]
    strips: Mapping[str, Strip]  # by sequence
    no_strips: str  # why there are none, or not of all sequences; empty if all have one


def remarks(findings: Findings) -> list[str]:
    """What a reader has to know before comparing numbers."""
    said = [findings.chosen] if findings.chosen else []
    for entry in findings.entries:
        missing = [name for name in findings.everything.sequences if name not in entry.findings]
        if missing:
            shown = ", ".join(missing[:8]) + (" and others" if len(missing) > 8 else "")
            said.append(f"{entry.name} has no result on {len(missing)} of {len(findings.sequences)} sequences: {shown}.")
    if findings.empty:
        said.append(f"Without any result, and so left out: {', '.join(findings.empty)}.")
    imported = [entry.name for entry in findings.entries if entry.imported]
    if imported:
        said.append(f"Boxes from result files, not run here: {', '.join(imported)}.")
    if not findings.metrics:
        said.append("The truth of these sequences is not known, so there is no score to show.")
    return said


def heading(findings: Findings) -> str:
    """The title of a report."""
    return f"{findings.title}, {findings.protocol.upper()}: {_count(len(findings.entries), 'tracker')} compared"


def _count(count: int, what: str) -> str:
    return f"{count} {what}" + ("" if count == 1 else "s")


def provenance(identities: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Lines for the foot of a report."""
    commit = current_commit()
    code = f"metatrack {__version__}"
    if commit is not None:
        code += f", commit {commit.sha[:12]}{' with changes' if commit.changed else ''}"
    system = f"{platform.system()} on {platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}"
    return [
        f"Report made by {code}.",
        f"Made on {system}.",
        *(f"{name}: {_identity(facts)}." for name, facts in identities.items()),
    ]


def _identity(facts: Mapping[str, Any]) -> str:
    """What a tracker was, in short: its weights' hash where it has some, else that of all that is known of it."""
    if "imported" in facts:
        return "boxes from result files"
    digest = hashlib.sha256(json.dumps(facts.get("sha256") or facts, sort_keys=True, default=str).encode()).hexdigest()[:12]
    known = ", ".join(f"{key} {facts[key]}" for key in ("metatrack", "model", "adapt", "factory", "opencv") if key in facts)
    return f"{known or 'a program'}; {'weights' if facts.get('sha256') else 'identity'} {digest}"


# -- HTML


def html_page(contents: Contents) -> str:
    """The whole page."""
    findings = contents.findings
    keys = {entry.name: contents.styles[entry.name].key for entry in findings.entries}
    plots = [plot for plot in contents.plots if not plot.group.key and plot.kind != "diagnosis"]
    overall = tables.to_html(tables.overall(findings), keys) + markup.figures(plots)
    sections = [markup.Section("overall", "Overall", overall)]
    attributes = _attributes(contents, keys)
    sections += [markup.Section("attributes", "By attribute", attributes)] if attributes else []
    sections += [markup.Section("loss", "What the AUC is lost to", _loss(contents, keys))] if "auc" in findings.metrics else []
    sections += [markup.Section("sequences", "By sequence", _sequences(contents, keys))]
    lead = f"{_count(len(findings.sequences), 'sequence')}, {sum(len(sequence) for sequence in findings.sequences)} frames."
    return markup.page(heading(findings), lead, remarks(findings), sections)


def _attributes(contents: Contents, keys: dict[str, str]) -> str:
    findings = contents.findings
    if not findings.attributes or not findings.metrics:
        return ""
    parts = []
    for kind, metric, name in (("success", "auc", "success plots"), ("precision", "precision", "precision plots")):
        plots = [plot for plot in contents.plots if plot.group.key and plot.kind == kind]
        shown = " open" if kind == "success" else ""
        parts.append(f"<h3>{escape(METRIC_TITLES[metric])}</h3>" + tables.to_html(tables.by_attribute(findings, metric), keys))
        parts.append(f"<details{shown}><summary>{len(plots)} {name}</summary>{markup.figures(plots, small=True)}</details>")
    return "".join(parts)


def _loss(contents: Contents, keys: dict[str, str]) -> str:
    told = (
        "Each frame's distance to a perfect tracker goes to the first of these: the target is <b>lost</b> (next to no overlap); "
        "or, what moving the box to the true centre would gain (<b>position</b>), what then giving it the true area would gain "
        "(<b>scale</b>), and what then giving it the true shape would gain (<b>aspect ratio</b>)."
    )
    if contents.findings.absent:
        told += " Frames in which the target is <b>absent</b> count as failed by this data set's rule."
    grid = tables.to_html(tables.diagnosis(contents.findings), keys)
    return f"<p>{told}</p>{markup.figures([plot for plot in contents.plots if plot.kind == 'diagnosis'])}<p></p>{grid}"


def _sequences(contents: Contents, keys: dict[str, str]) -> str:
    findings = contents.findings
    order = f"The lowest AUC of {findings.focus} first." if "auc" in findings.metrics else ""
    last = "The last columns say what the rest of the AUC is lost to." if "auc" in findings.metrics else ""
    note = " ".join(filter(None, (order, last, contents.no_strips)))
    articles = "".join(_article(sequence, contents, keys) for sequence in findings.worst_first())
    return f'<p class="note">{escape(note)}</p>{markup.legend(keys, bool(contents.strips))}{articles}'


def _article(sequence: Sequence, contents: Contents, keys: dict[str, str]) -> str:
    findings = contents.findings
    titles = {group.key: group.title for group in findings.attributes}
    shows = ", ".join(titles[group.key] for group in findings.attributes if group.key in sequence.attributes)
    facts = f"{_count(len(sequence), 'frame')}" + (f"; {shows}" if shows else "")
    film = markup.film(contents.strips[sequence.name], findings.focus) if sequence.name in contents.strips else ""
    grid = tables.to_html(sequence_grid(sequence, findings), keys)
    return f'<article><h3>{escape(sequence.name)}</h3><p class="note">{escape(facts)}</p>{film}{grid}</article>'


def sequence_grid(sequence: Sequence, findings: Findings) -> ReportTable:
    """The scores of all trackers on one sequence, and what each fault costs there."""
    parts = tables.loss_parts(findings) if "auc" in findings.metrics else ()
    rows = []
    there = [entry for entry in findings.entries if sequence.name in entry.findings]
    marks = {m: ranked([getattr(entry.findings[sequence.name].row, m) for entry in there]) for m in findings.metrics}
    for i, entry in enumerate(there):
        finding = entry.findings[sequence.name]
        scores = [Cell(number(getattr(finding.row, metric)), marks[metric][i]) for metric in findings.metrics]
        lost = [Cell(number(getattr(finding.loss, part))) for part in parts]
        rows.append((Cell(entry.name), *scores, *lost))
    head = ("tracker", *(METRIC_TITLES[metric] for metric in findings.metrics), *(TITLES[part] for part in parts))
    return ReportTable(sequence.name, head, tuple(rows))


# -- Markdown


def markdown(contents: Contents) -> str:
    """The report in short, with the plots and filmstrips that lie beside it."""
    findings = contents.findings
    count = f"{_count(len(findings.sequences), 'sequence')}, {sum(map(len, findings.sequences))} frames"
    lines = [f"# {md(heading(findings))}", "", f"{count}. Everything: [index.html](index.html)."]
    lines += ["", *(f"- {md(remark)}" for remark in remarks(findings))]
    lines += ["", "## Overall", "", tables.to_markdown(tables.overall(findings))]
    if len(findings.entries) > 1 and findings.metrics:
        lines += [f"### Differences to {md(findings.focus)}", "", tables.to_markdown(tables.paired(findings))]
    for plot in contents.plots:
        if not plot.group.key and plot.kind != "diagnosis":
            lines += [_picture(plot.title, f"plots/{plot.name}.png"), "", *([md(plot.note), ""] if plot.note else [])]
    if findings.attributes and "auc" in findings.metrics:
        lines += ["## AUC by attribute", "", tables.to_markdown(tables.by_attribute(findings, "auc"))]
    if "auc" in findings.metrics:
        lines += ["## What the AUC is lost to", "", tables.to_markdown(tables.diagnosis(findings))]
        lines += [_picture(plot.title, f"plots/{plot.name}.png") + "\n" for plot in contents.plots if plot.kind == "diagnosis"]
        lines += [f"## AUC by sequence, the lowest of {md(findings.focus)} first", ""]
        grid = tables.by_sequence(findings, "auc")
        rows = {row[0].text: row for row in grid.rows[:-1]}
        ordered = tuple(rows[sequence.name] for sequence in findings.worst_first())
        lines += [tables.to_markdown(ReportTable(grid.title, grid.head, (*ordered, grid.rows[-1])))]
    strips = [contents.strips[sequence.name] for sequence in findings.worst_first() if sequence.name in contents.strips]
    for strip in strips:
        lines += [_picture(strip.sequence, f"filmstrips/{quote(strip.sequence)}.jpg"), "", md(strip.sequence), ""]
    if contents.no_strips:
        lines += [md(contents.no_strips), ""]
    lines += ["---", "", *(f"{md(line)}\n" for line in provenance(findings.identities))]
    return "\n".join(lines).rstrip() + "\n"


def _picture(title: str, path: str) -> str:
    return f"![{md(title)}]({path})"
