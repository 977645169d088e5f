"""What trackers written here have in common: checks, and one value that holds all that is known of the target."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, TypeVar

from metatrack.arrays import Array
from metatrack.compared.correlation import Found, Target, start
from metatrack.frames import as_rgb
from metatrack.geometry import Image

M = TypeVar("M")


class Follower(ABC, Generic[M]):
    """Follows one target at a time."""

    def __init__(self) -> None:
        self.model: M | None = None
        """What is known of the target; None before :meth:`init`."""

    @abstractmethod
    def learn_first(self, target: Target) -> M:
        """What the first frame tells of a target."""

    @abstractmethod
    def follow(self, model: M, image: Image) -> Found:
        """Finds the target in the next frame ``(H, W, 3)``, and changes ``model`` to what is known now."""

    def init(self, frame: Array, box: Sequence[float]) -> None:
        """Starts on a target, forgetting any earlier one.

        Args:
            frame: RGB uint8 ``(H, W, 3)``, or what :func:`metatrack.frames.as_rgb` makes that of.
            box: ``x, y, w, h`` in pixels, 0-based, top-left corner and size.

        Raises:
            ValueError: the box has no area, is not finite, lies outside the frame or is far larger; or the frame is no image.
            TypeError: the frame's dtype has no defined meaning.
        """
        self.model = self.learn_first(start(frame, box))

    def update(self, frame: Array) -> Found:
        """Finds the target in the next frame, which is not changed.

        Raises:
            RuntimeError: :meth:`init` has not been called.
            ValueError, TypeError: the frame is no image (see :meth:`init`).
        """
        image = as_rgb(frame)
        if self.model is None:
            raise RuntimeError("update() before init(): give the target's box in its first frame first")
        return self.follow(self.model, image)
