"""Targets that a detector of named classes (COCO's eighty) finds, and its opinion of boxes that trackers followed.

Frames are ``(H, W, 3)`` uint8 RGB, boxes ``x, y, w, h`` in pixels, 0-based.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import onnxruntime

from metatrack.arrays import Float32, Float64, UInt8
from metatrack.geometry import Box, Image, iou
from tools.collect.pictures import appearance, covered
from tools.pseudo.propose import apart, around, fits

LEAST_SURE, LEAST_SURE_AGAIN = 0.45, 0.25
"""Score of a target, and of the box that confirms it later."""
SAME_BOX = 0.6
"""Overlap from which the detector's box confirms a followed one."""
EVERY = 6
"""Frames from one that the detector looks at to the next."""
MOST_MISSED = 2
"""Of those frames, one after the other, without its target."""
LEAST_FOUND = 16.0
"""Pixels of a target's sides."""
AROUND = 3.0
"""Side of the window that is looked at again, in the box's longer sides."""
REPEATED = 0.5
"""Overlap from which two boxes are of one detection."""
NEAR = 1.0
"""Around a target, in its longer sides: where one like it must not be if the target is to be alone."""
MOST_PEOPLE = 2
"""Of a frame."""
PERSON = 0
"""The class of people."""
UNCHANGED = 0.75
"""Correlation of what a box shows in two frames from which nothing moved."""
PAD = 114
"""Grey beside the picture."""

Detector = Callable[[Image], "list[Detection]"]
"""Of an image: what is in it."""


class Detection(NamedTuple):
    """A box with its score and COCO class."""

    box: Box
    score: float
    class_: int


class YoloX:
    """A YOLOX network (Ge et al. 2021) as an ONNX file with one output: ``(1, n, 5 + classes)``, boxes not decoded.

    Args:
        path: the file, see ``sources.toml``.
        threads: of the network.
    """

    def __init__(self, path: Path, threads: int = 1) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3  # it warns of each weight
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        entry = self._session.get_inputs()[0]
        self._input, self._side = entry.name, int(entry.shape[2])

    def __call__(self, image: Image) -> list[Detection]:
        """What is in an image, the surest first."""
        planes, scale = letterbox(image, self._side)
        (rows,) = self._session.run(None, {self._input: planes})
        return detections(np.asarray(rows[0], np.float32), self._side, scale)


