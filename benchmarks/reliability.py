"""``python benchmarks/reliability.py OUT.png``: what the scores of the shipped models are worth, from their cards."""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib

from metatrack.runtime.bundle import open_bundle, shipped_models

matplotlib.use("Agg")


def main(out: Path) -> None:
    """Draws the share of right boxes over the score, one line a model; the size of a point is its number of frames."""
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(5, 5), layout="constrained")
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1, label="perfect")
    for name in shipped_models():
        rows = open_bundle(name).card["calibration"].get("reliability")
        if rows:
            score, right, frames = zip(*rows, strict=True)
            (line,) = axes.plot(score, right, label=name)
            axes.scatter(score, right, s=[8 + n / 5 for n in frames], color=line.get_color())
    axes.set(xlabel="score", ylabel="share of boxes that overlap their target by half", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(out, dpi=110)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
