"""docs/paper.md is true: its names exist, the equations carry their numbers, its checks hold."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

PAGE = Path(__file__).resolve().parents[1] / "docs" / "paper.md"
ROW = re.compile(r"\| (?P<what>[^|]+) \| (?P<code>`[^|]+`) \| ?(?P<differs>[^|]*)\| `(?P<check>[^|]+)` \|")
ROWS = [match.groupdict() for match in map(ROW.fullmatch, PAGE.read_text(encoding="utf-8").splitlines()) if match]


def named(reference: str) -> Any:
    """``module:name`` or ``module:Class.name`` to what it is."""
    module, _, path = reference.partition(":")
    found: Any = importlib.import_module(f"metatrack.{module}")
    for part in path.split("."):
        found = getattr(found, part)
    return found


def test_every_row_is_read() -> None:
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ") and " | code | " not in line]
    assert len(ROWS) == len(lines) > 25


def test_all_seven_equations_and_their_numbers() -> None:
    numbers = [int(row["what"][1]) for row in ROWS if re.match(r"\(\d\)", row["what"])]
    assert numbers == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("row", ROWS, ids=[row["what"][:40] for row in ROWS])
def test_row(row: dict[str, str]) -> None:
    things = {}
    for reference in re.findall(r"`([^`]+)`", row["code"]):
        owner = reference.rpartition(".")[0] if "." in reference.rpartition(":")[2] else reference  # of a method, its class
        named(reference)
        things[owner.rpartition(":")[2]] = named(owner)
    if number := re.match(r"\(\d\)", row["what"]):
        docs = " ".join(thing.__doc__ or "" for thing in things.values())
        named_there = re.search(rf"[Ee]quations? (\(\d\), )*(\(\d\) (and|to) )?\({number[0][1]}\)", docs)
        assert named_there, f"no docstring names {number[0]}"
    assert eval(row["check"], {"zeros": torch.zeros, "ones": torch.ones, **things}), row["check"]  # noqa: S307 - our own page
