"""``python -m tools.meta.held --segments DIR --out DIR``: targets that no network has seen, from segmented photographs.

The Berkeley segmentation data set (github.com/BIDS/BSDS500, a04b7c6) has photographs and what people drew around the things in
them. Of each photograph one segment is taken: the largest of those that could be a target.
"""

from __future__ import annotations

import csv
import io
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.io
import tyro

from metatrack.files import write_atomically

SMALLEST, LARGEST = 0.01, 0.2
"""Share of its photograph that a segment's box takes."""
FULL = 0.45
"""Share of its box that a segment fills, at least."""
SIDE, RATIO, BORDER = 24, 3.0, 6
"""Least side of a box in pixels, largest ratio of its sides, and least distance from the photograph's border."""


@dataclass(frozen=True)
class HeldOptions:
    """Makes stills of the segments' boxes."""

    segments: Path
    """Folder ``BSDS500/data`` of the repository, with ``images`` and ``groundTruth``."""
    out: Path
    """Folder of the photographs and their ``boxes.csv``."""


def target_box(labels: npt.NDArray[Any]) -> tuple[int, int, int, int] | None:
    """x, y, w, h of the largest segment that could be a target; None where there is none.

    Args:
        labels: ``(h, w)``, the number of each pixel's segment.
    """
    height, width = labels.shape
    best, result = 0, None
    for number in np.unique(labels):
        rows, columns = np.nonzero(labels == number)
        x, y, w, h = columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1
        inside = min(x, y, width - x - w, height - y - h) >= BORDER
        shaped = min(w, h) >= SIDE and max(w / h, h / w) <= RATIO and len(rows) >= FULL * w * h
        if inside and shaped and SMALLEST <= w * h / (width * height) <= LARGEST and len(rows) > best:
            best, result = len(rows), (int(x), int(y), int(w), int(h))
    return result


def main(options: HeldOptions) -> None:
    """One still of every photograph that has a target."""
    options.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for path in sorted(options.segments.glob("groundTruth/*/*.mat")):
        drawn = scipy.io.loadmat(path)["groundTruth"]
        box = target_box(drawn[0, 0]["Segmentation"][0, 0])  # of the first person who drew
        if box is not None:
            photograph = options.segments / "images" / path.parent.name / f"{path.stem}.jpg"
            shutil.copy(photograph, options.out)
            rows.append([photograph.name, *box])
    table = io.StringIO(newline="")
    csv.writer(table).writerows([["file", "x", "y", "w", "h"], *rows])
    write_atomically(options.out / "boxes.csv", table.getvalue())
    print(f"{len(rows)} targets")


if __name__ == "__main__":
    main(tyro.cli(HeldOptions))
