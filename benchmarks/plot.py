"""One picture: milliseconds per stage, and the graphs under the machine's roofline."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from metatrack.report.style import COLORS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from benchmarks.roofline import Roofline

DPI = 160
STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "#DDDDDD",
    "legend.frameon": False,
    "legend.fontsize": 8.0,
}
REST = "#BBBBBB"
MARKS = {"embed": "o", "match": "s", "locate": "s", "adapt": "^"}


def plot(stages: dict[str, dict[str, float]] | None, roofline: Roofline | None) -> bytes:
    """A PNG of what there is of both."""
    with matplotlib.rc_context(STYLE):
        count = bool(stages) + bool(roofline)
        figure = Figure(figsize=(5.4 * count, 3.9), layout="constrained")
        places = iter(figure.subplots(1, count, squeeze=False)[0])
        if stages:
            draw_stages(next(places), stages)
        if roofline:
            draw_roofline(next(places), roofline)
        file = io.BytesIO()
        figure.savefig(file, format="png", dpi=DPI)
    return file.getvalue()


def draw_stages(axes: Axes, stages: dict[str, dict[str, float]]) -> None:
    """A bar for each model, stacked from stages."""
    names = list(stages)
    left = np.zeros(len(names))
    for i, part in enumerate(part for part in stages[names[0]] if part != "all"):
        width = np.array([max(stages[name][part], 0.0) for name in names])
        color = REST if part == "rest" else COLORS[i % len(COLORS)]
        axes.barh(range(len(names)), width, left=left, color=color, label=part, height=0.62)
        left += width
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.grid(axis="x")
    axes.set_xlabel("milliseconds a frame")
    axes.set_title("Where the time of a frame goes")
    axes.legend(ncols=4, loc="upper center", bbox_to_anchor=(0.5, -0.16))


def draw_roofline(axes: Axes, roofline: Roofline) -> None:
    """The two roofs, and a point for each graph, drawn as high as it came."""
    peaks = roofline.peaks
    points = [point for point in roofline.points if point.cost.ops and point.graph != "all"]
    intensities = [point.intensity for point in points] + [peaks.float32 / peaks.bandwidth]
    x = np.geomspace(min(intensities) / 3, max(max(intensities), peaks.int8 / peaks.bandwidth) * 3, 200)
    for name, peak, dash in (("int8", peaks.int8, "--"), ("float32", peaks.float32, "-")):
        label = f"{name}: {peak / 1e9:,.0f} Gop/s, {peaks.bandwidth / 1e9:.0f} GB/s"
        axes.plot(x, np.minimum(peak, x * peaks.bandwidth) / 1e9, dash, color="#444444", label=label)
    models = list(dict.fromkeys(point.model for point in points))
    for model in models:
        color = COLORS[models.index(model) % len(COLORS)]
        for point in points:
            if point.model == model:
                rate, mark = point.cost.ops / point.seconds / 1e9, MARKS.get(point.graph, "D")
                axes.plot(point.intensity, rate, mark, color=color, markersize=6)
                axes.annotate(point.graph, (point.intensity, rate), (5, -9), textcoords="offset points", fontsize=7)
        axes.plot([], [], "o", color=color, label=model)
    axes.set(xscale="log", yscale="log", xlabel="operations for each byte", ylabel="billion operations a second")
    axes.set_title("Graphs under the machine's roofline")
    axes.grid(which="major")
    axes.legend(ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.16))
