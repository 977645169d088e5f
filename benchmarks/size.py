"""Installed size: the package and everything that ``pip install metatrack`` brings along."""

from __future__ import annotations

import re
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import metatrack
from benchmarks.machine import REPOSITORY
from benchmarks.options import Options
from benchmarks.page import Section, Table, number, percent

SHOWN = 8
"""Packages with a line of their own."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def measure(options: Options) -> Section:
    """The core install, and torch's for comparison."""
    package = Path(metatrack.__file__).parent
    own = folder_bytes(package)
    sizes = {"metatrack": own, **{name: distribution_bytes(dist) for name, dist in closure(direct()).items()}}
    total = sum(sizes.values())
    order = sorted(sizes, key=lambda name: -sizes[name])
    shown = list(dict.fromkeys(["metatrack", *order[:SHOWN]]))
    rows = [(name, _mb(sizes[name]), percent(sizes[name] / total)) for name in shown]
    others = [name for name in order if name not in shown]
    if others:
        rest = sum(sizes[name] for name in others)
        rows.append((f"{len(others)} others ({', '.join(sorted(others))})", _mb(rest), percent(rest / total)))
    rows.append(("**all**", f"**{_mb(total)}**", "100.0 %"))
    torch = closure(["torch"])
    more = sum(distribution_bytes(dist) for name, dist in torch.items() if name not in sizes)
    says = (
        "Files of the package and of its dependencies, and of theirs, as installed here, without compiled bytecode. The models"
        f" are {_mb(folder_bytes(package / 'models'))} MB of the first line. Python itself is not counted."
    )
    beside = f"torch and what it needs besides would add {_mb(more)} MB." if torch else "torch is not installed here."
    return Section("Installed size", [says, Table(("package", "MB", "share"), rows), beside])


def direct() -> list[str]:
    """Names of the package's own dependencies: from its metadata or, in a checkout that is not installed, its project file."""
    try:
        return needed(distribution("metatrack").requires or [])
    except PackageNotFoundError:
        text = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    # Python 3.10 has no reader of TOML.
    block = re.search(r"^dependencies = \[(.*?)^\]", text, re.DOTALL | re.MULTILINE)
    return needed(re.findall(r'^\s*"([^"]+)"', block[1], re.MULTILINE)) if block else []


def needed(requirements: list[str]) -> list[str]:
    """Names of what is required without an extra and on this system.

    >>> needed(["numpy>=1.26", "torch==2.0; extra == 'train'", "colorama; sys_platform == 'nowhere'"])
    ['numpy']
    """
    names = []
    for text in requirements:
        requirement, _, marker = text.partition(";")
        elsewhere = re.search(r"sys_platform\s*==\s*[\"'](\w+)[\"']", marker)
        name = NAME.match(requirement.strip())
        if name and "extra" not in marker and not (elsewhere and elsewhere[1] != sys.platform):
            names.append(name[0])
    return names


def closure(names: list[str]) -> dict[str, Distribution]:
    """The distributions of those names and all that they need, as far as they are installed; by their plain names.

    A marker that keeps one away from this system was judged when things were installed: what is absent needs no size.
    """
    found: dict[str, Distribution] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        key = re.sub(r"[-_.]+", "-", name).lower()
        if key in found:
            continue
        try:
            found[key] = distribution(name)
        except PackageNotFoundError:
            continue
        waiting += needed(found[key].requires or [])
    return found


def distribution_bytes(dist: Distribution) -> int:
    """Bytes of the files that a distribution has brought."""
    paths = {Path(str(dist.locate_file(file))) for file in dist.files or [] if file.suffix != ".pyc"}
    return sum(path.stat().st_size for path in paths if path.is_file())


def folder_bytes(folder: Path) -> int:
    """Bytes of the files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc")


def _mb(size: int) -> str:
    return number(size / 1e6)
