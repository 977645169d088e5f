"""``metatrack completion``: a script with which a shell completes commands and options."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from dataclasses import dataclass, make_dataclass
from typing import Annotated, Any, Literal

import tyro
from tyro.extras import SubcommandApp

from metatrack.app.problem import Problem
from metatrack.app.unloaded import read_options
from metatrack.cli import COMMANDS

TYRO = (1, 0, 17)  # the version whose nested commands and script for fish this uses


@dataclass(frozen=True)
class CompletionOptions:
    """Prints a script with which a shell completes the commands of metatrack and their options.

    bash: source <(metatrack completion bash), in ~/.bashrc. zsh: write it to a file named _metatrack in a folder of $fpath. fish:
    write it to ~/.config/fish/completions/metatrack.fish.
    """

    shell: tyro.conf.Positional[Literal["bash", "zsh", "fish"]]
    """The shell."""


def run(options: CompletionOptions) -> int:
    """Runs the command; returns the exit code."""
    if tuple(int(part) for part in tyro.__version__.split(".")[:3]) < TYRO:
        wanted = ".".join(map(str, TYRO))
        raise Problem(
            f"metatrack completion needs tyro {wanted} or later, here is {tyro.__version__}: pip install --upgrade tyro"
        )
    print(script(options.shell, {name: (command.options, command.help) for name, command in COMMANDS.items()}))
    return 0


def script(shell: str, commands: Mapping[str, tuple[str, str]]) -> str:
    """The script, by tyro.

    Args:
        shell: ``bash``, ``zsh`` or ``fish``.
        commands: of each command, of one word or two, ``module:Options`` and its line of help.
    """
    app, groups = SubcommandApp(), dict[str, SubcommandApp]()
    for name, (place, help_line) in commands.items():
        group, _, last = name.rpartition(" ")
        if group and group not in groups:
            groups[group] = SubcommandApp()
            app.command(groups[group], name=group)
        kind = options_of(place)
        kind.__doc__ = help_line
        (groups[group] if group else app).command(kind, name=last)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        app.cli(prog="metatrack", args=["--tyro-print-completion", shell])
    return printed.getvalue()


def options_of(place: str) -> Any:
    """A class with the options of a command, read off its source: so none needs packages that are not installed.

    Their values are texts, for a shell completes names; a flag has its ``--no-`` form.
    """
    fields: list[tuple[str, Any, Any]] = []
    for name, (default, what) in read_options(place)[1].items():
        kind: Any = bool if default in ("True", "False") else str
        documented = Annotated[kind, tyro.conf.arg(help=what)]
        fields.append((name, documented, default == "True" if kind is bool else ""))
    return make_dataclass(place.rpartition(":")[2], fields)