def letterbox(image: Image, side: int) -> tuple[Float32, float]:
    """The planes that YOLOX takes, ``(1, 3, side, side)``, blue first: the image at the upper left; and its scale."""
    height, width = image.shape[:2]
    scale = min(side / height, side / width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    padded = np.full((side, side, 3), PAD, np.uint8)
    padded[: size[1], : size[0]] = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    return np.ascontiguousarray(padded[..., ::-1].transpose(2, 0, 1)[None], dtype=np.float32), scale


def detections(rows: Float32, side: int, scale: float) -> list[Detection]:
    """Decodes the network's rows: offsets and logarithms of sizes in cells of 8, 16 and 32 px, object's and classes' scores."""
    cells = [(x, y, step) for step in (8, 16, 32) for y in range(side // step) for x in range(side // step)]
    grid = np.array(cells, np.float32)
    middle = (rows[:, :2] + grid[:, :2]) * grid[:, 2:] / scale
    size = np.exp(np.minimum(rows[:, 2:4], 10)) * grid[:, 2:] / scale
    classes = rows[:, 5:].argmax(1)
    scores = rows[:, 4] * rows[:, 5:].max(1)
    found: list[Detection] = []
    for i in np.argsort(-scores):
        if scores[i] < LEAST_SURE_AGAIN:
            break
        box = Box(*map(float, (*(middle[i] - size[i] / 2), *size[i])))
        if all(iou(box, other.box) < REPEATED for other in found):
            found.append(Detection(box, float(scores[i]), int(classes[i])))
    return found


def _tiles(image: Image, parts: int) -> list[tuple[int, int, UInt8]]:
    """Left, top and pixels of the whole image and of parts x parts overlapping pieces of it."""
    height, width = image.shape[:2]
    tiles = [(0, 0, image)]
    if parts > 1:
        w, h = round(width * 1.2 / parts), round(height * 1.2 / parts)
        for left in np.linspace(0, width - w, parts).astype(int):
            for top in np.linspace(0, height - h, parts).astype(int):
                tiles.append((int(left), int(top), np.ascontiguousarray(image[top : top + h, left : left + w])))
    return tiles


def found_in(detector: Detector, image: Image, most: int, parts: int = 1) -> list[tuple[Detection, bool]]:
    """Targets that a detector finds in a whole frame and in parts of it: sure, whole, apart from each other.

    What is no person comes first, the surest ahead; each with whether no other of its class is near.
    """
    everything: list[Detection] = []
    for left, top, tile in _tiles(image, parts):
        for box, score, class_ in detector(tile):
            inner = left == top == 0 and tile.shape == image.shape
            if score >= LEAST_SURE and (inner or fits(box, (*tile.shape[:2], 3))):
                everything.append(Detection(Box(box.x + left, box.y + top, box.w, box.h), score, class_))
    found: list[Detection] = []
    for each in sorted(everything, key=lambda each: -each.score):
        usual = fits(each.box, image.shape) and min(each.box[2:]) >= LEAST_FOUND
        if usual and apart(each.box, [other.box for other in found]):
            found.append(each)
    things = [each for each in found if each.class_ != PERSON][:most]
    people = [each for each in found if each.class_ == PERSON][: min(MOST_PEOPLE, most - len(things))]
    return [(each, _alone(each, everything)) for each in (*things, *people)]


def _alone(one: Detection, everything: list[Detection]) -> bool:
    """Whether no other of its class is near, with which a tracker might mix it up."""
    x, y, w, h = one.box
    room = Box(x - NEAR * max(w, h), y - NEAR * max(w, h), w + 2 * NEAR * max(w, h), h + 2 * NEAR * max(w, h))
    others = [each.box for each in everything if each.class_ == one.class_ and iou(each.box, one.box) < REPEATED]
    return all(covered(other, room) < 0.1 for other in others)


def again(detector: Detector, image: Image, box: Box) -> Box | None:
    """The detector's own box, of whatever class, of a target that was followed to ``box``; None where it sees none there."""
    left, top, right, bottom = around(box, image.shape, AROUND, 64.0)
    window = np.ascontiguousarray(image[top:bottom, left:right])
    if min(window.shape[:2]) < 16:
        return None
    moved = [Box(each.x + left, each.y + top, each.w, each.h) for each, *_ in detector(window)]
    best = max(moved, key=lambda each: float(iou(each, box)), default=None)
    return best if best is not None and iou(best, box) >= SAME_BOX else None


def still(frames: Sequence[Image], at: int, box: Box) -> bool:
    """Whether both ends of a scene show at a box what frame ``at`` shows there: neither target nor camera move."""
    inside = Box(max(0.0, box.x), max(0.0, box.y), box.w, box.h)
    look = appearance(frames[at], inside)
    return all(float((appearance(frames[end], inside) * look).mean()) > UNCHANGED for end in (0, -1))


def confirmed(detector: Detector, frames: Sequence[Image], boxes: Float64, at: int) -> tuple[int, Float64]:
    """What of a followed target the detector confirms: index of its first frame, and corrected boxes ``(n, 4)``.

    The detector looks at every sixth frame, counted from where the target was found, and at both ends. The trajectory ends where
    it sees the target for the last time before it misses it twice in a row. Boxes are halfway between the
    trackers' and the detector's, whose difference is interpolated between the frames that it looked at.

    Args:
        detector: for it.
        frames: as many as boxes.
        boxes: ``(n, 4)``.
        at: index of the frame that it was found in.
    """
    seen: dict[int, Box] = {}
    for looked in ((*range(at, len(boxes), EVERY), len(boxes) - 1), (*range(at - EVERY, 0, -EVERY), 0)):
        missed = 0
        for k in dict.fromkeys(looked):
            box = again(detector, frames[k], Box(*map(float, boxes[k])))
            missed = missed + 1 if box is None else 0
            if missed >= MOST_MISSED or at not in (*seen, k):
                break
            if box is not None:
                seen[k] = box
    if not seen:
        return at, boxes[:0]
    keys = sorted(seen)
    first, last = keys[0], keys[-1]
    theirs = np.array([seen[k] for k in keys], np.float64)
    middles = theirs[:, :2] + theirs[:, 2:] / 2 - boxes[keys, :2] - boxes[keys, 2:] / 2
    change = np.concatenate([middles / boxes[keys, 2:], np.log(theirs[:, 2:] / boxes[keys, 2:])], axis=1) / 2
    part = boxes[first : last + 1]
    between = np.stack([np.interp(np.arange(first, last + 1), keys, column) for column in change.T], axis=1)
    sizes = part[:, 2:] * np.exp(between[:, 2:])
    return first, np.concatenate([part[:, :2] + part[:, 2:] / 2 + between[:, :2] * part[:, 2:] - sizes / 2, sizes], axis=1)
