"""What can go wrong with a source of frames, as types."""

from __future__ import annotations

from typing import Any


class SourceError(OSError):
    """A source cannot be opened, or holds no frame. The message names the source, what was found, and the remedy."""


class DamagedSourceError(SourceError):
    """A source was damaged; raised after every frame that could be read was delivered.

    Attributes:
        frame: 0-based number, counted from the start of the source, of the first frame that is missing or suspect. The frames
            before it carry their right numbers and are good, as far as the decoder noticed: those of AV1 notice late.
    """

    def __init__(self, message: str, frame: int) -> None:
        super().__init__(message)
        self.frame = frame

    def __reduce__(self) -> tuple[Any, ...]:
        """For a pool of processes: a pickle of an exception keeps what it was made of, and its message is not all of that."""
        return type(self), (*self.args, self.frame)
