"""``metatrack import-results``: published boxes into the folder of an evaluation, beside one's own."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro

from metatrack.app.problem import Problem, needs_extra, user_input
from metatrack.data.datasets import DATA_SETS, data_set, only, read_dataset
from metatrack.data.sequence import Sequence
from metatrack.evaluation.run.evaluate import plan
from metatrack.evaluation.run.store import Store, Unit
from metatrack.evaluation.score.imports import Imported, find_sources, load_results, refuse_others
from metatrack.evaluation.score.summary import format_summary, frame_size, tables, tracker_order, write_summary

SHOWN = 20  # missing sequences that are named, at most


@dataclass(frozen=True)
class ImportOptions:
    """Takes result files of other trackers into the folder of an evaluation, so that they stand in its tables and its report.

    Understood are OTB's .mat and .json, text with any separators, and the folders of GOT-10k, LaSOT and pytracking. A folder or
    .zip whose files are named after sequences is one tracker's; in any other folder, each folder and .zip is a tracker's.
    """

    dataset: Annotated[str, tyro.conf.arg(metavar="|".join(DATA_SETS))]
    """Name of the data set."""
    root: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder of your copy of it: results of its sequences are taken, others passed over. Its images are not needed."""
    results: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="DIR|ZIP|FILE...")]
    """A tracker's result files, a folder or .zip of them, or a folder of such folders."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder of the evaluation, new or begun by metatrack evaluate (protocol ope)."""
    tracker: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """The tracker's name, or the one to take of several; by default the name of its folder."""
    subset: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """List that must be there in full, or split of GOT-10k; by default what is found."""
    only: Annotated[str | None, tyro.conf.arg(metavar="NAME,...")] = None
    """These sequences alone."""
    allow_partial: bool = False
    """Take what is there of the subset."""
    first_pixel: Annotated[int | None, tyro.conf.arg(metavar="0|1")] = None
    """How the files count pixels; by default as the data set's own files (from 1: otb and lasot; from 0: all others)."""


def run(options: ImportOptions) -> int:
    """Runs the command; returns the exit code."""
    check_first_pixel(options.first_pixel)
    with user_input():
        name = data_set(options.dataset)
        there = read_dataset(name, options.root, options.subset, options.allow_partial, images=False)
        sequences = only(there, options.only)
        imported = _load(options, name, sequences)
        store = Store(options.out, name, "ope")
        known = store.trackers()
        for tracker, found in imported.items():
            refuse_others(known, tracker, found.identity)
        store.note_sequences(replace(s, frame_size=frame_size(store, s)) for s in sequences)
    for tracker, found in imported.items():
        with user_input():
            store.pin_tracker(tracker, found.identity)
        for sequence, result in found.results.items():
            store.write(Unit(tracker, sequence, 1, 0, len(result.boxes)), result.boxes, result.seconds)
    _finish(store)
    for tracker, found in imported.items():
        if line := _lacking(tracker, found, sequences):
            print(line, file=sys.stderr)
    return 0


def check_first_pixel(given: int | None) -> None:
    """Raises a :class:`Problem` for what is no way to count pixels."""
    if given not in (None, 0, 1):
        raise Problem(f"--first-pixel {given}: 0 or 1 is needed")


def _lacking(tracker: str, found: Imported, sequences: list[Sequence]) -> str:
    """What to say of a tracker without results on some sequences; nothing of a complete one."""
    missing = [sequence.name for sequence in sequences if sequence.name not in found.results]
    if not missing:
        return ""
    shown = ", ".join(missing[:SHOWN]) + (", ..." if len(missing) > SHOWN else "")
    return (
        f"INCOMPLETE: {tracker} has no result on {len(missing)} of {len(sequences)} sequences ({shown}): its means are over "
        f"{len(found.results)} alone, and not to be compared with others; leave sequences out on purpose with --only"
    )


def _load(options: ImportOptions, name: str, sequences: list[Sequence]) -> dict[str, Imported]:
    """Every tracker's results; all are read before the first is written."""
    made: dict[str, Imported] = {}
    empty = []
    for source in find_sources(options.results, sequences, options.tracker):
        with needs_extra("eval", "reading .mat files"):
            found = load_results(source, sequences, name, options.first_pixel)
        if found.results:
            made[source.tracker] = found
            print(_line(source.tracker, found, sequences), file=sys.stderr)
        else:
            empty.append(f"{source.tracker} ({found.others} files)")
    if not made:
        raise ValueError(
            f"{', '.join(empty) or options.results[0]}: no file is named after any of the {len(sequences)} sequences "
            f"({', '.join(sequence.name for sequence in sequences[:3])}, ...), as <sequence>.txt or <sequence>_<tracker>.mat are"
        )
    if empty:
        print(f"nothing about these sequences: {', '.join(empty)}", file=sys.stderr)
    return made


def _line(tracker: str, found: Imported, sequences: list[Sequence]) -> str:
    """What was found of a tracker."""
    missing = [sequence.name for sequence in sequences if sequence.name not in found.results]
    short = [f"{name} ({r.rows} of {len(r.boxes)} frames)" for name, r in found.results.items() if r.rows < len(r.boxes)]
    parts = [f"{tracker}: {len(found.results)} of {len(sequences)} sequences"]
    if missing:
        parts.append(f"missing: {', '.join(missing[:SHOWN])}" + (", ..." if len(missing) > SHOWN else ""))
    if short:
        parts.append(f"stop early: {', '.join(short[:SHOWN])}" + (", ..." if len(short) > SHOWN else ""))
    if found.others:
        parts.append(f"{found.others} files are about other sequences")
    return "; ".join(parts)


def _finish(store: Store) -> None:
    """The table of all that the folder holds, as after an evaluation."""
    with user_input():  # a result that somebody has changed by hand
        sequences = store.sequences()
        scored = tables(store, plan(store, tracker_order(store), sequences), sequences)
    scored = [table for table in scored if table.rows]
    write_summary(store, scored, sequences)
    print(format_summary(scored, len(sequences)), flush=True)
