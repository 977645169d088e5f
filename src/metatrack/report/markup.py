"""What our pages are made of: one HTML document that needs nothing beside it, its plots and filmstrips.

Plots are inside the page as SVG and frames as JPEG, both as base64 in ``src``: nothing is fetched, so a page works from
``file://``, in a mail and years later. Plots are pictures and not markup, since ids inside several SVGs would clash.
Every name that comes from outside goes through ``html.escape``.
"""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Sequence as Seq
from html import escape
from typing import NamedTuple

from metatrack import __version__
from metatrack.report.filmstrip import Strip
from metatrack.report.plots import Plot

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


class Section(NamedTuple):
    """A part of a page."""

    anchor: str
    title: str
    content: str  # HTML


def page(title: str, lead: str, remarks: Seq[str], sections: Seq[Section]) -> str:
    """The whole page: a title, a line, what a reader has to know first, links, and the sections."""
    links = "".join(f'<a href="#{section.anchor}">{escape(section.title)}</a>' for section in sections)
    body = "".join(f'<section id="{s.anchor}"><h2>{escape(s.title)}</h2>{s.content}</section>' for s in sections)
    said = "".join(f"<li>{escape(remark)}</li>" for remark in remarks)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="metatrack {escape(__version__)}">
<title>{escape(title)}</title>
<style>{_CSS}</style>
</head>
<body>
<header>
<h1>{escape(title)}</h1>
<p>{escape(lead)}</p>
<ul class="remarks">{said}</ul>
<nav>{links}</nav>
</header>
<main>
{body}
</main>
</body>
</html>
"""


def figures(plots: Seq[Plot], small: bool = False) -> str:
    """Plots beside each other, each with its note below."""
    made = []
    for plot in plots:
        caption = f"<figcaption>{escape(plot.note)}</figcaption>" if plot.note else ""
        made.append(f'<figure><img alt="{escape(plot.title)}" src="{_inline(plot.svg, "image/svg+xml")}">{caption}</figure>')
    return f'<p></p><div class="plots{" small" * small}">{"".join(made)}</div>' if made else ""


def film(strip: Strip, focus: str) -> str:
    """The frames of a filmstrip, each with its number and the focus' overlap."""
    stills = []
    for still in strip.stills:
        overlap = "" if math.isnan(still.overlap) else f", overlap of {focus}: {still.overlap:.2f}"
        told = escape(f"{strip.sequence}, frame {still.number}")
        picture = f'<img loading="lazy" alt="{told}" src="{_inline(still.jpeg, "image/jpeg")}">'
        stills.append(f"<figure>{picture}<figcaption>{escape(f'#{still.number}{overlap}')}</figcaption></figure>")
    return f'<div class="film">{"".join(stills)}</div>'


def legend(keys: dict[str, str], truth: bool) -> str:
    """Trackers and their lines (``LineStyle.key``, by name), and the truth's, if there are pictures with it."""
    named = "".join(f"<span>{key}{escape(name)}</span>" for name, key in keys.items())
    true = '<span><i class="truth"></i>truth</span>' if truth else ""
    return f'<div class="legend">{named}{true}</div>'


def _inline(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{b64encode(data).decode()}"
