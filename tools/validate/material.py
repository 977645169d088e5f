"""Natural clips with true masks, out of mirrored repositories: what the validation's scenes are made of."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import msgspec
import numpy as np

from metatrack.arrays import Bools, UInt8
from tools.collect.sources import Repository, read_sources

TABLE = Path(__file__).with_name("clips.toml")
LEAST = 10
"""Frames in a row that must show a target."""


class ClipSource(msgspec.Struct, forbid_unknown_fields=True):
    """An entry of ``clips.toml``, which says what the fields mean."""

    repository: str
    commit: str
    what: str
    licence: str
    frames: str
    frame: int
    mask: int
    size: tuple[int, int]
    rows: int
    clips: list[str]


@dataclass(frozen=True)
class Natural:
    """A natural clip and its target's masks."""

    name: str
    frames: UInt8  # (n, H, W, 3) RGB
    masks: Bools  # (n, H, W)


def naturals(mirror: Path) -> Iterator[Natural]:
    """All clips of ``clips.toml``.

    Args:
        mirror: folder of the mirrored repositories, see :class:`tools.collect.sources.Repository`.

    Raises:
        FileNotFoundError: a repository is missing.
        ValueError: a clip shows no target.
    """
    for source in read_sources(TABLE, ClipSource).values():
        repository = Repository(mirror, source.repository, source.commit)
        yield from (_read(repository, source, clip) for clip in source.clips)


def _read(repository: Repository, source: ClipSource, clip: str) -> Natural:
    *path, row = clip.split("/") if clip[-2:-1] == "/" else [*clip.split("/"), "0"]
    file = source.frames.replace("*", "/".join(path))
    with av.open(io.BytesIO(repository.read(file)), mode="r") as container:
        strips = np.asarray([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)], np.uint8)
    (w, h), count = source.size, strips.shape[1] // source.rows
    top = max(1, count)  # the more rows, the wider the margin above the first
    frames = strips[:, top : top + h, source.frame : source.frame + w]
    top += int(row) * source.rows
    masks = np.stack([_largest(each) for each in strips[:, top : top + h, source.mask : source.mask + w].min(-1) > 127])
    # The longest run of frames that show the target.
    edges = np.flatnonzero(np.diff(np.concatenate([[0], masks.any((1, 2)).astype(np.int8), [0]]))).reshape(-1, 2)
    first, last = max(edges.tolist(), key=lambda run: run[1] - run[0], default=(0, 0))
    if last - first < LEAST:
        raise ValueError(f"{source.repository}: {clip} shows its target in {last - first} frames in a row; leave it out")
    return Natural("-".join([*path[-1:], *([row] if row != "0" else [])]), frames[first:last].copy(), masks[first:last])


def _largest(mask: Bools) -> Bools:
    """The largest connected part, closed over small gaps."""
    closed = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(closed)
    areas = stats[1:, cv2.CC_STAT_AREA]
    if count < 2 or areas.max() < 60:
        return np.zeros(mask.shape, bool)
    return np.asarray(labels == 1 + int(np.argmax(areas)))
