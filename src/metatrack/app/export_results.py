"""``metatrack export-results``: boxes of an evaluation as the files that other toolkits and servers read."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from metatrack.app.import_results import SHOWN, check_first_pixel
from metatrack.app.outputs import require_new
from metatrack.app.problem import INCOMPLETE, needs_extra, user_input
from metatrack.app.report import chosen_trackers
from metatrack.claims import alone
from metatrack.evaluation.run.store import Store
from metatrack.evaluation.score.exports import Format, export_results


@dataclass(frozen=True)
class ExportResultsOptions:
    """Writes the results in the folder of an evaluation as result files of OTB, GOT-10k, LaSOT, or plain text.

    What has no result yet is named, and the exit code is 1.
    """

    folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="DIR")]
    """Folder of the evaluation: what was --out of metatrack evaluate or import-results."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder of the files, new or empty."""
    format: Format = "text"
    """mat and json: OTB's toolkits. got10k: also what its server takes. lasot: its toolkit. text: x,y,w,h in each line."""
    trackers: Annotated[str | None, tyro.conf.arg(metavar="A,B,...")] = None
    """These alone; by default all in the folder."""
    first_pixel: Annotated[int | None, tyro.conf.arg(metavar="0|1")] = None
    """How the files count pixels; by default as the data set's own files (from 1: otb and lasot; from 0: all others)."""


def run(options: ExportResultsOptions) -> int:
    """Runs the command; returns the exit code."""
    check_first_pixel(options.first_pixel)
    status = 0
    with user_input():
        store = Store.open(options.folder)
        trackers, sequences = chosen_trackers(store, options.trackers), store.sequences()
        require_new(options.out, "--out")
    lock = options.out.absolute().with_name(f".{options.out.absolute().name}.lock")
    with user_input(), needs_extra("eval", "writing .mat files"), alone(lock, options.out):
        for done in export_results(store, trackers, sequences, options.format, options.out, options.first_pixel):
            print(f"{done.tracker}: {done.sequences} of {len(sequences)} sequences", file=sys.stderr)
            if done.missing:
                status = INCOMPLETE
                more = ", ..." if len(done.missing) > SHOWN else ""
                print(f"{done.tracker} has no result of: {', '.join(done.missing[:SHOWN])}{more}", file=sys.stderr)
    return status
