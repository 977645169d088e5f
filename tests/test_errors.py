"""Every exception of the package survives the way from one process to another."""

from __future__ import annotations

import ast
import importlib
import inspect
import pickle
from pathlib import Path
from typing import Any

import pytest

import metatrack
from metatrack.video import DamagedSourceError

PACKAGE = Path(metatrack.__file__).parent
EXAMPLES: dict[str, Any] = {"str": "clip.mp4 is damaged", "int": 42, "float": 0.5, "Path": Path("clip.mp4"), "bool": True}


def exceptions() -> list[type[Exception]]:
    """All classes of the package that are exceptions, but for those whose module needs what is not installed."""
    found = []
    for path in PACKAGE.rglob("*.py"):
        names = [n.name for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, ast.ClassDef)]
        if not any(name.endswith(("Error", "Exception", "Warning")) or name in ("Problem", "Trouble") for name in names):
            continue
        module = importlib.import_module(".".join(("metatrack", *path.relative_to(PACKAGE).with_suffix("").parts)))
        found += [kind for name in names if isinstance(kind := getattr(module, name, None), type) and issubclass(kind, Exception)]
    return found


def test_they_are_found() -> None:
    assert {kind.__name__ for kind in exceptions()} >= {"DamagedSourceError", "SourceError", "Problem", "BundleError"}


@pytest.mark.parametrize("kind", exceptions(), ids=lambda kind: kind.__name__)
def test_pickled_and_back(kind: type[Exception]) -> None:
    own = kind.__init__ is not Exception.__init__ and inspect.isfunction(kind.__init__)
    wanted = list(inspect.signature(kind).parameters.values()) if own else []
    error = kind(*(EXAMPLES[str(each.annotation)] for each in wanted)) if own else kind("clip.mp4 is damaged")
    back = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    assert type(back) is kind
    assert str(back) == str(error)
    assert back.__dict__ == error.__dict__
    assert back.args == error.args


def test_the_frame_comes_along() -> None:
    back = pickle.loads(pickle.dumps(DamagedSourceError("clip.mp4 is cut", 17)))  # noqa: S301 - our own
    assert back.frame == 17
