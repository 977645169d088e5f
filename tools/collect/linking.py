"""Boxes without identity, linked through time. Boxes are x, y, w, h in pixels, 0-based."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np

from metatrack.arrays import UInt8

Rectangle: TypeAlias = tuple[float, float, float, float]


class Frame(NamedTuple):
    """A frame of a video, and the objects in it."""

    number: int
    read: Callable[[], UInt8 | None]
    objects: list[tuple[str, Rectangle]]
    """Class and box of each."""


class Step(NamedTuple):
    """A target in one frame."""

    frame: int
    """Of the frame in its video."""
    name: str
    box: Rectangle


def _shared(a: Rectangle, b: Rectangle) -> float:
    left, top = max(a[0], b[0]), max(a[1], b[1])
    right, bottom = min(a[0] + a[2], b[0] + b[2]), min(a[1] + a[3], b[1] + b[3])
    return max(0, right - left) * max(0, bottom - top)


def overlap(a: Rectangle, b: Rectangle) -> float:
    """Intersection over union."""
    shared = _shared(a, b)
    return shared / (a[2] * a[3] + b[2] * b[3] - shared + 1e-9)


def covered(a: Rectangle, b: Rectangle) -> float:
    """The share of ``a`` that ``b`` covers."""
    return _shared(a, b) / (a[2] * a[3] + 1e-9)


def link(video: list[Frame], gap: int, least: float) -> list[list[Step]]:
    """Tracks of objects of one class: best mutual overlap, from where constant velocity puts the box, or where it was.

    Args:
        video: frames by number.
        gap: longest distance of two frames of a track.
        least: overlap of two boxes of a track, at least.
    """
    live: list[list[Step]] = []
    done: list[list[Step]] = []
    for i, frame in enumerate(video):
        ended = [frame.number - video[track[-1].frame].number > gap for track in live]
        done += [track for track, over in zip(live, ended) if over]
        live = [track for track, over in zip(live, ended) if not over]
        scores = np.array([[_score(video, track, i, *each, least) for each in frame.objects] for track in live])
        used: set[int] = set()
        for row, track in enumerate(live):
            if frame.objects and (best := _clear_winner(scores, row, least)) is not None and best not in used:
                used.add(best)
                track.append(Step(i, *frame.objects[best]))
        live += [[Step(i, *each)] for k, each in enumerate(frame.objects) if k not in used and min(each[1][2:]) > 0]
    return done + live


def _score(video: list[Frame], track: list[Step], i: int, name: str, box: Rectangle, least: float) -> float:
    """How well a box of frame ``i`` goes on with a track."""
    last = track[-1]
    if name != last.name or min(box[2:]) <= 0 or not 0.5 < box[2] * box[3] / (last.box[2] * last.box[3] + 1e-9) < 2:
        return 0.0
    x, y, w, h = last.box
    if len(track) > 1:
        before = track[-2]
        now, then, earlier = (video[k].number for k in (i, last.frame, before.frame))
        pace = (now - then) / max(1, then - earlier)
        x += pace * (x + w / 2 - before.box[0] - before.box[2] / 2)
        y += pace * (y + h / 2 - before.box[1] - before.box[3] / 2)
    return max(overlap((x, y, w, h), box), overlap(last.box, box))


def _clear_winner(scores: np.ndarray[tuple[int, ...], np.dtype[np.float64]], row: int, least: float) -> int | None:
    """The box that goes on with a track; none if there is doubt, since a track that ends is better than one that swaps."""
    best = int(scores[row].argmax())
    score = scores[row, best]
    if score < least:
        return None
    if scores.shape[1] == 1:
        return best
    return best if scores[:, best].argmax() == row and np.sort(scores[row])[-2] < 0.6 * score else None
