"""Processes that decode what cannot be trusted (:mod:`metatrack.confined`), and what is said to and by them."""

from __future__ import annotations

from typing import Any

import msgspec

from metatrack.confined import ConfinedProcess

PATIENCE = 120.0  # seconds of silence after which a child is given up: so many that a busy machine does not matter


class Opened(msgspec.Struct, tag=True, frozen=True):
    """A video was opened."""

    frames: int
    width: int
    height: int
    fps: float | None = None
    seconds: float | None = None
    reach: int = 1  # frames that must be decoded for one of them, at most


class Picture(msgspec.Struct, tag=True, frozen=True):
    """A frame; its JPEG is what comes behind the message."""

    frame: int


class SentBox(msgspec.Struct, frozen=True, array_like=True):
    """A target's box in a frame."""

    target: int
    frame: int
    x: float
    y: float
    w: float
    h: float
    score: float
    lost: bool


class TrackedFrame(msgspec.Struct, tag=True, frozen=True):
    """A frame was tracked; its JPEG may come behind the message."""

    frame: int
    rows: list[SentBox]


class Ended(msgspec.Struct, tag=True, frozen=True):
    """The work is over; ``problem`` says why, if not because all of it was done."""

    problem: str | None = None
    refused: bool = False  # the input is at fault


Said = Opened | Picture | TrackedFrame | Ended


class ChildError(RuntimeError):
    """A child could not do its work; the message is for the user.

    Attributes:
        refused: the input is at fault, not the machine.
    """

    def __init__(self, message: str, refused: bool = False) -> None:
        super().__init__(message)
        self.refused = refused


class WorkerProcess(ConfinedProcess):
    """A process of our own, as its parent sees it.

    Args:
        role: what it does, see :mod:`metatrack.web.worker`.
        memory: bytes that it may take besides what it has when it starts.
    """

    def __init__(self, role: str, memory: int) -> None:
        super().__init__(["-m", "metatrack.web.worker", role, str(memory)])

    def tell(self, message: Any) -> None:
        """Sends a message; a :class:`ChildError` where it has ended."""
        try:
            self.say(message)
        except (OSError, ValueError) as error:
            raise ChildError(self._how_it_ended()) from error

    def hear(self) -> tuple[Said, bytes]:
        """Waits for the next message; a :class:`ChildError` if it has ended, is silent for too long, or makes no sense."""
        try:
            return self.wait_for(Said, PATIENCE)  # type: ignore[arg-type] # a union is no type to mypy
        except (OSError, EOFError, ValueError) as error:
            raise ChildError(self._how_it_ended()) from error

    def _how_it_ended(self) -> str:
        if self.late:
            return f"the video was not read within {PATIENCE:.0f} s, so reading it was given up; try again, or re-encode it"
        return (
            "whoever reads the video has ended: it is damaged, or needs more memory than is allowed;"
            " re-encode it smaller (ffmpeg -i in.mp4 -c:v libx264 out.mp4), or start metatrack app with a larger --memory"
        )
