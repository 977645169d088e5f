"""``metatrack report``: tables, plots and one HTML page from the folder of an evaluation."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro

from metatrack.app.problem import Problem, needs_extra, user_input
from metatrack.data.datasets import only, read_dataset
from metatrack.data.sequence import Sequence
from metatrack.evaluation.run.store import Store
from metatrack.evaluation.score.summary import tracker_order
from metatrack.files import write_atomically
from metatrack.hints import hint, listed
from metatrack.report.filmstrip import Strip, strip
from metatrack.report.findings import Findings, find
from metatrack.report.page import Contents, html_page, markdown
from metatrack.report.plots import Plot, all_plots
from metatrack.report.style import LineStyle, line_styles
from metatrack.report.tables import all_tables

MARK = b'<meta name="generator" content="metatrack '  # in every page of ours


@dataclass(frozen=True)
class ReportOptions:
    """Makes tables (Markdown, LaTeX, CSV), plots (SVG, PNG) and one HTML page of everything in the folder of an evaluation.

    The same evaluation gives the same files. docs/evaluation.md says what is in them.
    """

    folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="DIR")]
    """Folder of the evaluation: what was --out of metatrack evaluate or import-results."""
    root: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of your copy of the data set, for filmstrips; without it there are none."""
    subset: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """Where in the data set the frames are, if the evaluation was given one (GOT-10k's split, NfS' 240, UAV20L)."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of the report; by default DIR/report."""
    trackers: Annotated[str | None, tyro.conf.arg(metavar="A,B,...")] = None
    """These alone; by default all in the folder."""
    tracker: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """Whose worst sequences come first; by default the first of the last evaluation."""
    filmstrips: int = 30
    """Sequences with a filmstrip, at most; the worst get them. 0 is none."""
    frames: str = "6"
    """Frames in a filmstrip: how many or, with commas, which, by the data set's own numbers (10,50,120)."""
    sequences: Annotated[str | None, tyro.conf.arg(metavar="A,B,...")] = None
    """These sequences alone."""
    common: bool = False
    """Only the sequences on which every tracker shown has a result, so that all means compare; the report says which are left
    out."""


def run(options: ReportOptions) -> int:
    """Runs the command; returns the exit code."""
    with needs_extra("plot", "metatrack report"):
        import matplotlib  # noqa: F401
    parse_frames(options.frames)
    if options.filmstrips < 0:
        raise Problem(f"--filmstrips {options.filmstrips}: at least 0 is needed")
    with user_input():
        store = Store.open(options.folder)
        trackers = chosen_trackers(store, options.trackers)
        if options.tracker is not None and options.tracker not in trackers:
            raise ValueError(f"--tracker: no tracker {options.tracker!r} here; {hint(options.tracker, trackers, 'there are')}")
        sequences, frames = _sequences(store, options)
        findings = chosen(store, sequences, trackers, options)
    # Said before and not after: frames may lie on a slow disk, and two dozen plots take their time.
    shown = f"{len(findings.entries)} trackers on {len(findings.sequences)} sequences"
    print(f"drawing {shown}", file=sys.stderr, flush=True)
    styles = line_styles([entry.name for entry in findings.entries], findings.focus)
    out = options.out or store.root / "report"
    _require_ours(out)
    with user_input():
        strips, no_strips = _strips(findings, frames, styles, options)
    contents = Contents(findings, styles, all_plots(findings, styles), strips, no_strips)
    _write(out, contents)
    print(f"{out / 'index.html'} shows {shown}", file=sys.stderr)
    if no_strips:
        print(no_strips, file=sys.stderr)
    return 0


def chosen(store: Store, sequences: list[Sequence], trackers: list[str], options: ReportOptions) -> Findings:
    """The findings on the sequences that are asked for.

    Raises:
        ValueError: there is no sequence of a name, or none that all trackers have; or as :func:`find`.
    """
    taken = only(sequences, options.sequences, "--sequences")
    findings = find(store, taken, trackers, options.tracker)
    words = []
    if len(taken) < len(sequences):
        words.append(f"{len(taken)} of {len(sequences)} sequences were chosen.")
    if options.common:
        common = findings.common
        if not common:
            raise ValueError(
                f"--common: no sequence has a result of all of {', '.join(entry.name for entry in findings.entries)}"
            )
        left = [s.name for s in findings.sequences if s not in common]
        if left:
            findings = find(store, common, trackers, options.tracker)
            shown = ", ".join(left[:8]) + (" and others" if len(left) > 8 else "")
            words.append(f"Only the {len(common)} sequences that all trackers have; left out are {len(left)}: {shown}.")
    return replace(findings, chosen=" ".join(words))


