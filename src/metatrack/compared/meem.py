"""MEEM: a linear support vector machine, accompanied by what it was before; the one least in doubt goes on.

Zhang, Ma and Sclaroff: MEEM: Robust Tracking via Multiple Experts Using Entropy Minimization, ECCV 2014; settings are those of
the authors' released code. Nothing in it is random, but whole paths hang on single roundings: two runs that were published of the
same code differ by 0.13 AUC on Biker.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from metatrack.arrays import Bools, Float32, Float64, Integers
from metatrack.compared.correlation import Found, Target
from metatrack.compared.follower import Follower
from metatrack.compared.patches import resized, rounded
from metatrack.compared.prototypes import Machine, Samples, no_prototypes, train
from metatrack.compared.rank import binary_maps
from metatrack.geometry import Box, Image, iou

TEMPLATE_AREA = 144.0
"""Cells of the template, about."""
LONG_SIDE, FRAME_WIDTH = 64.0, 320.0
"""Frames are shrunk until the target's longer side or the frame's width is this, whichever comes first."""
PAD = 40
"""Pixels by which a frame is continued at its borders."""
RANK_CELLS = 4.0
"""Side of the neighbourhood of a pixel's rank, in cells."""
FIRST_SEARCH, SEARCH = 5.0, 1.0
"""How far the region that is looked at exceeds the box, in geometric means of its sides: in the first frame, and later."""
POSITIVE, NEGATIVE = 0.9, 0.5
"""Samples that overlap the found box by more are the target, those that overlap it by less are not."""
SAMPLE_COUNT = 120
"""Of a frame, about."""
LOST, SURE = -0.7, 1.0
"""Scores: from the first down the box stays and nothing is learned; above the second only what is not yet right."""
SNAPSHOT_EVERY = 50
"""Frames."""
EXPERTS = 4
"""Most of them, the current one included."""
HISTORY = 5
"""Frames whose scores make an expert's value."""
DOUBT = 10.0
"""Weight of the entropy (lambda of equation (6))."""
PRIOR_SIGMA = 15.0
"""Of the Gaussian around the region's centre, in cells."""
PEAK = 0.9
"""Height of a peak of the density, on a scale from its least to its largest value."""

_NORMAL = np.array([math.erf(x / 512) for x in range(-512 * 6, 512 * 6 + 1)])


