"""``metatrack reproduce``: section 4 of the paper, from the data set to one page."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from metatrack.app import evaluate, import_results
from metatrack.app.problem import Problem, needs_extra, user_input
from metatrack.app.report import require_our_page, write_plots, write_tables
from metatrack.data.datasets import only
from metatrack.data.otb import otb_targets, read_otb
from metatrack.data.sequence import Sequence
from metatrack.evaluation.run.store import Store
from metatrack.evaluation.run.trackers import TrackerSpec, tracker_spec
from metatrack.files import write_atomically
from metatrack.hints import listed
from metatrack.report import section4
from metatrack.report.findings import find
from metatrack.report.page import remarks
from metatrack.report.section4 import Comparison, Entrant, Models
from metatrack.report.section4_page import Figures, draw, html_page
from metatrack.runtime.bundle import open_bundle


@dataclass(frozen=True)
class ReproduceOptions:
    """Evaluates what section 4 of the paper compares, and makes one page of it: figures 4 to 7, and the numbers of the text.

    Repeat the call to continue an interrupted one. A partial copy of OTB will do: the page says what is missing. The exit code is
    0 if everything is done, 1 if a tracker failed somewhere (the page is made all the same), 130 if you interrupted, 2 if the
    input cannot be used.
    """

    root: Annotated[Path, tyro.conf.arg(metavar="OTB")]
    """Folder of your copy of OTB, or of a part of it."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder of the page (index.html) and of all results."""
    published: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Published boxes to stand beside ours: a folder of the trackers' folders or .zip files."""
    trackers: Annotated[str | None, tyro.conf.arg(metavar="A,B,...")] = None
    """These alone, as the paper or metatrack evaluate calls them: MLT,KCF,C-COT; by default all thirteen."""
    models: Models = "paper"
    """MLT with the paper's network, or our default model."""
    only: Annotated[str | None, tyro.conf.arg(metavar="NAME,...")] = None
    """These sequences alone."""
    frames: int = 4
    """Frames of each sequence in figure 7."""
    draw_only: bool = False
    """Evaluate nothing: make the page of what is done so far."""
    jobs: int | None = None
    """Runs at once, of one thread each; 1 by default, with --ray all CPUs. Speed is only measured well with 1."""
    ray: Annotated[str | None, tyro.conf.arg(metavar="HOST:PORT|auto")] = None
    """Cluster to run on, as metatrack evaluate has it."""


def run(options: ReproduceOptions) -> int:
    """Runs the command; returns the exit code."""
    with needs_extra("plot", "metatrack reproduce"):
        import matplotlib  # noqa: F401
    if options.frames < 1:
        raise Problem(f"--frames {options.frames}: at least 1 is needed")
    require_our_page(options.out)
    with user_input():
        entrants = chosen(options.models, options.trackers)
        sequences = only(read_otb(options.root), options.only)
    able, said = ({each: tracker_spec(each.tracker) for each in entrants}, []) if options.draw_only else available(entrants)
    if not able:
        raise Problem(f"none of the trackers can run: {' '.join(said)}")
    for sentence in said:
        print(sentence, file=sys.stderr)
    if options.published is not None:
        import_results.run(
            import_results.ImportOptions("otb", options.root, (options.published,), options.out / "published", only=options.only)
        )
    status = 0 if options.draw_only else _evaluate(options, able)
    with user_input():
        comparison = compare(options, entrants, able, sequences)
        frames = {sequence.name: sequence for sequence in sequences}
        figures = draw(comparison, section4.figure7(comparison, frames, options.frames))
        _write(options.out, comparison, figures, [*notes(comparison, sequences), *said])
    print(f"{options.out / 'index.html'} shows {len(able)} trackers on {len(sequences)} sequences", file=sys.stderr)
    return status


def chosen(models: Models, wanted: str | None) -> tuple[Entrant, ...]:
    """The trackers that ``--trackers`` names, as the paper or as we call them; all where it is None.

    Raises:
        ValueError: there is none of a name; the nearest is suggested.
    """
    everyone = section4.entrants(models)
    if wanted is None:
        return everyone
    by_name = {name.lower(): each for each in everyone for name in (each.paper, each.tracker)}
    taken = [by_name[name] for name in listed(wanted.lower(), by_name, "tracker", "--trackers")]
    return tuple(each for each in everyone if each in taken)


