"""Several targets at once: their contexts go through the trunk together."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from metatrack.arrays import Array, UInt8
from metatrack.frames import as_rgb
from metatrack.runtime.load import load_model
from metatrack.runtime.model import Model
from metatrack.tracking.exclusion import Exclusion
from metatrack.tracking.patches import Patches
from metatrack.tracking.settings import TrackerSettings
from metatrack.tracking.tracker import Answer, Result, Tracker
from metatrack.tracking.turns import Turns, in_turn


class MultiTracker:
    """Follows any number of targets, each as :class:`Tracker` would alone (equal within rounding) while they are apart.

    Where two come near, each is told where the other is, and of two boxes that stay on one thing the one that looks less like
    its target yields: its score falls, and it is lost until it is seen elsewhere. Targets that were given on one thing, such as
    a face and its head, never exclude each other.

    >>> frame = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    >>> tracker = MultiTracker("lite")
    >>> tracker.add(frame, (60, 40, 30, 30)), tracker.add(frame, (20, 20, 30, 40), "dog")
    (1, 'dog')
    >>> sorted(map(str, tracker.update(frame)))
    ['1', 'dog']

    Targets may be added, corrected and removed between any two frames. An id is a number or a name; numbers are given in turn,
    and none twice: in a table of boxes, an id is one target from its first line to its last.

    Args:
        model, adapt, settings, threads: see :class:`Tracker`; one for all targets.

    Raises:
        BundleError: the model is missing or damaged.
        ValueError: a setting is unknown or out of range.
    """

    def __init__(
        self,
        model: str | Path | Model = "lite",
        adapt: bool = True,
        settings: TrackerSettings | dict[str, Any] | None = None,
        threads: int = 0,
    ) -> None:
        self.model = load_model(model, threads)
        single = Tracker(self.model, adapt, settings)  # an unknown setting is reported here
        self.adapt, self.settings, self._searcher = single.adapt, single.settings, single.searcher
        self._trackers: dict[int | str, Tracker] = {}
        self._next = 1
        self._exclusion = Exclusion()
        self._turns = Turns()

    @property
    def targets(self) -> tuple[int | str, ...]:
        """Ids of the targets, in the order in which they were added."""
        return tuple(self._trackers)

    @in_turn
    def add(self, frame: Array, box: Sequence[float], target: int | str | None = None) -> int | str:
        """Starts on a further target; the next :meth:`update` is of the frame behind this one.

        Args:
            frame, box: as :meth:`Tracker.init` takes them.
            target: its id; None takes the number after the largest so far, be its target still followed or removed.

        Raises:
            ValueError: the id is taken; or as :meth:`Tracker.init`.
        """
        if target is None:
            target = self._next
        if isinstance(target, bool) or not isinstance(target, (int, str)) or not re.fullmatch(r'[^,"\r\n]+', str(target)):
            raise ValueError(f"target {target!r} cannot be an id; take a number, or a name without comma, quote or line end")
        if target in self._trackers:
            raise ValueError(f"target {target!r} is followed already; use correct() to move it, or another id")
        self._start(target, frame, box)
        if isinstance(target, int):
            self._next = max(self._next, target + 1)
        return target

    @in_turn
    def correct(self, target: int | str, frame: Array, box: Sequence[float]) -> None:
        """Starts anew on a target from a box that a person gave; a bad box changes nothing.

        Raises:
            KeyError: there is no such target.
            ValueError, TypeError: as :meth:`Tracker.init`.
        """
        self._known(target)
        self._start(target, frame, box)

    @in_turn
    def place(self, target: int | str, box: Sequence[float]) -> None:
        """Says where a target is in the frame before the next :meth:`update`; see :meth:`Tracker.place`.

        Raises:
            KeyError: there is no such target.
        """
        self._known(target).place(box)

    @in_turn
    def remove(self, target: int | str) -> None:
        """Forgets a target.

        Raises:
            KeyError: there is no such target.
        """
        self._known(target)
        del self._trackers[target]
        self._exclusion.removed(target)

    @in_turn
    def update(self, frame: Array) -> dict[int | str, Result]:
        """Finds every target in the next frame.

        Returns:
            The results by id, in the order in which the targets were added; empty without targets.

        Raises:
            ValueError, TypeError: the frame is no image (see :meth:`Tracker.init`).
        """
        image = as_rgb(frame)
        patches = Patches(image)
        self._exclusion.tell(self._trackers, self.settings)
        answers = self._respond([tracker.contexts(patches) for tracker in self._trackers.values()])
        results = {
            target: tracker.update(image, answer)
            for (target, tracker), answer in zip(self._trackers.items(), answers, strict=True)
        }
        return self._exclusion.settled(self._trackers, results, self.settings)

    def _respond(self, contexts: Sequence[UInt8]) -> list[Answer]:
        """The responses to every target's contexts; those of one size, in pixels, go through the trunk together, in batches."""
        trackers, most = list(self._trackers.values()), self.model.batch
        answers: dict[int, Answer] = {}
        for size in {each.shape[1] for each in contexts}:
            chosen = [i for i, each in enumerate(contexts) if each.shape[1] == size]
            crops = np.concatenate([contexts[i] for i in chosen])
            batches = [self.model.search(crops[i : i + most]) for i in range(0, len(crops), most)]
            features = batches[0] if len(batches) == 1 else np.concatenate(batches)
            own = np.split(features, np.cumsum([len(contexts[i]) for i in chosen])[:-1])
            targets = [trackers[i].started for i in chosen]
            responses = self._searcher.respond_together(targets, features) or map(self._searcher.respond, targets, own)
            answers.update(zip(chosen, map(Answer, own, responses)))
        return [answers[i] for i in range(len(contexts))]

    def _known(self, target: int | str) -> Tracker:
        if target not in self._trackers:
            raise KeyError(f"no target {target!r}; there are {', '.join(map(repr, self._trackers)) or 'none'}")
        return self._trackers[target]

    def _start(self, target: int | str, frame: Array, box: Sequence[float]) -> None:
        tracker = Tracker(self.model, self.adapt, self.settings)
        tracker.init(frame, box)
        self._trackers[target] = tracker
        self._exclusion.added(target, self._trackers)
