"""Results of an evaluation on their way out, as the files that other toolkits read; ``imports.py`` is the way in.

Boxes are counted as the data set's own files count them, unless said otherwise, which is also what ``imports.py`` expects.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence as Seq
from itertools import groupby
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from metatrack.data.sequence import Sequence
from metatrack.evaluation.run.evaluate import plan
from metatrack.evaluation.run.store import Store, Unit
from metatrack.evaluation.score.formats import write_got10k, write_json, write_lasot, write_mat, write_txt
from metatrack.evaluation.score.imports import FIRST_PIXEL
from metatrack.evaluation.score.metrics import fps
from metatrack.evaluation.score.records import Trajectory

Format = Literal["mat", "json", "text", "got10k", "lasot"]


class Exported(NamedTuple):
    """What was written of one tracker."""

    tracker: str
    sequences: int  # how many have a result, and so files
    missing: tuple[str, ...]  # those that have none


def export_results(
    store: Store, trackers: Seq[str], sequences: Seq[Sequence], kind: Format, out: Path, first_pixel: int | None = None
) -> Iterator[Exported]:
    """Writes the finished results of each tracker, and says after each what was written.

    ======  =====================================================================================================
    mat     ``<out>/<tracker>/<sequence>_<tracker>.mat``: OTB's toolkit; all runs of a sequence
    json    ``<out>/<tracker>/<sequence>.json``: the python ``tracker_benchmark``; all runs of a sequence
    text    ``<out>/<tracker>/<sequence>.txt``: a row ``x,y,w,h`` per frame
    got10k  ``<out>/<tracker>/<sequence>/<sequence>_001.txt`` and ``_time.txt``: GOT-10k's toolkit and server
    lasot   ``<out>/<tracker>_tracking_result/<sequence>.txt``: LaSOT's toolkit
    ======  =====================================================================================================

    Args:
        out: a folder; files of the same names are replaced.
        first_pixel: what the files call the first pixel, 0 or 1; None: as the data set's own files.

    Raises:
        ValueError: the format knows no runs from several starts, or wants times that are not known; or a result is damaged.
        OSError: a file cannot be written.
        ModuleNotFoundError: ``.mat`` files need scipy.
    """
    if store.protocol != "ope" and kind not in ("mat", "json"):
        raise ValueError(f"the format {kind} has one run of a sequence, not those of {store.protocol}; take mat or json")
    first = FIRST_PIXEL.get(store.data_set, 0) if first_pixel is None else first_pixel
    by_name = {sequence.name: sequence for sequence in sequences}
    for tracker in trackers:
        missing = []
        for name, group in groupby(plan(store, [tracker], sequences), lambda unit: unit.sequence):
            runs = list(group)
            if all(store.is_done(unit) for unit in runs):
                _write(store, runs, by_name[name], kind, out, first)
            else:
                missing.append(name)
        yield Exported(tracker, len(sequences) - len(missing), tuple(missing))


def _write(store: Store, runs: list[Unit], sequence: Sequence, kind: Format, out: Path, first: int) -> None:
    tracker, name = runs[0].tracker, sequence.name
    made = []
    for unit in runs:
        speed = fps([store.read_seconds(unit)])
        boxes = store.read_boxes(unit) + [first, first, 0, 0]
        made.append(Trajectory(boxes, sequence.start_frame + unit.start, speed if np.isfinite(speed) else None))
    boxes = made[0].boxes
    if kind == "mat":
        write_mat(out / tracker / f"{name}_{tracker}.mat", made)
    elif kind == "json":
        write_json(out / tracker / f"{name}.json", made, tracker, name, store.protocol)
    elif kind == "text":
        write_txt(out / tracker / f"{name}.txt", boxes)
    elif kind == "lasot":
        write_lasot(out, tracker, name, boxes)
    else:
        seconds = store.read_seconds(runs[0])
        if len(seconds) != len(boxes):
            raise ValueError(f"{store.root} holds no times of {tracker} on {name}, which GOT-10k's format wants; take text")
        write_got10k(out, tracker, name, boxes, seconds)
