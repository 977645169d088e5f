"""The plots of tracking papers: success, precision, both per attribute, speed against accuracy, and what the AUC is lost to.

matplotlib is imported inside the functions that draw, and its global state is left alone: figures are made without pyplot, under
settings of their own. The same findings give the same bytes with the same version of matplotlib.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from metatrack.evaluation.score.scores import METRIC_TITLES, THRESHOLDS
from metatrack.report.diagnosis import TITLES
from metatrack.report.findings import Entry, Findings, Group
from metatrack.report.style import LineStyle
from metatrack.report.tables import loss_parts

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 200
REAL_TIME = 25.0  # frames per second of the line in the plot of speeds: PAL's, which most videos of the benchmarks have at least
PART_COLORS = {"lost": "#332288", "position": "#44AA99", "scale": "#DDCC77", "aspect": "#CC6677", "absent": "#BBBBBB"}
"""Of P. Tol's muted scheme; none of the trackers' colours, so that nobody takes a part for a tracker."""
_STYLE: dict[str, Any] = {
    "svg.hashsalt": "metatrack",  # ids in SVG are random without it
    "svg.fonttype": "path",  # is the same wherever it is opened
    "font.family": "DejaVu Sans",  # comes with matplotlib
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#444444",
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8.0,
    "text.parse_math": False,  # a dollar in a name is a dollar
}


class Curve(NamedTuple):
    """A kind of plot: what is on its axes, and which score is in its legend."""

    metric: str  # one of ``scores.METRICS``: a number that can be read off the curve
    name: str
    x: str
    y: str


CURVES = {
    "success": Curve("auc", "Success plot", "Overlap threshold", "Success rate"),
    "precision": Curve("precision", "Precision plot", "Location error threshold (px)", "Precision"),
    "norm_precision": Curve("norm_precision", "Normalised precision plot", "Normalised location error threshold", "Precision"),
}
"""By field of ``scores.Curves``."""


class Plot(NamedTuple):
    """One figure in both forms."""

    name: str  # of its files, without suffix
    title: str
    kind: str  # one of :data:`CURVES`, ``speed`` or ``diagnosis``
    svg: bytes
    png: bytes
    group: Group
    note: str = ""  # what is to be said below it


def all_plots(findings: Findings, styles: Mapping[str, LineStyle]) -> list[Plot]:
    """Every plot for which there is anything to show."""
    kinds = ["success", "precision", *(["norm_precision"] if findings.data_set == "lasot" else [])]
    planned: list[tuple[str, Group]] = [(kind, findings.everything) for kind in kinds]
    planned += [(kind, group) for kind in ("success", "precision") for group in findings.attributes]
    names = file_names([f"{kind}-{group.key}" if group.key else kind for kind, group in planned])
    plots: list[Plot] = []
    for (kind, group), name in zip(planned, names):
        if any(entry.table(group).weights(CURVES[kind].metric).any() for entry in findings.entries):
            plots.append(curve_plot(findings, styles, kind, group, name))
    if "auc" in findings.metrics:
        if any(_speed(entry, findings) > 0 for entry in findings.entries):
            plots.append(speed_plot(findings, styles))
        plots.append(diagnosis_plot(findings))
    return plots


def file_names(names: list[str]) -> list[str]:
    """Names made fit for files: other than letters, digits, dots and hyphens become hyphens; equal ones are numbered.

    >>> file_names(["success-a/b", "success-a b", "x_y"])
    ['success-a-b', 'success-a-b-2', 'x_y']
    """
    made: list[str] = []
    for name in names:
        plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name)
        number, fresh = 1, plain
        while fresh.lower() in {other.lower() for other in made}:
            number += 1
            fresh = f"{plain}-{number}"
        made.append(fresh)
    return made


def curve_plot(
    findings: Findings, styles: Mapping[str, LineStyle], kind: str, group: Group, name: str, title: str = "", speed: bool = False
) -> Plot:
    """Success or precision of all trackers on a group: the legend is ordered by the score in it.

    Those that lack sequences of the group come last: their means are over others.

    Args:
        kind: one of :data:`CURVES`.
        title: above the plot; empty says what is plotted.
        speed: frames per second are in the legend too.
    """
    curve, thresholds = CURVES[kind], THRESHOLDS[kind]
    scored = [(entry.table(group).mean(curve.metric), entry) for entry in findings.entries]
    scored = [(score, entry) for score, entry in scored if not math.isnan(score)]
    scored.sort(key=lambda pair: (not pair[1].complete(group), -pair[0]))
    if not title:
        what = group.title if group.key else f"{curve.name} of {findings.protocol.upper()} on {findings.title}"
        title = f"{what} ({len(group.sequences)}{'' if group.key else ' sequences'})"
    labels = [_label(score, entry, group, speed) for score, entry in scored]
    size = (4.4, 2.75) if group.key else (4.8, 3.2)  # inches: small, so that words stay legible on a telephone
    room = 0.06 * max(0, *map(len, labels), 20) - 1.2  # for a legend that is wider than most
    with _figure(size[0] + room, size[1] if len(scored) < 14 else size[1] + 1.4) as figure:
        axes = figure.add_subplot()
        for rank, (_, entry) in enumerate(scored):
            _draw(
                axes,
                styles[entry.name],
                entry.name == findings.focus,
                thresholds,
                getattr(entry.mean_curves(group), kind),
                label=labels[rank],
                zorder=3 + (len(scored) - rank) / 1000 + (entry.name == findings.focus),
            )
        axes.set(title=title, xlabel=curve.x, ylabel=curve.y, ylim=(0, 1.005), xlim=(float(thresholds[0]), float(thresholds[-1])))
        axes.set_yticks(np.arange(6) / 5)
        # Beside the curves: inside, ten trackers' legend hides what it explains.
        columns = 1 if len(scored) < 24 else 2
        legend = axes.legend(
            loc="center left",
            bbox_to_anchor=(1.01, 0.5),
            handlelength=2.4,
            title=METRIC_TITLES[curve.metric] + ", speed" * speed,
            alignment="left",
            ncols=columns,
        )
        for text, (_, entry) in zip(legend.get_texts(), scored):
            text.set_fontweight("bold" if entry.name == findings.focus and len(scored) > 1 else "normal")
        svg, png = _files(figure)
    return Plot(name, title, kind, svg, png, group)


def _label(score: float, entry: Entry, group: Group, speed: bool) -> str:
    facts = [f"{score:.3f}", entry.count(group), _fps(entry.table(group).fps) if speed else ""]
    return f"{_short(entry.name)} [{', '.join(filter(None, facts))}]"


def _fps(fps: float) -> str:
    """A speed in few digits; empty where it is not known.

    >>> _fps(62.53), _fps(0.18), _fps(math.nan)
    ('63 fps', '0.2 fps', '')
    """
    return "" if math.isnan(fps) else f"{fps:.{0 if fps >= 10 else 1}f} fps"


def _draw(axes: Axes, style: LineStyle, focus: bool, x: Any, y: Any, **more: Any) -> None:
    (line,) = axes.plot(x, y, color=style.color, linewidth=2.4 if focus else 1.5, **more)
    if style.dashes:
        line.set_dashes(style.dashes)


def _speed(entry: Entry, findings: Findings) -> float:
    fps = entry.table(findings.everything).fps
    return 0.0 if math.isnan(fps) else fps


def speed_plot(findings: Findings, styles: Mapping[str, LineStyle]) -> Plot:
    """Frames per second, on a logarithmic axis, against AUC; hollow where the speed was measured elsewhere."""
    group = findings.everything
    points = [(_speed(entry, findings), entry.table(group).mean("auc"), entry) for entry in findings.entries]
    shown = [(fps, auc, entry) for fps, auc, entry in points if fps > 0 and not math.isnan(auc)]
    left_out = [entry.name for fps, auc, entry in points if not (fps > 0 and not math.isnan(auc))]
    title = f"Speed and accuracy on {findings.title} ({len(group.sequences)} sequences)"
    with _figure(4.8, 3.2) as figure:
        axes = figure.add_subplot()
        for fps, auc, entry in shown:
            color = styles[entry.name].color
            axes.plot(
                [fps],
                [auc],
                marker="D" if entry.name == findings.focus else "o",
                markersize=7,
                markeredgewidth=1.6,
                markeredgecolor=color,
                color=color,
                markerfacecolor="white" if entry.imported else color,
                linestyle="none",
                zorder=4,
            )
        speeds, scores = [fps for fps, *_ in shown], [auc for _, auc, _ in shown]
        low, high = min([*speeds, REAL_TIME]), max([*speeds, REAL_TIME])
        room = max((max(scores) - min(scores)) * 0.15, 0.02)
        axes.set_xscale("log")
        axes.set(
            title=title,
            xlabel="Frames per second (logarithmic)",
            ylabel="AUC",
            xlim=(low / 2, high * 2.5),
            ylim=(max(0, min(scores) - room), min(1, max(scores) + room)),
        )
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.axvline(REAL_TIME, color="#777777", linewidth=1, linestyle=(0, (4, 3)), zorder=2)
        axes.annotate(
            f"{REAL_TIME:g} fps", (REAL_TIME, 0.01), xycoords=("data", "axes fraction"), xytext=(3, 1),
            textcoords="offset points", fontsize=7.5, color="#555555",
        )  # fmt: skip
        _name_points(figure, axes, [(fps, auc, entry.name) for fps, auc, entry in shown])
        svg, png = _files(figure)
    hollow = any(entry.imported for *_, entry in shown)
    notes = ["Hollow: as the result files state it, measured on other machines."] if hollow else []
    notes += [f"{entry.name}: {entry.count(group)} sequences." for *_, entry in shown if entry.count(group)]
    notes += [f"Without measured times, and so not shown: {', '.join(left_out)}."] if left_out else []
    return Plot("speed", title, "speed", svg, png, group, " ".join(notes))


def _name_points(figure: Figure, axes: Axes, points: list[tuple[float, float, str]]) -> None:
    """Writes each name beside its point, where it covers neither a point nor another name."""
    figure.draw_without_rendering()  # constrained layout has to have moved the axes before places in pixels mean anything
    to_pixels = axes.transData.transform
    unit = figure.dpi / 72  # pixels of a point
    places = [tuple(to_pixels((x, y))) for x, y, _ in points]
    taken = [(px - 6 * unit, py - 6 * unit, px + 6 * unit, py + 6 * unit) for px, py in places]
    frame = axes.get_window_extent()
    line = float(to_pixels((REAL_TIME, points[0][1]))[0])
    taken.append((line - 2 * unit, frame.y0, line + 2 * unit, frame.y1))
    for (x, y, name), (px, py) in sorted(zip(points, places), key=lambda pair: (-pair[1][1], pair[1][0])):
        label = axes.annotate(_short(name), (x, y), xytext=(0, 0), textcoords="offset points", fontsize=8, zorder=5)
        box = label.get_window_extent()
        width, height = box.width / unit, box.height / unit
        best: tuple[float, float, float, tuple[float, float, float, float]] | None = None
        for far in (7.0, 12.0, 19.0, 27.0):
            for dx, dy in (
                *((far, -height / 3), (-far - width, -height / 3), (-width / 2, far), (-width / 2, -far - height * 0.6)),
                *((far * 0.7, far * 0.7), (-far * 0.7 - width, far * 0.7), (far * 0.7, -far * 0.7 - height * 0.6)),
            ):
                left, bottom = px + dx * unit, py + dy * unit
                place = (left, bottom, left + width * unit, bottom + height * unit)
                outside = place[0] < frame.x0 or place[2] > frame.x1 + 4 * unit or place[1] < frame.y0 or place[3] > frame.y1
                cost = sum(_shared(place, other) for other in taken) + (1e6 if outside else 0)
                if best is None or cost < best[0]:
                    best = (cost, dx, dy, place)
            if best is not None and best[0] == 0:
                break
        if best is not None:
            label.set_position((best[1], best[2]))
            taken.append(best[3])


def _shared(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """Area that two rectangles x0, y0, x1, y1 share."""
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def diagnosis_plot(findings: Findings) -> Plot:
    """A bar for each tracker: its loss of AUC, in parts."""
    group, parts = findings.everything, loss_parts(findings)
    shown = [(entry, entry.mean_loss(group)) for entry in findings.entries]
    shown = [(entry, loss) for entry, loss in shown if not math.isnan(loss.lost)]
    title = "What the AUC is lost to: 20/21 − AUC, in parts"
    with _figure(4.8, 1.2 + 0.24 * len(shown)) as figure:
        axes = figure.add_subplot()
        rows = np.arange(len(shown))[::-1]
        done = np.zeros(len(shown))
        for part in parts:
            widths = np.array([getattr(loss, part) for _, loss in shown])
            axes.barh(rows, widths, left=done, color=PART_COLORS[part], label=TITLES[part], height=0.72)
            done += widths
        for row, end in zip(rows, done):
            axes.text(end, row, f" {end:.3f}", va="center", fontsize=7.5)
        names = [_short(e.name) + (f" ({e.count(group)})" if e.count(group) else "") for e, _ in shown]
        axes.set_yticks(rows, names)
        axes.set(title=title, xlabel="Loss of AUC", xlim=(0, max(done) * 1.12 or 1.0))
        axes.grid(axis="y", visible=False)
        figure.legend(loc="outside lower center", ncols=len(parts), handlelength=1)
        svg, png = _files(figure)
    return Plot("diagnosis", title, "diagnosis", svg, png, group)


def _short(name: str) -> str:
    """A name that leaves room for the plot."""
    return name if len(name) <= 26 else name[:25] + "…"


@contextmanager
def _figure(width: float, height: float) -> Iterator[Figure]:
    """A figure of this many inches."""
    import matplotlib
    from matplotlib.figure import Figure

    # What a person has set for matplotlib must not change a report; the backend is not used, and setting it would load one.
    settings: dict[Any, Any] = {k: v for k, v in matplotlib.rcParamsDefault.items() if not k.startswith("backend")}
    settings.update(_STYLE)
    with matplotlib.rc_context(settings):
        yield Figure(figsize=(width, height), layout="constrained")


def _files(figure: Figure) -> tuple[bytes, bytes]:
    """The figure as SVG and PNG, without a date or a version inside."""
    svg, png = io.BytesIO(), io.BytesIO()
    figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
    figure.savefig(png, format="png", dpi=DPI, metadata={"Software": None})
    return svg.getvalue(), png.getvalue()
