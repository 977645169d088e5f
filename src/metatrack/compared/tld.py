"""TLD: a tracker from frame to frame, a detector over the whole frame, and learning where the two contradict each other.

Kalal, Mikolajczyk and Matas: Tracking-Learning-Detection, PAMI 2012. Settings are those of the authors' released OpenTLD. The
tracker is :mod:`metatrack.compared.median_flow`, the detector :mod:`metatrack.compared.cascade`.

The comparisons of the ferns and the warps of the target are random there and here: one run is one draw. Here each run begins with
the same seed. The detector's windows may be as small as the target, where that is smaller than the released code's 24 pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from metatrack.arrays import Float32, Floats, Integers
from metatrack.compared.cascade import MOST, Ferns, Grid, Neighbours, blurred, make_grid, pattern, patterns, variances
from metatrack.compared.correlation import Found, Target, grey
from metatrack.compared.follower import Follower
from metatrack.compared.median_flow import cv2, follow
from metatrack.geometry import Box, Image, iou

GIVEN_UP = Box(*(float("nan"),) * 4)
CLOSEST, CLOSE = 10, 0.6
"""Windows that are learned as the target: so many, if they overlap it by this."""
FAR = 0.2
"""Windows that overlap the target by less are not it."""
FIRST_WARPS, WARPS = 20, 10
"""Views of the target that are made of one, in the first frame and later."""
FIRST_TURN, TURN = 20.0, 10.0
"""Degrees between their extreme turns."""
SHIFT, SCALE, NOISE = 0.02, 0.02, 5.0
"""Between their extreme shifts and sizes, in sizes of the target; deviation of the noise in grey levels."""
FIRST_NEGATIVES = 100
"""Patches of the first frame that are not the target."""
PASSES = 2
"""Over the samples of a frame."""
POSTERIOR, SIMILARITY, VALID = 0.5, 0.65, 0.7
"""Thresholds: of the ferns, of the nearest neighbour, and of the conservative similarity at which a way may be learned from."""
LEARNED = 0.5
"""Least similarity of what is learned."""
VOTE = 0.1
"""Least posterior of windows that are learned as background: one fern of ten."""
LINKED = 0.5
"""Detections that overlap by more are of one cluster."""
JUMP, JOIN = 0.5, 0.7
"""Clusters that overlap the tracked box by less may replace it; detections that overlap it by more correct it."""
TRACKER_WEIGHT = 10
"""Detections that the tracked box counts as, when it is corrected."""


class Detection(NamedTuple):
    """Windows that have passed all tests, or their clusters' means."""

    boxes: Floats  # (n, 4)
    similarities: Floats  # (n,)


@dataclass
class TldTarget:
    """Everything that belongs to one target."""

    grid: Grid
    ferns: Ferns
    neighbours: Neighbours
    rng: np.random.Generator
    least_variance: float
    box: Box | None  # None while the target is lost
    last: Image  # the last frame, grey
    valid: bool = True  # whether the way to the present box may be learned from
    posterior: float = POSTERIOR  # the thresholds
    similarity: float = SIMILARITY
    conservative: float = VALID


class TLD(Follower[TldTarget]):
    """Follows place and size; the ratio of height to width stays. While it has lost the target, its boxes are NaN.

    Args:
        seed: of the random numbers.
    """

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self._seed = seed

    @classmethod
    def identity(cls) -> dict[str, Any]:
        """What decides its boxes besides this package."""
        return {"opencv": cv2.__version__}

    def learn_first(self, target: Target) -> TldTarget:
        image, first = grey(target.image), target.box
        grid = make_grid(target.width, target.height, image.shape)
        rng = np.random.default_rng(self._seed)
        overlap = iou(grid.windows, np.asarray(first))
        variance = variances(image, grid.windows)
        least = float(variance[overlap.argmax()]) / 2
        model = TldTarget(grid, Ferns(rng), Neighbours(), rng, least, first, image)
        smooth = blurred(image)
        positive, closest = _views(model, smooth, overlap, FIRST_WARPS, FIRST_TURN, at_least_one=True)
        background = rng.permutation(np.flatnonzero((overlap < FAR) & (variance > least)))
        codes = _codes(model, smooth, background)
        half = len(background) // 2
        _learn_ferns(model, positive, codes[:half])
        nearest = patterns(image, grid.windows[background[:FIRST_NEGATIVES]])
        middle = len(nearest) // 2
        own = pattern(image, grid.windows[closest])
        model.neighbours.learn([(own, True), *((other, False) for other in nearest[:middle])], model.similarity)
        # What half of the background reaches without having been learned is not enough.
        model.posterior = max(POSTERIOR, float(model.ferns.posteriors(codes[half:]).max(initial=0)))
        model.similarity = max(SIMILARITY, float(model.neighbours.similarities(nearest[middle:])[0].max(initial=0)))
        model.conservative = max(VALID, model.similarity)
        return model

    def follow(self, model: TldTarget, image: Image) -> Found:
        """Its box is NaN where it does not find the target."""
        image = grey(image)
        if image.shape != model.last.shape:
            raise ValueError(
                f"frame has {image.shape[1]}x{image.shape[0]} pixels, the first one {model.last.shape[::-1]}; TLD needs one size"
            )
        tracked, score = _track(model, image)
        smooth = blurred(image)
        posteriors = np.zeros(len(model.grid.windows), np.float32)
        textured = np.flatnonzero(variances(image, model.grid.windows) > model.least_variance)
        codes = _codes(model, smooth, textured)
        posteriors[textured] = model.ferns.posteriors(codes)
        candidates = _best(posteriors, model.posterior)
        found = patterns(image, model.grid.windows[candidates])
        likeness = model.neighbours.similarities(found)[0]
        detected = likeness > model.similarity
        detection = Detection(model.grid.windows[candidates][detected].astype(np.float64), likeness[detected].astype(np.float64))
        model.box, score = _fuse(model, tracked, score, detection)
        model.last = image
        if model.box is None:
            return Found(GIVEN_UP, 0.0)
        if model.valid:
            voted = posteriors[textured] >= VOTE
            _learn(model, image, smooth, Seen(textured[voted], codes[voted], candidates, found))
        return Found(model.box, score)


