"""Trackers by name, for evaluations: ours by short names, everybody else's as ``package.module:factory``."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from metatrack import __version__
from metatrack.evaluation.runner import Tracker


@dataclass(frozen=True)
class Ours:
    """A configuration of this project's tracker."""

    model: str
    """A shipped model."""
    adapt: bool
    help: str


NAMED = {
    "mlt": Ours("lite", True, "our tracker, default model"),
    "mlt-paper": Ours("paper", True, "our tracker, the paper's five layers"),
    "mlt-no-adapt": Ours("lite", False, "our tracker, default model, the meta-learner switched off"),
    "mlt-no-meta": Ours("lite-no-meta", False, "the paper's ablation: trained with 128 plain kernels and no meta-learner"),
}


@dataclass(frozen=True)
class TrackerSpec:
    """A tracker by name, cheap to send to another process.

    Networks run with one thread, as does OpenCV in the processes of an evaluation: then the boxes do not depend on how many
    cores a machine has, and processes do not get into each other's way.
    """

    name: str
    """Name in tables and folders."""
    origin: str
    """One of :data:`NAMED`, or ``package.module:factory``."""

    def make(self) -> Tracker:
        """A new tracker.

        Raises:
            Exception: whatever the factory raises.
        """
        if self.origin not in NAMED:
            return load_factory(self.origin)()
        from metatrack.tracking.tracker import Tracker as MetaTracker

        ours = NAMED[self.origin]
        return MetaTracker(ours.model, adapt=ours.adapt, threads=1)

    def identity(self) -> dict[str, Any]:
        """What decides its boxes, as far as it can be known from here; a result of another identity must not be mixed in.

        Raises:
            ValueError: the factory or the shipped model does not exist, or is damaged.
            ImportError: the factory's module cannot be imported.
        """
        if self.origin not in NAMED:
            load_factory(self.origin)
            return {"factory": self.origin}
        from metatrack.runtime.bundle import open_bundle

        ours = NAMED[self.origin]
        card = open_bundle(ours.model).card
        return {
            "metatrack": __version__,
            "model": ours.model,
            "adapt": ours.adapt,
            "sha256": {file: facts["sha256"] for file, facts in sorted(card["files"].items())},
            "tracking": card.get("tracking", {}),
        }


def tracker_spec(text: str) -> TrackerSpec:
    """``mlt``, ``package.module:factory`` (named after the factory), or ``name=package.module:factory``.

    >>> tracker_spec("mine=my.trackers:make_fast")
    TrackerSpec(name='mine', origin='my.trackers:make_fast')

    Raises:
        ValueError: there is no such tracker (the nearest is suggested), or the name cannot be that of a folder.
    """
    name, equals, origin = text.strip().partition("=")
    if not equals:
        name, origin = text.strip().rpartition(":")[2], text.strip()
    if origin not in NAMED and ":" not in origin:
        near = get_close_matches(origin, NAMED, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(NAMED)}"
        raise ValueError(f"no tracker {origin!r}; {hint} (your own: package.module:factory)")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.+-]*", name):
        raise ValueError(f"{name!r} cannot be the name of a tracker; use letters, digits and _ . + -, as in name=module:factory")
    return TrackerSpec(name, origin)


def tracker_specs(texts: list[str]) -> list[TrackerSpec]:
    """As :func:`tracker_spec`, of several.

    Raises:
        ValueError: there is none, or two have the same name.
    """
    specs = [tracker_spec(text) for text in texts if text.strip()]
    names = [spec.name for spec in specs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if not specs or twice:
        what = f"two trackers are named {twice[0]!r}; name one, as in other=module:factory" if twice else "name a tracker"
        raise ValueError(f"{what} (known are {', '.join(NAMED)})")
    return specs


def load_factory(spec: str) -> Callable[[], Tracker]:
    """``package.module:name`` to that callable.

    Raises:
        ValueError: the text has another form or the module lacks the name.
        ImportError: the module cannot be imported.
    """
    module, _, name = spec.partition(":")
    if not module or not name:
        raise ValueError(f"{spec!r} does not name a factory; give package.module:callable")
    factory = getattr(importlib.import_module(module), name, None)
    if not callable(factory):
        raise ValueError(f"module {module} holds no callable {name!r}")
    made: Callable[[], Tracker] = factory
    return made
