"""The oldest versions that pyproject.toml allows, as a constraints file for pip: ``python tools/oldest.py [EXTRA ...]``.

Lower bounds are promises; ``make test-all-pythons`` installs exactly these versions once and tries them.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    from pip._vendor import tomli as tomllib

PROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"


def oldest(requirement: str) -> str | None:
    """The requirement at its lower bound; None if it names metatrack itself.

    >>> oldest("numpy>=1.26,<3")
    'numpy==1.26'
    >>> oldest("torch==2.13.0")
    'torch==2.13.0'

    Raises:
        ValueError: it has no lower bound, so nobody knows what it was tried with.
    """
    name, bound = re.match(r"([A-Za-z0-9_.-]+)(.*)", requirement).groups()  # type: ignore[union-attr]
    if name == "metatrack":
        return None
    found = re.search(r"[>=]=\s*([0-9][^,;\s]*)", bound)
    if found is None:
        raise ValueError(f"{PROJECT.name}: {requirement!r} has no lower bound; write the oldest version that was tried")
    return f"{name}=={found[1]}"


def constraints(extras: list[str]) -> list[str]:
    """One line for each dependency of the core and of the named extras."""
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *(line for extra in extras for line in project["optional-dependencies"][extra])]
    return [line for line in map(oldest, wanted) if line is not None]


if __name__ == "__main__":
    print("\n".join(constraints(sys.argv[1:])))
