"""Which of a box head's boxes is the target's: what the head says, and what is known before it is asked; not in the paper."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, NamedTuple

import numpy as np

from metatrack.arrays import Bools, Float32, Floats
from metatrack.geometry import EXEMPLAR_SIZE, SEARCH_SIZE, context_side
from metatrack.runtime.model import Maps
from metatrack.tracking.checked import Amount, Checked, Count, Limit, Share
from metatrack.tracking.distractors import REACH, further_peaks
from metatrack.tracking.search import Candidate, WindowForm, finite, moved_window, sigmoid, windowed

SMALL_SIZES = tuple(range(EXEMPLAR_SIZE, SEARCH_SIZE + 1, 16))
"""Sides of contexts that a trunk's cells fit as they fit a whole one."""
SmallSize = Annotated[int, Limit(SMALL_SIZES.__contains__, f"must be one of {', '.join(map(str, SMALL_SIZES))}")]


@dataclass(frozen=True)
class BoxSearchSettings(Checked):
    """The search with a box head."""

    shape_penalty: Amount = 0.1
    """How much a box loses whose size and shape differ from the last one's."""
    size_rate: Share = 0.5
    """Weight of the new size against the old one, where the head is sure."""
    size_trust: Amount = 0.5
    """Exponent of the correction by which the head's box in the first frame becomes the given one; 0 corrects nothing."""
    small_size: SmallSize = SEARCH_SIZE
    """Side in pixels of the small context, which is searched while the target is surely seen, slow, and without distractors. It
    has the scale of the whole context, whose side is 255: that number means never. The meta-learner learns from whole contexts
    alone. Cards of models with a box head say 191."""
    small_interval: Count = 5
    """Every so many frames the whole context is searched in any case."""
    small_motion: Share = 0.3
    """How far a slow target moves from frame to frame, at most, as a share of the way to the small context's edge."""
    small_min_score: Share = 0.6
    """Score from which a target is surely seen."""


class ContextView(NamedTuple):
    """How a context shows a target."""

    size: tuple[float, float]  # the target's last width and height, in pixels of the context
    bias: tuple[float, float]  # factors by which the head takes this target too wide and too high
    stride: int  # pixels per cell
    whole: int  # positions per side of a whole context's response; the cosine window of a smaller one is its middle


class BoxResponse(NamedTuple):
    """A box head's response to one context."""

    maps: Maps
    plain: Float32 | None = None  # (1, r, r): its scores without kernels, where those with kernels choose the place alone


class Prior(NamedTuple):
    """What is known before a context is looked at: places x, y and distances in cells, from its centre."""

    expected: tuple[float, float] = (0.0, 0.0)  # the target's place, as far as its motion tells
    distractors: Sequence[tuple[float, float]] = ()  # what is nearer to one than to the expected place is taken for it
    taken: Sequence[tuple[float, float]] = ()  # of other things: what is there is theirs, however near the target is expected
    factor: float = 1.0  # on the score of what is taken for another thing, see DistractorSettings
    gate: float = math.inf  # distance from the expected place that motion explains

    def taken_boxes(self, centers: Floats, own: Floats, reach: float) -> Bools | None:
        """Which boxes ``(r, r)`` are taken for other things; None where there are none.

        Args:
            centers: of the boxes, ``(r, r, 2)``.
            own: their distances from the expected place, ``(r, r)``.
            reach: within which two places are one.
        """
        if self.factor >= 1 or not (self.distractors or self.taken):
            return None
        result = np.zeros(own.shape, bool)
        for places, most in ((self.distractors, np.minimum(own, reach)), (self.taken, reach)):
            if places:
                result |= np.linalg.norm(centers[:, :, None] - np.array(places, np.float32), axis=-1).min(-1) < most
        return result


NOTHING = Prior()  # nothing is known