def available(entrants: tuple[Entrant, ...]) -> tuple[dict[Entrant, TrackerSpec], list[str]]:
    """Those trackers that can run here, and a sentence about each that cannot."""
    able, said = {}, []
    for each in entrants:
        spec = tracker_spec(each.tracker)
        try:
            spec.identity()
        except (OSError, ValueError, ImportError) as error:
            said.append(f"{each.paper} ({each.tracker}) is left out: {error}.")
        else:
            able[each] = spec
    return able, said


def _evaluate(options: ReproduceOptions, able: dict[Entrant, TrackerSpec]) -> int:
    names = ",".join(spec.name for spec in able.values())
    return evaluate.run(
        evaluate.EvaluateOptions(
            "otb", options.root, names, options.out / "evaluation", jobs=options.jobs, ray=options.ray, only=options.only
        )
    )


def compare(
    options: ReproduceOptions, entrants: tuple[Entrant, ...], able: dict[Entrant, TrackerSpec], sequences: list[Sequence]
) -> Comparison:
    """Reads what was evaluated and imported; a ``ValueError`` where a result is damaged, or there is none."""
    store = Store.open(options.out / "evaluation")
    there = store.trackers()
    titles = {spec.name: each.title for each, spec in able.items() if spec.name in there}
    here = section4.renamed(find(store, sequences, list(titles)), titles)
    published = None
    if options.published is not None:
        results = Store.open(options.out / "published")
        wanted = {each.paper for each in entrants}
        found = {name: paper for paper, name in section4.published_names(list(results.trackers())).items() if paper in wanted}
        shared = [sequence for sequence in sequences if sequence.name in {s.name for s in here.sequences}]
        published = section4.renamed(find(results, shared, list(found)), found) if found else None
    return Comparison(entrants, here, published, section4.entrants(options.models)[1].tracker)


def notes(comparison: Comparison, sequences: list[Sequence]) -> list[str]:
    """What a reader has to know first."""
    said = []
    there = {sequence.name for sequence in sequences}
    missing = [target.name for target in otb_targets() if target.name not in there]
    if missing:
        lacking = f"{len(missing)} of OTB-100's 100 sequences are missing, so no mean here is one over OTB-100"
        said.append(f"{lacking}: {', '.join(missing)}.")
    names = {each.paper: each.tracker for each in comparison.entrants}
    if "MLT" in names:
        said.append(f"MLT is {names['MLT']}, MLT w/o meta {comparison.ablation}, as metatrack evaluate calls them.")
    if comparison.ablation == "mlt-as-printed-no-meta":
        said += ablation_notes()
    return [*said, *remarks(comparison.here)]


def ablation_notes() -> list[str]:
    """What figure 4 compares, and which way round the card of ``paper`` lets it be expected."""
    trained = open_bundle("paper-no-meta").card["training"]
    said = [
        f"MLT w/o meta has 128 plain kernels and no meta-learner; it is trained on all videos, those of MLT's meta-learner too, "
        f"from the {trained['start']}: {trained['schedule']}."
    ]
    measured = open_bundle("paper").card.get("adaptation", {})
    if loss := measured.get("loss"):
        own, none = loss["own"], loss["none"]
        verdict = "raise it, so figure 4 is to be expected the other way round" if own > none else "lower it"
        said.append(
            f"On {measured['targets']} held-out targets the matching loss is {own:.3f} with the kernels that this meta-learner "
            f"makes and {none:.3f} without (card of 'paper'): they {verdict}."
        )
    return said


def _write(out: Path, comparison: Comparison, figures: Figures, said: list[str]) -> None:
    write_plots(out / "figures", figures.plots())
    for scene in figures.figure7:
        write_atomically(out / "figures" / f"figure-7-{scene.strip.sequence}.jpg", scene.strip.jpeg)
    write_tables(out / "tables", comparison.here)
    write_atomically(out / "index.html", html_page(comparison, figures, said).encode())
