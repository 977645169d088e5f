"""The report as one HTML page that needs nothing beside it, and as Markdown.

Plots are inside the page as SVG and frames as JPEG, both as base64 in ``src``: nothing is fetched, so the page works from
``file://``, in a mail and years later. Plots are pictures and not markup, since ids inside several SVGs would clash.
Every name that comes from outside goes through ``html.escape``.
"""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Mapping
from collections.abc import Sequence as Seq
from dataclasses import dataclass
from html import escape
from urllib.parse import quote

from metatrack import __version__
from metatrack.data.sequence import Sequence
from metatrack.report import tables
from metatrack.report.diagnosis import TITLES
from metatrack.report.filmstrip import Strip
from metatrack.report.findings import METRIC_TITLES, Findings
from metatrack.report.plots import Plot
from metatrack.report.style import LineStyle
from metatrack.report.tables import Cell, ReportTable, md, number, ranked


@dataclass(frozen=True)
class Contents:
    """Everything that a page shows."""

    findings: Findings
    styles: Mapping[str, LineStyle]
    plots: Seq[Plot]
    strips: Mapping[str, Strip]
    """By sequence."""
    no_strips: str
    """Why there are none, or not of all sequences; empty if all have one."""


def remarks(findings: Findings) -> list[str]:
    """What a reader has to know before comparing numbers."""
    said = []
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


# -- HTML

_CSS = """
:root { color-scheme: light dark; --ink: #1c1f24; --paper: #ffffff; --soft: #5b6470; --line: #d9dde3; --tint: #f4f6f8;
  --mark: #0b5cad; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ee; --paper: #14171b; --soft: #a0a9b5; --line: #343a43; --tint: #1d2127; --mark: #7db7f5; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1180px; padding: 1rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: .5rem 0; } h2 { font-size: 1.25rem; margin: 2.2rem 0 .6rem; }
h3 { font-size: 1.05rem; margin: 0 0 .2rem; } p { margin: .4rem 0; } a { color: var(--mark); }
.note, .remarks { color: var(--soft); font-size: .9rem; } .remarks { padding-left: 1.2rem; }
nav { display: flex; flex-wrap: wrap; gap: .3rem 1rem; font-size: .95rem; margin: .6rem 0; }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 8px; }
table { border-collapse: separate; border-spacing: 0; font-variant-numeric: tabular-nums; font-size: .88rem; width: 100%; }
th, td { padding: .35rem .6rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
tbody tr:last-child > * { border-bottom: 0; }
th:first-child { text-align: left; position: sticky; left: 0; background: var(--paper); max-width: 60vw; overflow: hidden;
  text-overflow: ellipsis; }
thead th { background: var(--tint); font-weight: 600; } thead th:first-child { background: var(--tint); }
tbody th { font-weight: 500; } td b { color: var(--mark); } td u { text-underline-offset: 3px; }
td small, th small { display: block; color: var(--soft); font-size: .75rem; }
.plots { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 430px), 1fr)); }
.plots.small { grid-template-columns: repeat(auto-fill, minmax(min(100%, 370px), 1fr)); }
figure { margin: 0; } .plots figure { background: #fff; border: 1px solid var(--line); border-radius: 8px; padding: .5rem; }
.plots figcaption { color: #555; font-size: .85rem; }
img { max-width: 100%; height: auto; display: block; margin: 0 auto; }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; padding: .5rem .7rem; border: 1px solid var(--line);
  border-radius: 8px; background: var(--tint); font-size: .88rem; }
@media (min-width: 700px) { .legend { position: sticky; top: 0; z-index: 2; } }
.key { display: inline-block; width: 1.7em; vertical-align: .28em; margin-right: .45em; height: 0; }
.truth { display: inline-block; width: 1.5em; height: .75em; border: 2px solid #fff; outline: 1px solid #333; background: #8884;
  margin-right: .45em; vertical-align: -.05em; }
article { margin: 1.6rem 0; padding-top: 1rem; border-top: 1px solid var(--line); }
.film { display: grid; gap: .5rem; grid-template-columns: repeat(auto-fill, minmax(min(46%, 330px), 1fr)); margin: .6rem 0; }
.film figcaption { font-size: .8rem; color: var(--soft); }
.film img { border-radius: 4px; width: 100%; }
@media (max-width: 600px) { th:first-child { white-space: normal; min-width: 32vw; max-width: 46vw; overflow-wrap: break-word; } }
details > summary { cursor: pointer; color: var(--mark); margin: .5rem 0; }
@media print { .legend { position: static; } details > * { display: block; } }
"""