class Seen(NamedTuple):
    """What the detector has looked at in a frame."""

    windows: Integers  # (n,) in the grid: those that a fern has voted for
    codes: Integers  # (n, 10)
    candidates: Integers  # (m,) in the grid: those that have reached the last test
    patterns: Float32  # (m, 225)


def _track(model: TldTarget, image: Image) -> tuple[Box | None, float]:
    """Where median flow sees the target, and how similar it is there."""
    if model.box is None:
        return None, 0.0
    box = follow(model.last, image, model.box)
    if box is None or not np.isfinite(box).all() or not float(iou(box, (0, 0, image.shape[1], image.shape[0]))) > 0:
        return None, 0.0
    relative, conservative = model.neighbours.similarities(pattern(image, box)[None])
    model.valid = model.valid or bool(conservative[0] > model.conservative)
    return box, float(relative[0])


def _best(posteriors: Float32, threshold: float) -> Integers:
    """At most 100 windows above the threshold, the best first."""
    above = np.flatnonzero(posteriors > threshold)
    return above[np.argsort(-posteriors[above], kind="stable")[:MOST]]


def _fuse(model: TldTarget, tracked: Box | None, score: float, detection: Detection) -> tuple[Box | None, float]:
    """The box of a frame, of what tracker and detector say (the "integrator"); after a jump the way is not valid."""
    clusters = cluster(detection) if len(detection.boxes) else detection
    if tracked is None:
        if len(clusters.boxes) != 1:
            return None, 0.0
        model.valid = False
        return Box(*clusters.boxes[0].tolist()), float(clusters.similarities[0])
    if not len(detection.boxes):
        return tracked, score
    better = (iou(clusters.boxes, np.asarray(tracked)) < JUMP) & (clusters.similarities > score)
    if better.sum() == 1:
        model.valid = False
        return Box(*clusters.boxes[better][0].tolist()), float(clusters.similarities[better][0])
    near = detection.boxes[iou(detection.boxes, np.asarray(tracked)) > JOIN]
    together = (TRACKER_WEIGHT * np.asarray(tracked) + near.sum(axis=0)) / (TRACKER_WEIGHT + len(near))
    return Box(*together.tolist()), score


def cluster(detection: Detection) -> Detection:
    """Means of detections that hang together, each overlapping the next (single linkage).

    >>> three = Detection(np.array([[0, 0, 10, 10], [2, 0, 10, 10], [50, 0, 10, 10.0]]), np.array([0.7, 0.9, 0.8]))
    >>> cluster(three).boxes.tolist()
    [[1.0, 0.0, 10.0, 10.0], [50.0, 0.0, 10.0, 10.0]]
    """
    linked = np.array([iou(detection.boxes, box) > LINKED for box in detection.boxes])
    left, groups = np.ones(len(linked), np.bool_), []
    while left.any():
        group = np.zeros(len(linked), np.bool_)
        reached = np.arange(len(linked)) == left.argmax()
        while (reached & ~group).any():
            group |= reached
            reached = linked[group].any(axis=0)
        groups.append(group)
        left &= ~group
    boxes = [detection.boxes[group].mean(axis=0) for group in groups]
    return Detection(np.array(boxes), np.array([detection.similarities[group].mean() for group in groups]))


