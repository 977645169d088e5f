"""What a source of ``sources.toml`` is, and its scenes: frames of a clip between two cuts."""

from __future__ import annotations

import fnmatch
import io
import re
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import cv2
import msgspec
import numpy as np

from metatrack.arrays import Float32, UInt8
from metatrack.geometry import Image
from tools.collect.sources import Repository

TABLE = Path(__file__).with_name("sources.toml")
WIDEST = 640
"""Pixels; a wider frame is shrunk to it."""
RATE = 10.0
"""Frames a second that are looked at."""
LONGEST = 90
"""Frames of a scene; a longer one is several."""
SHORTEST = 8
"""Frames of a scene, at least."""
MOST_FRAMES = 3000
"""Frames of a clip that are read."""
CUT = 0.5
"""Correlation of the thumbnails of two neighbours under which there is a cut."""
THUMBNAIL = 32
"""Side of a thumbnail in pixels."""


class Source(msgspec.Struct, forbid_unknown_fields=True):
    """An entry of ``sources.toml``, which says what the fields mean."""

    repository: str
    commit: str
    what: str
    licence: str
    clean: bool
    clips: list[str]
    without: list[str] = []
    panel: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    salient: int = 3
    most: int = 4
    detected: int = 6
    parts: int = 2
    alone: bool = False
    faces: int = 2
    faces_cap: int = 60
    faces_held: bool = False
    rate: float = RATE
    film: str = ""
    film_cap: int = 2
    people_cap: int = 30
    people: list[str] = []
    refused: dict[str, list[str]] = {}


class Scene(NamedTuple):
    """Frames of a clip without a cut, about a tenth of a second apart."""

    clip: str
    number: int
    """Of the scene in its clip."""
    frames: list[Image]  # (H, W, 3) RGB


def clips(source: Source, repository: Repository) -> list[str]:
    """Paths of the source's clips, each of those that are the same file once."""
    paths = [path for path, size in sorted(repository.files.items()) if size > 0]
    taken = [path for pattern in source.clips for path in paths if fnmatch.fnmatchcase(path, pattern)]
    first: dict[str, str] = {}
    for path in taken:
        first.setdefault(repository.contents(path), path)
    taken = [path for path in first.values() if not any(fnmatch.fnmatchcase(path, pattern) for pattern in source.without)]
    if not source.film:
        return taken
    films: Counter[str] = Counter()
    few: list[str] = []
    for path in taken:
        film = match[1] if (match := re.match(source.film, path)) else path
        films[film] += 1
        if films[film] <= source.film_cap:
            few.append(path)
    return few


def label(path: str) -> str:
    """A clip's name in the names of its trajectories."""
    return re.sub(r"[^A-Za-z0-9]+", "-", path.rsplit(".", 1)[0].removeprefix("docs/assets/"))[-40:].strip("-")


def sampled(data: bytes, panel: tuple[float, float, float, float], a_second: float = RATE) -> list[Image]:
    """Frames of a video file at about so many a second, of one panel (left, top, right, bottom in shares of the frame)."""
    found: list[Image] = []
    with av.open(io.BytesIO(data), mode="r") as container:
        stream = container.streams.video[0]
        rate = float(stream.average_rate or Fraction(25))
        step = max(1, round(rate / a_second))
        for number, frame in enumerate(container.decode(stream)):
            if number >= MOST_FRAMES:
                break
            if number % step:
                continue
            image = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
            height, width = image.shape[:2]
            left, top, right, bottom = (round(share * side) for share, side in zip(panel, (width, height) * 2, strict=True))
            found.append(_shrunk(image[top:bottom, left:right]))
    return found


def _shrunk(image: Image) -> Image:
    height, width = image.shape[:2]
    if width <= WIDEST:
        return np.ascontiguousarray(image)
    size = WIDEST, round(height * WIDEST / width)
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def thumbnail(image: UInt8) -> Float32:
    """A frame in grey, 32 x 32, of mean 0 and length 1, flat: the product of two is their correlation."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if image.ndim == 3 else image
    small = cv2.resize(grey, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA).astype(np.float32).ravel()
    small -= small.mean()
    return np.asarray(small / (np.linalg.norm(small) + 1e-6), np.float32)


def between_cuts(frames: list[Image]) -> list[list[Image]]:
    """Runs of frames without a cut, long ones in equal parts; those that are too short are left out."""
    thumbnails = [thumbnail(frame) for frame in frames]
    cuts = [i for i in range(1, len(frames)) if float(thumbnails[i - 1] @ thumbnails[i]) < CUT]
    runs = []
    for first, last in zip([0, *cuts], [*cuts, len(frames)]):
        parts = max(1, -(-(last - first) // LONGEST))
        edges = np.linspace(first, last, parts + 1).astype(int)
        runs += [frames[a:b] for a, b in zip(edges[:-1], edges[1:]) if b - a >= SHORTEST]
    return runs


def scenes(source: Source, repository: Repository, path: str) -> Iterator[Scene]:
    """The scenes of one clip."""
    for number, frames in enumerate(between_cuts(sampled(repository.read(path), source.panel, source.rate))):
        yield Scene(label(path), number, frames)