def html_page(contents: Contents) -> str:
    """The whole page."""
    findings = contents.findings
    keys = {e.name: tables.swatch(contents.styles[e.name].color, contents.styles[e.name].border) for e in findings.entries}
    sections = [("overall", "Overall", _overall(contents, keys))]
    attributes = _attributes(contents, keys)
    sections += [("attributes", "By attribute", attributes)] if attributes else []
    sections += [("loss", "What the AUC is lost to", _loss(contents, keys))] if "auc" in findings.metrics else []
    sections += [("sequences", "By sequence", _sequences(contents, keys))]
    links = "".join(f'<a href="#{anchor}">{escape(title)}</a>' for anchor, title, _ in sections)
    body = "".join(f'<section id="{anchor}"><h2>{escape(title)}</h2>{content}</section>' for anchor, title, content in sections)
    said = "".join(f"<li>{escape(remark)}</li>" for remark in remarks(findings))
    title, count = escape(heading(findings)), _count(len(findings.sequences), "sequence")
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="metatrack {escape(__version__)}">
<title>{title}</title>
<style>{_CSS}</style>
</head>
<body>
<header>
<h1>{title}</h1>
<p>{count}, {sum(len(sequence) for sequence in findings.sequences)} frames.</p>
<ul class="remarks">{said}</ul>
<nav>{links}</nav>
</header>
<main>
{body}
</main>
</body>
</html>
"""


def _overall(contents: Contents, keys: dict[str, str]) -> str:
    plots = [plot for plot in contents.plots if not plot.group.key and plot.kind != "diagnosis"]
    return tables.to_html(tables.overall(contents.findings), keys) + _plots(plots)


def _attributes(contents: Contents, keys: dict[str, str]) -> str:
    findings = contents.findings
    if not findings.attributes or not findings.metrics:
        return ""
    parts = []
    for kind, metric, name in (("success", "auc", "success plots"), ("precision", "precision", "precision plots")):
        plots = [plot for plot in contents.plots if plot.group.key and plot.kind == kind]
        shown = " open" if kind == "success" else ""
        parts.append(f"<h3>{escape(METRIC_TITLES[metric])}</h3>" + tables.to_html(tables.by_attribute(findings, metric), keys))
        parts.append(f"<details{shown}><summary>{len(plots)} {name}</summary>{_plots(plots, small=True)}</details>")
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
    return f"<p>{told}</p>{_plots([plot for plot in contents.plots if plot.kind == 'diagnosis'])}<p></p>{grid}"


def _plots(plots: Seq[Plot], small: bool = False) -> str:
    figures = []
    for plot in plots:
        caption = f"<figcaption>{escape(plot.note)}</figcaption>" if plot.note else ""
        figures.append(f'<figure><img alt="{escape(plot.title)}" src="{_inline(plot.svg, "image/svg+xml")}">{caption}</figure>')
    return f'<p></p><div class="plots{" small" * small}">{"".join(figures)}</div>' if figures else ""


def _sequences(contents: Contents, keys: dict[str, str]) -> str:
    findings = contents.findings
    legend = "".join(f"<span>{keys[entry.name]}{escape(entry.name)}</span>" for entry in findings.entries)
    if contents.strips:
        legend += '<span><i class="truth"></i>truth</span>'
    order = f"The lowest AUC of {findings.focus} first." if "auc" in findings.metrics else ""
    last = "The last columns say what the rest of the AUC is lost to." if "auc" in findings.metrics else ""
    note = " ".join(filter(None, (order, last, contents.no_strips)))
    articles = "".join(_article(sequence, contents, keys) for sequence in findings.worst_first())
    return f'<p class="note">{escape(note)}</p><div class="legend">{legend}</div>{articles}'


def _article(sequence: Sequence, contents: Contents, keys: dict[str, str]) -> str:
    findings = contents.findings
    titles = {group.key: group.title for group in findings.attributes}
    shows = ", ".join(titles[group.key] for group in findings.attributes if group.key in sequence.attributes)
    facts = f"{_count(len(sequence), 'frame')}" + (f"; {shows}" if shows else "")
    film = ""
    if sequence.name in contents.strips:
        stills = []
        for still in contents.strips[sequence.name].stills:
            overlap = "" if math.isnan(still.overlap) else f", overlap of {findings.focus}: {still.overlap:.2f}"
            told = escape(f"{sequence.name}, frame {still.number}")
            picture = f'<img loading="lazy" alt="{told}" src="{_inline(still.jpeg, "image/jpeg")}">'
            stills.append(f"<figure>{picture}<figcaption>{escape(f'#{still.number}{overlap}')}</figcaption></figure>")
        film = f'<div class="film">{"".join(stills)}</div>'
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


def _inline(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{b64encode(data).decode()}"


# -- Markdown


def markdown(contents: Contents) -> str:
    """The report in short, with the plots and filmstrips that lie beside it."""
    findings = contents.findings
    count = f"{_count(len(findings.sequences), 'sequence')}, {sum(map(len, findings.sequences))} frames"
    lines = [f"# {md(heading(findings))}", "", f"{count}. Everything: [index.html](index.html)."]
    lines += ["", *(f"- {md(remark)}" for remark in remarks(findings))]
    lines += ["", "## Overall", "", tables.to_markdown(tables.overall(findings))]
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
    return "\n".join(lines).rstrip() + "\n"


def _picture(title: str, path: str) -> str:
    return f"![{md(title)}]({path})"