def parse_frames(text: str) -> int | list[int]:
    """How many frames, or their numbers; a :class:`Problem` where it is neither.

    >>> parse_frames("6"), parse_frames("10,50")
    (6, [10, 50])
    """
    try:
        numbers = [int(word) for word in text.split(",") if word.strip()]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < (0 if "," in text else 1):
        raise Problem(f"--frames {text}: give how many frames (6), or their numbers (10,50,120)")
    return numbers if "," in text else numbers[0]


def _require_ours(out: Path) -> None:
    """Raises a :class:`Problem` unless a report's folder is new, empty, or a report's: it takes no other file's place."""
    with user_input():
        if not out.exists() or (out.is_dir() and not any(out.iterdir())):
            return
        if not (out / "index.html").is_file():
            raise ValueError(f"{out} is there and no report of ours, whose files it would take the place of; name a new folder")
    require_our_page(out)


def require_our_page(out: Path) -> None:
    """Raises a :class:`Problem` where there is an ``index.html`` that is no page of ours."""
    page = out / "index.html"
    with user_input():
        if page.is_file() and MARK not in page.read_bytes()[:4000]:
            raise ValueError(f"{page} is there and no report of ours, which would take its place; name a new folder")


def chosen_trackers(store: Store, wanted: str | None) -> list[str]:
    """Those of an evaluation that ``--trackers`` names, or all; a ``ValueError`` where there are none, or none of a name."""
    there = tracker_order(store)
    if not there:
        raise ValueError(f"{store.root} holds no tracker's results; evaluate or import some first")
    if wanted is None:
        return there
    return listed(wanted, there, "tracker", "--trackers")


def _sequences(store: Store, options: ReportOptions) -> tuple[list[Sequence], dict[str, Sequence]]:
    """What results are scored against, and by name the same sequences with frames, where a data set is given.

    The folder's own truth comes first: a report must not change because the data set at hand has.
    """
    noted = store.sequences()
    read = [] if options.root is None else read_dataset(store.data_set, options.root, options.subset, allow_partial=True)
    if not noted and not read:
        raise ValueError(
            f"{store.root} was made before evaluations noted what they are scored against: repeat the line of `metatrack "
            "evaluate` (what is done is not done again), or give the folder of the data set with --root"
        )
    frames = {sequence.name: sequence for sequence in read}
    for sequence in noted:
        other = frames.get(sequence.name)
        if other is not None and len(other) != len(sequence):
            raise ValueError(
                f"{options.root}: {sequence.name} has {len(other)} frames, the evaluation's {len(sequence)}; "
                "give the data set of this evaluation, and the --subset that it was given"
            )
    return noted or read, frames


def _strips(
    findings: Findings, frames: Mapping[str, Sequence], styles: Mapping[str, LineStyle], options: ReportOptions
) -> tuple[dict[str, Strip], str]:
    """Filmstrips of the worst sequences, and why there are not more of them."""
    if options.filmstrips == 0:
        return {}, ""
    if options.root is None:
        return {}, "No filmstrips: they need the frames of the data set; give its folder with --root."
    wanted = findings.worst_first()[: options.filmstrips]
    missing = [sequence.name for sequence in wanted if sequence.name not in frames]
    strips = {s.name: strip(frames[s.name], findings, styles, parse_frames(options.frames)) for s in wanted if s.name in frames}
    notes = []
    if len(wanted) < len(findings.sequences):
        notes.append(f"Filmstrips of the first {len(wanted)} sequences alone (--filmstrips).")
    if missing:
        shown = ", ".join(missing[:8]) + (" and others" if len(missing) > 8 else "")
        notes.append(f"No filmstrips of {len(missing)} sequences whose frames are not in {options.root}: {shown}.")
    return strips, " ".join(notes)


def _write(out: Path, contents: Contents) -> None:
    write_atomically(out / "index.html", html_page(contents).encode())  # first: by it a report is known, also one that was killed
    write_tables(out / "tables", contents.findings)
    write_plots(out / "plots", contents.plots)
    for name, made in contents.strips.items():
        write_atomically(out / "filmstrips" / f"{name}.jpg", made.jpeg)
    write_atomically(out / "report.md", markdown(contents).encode())


def write_tables(folder: Path, findings: Findings) -> None:
    """All tables, in every form."""
    for name, text in all_tables(findings).items():
        write_atomically(folder / name, text)


def write_plots(folder: Path, plots: Iterable[Plot]) -> None:
    """Plots, in both forms."""
    for plot in plots:
        write_atomically(folder / f"{plot.name}.svg", plot.svg)
        write_atomically(folder / f"{plot.name}.png", plot.png)
