"""Several targets at once: their contexts go through the networks together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from metatrack.frames import as_rgb
from metatrack.runtime.engine import Float32, Maps, Model, load_model
from metatrack.tracking.search import Found
from metatrack.tracking.settings import TrackerSettings
from metatrack.tracking.tracker import Result, TargetState, Tracker

BATCH = 8
"""Contexts that go through the trunk at once: more fill the caches and gain nothing."""


class MultiTracker:
    """Follows any number of targets, each as :class:`Tracker` would alone (equal within rounding).

    >>> frame = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    >>> tracker = MultiTracker("lite")
    >>> tracker.add(frame, (60, 40, 30, 30)), tracker.add(frame, (20, 20, 30, 40), "dog")
    (1, 'dog')
    >>> sorted(map(str, tracker.update(frame)))
    ['1', 'dog']

    Targets may be added, corrected and removed between any two frames. An id is a number or a name; numbers are given in turn.

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
        self._adapt, self._settings = adapt, settings
        self._new()  # an unknown setting is reported here
        self._trackers: dict[int | str, Tracker] = {}
        self._next = 1

    def _new(self) -> Tracker:
        return Tracker(self.model, self._adapt, self._settings)

    @property
    def targets(self) -> tuple[int | str, ...]:
        """Ids of the targets, in the order in which they were added."""
        return tuple(self._trackers)

    def add(self, frame: npt.NDArray[Any], box: Sequence[float], target: int | str | None = None) -> int | str:
        """Starts on a further target; the next :meth:`update` is of the frame behind this one.

        Args:
            frame: RGB uint8 ``(H, W, 3)``, see :meth:`Tracker.init`.
            box: ``x, y, w, h`` in pixels, 0-based, top-left.
            target: its id; None takes the next free number.

        Returns:
            The id.

        Raises:
            ValueError: the id is taken; or as :meth:`Tracker.init`.
        """
        if target is None:
            while self._next in self._trackers:
                self._next += 1
            target = self._next
        if target in self._trackers:
            raise ValueError(f"target {target!r} is followed already; use correct() to move it, or another id")
        tracker = self._new()
        tracker.init(frame, box)
        self._trackers[target] = tracker
        return target

    def correct(self, target: int | str, frame: npt.NDArray[Any], box: Sequence[float]) -> None:
        """Starts anew on a target from a box that a person gave; a bad box changes nothing.

        Raises:
            KeyError: there is no such target.
            ValueError, TypeError: as :meth:`Tracker.init`.
        """
        self._known(target)
        tracker = self._new()
        tracker.init(frame, box)
        self._trackers[target] = tracker

    def remove(self, target: int | str) -> None:
        """Forgets a target.

        Raises:
            KeyError: there is no such target.
        """
        self._known(target)
        del self._trackers[target]

    def update(self, frame: npt.NDArray[Any]) -> dict[int | str, Result]:
        """Finds every target in the next frame.

        Returns:
            The results by id, in the order in which the targets were added; empty without targets.

        Raises:
            ValueError, TypeError: the frame is no image (see :meth:`Tracker.init`).
        """
        image = as_rgb(frame)
        trackers = list(self._trackers.values())
        crops = [tracker.contexts(image) for tracker in trackers]
        features = self._embed(crops)
        found = self._find(trackers, features)
        return {
            target: tracker.settle(image, own, place)
            for (target, tracker), own, place in zip(self._trackers.items(), features, found, strict=True)
        }

    def _embed(self, crops: Sequence[npt.NDArray[np.uint8]]) -> list[Float32]:
        """Features of every target's contexts, from one stream of patches cut into batches."""
        if not crops:
            return []
        stream = np.concatenate(crops)
        features = np.concatenate([self.model.search(stream[i : i + BATCH]) for i in range(0, len(stream), BATCH)])
        ends = np.cumsum([len(c) for c in crops])
        return np.split(features, ends[:-1])

    def _find(self, trackers: Sequence[Tracker], features: Sequence[Float32]) -> list[Found]:
        """Every target's place in its contexts; with a box head, in batches."""
        if not self.model.has_boxes:
            return [tracker.find(own) for tracker, own in zip(trackers, features, strict=True)]
        found = []
        for i in range(0, len(trackers), BATCH):
            some = trackers[i : i + BATCH]
            maps = self._locate([tracker.started for tracker in some], np.concatenate(features[i : i + BATCH]))
            found += [tracker.read(maps, n) for n, tracker in enumerate(some)]
        return found

    def _locate(self, states: Sequence[TargetState], features: Float32) -> Maps:
        """The box head's answer for several targets; kernels of zeros, before the first update, change nothing."""
        rows = max(len(state.w_target) for state in states)
        kernels = np.zeros((len(states), rows, self.model.channels), np.float32)
        for own, state in zip(kernels, states, strict=True):
            own[: len(state.w_target)] = state.w_target
        template, parts, size = (
            np.concatenate([getattr(state, name) for state in states]) for name in ("template", "parts", "template_size")
        )
        return self.model.locate(template, parts, features, kernels, size)

    def _known(self, target: int | str) -> None:
        if target not in self._trackers:
            raise KeyError(f"no target {target!r}; there are {_list(self._trackers)}")


def _list(targets: Iterable[int | str]) -> str:
    return ", ".join(map(repr, targets)) or "none"
