"""What the page sends, as types; FastAPI checks them and describes them in ``/api/openapi.json``."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field

from metatrack.geometry import MOST_PIXELS

MOST_FRAMES = 1 << 31
Identifier = Annotated[str, Path(pattern="^[0-9a-f]{16}$")]
TargetId = Annotated[int, Path(ge=1, lt=1 << 31)]
FrameNumber = Annotated[int, Field(ge=0, lt=MOST_FRAMES)]
FrameInPath = Annotated[int, Path(ge=0, lt=MOST_FRAMES)]
Pixels = Annotated[float, Field(ge=-MOST_PIXELS, le=MOST_PIXELS, allow_inf_nan=False)]
Name = Annotated[str, Field(min_length=1, max_length=100, pattern=r'^[^\x00-\x1f\x7f,"]+$')]
"""Without what a table of boxes cannot hold."""
Color = Annotated[str, Field(pattern="^#[0-9a-fA-F]{6}$")]


class Body(BaseModel):
    """Nothing but what is named."""

    model_config = ConfigDict(extra="forbid")


class BoxBody(Body):
    """A box: top-left corner and size, in pixels, from 0."""

    x: Pixels
    y: Pixels
    w: Pixels
    h: Pixels


class NewTarget(Body):
    """A target, and where it is in one frame."""

    frame: FrameNumber
    box: BoxBody
    name: Name | None = None
    color: Color | None = None


class ChangedTarget(Body):
    """What is to change of a target."""

    name: Name | None = None
    color: Color | None = None
    hidden: bool | None = None


class Span(Body):
    """Frames ``first`` to ``last`` of a target: their boxes are deleted, or it is marked as not visible in them."""

    first: FrameNumber
    last: FrameNumber
    mark: Literal["delete", "absent"]


class NewJob(Body):
    """A tracking from a frame on."""

    frame: FrameNumber
    direction: Literal["forwards", "backwards"]
    targets: list[Annotated[int, Field(ge=1, lt=1 << 31)]] | None = Field(default=None, max_length=1000)
    stop_when_lost: bool = False


class ChangedProject(Body):
    """Another name."""

    name: Name


class CameraBody(Body):
    """A camera of the server's machine, by its number."""

    camera: Annotated[int, Field(ge=0, le=999)] = 0


class ErrorBody(BaseModel):
    """Every error: a sentence that says what is wrong and what to do."""

    detail: str
