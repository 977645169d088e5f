"""The arrows of docs/architecture.md: what each room may import; and no circles between modules."""

from __future__ import annotations

import ast
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ROOT / "src" / "metatrack"
ROW = re.compile(r"\| `(?P<room>[a-z_]+)` \|(?P<may>[^|]*)\|")
MODULES = {
    "metatrack" + "".join(f".{part}" for part in path.relative_to(SOURCES).with_suffix("").parts if part != "__init__"): path
    for path in SOURCES.rglob("*.py")
}


def allowed() -> dict[str, set[str]]:
    """The table of docs/architecture.md: room -> rooms that it may import."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    section = text.split("## Arrows", 1)[1].split("\n## ", 1)[0]
    rows = [match.groupdict() for match in map(ROW.fullmatch, section.splitlines()) if match]
    return {row["room"]: set(re.findall(r"`([a-z_]+)`", row["may"])) for row in rows}


def imported(name: str, path: Path) -> set[str]:
    """Modules of the package that a module imports, at its top or inside a function; for annotations alone does not count."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    hints = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for statement in node.body
        for inner in ast.walk(statement)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if node in hints:
            continue
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "metatrack":
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (inside & set(MODULES)) or {node.module}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.split(".")[0] == "metatrack"}
    return found - {name}


def room(module: str) -> str:
    """The folder, or the file on the ground floor, that a module is in.

    >>> room("metatrack.video.source"), room("metatrack.geometry"), room("metatrack")
    ('video', 'geometry', '')
    """
    return (module.split(".") + [""])[1]


IMPORTS = {name: imported(name, path) for name, path in MODULES.items()}


def test_the_table_names_every_room() -> None:
    rooms = {room(name) for name in MODULES} - {"", "__main__"}
    assert set(allowed()) == rooms


def test_the_map_has_every_module() -> None:
    section = (
        (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").split("## One line per module", 1)[1].split("\n## ")[0]
    )
    inner = tuple(
        f"metatrack.{outer}.{folder}." for outer, folder in re.findall(r"`([a-z_]+)/([a-z_]+)/`", section)
    )  # as a whole
    named = {"__main__", *re.findall(r"[a-z0-9_]+", section)}
    unknown = [name for name in MODULES if not name.startswith(inner) and name.rpartition(".")[2] not in named]
    assert not unknown, f"docs/architecture.md, 'One line per module', needs a line for {', '.join(unknown)}"


def test_what_a_room_may_import_stands_above_it() -> None:
    order = list(allowed())
    for name, may in allowed().items():
        assert may <= set(order[: order.index(name)]), f"{name} may import a room that stands below it in the table"


@pytest.mark.parametrize("name", sorted(set(MODULES) - {"metatrack", "metatrack.__main__"}))
def test_arrows(name: str) -> None:
    wrong = {
        each for each in IMPORTS[name] if room(each) and room(each) != room(name) and room(each) not in allowed()[room(name)]
    }
    assert not wrong, f"{name} imports {', '.join(sorted(wrong))}, which docs/architecture.md does not allow"


def test_no_circles() -> None:
    try:
        TopologicalSorter(IMPORTS).prepare()
    except CycleError as error:
        pytest.fail(f"modules import each other in a circle: {' -> '.join(error.args[1])}")


def test_the_check_sees_an_import(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text(
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from metatrack.tracking.tracker import Tracker\n"
        "def later():\n    from metatrack.video import sink\n    import metatrack.geometry\n",
    )
    assert imported("metatrack.module", module) == {"metatrack.video.sink", "metatrack.geometry"}


def test_files_and_functions_are_short_and_classes_have_names_of_their_own():
    """What CONTRIBUTING asks for: 400 lines a file, 60 a function, and one meaning for the name of a class."""
    seen: dict[str, str] = {}
    for folder in ("src", "tests", "tools", "benchmarks"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            assert len(text.splitlines()) <= 400, path
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                    assert node.end_lineno - node.lineno < 60, f"{path}: {node.name}"
                elif isinstance(node, ast.ClassDef) and folder == "src" and not node.name.startswith("_"):
                    assert node.name not in seen, f"{node.name}: {path} and {seen[node.name]}"
                    seen[node.name] = str(path)
