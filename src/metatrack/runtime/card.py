"""What a model's card must hold: the parts that are used at run time, with kinds and ranges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from msgspec import Meta

from metatrack.typed import parse_json

FORMAT = 1
MOST_BYTES = 16 << 20
"""A longer card is none of ours."""

Cells = Annotated[int, Meta(ge=1, le=256)]
Finite = Annotated[float, Meta(ge=-1e6, le=1e6)]


@dataclass(frozen=True)
class Architecture:
    """Sizes that trackers and engines read off a card, see :class:`metatrack.runtime.model.Model`."""

    channels: Annotated[int, Meta(ge=1, le=4096)]
    template_cells: Cells
    search_cells: Cells
    response_cells: Cells
    stride: Annotated[int, Meta(ge=1, le=64)]
    support: Annotated[int, Meta(ge=0, le=64)]
    trunk: Annotated[str, Meta(max_length=100)] = ""
    kernels: Annotated[int, Meta(ge=1, le=4096)] | None = None
    target_kernels: Annotated[int, Meta(ge=0, le=1024)] = 0
    float_layers: Annotated[int, Meta(ge=0, le=10_000)] = 0

    def __post_init__(self) -> None:
        if self.search_cells != self.template_cells + self.response_cells - 1:
            raise ValueError(
                f"search_cells {self.search_cells} must be template_cells + response_cells - 1,"
                f" here {self.template_cells + self.response_cells - 1}"
            )


@dataclass(frozen=True)
class Calibration:
    """The logistic curve that makes scores of peaks; the rest is for people."""

    slope: Finite = 1.0
    offset: Finite = 0.0


@dataclass(frozen=True)
class FileFacts:
    """What a card says of a file."""

    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    bytes: Annotated[int, Meta(ge=0)] | None = None


@dataclass(frozen=True)
class Card:
    """A card. ``data``, ``training``, ``description`` and the like are for people, and open."""

    name: Annotated[str, Meta(min_length=1, max_length=200)]
    architecture: Architecture
    tracking: dict[str, Any]  # names and ranges are the trackers': metatrack.tracking.settings
    calibration: Calibration
    files: Annotated[dict[str, FileFacts], Meta(min_length=1, max_length=100)]


def parse_card(data: bytes, name: str) -> dict[str, Any]:
    """A card as the objects of its JSON, once all of :class:`Card` has been checked.

    Raises:
        ValueError: it is no card of this format; the message names what is wrong where.
    """
    if len(data) > MOST_BYTES:
        raise ValueError(f"{name}: {len(data)} bytes are no model card")
    card = parse_json(data, dict[str, Any], name)
    version = card.get("format")
    if type(version) is not int:  # True counts as 1 elsewhere
        raise ValueError(f"{name} is not a model card: its format must be {FORMAT}")
    if version != FORMAT:
        raise ValueError(f"{name}: format {version} is not known to this version; upgrade metatrack")
    parse_json(data, Card, name, open_keys=True)
    return card
