"""Several targets at once: their contexts go through the trunk together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from metatrack.frames import as_rgb
from metatrack.runtime.engine import Float32, Model, load_model
from metatrack.tracking.settings import TrackerSettings
from metatrack.tracking.tracker import Result, Tracker

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
        alone = Tracker(self.model, adapt, settings)  # an unknown setting is reported here
        self.adapt, self.settings = alone.adapt, alone.settings
        self._trackers: dict[int | str, Tracker] = {}
        self._next = 1

    def _new(self) -> Tracker:
        return Tracker(self.model, self.adapt, self.settings)

    @property
    def targets(self) -> tuple[int | str, ...]:
        """Ids of the targets, in the order in which they were added."""
        return tuple(self._trackers)

    def add(self, frame: npt.NDArray[Any], box: Sequence[float], target: int | str | None = None) -> int | str:
        """Starts on a further target; the next :meth:`update` is of the frame behind this one.

        Args:
            frame: RGB uint8 ``(H, W, 3)``, see :meth:`Tracker.init`.
            box: ``x, y, w, h`` in pixels, 0-based, top-left.
            target: its id; None takes the number after the largest so far, be its target still followed or removed.

        Returns:
            The id.

        Raises:
            ValueError: the id is taken; or as :meth:`Tracker.init`.
        """
        if target is None:
            target = self._next
        if target in self._trackers:
            raise ValueError(f"target {target!r} is followed already; use correct() to move it, or another id")
        tracker = self._new()
        tracker.init(frame, box)
        self._trackers[target] = tracker
        if isinstance(target, int):
            self._next = max(self._next, target + 1)
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
        features = self._embed([tracker.contexts(image) for tracker in self._trackers.values()])
        # The small graphs behind the trunk are run for each target: they gain nothing by a batch, and answer to the bit what they
        # answer a Tracker. A box head's rounding errors in a batch were fed back, and grew to 0.002 pixels in 30 frames.
        return {
            target: tracker.settle(image, own, tracker.find(own))
            for (target, tracker), own in zip(self._trackers.items(), features, strict=True)
        }

    def _embed(self, crops: Sequence[npt.NDArray[np.uint8]]) -> list[Float32]:
        """Features of every target's contexts, from one stream of patches cut into batches."""
        if not crops:
            return []
        stream = np.concatenate(crops)
        features = np.concatenate([self.model.search(stream[i : i + BATCH]) for i in range(0, len(stream), BATCH)])
        ends = np.cumsum([len(c) for c in crops])
        return np.split(features, ends[:-1])

    def _known(self, target: int | str) -> None:
        if target not in self._trackers:
            raise KeyError(f"no target {target!r}; there are {_list(self._trackers)}")


def _list(targets: Iterable[int | str]) -> str:
    return ", ".join(map(repr, targets)) or "none"
