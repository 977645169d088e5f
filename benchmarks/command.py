"""Runs the parts one by one and writes the page."""

from __future__ import annotations

import datetime
import shlex
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import cv2
import tyro

from benchmarks.machine import Activity, describe
from benchmarks.options import PARTS, Options
from benchmarks.page import Section, markdown
from metatrack.app.problem import Problem, user_input
from metatrack.files import write_atomically
from metatrack.version import current_commit


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = tyro.cli(Options, prog="python benchmarks/run.py", args=given, config=(tyro.conf.DisallowNone,))
    try:
        options.check()
        page = run(options, given)
    except Problem as problem:
        print(f"error: {problem}", file=sys.stderr)
        return problem.status
    print(page)
    return 0


def run(options: Options, given: Sequence[str]) -> Path:
    """Runs the parts; returns the page's path.

    Raises:
        Problem: the folder cannot be written.
    """
    with user_input():
        options.out.mkdir(parents=True, exist_ok=True)
    cv2.setNumThreads(options.thread_count)
    now, version, before = datetime.datetime.now().astimezone(), current_commit(), Activity.read()
    commit, changes = (version.sha[:7], version.changed) if version else ("unknown", False)
    sections = {part: run_part(part, options) for part in options.parts}
    stem = f"{now:%Y-%m-%d-%H%M}-{commit}"
    picture = draw(sections, options.out / f"{stem}.png")
    lines = [
        f"# Benchmark of {now:%Y-%m-%d %H:%M}, commit {commit}{', with changes not committed' if changes else ''}",
        "",
        f"Made by `{shlex.join(['python', 'benchmarks/run.py', *given])}`. Unless said otherwise: the clip inside the package,"
        " decoded to memory before; everything that is compared takes turns in rounds, each round starts anew from the first box,"
        " and a number is the median over the rounds.",
        "",
        *markdown(describe(options, before, Activity.read())),
        *([picture, ""] if picture else []),
        *(line for section in sections.values() for line in markdown(section)),
    ]
    page = options.out / f"{stem}.md"
    write_atomically(page, "\n".join(lines).rstrip().encode() + b"\n")
    return page


def run_part(part: str, options: Options) -> Section:
    """One part; if it fails, a section that says why: the other parts are worth their time."""
    print(f"{part}: {PARTS[part]} ...", file=sys.stderr)
    try:
        section: Section = import_module(f"benchmarks.{part}").measure(options)
    except ModuleNotFoundError as error:
        return Section(PARTS[part].capitalize(), [f"Not measured: {error.name} is not installed here."])
    except Exception as error:  # whatever it is, it stands on the page
        traceback.print_exc()
        return Section(PARTS[part].capitalize(), [f"Not measured: {type(error).__name__}: {error}"])
    return section


def draw(sections: dict[str, Section], file: Path) -> str:
    """Draws what there is to draw into a file; the line with which the page shows it, or says why not."""
    stages, roofline = (sections[part].data if part in sections else None for part in ("stages", "roofline"))
    if not stages and not roofline:
        return ""
    try:
        from benchmarks.plot import plot
    except ModuleNotFoundError as error:
        return f"No plot: {error.name} is not installed here."
    write_atomically(file, plot(stages, roofline))
    return f"![Milliseconds per stage, and each graph under the machine's roofline]({file.name})"