def choose_box(
    maps: Maps,
    view: ContextView,
    settings: BoxSearchSettings,
    window: float,
    prior: Prior = NOTHING,
    form: WindowForm = "sum",
    plain: Float32 | None = None,
) -> Candidate:
    """Place, size and shape of the target from a box head's answer for one context.

    Boxes whose size or shape differs from the last one's pay a penalty (as in SiamRPN, Li et al., CVPR 2018), and so do those far
    from the expected place (the cosine window). The size moves to the best box's the faster, the surer it is.

    Args:
        prior: what is known before. Where the best box is another thing's, the target stays at its expected place, unseen; where
            it lies beyond what motion explains, it is the best one's rival.
        plain: scores ``(1, r, r)`` without kernels, where those of ``maps`` choose the place alone.
    """
    # A frame has been through the caches since this was last here: what counts is the number of calls of numpy, not their work.
    logits, sides, size = finite(maps.logits[0]), maps.sides[0], view.size
    if not np.isfinite(sides).all():
        sides = np.nan_to_num(sides, nan=1.0, posinf=1e3)
    sides = sides.clip(1e-3, 1e3)
    probability, shape = sigmoid(logits), _shape_factor(sides, view, settings.shape_penalty)
    certainty = probability * shape
    centers, reach = _centers(sides, view.stride), REACH * math.sqrt(size[0] * size[1]) / view.stride  # in cells
    own = np.linalg.norm(centers - np.array(prior.expected, np.float32), axis=-1)
    theirs = prior.taken_boxes(centers, own, reach)
    strength = certainty if theirs is None else np.where(theirs, certainty * prior.factor, certainty)
    mixed = windowed(strength, moved_window(logits.shape[-1], view.whole, *prior.expected), window, form)
    if plain is not None:  # kernels have had their say
        logits = finite(plain[0])
        probability = sigmoid(logits)
        certainty = probability * shape
    boxes = _Boxes(logits, sides, probability, certainty, centers, theirs, finite(maps.response[0]))
    best, beyond = int(np.argmax(mixed)), own > prior.gate
    found = _read(boxes, best, view, reach, settings.size_rate, prior)
    if beyond.flat[best] and not beyond.all():
        within = int(np.argmax(np.where(beyond, -np.inf, mixed)))
        return _read(boxes, within, view, reach, settings.size_rate, prior)._replace(rival=found)
    return found


class _Boxes(NamedTuple):
    """What is known of the boxes of all positions."""

    logits: Float32  # (r, r)
    sides: Float32  # (4, r, r)
    probability: Floats  # (r, r)
    certainty: Floats  # (r, r): less for other sizes and shapes than the last one's
    centers: Floats  # (r, r, 2)
    theirs: Bools | None  # (r, r): taken for other things
    response: Float32  # (r, r)


def _read(boxes: _Boxes, index: int, view: ContextView, reach: float, size_rate: float, prior: Prior) -> Candidate:
    """The box at a position, which is the ``index``-th."""
    row, column = place = divmod(index, boxes.logits.shape[-1])
    peaks = further_peaks(boxes.probability, boxes.centers, place, reach)
    if boxes.theirs is not None and boxes.theirs[place]:
        share, (x, y) = float(boxes.probability[place]) * prior.factor, boxes.centers[place].tolist()
        peak = math.log(max(share, 1e-12) / (1 - share))
        return Candidate(prior.expected, (1.0, 1.0), 0.0, boxes.response, peak, distractors=(*peaks, (x, y)))
    # Neighbours see the same target: their mean box is steadier than the best one.
    rows, columns = slice(max(0, row - 1), row + 2), slice(max(0, column - 1), column + 2)
    weight = boxes.certainty[rows, columns] ** 2 + 1e-12
    weight /= weight.sum()
    left, top, right, bottom = (float(mean) for mean in (boxes.sides[:, rows, columns] * weight).sum((1, 2)))
    axis, stride, size = _axis(boxes.logits.shape[-1], view.stride), view.stride, view.size
    x, y = float(weight.sum(0) @ axis[columns]), float(weight.sum(1) @ axis[rows])
    return Candidate(
        displacement=((x + (right - left) / 2) / stride, (y + (bottom - top) / 2) / stride),
        growth=((left + right) / view.bias[0] / size[0], (top + bottom) / view.bias[1] / size[1]),
        rate=size_rate * float(boxes.certainty[place]),
        response=boxes.response,
        peak=float(boxes.logits[rows, columns].max()),
        distractors=peaks,
    )


def _shape_factor(sides: Float32, view: ContextView, penalty: float) -> Floats:
    """Factor on the score of each box ``(r, r)``: 1 for the last one's size and shape, less for others."""
    w, h = (sides[:2] + sides[2:]) / np.array(view.bias, np.float32)[:, None, None]
    p = (w + h) / 2
    width, height = view.size
    change = _change(np.sqrt((w + p) * (h + p)) / context_side(width, height)) * _change(w / h * (height / width))
    return np.asarray(np.exp(penalty * (1 - change)))


def _change(ratio: Floats) -> Floats:
    """How far a ratio is from 1, either way; at least 1."""
    return np.asarray(np.maximum(ratio, 1 / ratio))


def _centers(sides: Float32, stride: int) -> Floats:
    """Centres of the boxes ``(4, r, r)`` in cells from the context's centre: ``(r, r, 2)``, x and y."""
    cells = np.arange(sides.shape[-1]) - sides.shape[-1] // 2
    offset = (sides[2:] - sides[:2]) / (2 * stride)
    return np.stack([cells[None, :] + offset[0], cells[:, None] + offset[1]], axis=-1)


@lru_cache(maxsize=4)
def _axis(cells: int, stride: int) -> Float32:
    """Pixels of the cells of a line from its centre."""
    return ((np.arange(cells) - cells // 2) * stride).astype(np.float32)
