"""``metatrack models``: what ships inside the package, by its cards, and in which precision it runs on this processor."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from metatrack.app.problem import INCOMPLETE, Problem, user_input
from metatrack.runtime.bundle import Bundle, open_bundle, shipped_models
from metatrack.runtime.load import choice_for


@dataclass(frozen=True)
class ModelsOptions:
    """Lists the models inside the package, after a check of their hashes."""


def run(_: ModelsOptions) -> int:
    """Prints the table; returns the exit code."""
    names = shipped_models()
    if not names:
        raise Problem("no model is inside this installation; install the package again", INCOMPLETE)
    with user_input():
        bundles = [open_bundle(name) for name in names]
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 1, 0))
    for column in ("model", "trunk", "MB", "adapts", "weights", "description"):
        table.add_column(column, justify="right" if column == "MB" else "left", no_wrap=column in ("model", "MB"))
    for name, bundle in zip(names, bundles, strict=True):
        table.add_row(name, *_facts(bundle))
    console = Console()
    console.print(table)
    for name, bundle in zip(names, bundles, strict=True):
        choice = choice_for(bundle)
        console.print(f"{name} runs here in {choice.precision}: {choice.reason}", soft_wrap=True, markup=False, highlight=False)
    return 0


def _facts(bundle: Bundle) -> tuple[str, ...]:
    card = bundle.card
    size = sum(facts["bytes"] for facts in card["files"].values()) / 1e6
    adapts = "yes" if bundle.graph("adapt") else "no"
    if "adaptation" in card:
        adapts = f"yes: {card['adaptation']['sentence']}"
    return card["architecture"]["trunk"], f"{size:.1f}", adapts, card["licence"], card["description"]