def _learn(model: TldTarget, image: Image, smooth: Image, seen: Seen) -> None:
    """P-N learning, section 5.6: near windows are the target, whatever ferns say; far ones that were taken for it are not."""
    box = model.box or GIVEN_UP
    own = pattern(image, box)[None]
    overlap = iou(model.grid.windows, np.asarray(box))
    model.valid = bool(
        model.neighbours.similarities(own)[0][0] >= LEARNED
        and not model.neighbours.known(own)[0]
        and variances(image, _inside(box, image.shape))[0] >= model.least_variance
    )
    if not model.valid or overlap.max() <= CLOSE:
        return
    positive, closest = _views(model, smooth, overlap, WARPS, TURN)
    _learn_ferns(model, positive, seen.codes[overlap[seen.windows] < FAR])
    wrong = seen.patterns[overlap[seen.candidates] < FAR]
    model.neighbours.learn(
        [(pattern(image, model.grid.windows[closest]), True), *((other, False) for other in wrong)], model.similarity
    )


def _learn_ferns(model: TldTarget, positive: Integers, negative: Integers) -> None:
    """Codes of the target and of the background, in random order."""
    codes = np.concatenate([positive, negative])
    targets = np.arange(len(codes)) < len(positive)
    for _ in range(PASSES):
        order = model.rng.permutation(len(codes))
        model.ferns.learn(codes[order], targets[order], model.posterior)


def _codes(model: TldTarget, smooth: Image, windows: Integers) -> Integers:
    """Codes ``(n, 10)`` of windows of the grid, in any order."""
    codes = np.zeros((len(windows), 10), np.intp)
    for part, size in model.grid.scales():
        mine = np.flatnonzero((windows >= part.start) & (windows < part.stop))
        if len(mine):
            codes[mine] = model.ferns.codes(smooth, model.grid.windows[windows[mine], :2], size)
    return codes


def _views(
    model: TldTarget, smooth: Image, overlap: Floats, warps: int, turn: float, at_least_one: bool = False
) -> tuple[Integers, int]:
    """Codes of the windows closest to the target, as they are and warped, and the closest window."""
    order = np.argsort(-overlap, kind="stable")[:CLOSEST]
    close = order[overlap[order] > CLOSE]
    if at_least_one and not len(close):
        close = order[:1]
    windows = model.grid.windows[close]
    left, top = windows[:, :2].min(axis=0)
    right, bottom = (windows[:, :2] + windows[:, 2:]).max(axis=0)
    codes = []
    for view in range(warps):
        part = smooth[top:bottom, left:right] if view == 0 else warped(smooth, (left, top, right, bottom), turn, model.rng)
        part = np.ascontiguousarray(part)
        codes += [
            model.ferns.codes(part, (window[:2] - (left, top))[None], (int(window[2]), int(window[3]))) for window in windows
        ]
    return np.concatenate(codes), int(close[0])


def warped(image: Image, corners: tuple[int, int, int, int], turn: float, rng: np.random.Generator) -> Image:
    """Part of a grey frame (left, top, right, bottom), turned, shifted and enlarged around its centre, with noise."""
    left, top, right, bottom = corners
    width, height = right - left, bottom - top
    angle = math.radians(turn) * (rng.random() - 0.5)
    scale = 1 - SCALE * (rng.random() - 0.5)
    across, down = (SHIFT * side * (rng.random() - 0.5) for side in (width, height))
    y, x = (np.arange(side, dtype=np.float32) - (side - 1) / 2 for side in (height, width))
    y, x = y[:, None], x[None]
    cos, sin = math.cos(angle) * scale, math.sin(angle) * scale
    columns = np.clip(left + (width - 1) / 2 + across + cos * x - sin * y, 0, image.shape[1] - 1)
    rows = np.clip(top + (height - 1) / 2 + down + sin * x + cos * y, 0, image.shape[0] - 1)
    x0, y0 = columns.astype(np.intp), rows.astype(np.intp)
    x1, y1 = np.minimum(x0 + 1, image.shape[1] - 1), np.minimum(y0 + 1, image.shape[0] - 1)
    dx, dy = columns - x0, rows - y0
    values = (image[y0, x0] * (1 - dx) + image[y0, x1] * dx) * (1 - dy) + (image[y1, x0] * (1 - dx) + image[y1, x1] * dx) * dy
    noisy = values + NOISE * rng.standard_normal(values.shape, np.float32)
    return np.asarray(np.rint(noisy).clip(0, 255), np.uint8)


def _inside(box: Box, frame: tuple[int, ...]) -> Integers:
    """The part of a box inside the frame, in whole pixels, at least one: ``(1, 4)``."""
    left, top = (min(max(round(value), 0), limit - 1) for value, limit in ((box.x, frame[1]), (box.y, frame[0])))
    right, bottom = (min(round(value), limit) for value, limit in ((box.x + box.w, frame[1]), (box.y + box.h, frame[0])))
    return np.array([[left, top, max(right - left, 1), max(bottom - top, 1)]], np.intp)
