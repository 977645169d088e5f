"""Help of a command whose packages are not installed: its options are read off the source, without importing it."""

from __future__ import annotations

import ast
from importlib.util import find_spec
from pathlib import Path

WIDTH = 26


def help_of(command: str, place: str, problem: str) -> str:
    """What the command does, why it cannot be run, and its options, each with its default and what it is for."""
    doc, fields = read_options(place)
    lines = [f"usage: {command} [OPTIONS]", "", doc, "", f"Not to be run here: {problem}", "", "options:"]
    for option, (default, what) in fields.items():
        shown = f"--{option.replace('_', '-')}"
        lines.append(f"  {shown:<{WIDTH}}{what} ({'required' if default is None else f'default: {default}'})")
    return "\n".join(lines)


def read_options(place: str) -> tuple[str, dict[str, tuple[str | None, str]]]:
    """What a command does, and of each option its default as the source has it (None: required) and what it is for.

    Args:
        place: ``module:Dataclass``, below this package; inherited fields come first.
    """
    module, _, name = place.partition(":")
    spec = find_spec(f"metatrack.{module}")
    if spec is None or spec.origin is None:
        return "", {}
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    found = next((node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name), None)
    if found is None:
        return "", {}
    homes = {
        alias.asname or alias.name: node.module for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    fields: dict[str, tuple[str | None, str]] = {}
    for base in found.bases:
        if isinstance(base, ast.Name):
            home = homes.get(base.id) or f"metatrack.{module}"
            fields |= read_options(f"{home.removeprefix('metatrack.')}:{base.id}")[1]
    for node, after in zip(found.body, [*found.body[1:], None]):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            default = None if node.value is None else ast.unparse(node.value)
            said = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
            what = str(after.value.value) if said else ""  # type: ignore[union-attr] # as has just been asked
            fields[node.target.id] = (default, " ".join(what.split()))
    return ast.get_docstring(found) or "", fields