class Region(NamedTuple):
    """Part of the shrunk and padded frame, and all places of the template in it."""

    left: int
    top: int
    vectors: Bools  # (16, rows, columns, th, tw): a view, a template's worth of maps at each place

    @property
    def places(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.vectors.shape[1], self.vectors.shape[2]

    def at(self, rows: Integers, columns: Integers) -> Float32:
        """Vectors ``(n, D)`` of n places."""
        picked = self.vectors[:, rows, columns].transpose(1, 0, 2, 3)
        return picked.reshape(len(rows), -1).astype(np.float32)


class Opinion(NamedTuple):
    """What an expert says about a region."""

    scores: Float32  # (rows, columns)
    density: Float64  # (rows, columns)
    best: tuple[int, int]
    peaks: Float64  # (k, 2)


@dataclass
class Expert:
    """The tracker at some time."""

    machine: Machine
    history: list[float] = field(default_factory=list)
    """Scores of the last frames: equation (6) of MEEM."""

    @property
    def value(self) -> float:
        """Their sum: equation (7) of MEEM."""
        return sum(self.history[-HISTORY:])


@dataclass
class MeemTarget:
    """Everything that belongs to one target. The box is in pixels of the shrunk and padded frame."""

    shrink: float
    ratio: float  # cells per pixel
    template: tuple[int, int]  # rows and columns of cells
    box: Box
    given: tuple[float, float]  # width and height in the frame itself
    experts: list[Expert] = field(default_factory=list)  # snapshots from the oldest on, then the current one
    frame: int = 1


class MEEM(Follower[MeemTarget]):
    """Follows the centre in steps of a cell, a twelfth of the target; the size stays.

    >>> frame = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8).repeat(4, 0).repeat(4, 1)
    >>> tracker = MEEM()
    >>> tracker.init(frame, (60, 40, 24, 24))
    >>> tracker.update(np.roll(frame, (4, -6), axis=(0, 1))).box
    Box(x=54.0, y=44.0, w=24.0, h=24.0)
    """

    def learn_first(self, target: Target) -> MeemTarget:
        image, (x, y, width, height) = target.image, target.box
        shrink = 1.0
        if max(width, height) > LONG_SIDE and image.shape[1] > FRAME_WIDTH:
            shrink = max(LONG_SIDE / max(width, height), FRAME_WIDTH / image.shape[1])
        w, h = width * shrink, height * shrink
        ratio = math.sqrt(TEMPLATE_AREA / (w * h))
        template = (max(1, rounded(h * ratio)), max(1, rounded(w * ratio)))
        model = MeemTarget(shrink, ratio, template, Box(x * shrink + PAD, y * shrink + PAD, w, h), (width, height))
        region = _region(model, image, FIRST_SEARCH)
        step = max(1, rounded(min(template) / 4))
        samples = _samples(model, region, step, first=True)
        model.experts = [Expert(train(no_prototypes(samples.vectors.shape[1]), samples))]
        return model

    def follow(self, model: MeemTarget, image: Image) -> Found:
        model.frame += 1
        if model.frame % SNAPSHOT_EVERY == 0:
            now = model.experts[-1]
            model.experts = [*model.experts, Expert(now.machine, list(now.history))][-EXPERTS:]
        region = _region(model, image, SEARCH)
        rows, columns = region.places
        vectors = region.at(*np.divmod(np.arange(rows * columns), columns))
        opinions = [_opinion(expert.machine.scores(vectors).reshape(rows, columns), model.template) for expert in model.experts]
        opinion = opinions[_choose(model.experts, opinions, _near(model.template))]
        score = float(opinion.scores[opinion.best])
        if score > LOST:
            row, column = opinion.best
            model.box = model.box._replace(x=region.left + column / model.ratio, y=region.top + row / model.ratio)
            self._learn(model, region, score)
        (x, y), (w, h) = ((value - PAD) / model.shrink for value in model.box[:2]), model.given
        return Found(Box(x, y, w, h), score)

    def _learn(self, model: MeemTarget, region: Region, score: float) -> None:
        rows, columns = region.places
        samples = _samples(model, region, max(1, rounded(math.sqrt(rows * columns / SAMPLE_COUNT))), first=False)
        machine = model.experts[-1].machine
        scores, positive = machine.scores(samples.vectors), samples.labels > 0
        if score > SURE and (scores[positive] > 1).all() and (scores[~positive] < 1).all():
            return
        model.experts[-1].machine = train(machine.prototypes, samples)


def _region(model: MeemTarget, image: Image, search: float) -> Region:
    """What is around the last box, moved back into the frame where it leaves it."""
    if model.shrink != 1:
        image = resized(image, (rounded(image.shape[0] * model.shrink), rounded(image.shape[1] * model.shrink)))
    image = np.pad(image, ((PAD, PAD), (PAD, PAD), (0, 0)), mode="edge")
    x, y, w, h = model.box
    margin = search * math.sqrt(w * h)
    left, width = _span(x - margin, w + 2 * margin, image.shape[1])
    top, height = _span(y - margin, h + 2 * margin, image.shape[0])
    maps = binary_maps(image[top : top + height, left : left + width], max(1, rounded(RANK_CELLS / model.ratio)))
    rows, columns = (
        np.minimum((np.arange(max(math.ceil(size * model.ratio), cells)) + 0.5) / model.ratio, size - 1).astype(np.intp)
        for size, cells in zip((height, width), model.template)
    )
    grid = maps[:, rows[:, None], columns]
    return Region(left, top, np.lib.stride_tricks.sliding_window_view(grid, model.template, axis=(1, 2)))


def _span(begin: float, size: float, available: int) -> tuple[int, int]:
    """Begin and size in whole pixels, inside 0..available."""
    whole = min(rounded(size), available)
    return min(max(rounded(begin), 0), available - whole), whole


def _samples(model: MeemTarget, region: Region, step: int, first: bool) -> Samples:
    """A grid of places, and the found one: the target where they overlap the found box enough, background where little."""
    rows, columns = (np.arange(0, count, step) for count in region.places)
    own = [(model.box[1 - axis] - start) * model.ratio for axis, start in ((0, region.top), (1, region.left))]
    row, column = (min(max(rounded(place), 0), count - 1) for place, count in zip(own, region.places))
    rows, columns = np.append(np.repeat(rows, len(columns)), row), np.append(np.tile(columns, len(rows)), column)
    boxes = np.stack([columns / model.ratio + region.left, rows / model.ratio + region.top], axis=1)
    overlap = iou(np.hstack([boxes, np.tile(model.box[2:], (len(rows), 1))]), np.asarray(model.box))
    overlap[-1] = 1  # the found place itself is the target, however it was rounded
    keep = (overlap > POSITIVE) | (overlap <= NEGATIVE)
    labels = np.where(overlap > POSITIVE, 1, -1)[keep].astype(np.float32)
    weights = np.where((labels > 0) | first, 1, 2 * (1 - overlap[keep]) - 1).astype(np.float32)
    return Samples(region.at(rows[keep], columns[keep]), labels, weights)


def _near(template: tuple[int, int]) -> int:
    """Peaks that are nearer than this are one, in cells."""
    return max(1, rounded(min(template) / 2))


def _opinion(scores: Float32, template: tuple[int, int]) -> Opinion:
    """Density Phi(score) times prior, its maximum and its peaks."""
    rows, columns = (np.arange(count) - (count - 1) / 2 for count in scores.shape)
    prior = np.exp(-np.add.outer(rows**2, columns**2) / (2 * PRIOR_SIGMA**2))
    values = phi(scores) * (prior / prior.sum())
    best = np.unravel_index(int(values.argmax()), values.shape)
    low, high = values.min(), values.max()
    normal = (values - low) / (high - low) if high > low else np.ones_like(values)
    around = _near(template) // 2
    padded = np.pad(normal, around, mode="edge")
    largest = np.lib.stride_tricks.sliding_window_view(padded, (2 * around + 1,) * 2).max(axis=(2, 3))
    peaks = np.argwhere((normal == largest) & (normal > PEAK)).astype(np.float64)
    return Opinion(scores, values, (int(best[0]), int(best[1])), peaks)


def phi(scores: Float32) -> Float64:
    """The normal distribution function, from a table."""
    places = np.clip(scores.astype(np.float64) / math.sqrt(2), -6, 6) * 512
    return np.asarray((1 + np.interp(places, np.arange(-512 * 6, 512 * 6 + 1), _NORMAL)) / 2)


def _choose(experts: list[Expert], opinions: list[Opinion], near: int) -> int:
    """Scores the experts, and lets a snapshot replace the current one if it is less in doubt. Returns whose place is taken."""
    pooled = pool([peaks for opinion in opinions for peaks in opinion.peaks], near)
    picks = []
    for expert, opinion in zip(experts, opinions):
        score, pick = frame_score(opinion.density, _own(opinion.peaks, pooled, near))
        expert.history.append(score)
        picks.append(pick)
    current = len(experts) - 1
    best = max(range(len(experts)), key=lambda i: (experts[i].value, i))
    if best == current or len(set(picks)) == 1:
        return current
    chosen = experts[best]
    experts[current] = Expert(chosen.machine, list(chosen.history))
    return best


def pool(peaks: list[Float64], near: float) -> Float64:
    """Peaks ``(k, 2)`` of all experts; those nearer than ``near`` to each other's mean become that mean.

    >>> pool([np.array([0.0, 0.0]), np.array([9.0, 9.0]), np.array([2.0, 0.0])], 3).tolist()
    [[1.0, 0.0], [9.0, 9.0]]
    """
    groups: list[list[Float64]] = []
    for peak in peaks:
        distances = [np.linalg.norm(np.mean(group, axis=0) - peak) for group in groups]
        if distances and min(distances) < near:
            groups[int(np.argmin(distances))].append(peak)
        else:
            groups.append([peak])
    return np.array([np.mean(group, axis=0) for group in groups])


def _own(peaks: Float64, pooled: Float64, near: float) -> Integers:
    """The pooled peaks ``(k, 2)`` as cells, an expert's own in the place of those near to them."""
    places = pooled.copy()
    for place in places:
        distances = np.linalg.norm(peaks - place, axis=1)
        if len(distances) and distances.min() < near:
            place[:] = peaks[distances.argmin()]
    return np.rint(places).astype(np.intp)


def frame_score(density: Float64, places: Integers) -> tuple[float, int]:
    """Equation (6): log-likelihood of the best hypothesis, less the entropy over all of them. Returns it, and which is the best.

    Hypothesis k: the target is at place k and nowhere else, p_k = d_k times the product over j != k of (1 - d_j) / cells.
    """
    d = np.maximum(density[places[:, 0], places[:, 1]], np.finfo(np.float64).tiny)
    elsewhere = np.log1p(-d) - math.log(density.size)
    logs = np.log(d) + elsewhere.sum() - elsewhere
    share = np.exp(logs - logs.max())
    share /= share.sum()
    entropy = -float(np.sum(share * np.log(np.maximum(share, np.finfo(np.float64).tiny))))
    return float(logs.max()) - DOUBT * entropy, int(logs.argmax())
