"""People who are alone in their clip, by the detector in every frame.

Trackers agree on what keeps its shape. A jumper, a player or somebody who bends changes it, and is what a tracker has to learn
most: where a detector sees one person and nobody else of a like size, it needs no tracker to say who it is.

Frames are ``(H, W, 3)`` uint8 RGB, boxes ``x, y, w, h`` in pixels, 0-based.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from metatrack.arrays import Float64
from metatrack.geometry import Box, Image, iou
from tools.collect.pictures import Crops, crop, share_of_image
from tools.pseudo.checks import LEAST_IMAGE, SAME, SHORTEST, Held
from tools.pseudo.detector import PERSON, Detection, Detector

LEAST_SURE, LEAST_MEAN = 0.55, 0.68
"""Score of a box, and the mean of a trajectory's."""
LEAST_HEIGHT = 40.0
"""Pixels."""
MOST_BESIDE = 0.3
"""Area of the second largest person, as a share of the largest's."""
LONGEST_GAP = 3
"""Frames from a box to the next; those between are interpolated."""
SAME_PERSON = 0.35
"""Overlap of neighbouring boxes."""
MOST_STEP = 1.35
"""Ratio of neighbours' sizes (roots of areas)."""
MOST_FRAME = 0.97
"""Share of the frame's width or height that a box may take."""
LEAST_CHANGE, LEAST_WAY = 0.15, 0.3
"""Logarithm of the change of shape, or way in sizes: with less of both, there is nothing to learn."""


def lone(found: Sequence[Detection]) -> Detection | None:
    """The one person of a frame, if there is one, large and sure, and nobody near as large."""
    people = sorted((each for each in found if each.class_ == PERSON), key=lambda each: -each.box.w * each.box.h)
    if not people or people[0].score < LEAST_SURE or people[0].box.h < LEAST_HEIGHT:
        return None
    area = people[0].box.w * people[0].box.h
    return None if any(each.box.w * each.box.h > MOST_BESIDE * area for each in people[1:]) else people[0]


def runs(people: Sequence[Detection | None]) -> list[list[int]]:
    """Indices of frames in which one and the same person is seen, for each."""
    found: list[list[int]] = []
    last: Detection | None = None
    for i, person in enumerate(people):
        if person is None:
            continue
        if last is not None and i - found[-1][-1] <= LONGEST_GAP and iou(last.box, person.box) > SAME_PERSON:
            found[-1].append(i)
        else:
            found.append([i])
        last = person
    return found


def smoothed(indices: Sequence[int], boxes: Float64, shape: tuple[int, ...]) -> Float64:
    """Boxes of all frames from the first index to the last: interpolated, the median of three for each side, within the frame."""
    every = np.arange(indices[0], indices[-1] + 1)
    corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
    between = np.stack([np.interp(every, indices, column) for column in corners.T], axis=1)
    padded = np.pad(between, ((1, 1), (0, 0)), "edge")
    sides = np.median(np.stack([padded[:-2], padded[1:-1], padded[2:]]), axis=0)
    sides = np.clip(sides, 0, [shape[1], shape[0]] * 2)
    return np.concatenate([sides[:, :2], sides[:, 2:] - sides[:, :2]], axis=1)


def faults(boxes: Float64, scores: Sequence[float], shape: tuple[int, ...]) -> str | None:
    """Why boxes ``(n, 4)`` of a person make no trajectory; None if they do."""
    if len(scores) < SHORTEST:
        return "too short"
    sizes = np.sqrt(boxes[:, 2:].prod(1))
    if max(max(a / b, b / a) for a, b in pairwise(sizes)) > MOST_STEP:
        return "size jumps"
    if np.mean(scores) < LEAST_MEAN:
        return "unsure"
    if (boxes[:, 2:] >= MOST_FRAME * np.array([shape[1], shape[0]])).any():
        return "fills the frame"
    aspect = np.log(boxes[:, 2] / boxes[:, 3])
    way = float(np.ptp(boxes[:, :2] + boxes[:, 2:] / 2, axis=0).max() / sizes.mean())
    return "stands still" if np.abs(aspect - aspect[0]).max() < LEAST_CHANGE and way < LEAST_WAY else None


def people_alone(detector: Detector, held: Held, frames: Sequence[Image]) -> Iterator[tuple[dict[str, Any], Crops]]:
    """What became of each person who is alone in a part of a scene: facts, and crops where it was accepted."""
    people = [lone(detector(frame)) for frame in frames]
    for indices in runs(people):
        seen = [each for i in indices if (each := people[i]) is not None]
        shape = frames[0].shape
        boxes = smoothed(indices, np.array([each.box for each in seen], np.float64), shape)
        first, part = indices[0], frames[indices[0] : indices[-1] + 1]
        why = faults(boxes, [each.score for each in seen], shape)
        if why is None and min(share_of_image(Box(*box), shape) for box in boxes.tolist()) < LEAST_IMAGE:
            why = "fills the frame"
        if why is None and max(held.likest(frame) for frame in part) > SAME:
            why = "held out"
        crops: Crops = [] if why else [crop(frame, Box(*box)) for frame, box in zip(part, boxes.tolist(), strict=True)]
        yield {"found": "alone", "class": PERSON, "at": first, "why": why, "frames": len(crops)}, crops
