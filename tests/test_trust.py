"""docs/trust.md names tests; they are there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NAMED = sorted(set(re.findall(r"`(tests/[^`]+)`", (ROOT / "docs" / "trust.md").read_text(encoding="utf-8"))))


def test_tests_are_named() -> None:
    assert len(NAMED) > 15


@pytest.mark.parametrize("name", [name for name in NAMED if name.endswith(".py") or "::" in name])
def test_it_is_there(name: str) -> None:
    file, _, function = name.partition("::")
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    names = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    assert function in names if function else any(each.startswith("test_") for each in names)
