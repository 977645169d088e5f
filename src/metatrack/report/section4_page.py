"""The page of :mod:`metatrack.report.section4`."""

from __future__ import annotations

from collections.abc import Sequence as Seq
from dataclasses import dataclass
from html import escape

from metatrack.report import markup, section4, tables
from metatrack.report.plots import Plot
from metatrack.report.section4 import Comparison, StripScene


@dataclass(frozen=True)
class Figures:
    """What was drawn."""

    figure4: list[Plot]
    figure5: list[Plot]
    figure6: list[Plot]
    figure6_published: list[Plot]
    figure7: list[StripScene]

    def plots(self) -> list[Plot]:
        return [*self.figure4, *self.figure5, *self.figure6, *self.figure6_published]


def draw(comparison: Comparison, scenes: list[StripScene]) -> Figures:
    """Draws figures 4 to 6."""
    theirs = section4.with_ours(comparison)
    published = [] if theirs is None else section4.figure6(comparison, theirs, "figure-6-published")
    return Figures(
        section4.figure4(comparison),
        section4.figure5(comparison),
        section4.figure6(comparison, comparison.here, "figure-6"),
        published,
        scenes,
    )


def html_page(comparison: Comparison, figures: Figures, remarks: Seq[str]) -> str:
    """The whole page."""
    here = comparison.here
    keys = {name: line.key for name, line in comparison.styles.items()}
    names = {entry.name: keys[entry.name] for entry in here.entries}
    sections = [
        markup.Section("numbers", "Numbers of the text", tables.to_html(section4.statements(comparison))),
        markup.Section("figure4", "Figure 4: with and without the meta-learner", _figure4(comparison, figures)),
        markup.Section("figure5", "Figure 5: all trackers", _figure5(comparison, figures, keys)),
        markup.Section("figure6", "Figure 6: by attribute", _figure6(comparison, figures, names)),
        markup.Section("figure7", "Figure 7: boxes on frames", _figure7(comparison, figures, keys)),
    ]
    frames = sum(len(sequence) for sequence in here.sequences)
    lead = f"{len(here.sequences)} of OTB-100's 100 sequences, {frames} frames; one pass from the first true box (OPE)."
    return markup.page("Section 4 of the paper, run here", lead, remarks, sections)


def _figure4(comparison: Comparison, figures: Figures) -> str:
    pair = section4.ours(comparison)
    if pair is None:
        return _say("Neither MLT nor MLT w/o meta has run.")
    told = _say("In the paper MLT lies above MLT w/o meta on both lists.") + markup.figures(figures.figure4)
    return told + "<p></p>" + tables.to_html(tables.paired(pair)) if len(pair.entries) == 2 else told


def _figure5(comparison: Comparison, figures: Figures, keys: dict[str, str]) -> str:
    told = (
        "In the paper the curves are those of MLT and nine others; the AUC of C-COT and DeepSRDCF is in its caption. Brackets "
        "here say which network stands in for one that cannot be had: that is the method on other features, no reproduction."
    )
    return _say(told) + markup.figures(figures.figure5) + "<p></p>" + tables.to_html(section4.results(comparison), keys)


def _figure6(comparison: Comparison, figures: Figures, keys: dict[str, str]) -> str:
    told = "In the paper MLT is first under low resolution, and competes under most of the others."
    grid = tables.to_html(section4.attributes_table(comparison), keys)
    theirs = figures.figure6_published
    more = f"<details><summary>The same of published boxes</summary>{markup.figures(theirs, small=True)}</details>" * bool(theirs)
    return _say(told) + markup.figures(figures.figure6, small=True) + more + "<p></p>" + grid


def _figure7(comparison: Comparison, figures: Figures, keys: dict[str, str]) -> str:
    if not figures.figure7:
        return _say("None of the six trackers, or no sequence with their attributes, is there.")
    boxed = [each for each in comparison.entrants if each.paper in section4.BOXED]
    legend = {each.title: keys[each.title] for each in boxed if comparison.of(each.paper) is not None}
    told = "Colours are near to the paper's. The paper's text says where its trackers differ; these are frames evenly spaced."
    articles = []
    for scene in figures.figure7:
        theirs = ""
        if scene.published is not None:
            strip = markup.film(scene.published, "MLT")
            theirs = f"<details><summary>Published boxes, and MLT as it runs here</summary>{strip}</details>"
        film = markup.film(scene.strip, comparison.here.focus)
        articles.append(f"<article><h3>{escape(scene.title)}</h3>{film}{theirs}</article>")
    return _say(told) + markup.legend(legend, truth=True) + "".join(articles)


def _say(text: str) -> str:
    return f'<p class="note">{escape(text)}</p>'
