"""The command line. A command is a frozen dataclass, from which tyro makes its options, and a function that takes it.

Only the module of the command that was asked for is imported.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, NamedTuple

from metatrack import __version__
from metatrack.app.problem import INCOMPLETE, USAGE, Problem, needs_extra
from metatrack.hints import hint


class Command(NamedTuple):
    """Where a command's options are, ``module:Options``, a line of help, the extra that it needs, and what is run.

    ``run(options)`` returns the exit code, or raises a :class:`Problem`: what a person can put right, in one line.
    """

    options: str
    help: str
    extra: str | None = None
    run: str | None = None
    """``module:function``; None: ``run`` of the options' module."""


COMMANDS = {
    "track": Command("app.track:TrackOptions", "follow one or more targets through a video"),
    "convert": Command("app.convert:ConvertOptions", "bring boxes into another file format"),
    "app": Command("app.page:PageOptions", "draw boxes on a page in the browser, track, correct, export", "app"),
    "frame": Command("app.frame:FrameOptions", "write a frame as a picture with a grid of coordinates"),
    "demo": Command("app.demo:DemoOptions", "track the clip inside the package and show the result"),
    "bench": Command("app.bench:BenchOptions", "measure frames per second, and where the time goes"),
    "batch": Command("app.batch:BatchOptions", "track through many videos, on one machine or a cluster"),
    "evaluate": Command("app.evaluate:EvaluateOptions", "score trackers on a benchmark"),
    "vot": Command("app.vot:VotOptions", "the tracker for VOT's toolkit, which starts this itself"),
    "import-results": Command("app.import_results:ImportOptions", "bring published boxes into an evaluation"),
    "export-results": Command("app.export_results:ExportResultsOptions", "write boxes as files of other toolkits"),
    "report": Command("app.report:ReportOptions", "make tables, plots and a page of an evaluation"),
    "reproduce": Command("app.reproduce:ReproduceOptions", "make section 4 of the paper, as one page"),
    "completion": Command("completion:CompletionOptions", "print what a shell needs to complete"),
    "models": Command("app.models:ModelsOptions", "list the models inside the package"),
    "train matching": Command("training.matching:MatchingConfig", "train the matching network", "train", "app.train:matching"),
    "train meta": Command("training.meta:MetaConfig", "train the meta-learner on top of it", "train", "app.train:meta"),
    "train average": Command("app.train:AverageOptions", "average the weights of several runs", "train", "app.train:average"),
    "train probe": Command("app.train:ProbeOptions", "measure whether a meta-learner has learnt", "train", "app.train:probe"),
    "export": Command("app.export:ExportOptions", "make a model bundle of trained weights", "train"),
    "data import": Command("app.import_data:ImportDataOptions", "bring annotated videos into the layout"),
    "data material": Command("app.data:MaterialOptions", "fetch pictures for synthetic clips", None, "app.data:material"),
    "data synth": Command("app.data:SynthOptions", "compose synthetic clips from pictures", "train", "app.data:synth"),
    "data models": Command("app.data:PackOptions", "pack 3D models for rendered clips", "render", "app.data:models"),
    "data render": Command("app.data:RenderOptions", "render clips of 3D models", "render", "app.data:render"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    _open_standard_streams()
    _write_anything()
    try:
        return dispatch(words)
    except Problem as problem:
        print(f"error: {problem}", file=sys.stderr)
        return problem.status
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of standard output has gone, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:  # a full disk, for example
        print(f"error: {error}", file=sys.stderr)
        return INCOMPLETE


def _open_standard_streams() -> None:
    """Opens what of the three standard streams was closed (``>&-``) on the null device.

    Else the next file that is opened, a table say, would take the stream's place, and whatever is printed would go into it.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the system gives the lowest number that is free
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)


def _write_anything() -> None:
    """A console of another alphabet (cp1252, LANG=C) shows what it lacks as an escape, and stops nobody."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # not where a notebook or a test has put something else
            stream.reconfigure(errors="backslashreplace")


def dispatch(words: list[str]) -> int:
    """Finds the command, and runs it with its options.

    Raises:
        Problem: there is no such command, or it cannot do its work.
        SystemExit: the options are wrong, or help was asked for.
    """
    if not words or words[0] in ("-h", "--help", "help"):
        print(overview())
        return 0 if words else USAGE
    if words[0] in ("-V", "--version"):
        print(f"metatrack {__version__}")
        return 0
    name = next((" ".join(words[:n]) for n in (2, 1) if " ".join(words[:n]) in COMMANDS), None)
    if name is None:
        return _no_command(words)
    command = COMMANDS[name]
    rest = words[len(name.split()) :]
    try:
        with needs_extra(command.extra, f"metatrack {name}"):
            module = command.options.partition(":")[0]
            options, run = _load(command.options), _load(command.run or f"{module}:run")
    except Problem as problem:
        if not {"-h", "--help"} & set(rest):
            raise
        from metatrack.app.unloaded import help_of

        print(help_of(f"metatrack {name}", command.options, str(problem)))
        return 0
    import tyro

    from metatrack.app.boxes import join_box
    from metatrack.app.mistakes import check_words, option_names

    rest = join_box(rest)
    check_words(rest, option_names(options))
    parsed = tyro.cli(options, prog=f"metatrack {name}", args=rest, config=(tyro.conf.DisallowNone,))
    return int(run(parsed))


def overview(prefix: str = "") -> str:
    """The list of commands that begin with ``prefix``."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {c.help}" for name, c in COMMANDS.items() if name.startswith(prefix)]
    head = f"usage: metatrack {prefix or '[-h] [--version] '}COMMAND ...\n\nTrack any object through video.\n\ncommands:"
    tail = "\n`metatrack COMMAND --help` says more. `metatrack demo` is a good start."
    return "\n".join([head, *lines, tail])


def _no_command(words: list[str]) -> int:
    group = f"{words[0]} "
    if any(name.startswith(group) for name in COMMANDS) and (len(words) == 1 or words[1] in ("-h", "--help")):
        print(overview(group))
        return 0 if len(words) > 1 else USAGE
    asked = " ".join(words[:2] if any(name.startswith(group) for name in COMMANDS) else words[:1])
    known = dict.fromkeys((*COMMANDS, *(name.split()[0] for name in COMMANDS)))
    raise Problem(f"no command {asked!r}; {hint(asked, known, 'there are')} (metatrack --help)")


def _load(place: str) -> Callable[..., Any]:
    module, _, name = place.partition(":")
    found: Callable[..., Any] = getattr(import_module(f"metatrack.{module}"), name)
    return found
