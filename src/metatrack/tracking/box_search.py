"""The search with a box head: one context at one scale, and boxes of any size and shape read off it; not in the paper."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, NamedTuple

import numpy as np

from metatrack.arrays import Float32, Floats, UInt8
from metatrack.geometry import EXEMPLAR_SIZE, SEARCH_SIZE, Center, context_side
from metatrack.runtime.graph import with_rows
from metatrack.tracking.acceptance import Scorer
from metatrack.tracking.appearance import Appearance, BoxAppearance, TemplateUpdateSettings, known_of
from metatrack.tracking.checked import Amount, Checked, Count, Limit, Share
from metatrack.tracking.distractors import REACH, DistractorSettings, further_peaks
from metatrack.tracking.lines import followed, line
from metatrack.tracking.patches import Patches
from metatrack.tracking.search import Candidate, SearchSettings, WindowForm, cosine_window, finite, resized, sigmoid, windowed

if TYPE_CHECKING:  # settings are read where no network is run
    from metatrack.runtime.model import Maps, Model
    from metatrack.tracking.target import TargetState

SMALL_SIZES = tuple(range(EXEMPLAR_SIZE, SEARCH_SIZE + 1, 16))
"""Sides of contexts that a trunk's cells fit as they fit a whole one."""
SmallSize = Annotated[int, Limit(SMALL_SIZES.__contains__, f"must be one of {', '.join(map(str, SMALL_SIZES))}")]
FIRST_ZOOMS = (1.0, 1.1, 1 / 1.1)
"""Sides of the contexts in which the head is asked for the first box, as factors of a whole one's."""


EDGE = 0.03
"""Distance of a box's edge from the frame's, in the box's length, up to which it may be the frame's edge that is seen."""


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


class BoxSearch:
    """Searches with equation (4) and a box head.

    What it keeps of a target is a :class:`BoxAppearance`; the response is the box head's
    :class:`~metatrack.runtime.model.Maps` of one context.

    Args:
        model: has a box head.
        settings, search, template_update, distractors: see there.
        small_contexts: whether small contexts may be searched at all.
    """

    def __init__(
        self,
        model: Model,
        settings: BoxSearchSettings,
        search: SearchSettings,
        template_update: TemplateUpdateSettings,
        distractors: DistractorSettings,
        small_contexts: bool = True,
    ) -> None:
        self.model, self.settings, self.window, self.form = model, settings, search.window, search.window_form
        self.limits = search.size_limits
        self.template_update, self.distractors = template_update, distractors
        self.small_contexts = small_contexts and settings.small_size < SEARCH_SIZE

    def appearance(self, patches: Patches, center: Center) -> BoxAppearance:
        """The appearance in the first frame, and how much larger than the given box the head would have drawn it."""
        first = self._seen(patches, center)
        result = BoxAppearance(first.repeated(), first, first, size_in_patch(center))
        if not measurable(center[2:], context_side(*center[2:]) / EXEMPLAR_SIZE * self.model.stride):
            result.line = line(patches, center)
        if self.settings.size_trust > 0:
            result.bias = self._size_bias(result, patches, center)
        return result

    def _seen(self, patches: Patches, center: Center) -> Appearance:
        """What a target looks like in a frame, and which of it lies there."""
        template, parts = self.model.appearance(patches.target(center), size_in_patch(center))
        return Appearance(
            template, parts, known_of(center, patches.width, patches.height, len(template[0, 0]), self.model.stride)
        )

    def _size_bias(self, own: BoxAppearance, patches: Patches, center: Center) -> tuple[float, float]:
        """What the head makes of the first frame, whose box is given: a face may be given without hair, and it shall stay so."""
        whole = context_side(center.w, center.h) * SEARCH_SIZE / EXEMPLAR_SIZE
        sides = [whole * zoom for zoom in FIRST_ZOOMS]
        features = self.model.search(np.stack([patches.cut(center.cx, center.cy, side, SEARCH_SIZE) for side in sides]))
        growths = []
        for i, side in enumerate(sides):
            maps = self._locate(own, features[i : i + 1], self.model.no_kernels)
            growths.append(self._choose(maps, own, center, side, (), self.window).growth)
        bias = np.exp(np.log(np.clip(growths, 0.5, 2.0)).mean(0) * self.settings.size_trust)
        # The head draws what it sees: a box that reaches beyond the frame says nothing of its habits.
        inside = [
            0 <= at - side / 2 and at + side / 2 <= most
            for at, side, most in zip(center[:2], center[2:], patches.size, strict=True)
        ]
        return float(bias[0]) if inside[0] else 1.0, float(bias[1]) if inside[1] else 1.0

    def follow(self, target: TargetState[BoxAppearance], patches: Patches, score: float) -> None:
        """Every few frames, lets the template follow the target's appearance, if it is surely seen."""
        settings = self.template_update
        if settings.share and target.frame % settings.interval == 0 and score >= settings.min_score:
            target.appearance.follow(self._seen(patches, target.center), settings)

    def template(self, target: TargetState[BoxAppearance]) -> Float32:
        """The present one."""
        return target.appearance.now.template

    def contexts(self, target: TargetState[BoxAppearance], patches: Patches) -> UInt8:
        """One, whole or small: ``(1, 255, 255, 3)``, or smaller (``small_size``)."""
        size = self.settings.small_size if self.small_will_do(target) else SEARCH_SIZE
        return patches.cut(target.center.cx, target.center.cy, target.side * size / SEARCH_SIZE, size)[None]

    def small_will_do(self, target: TargetState[BoxAppearance]) -> bool:
        """Whether a small context will do for the next frame: the target is surely seen, slow, and without distractors."""
        settings, sighting = self.settings, target.sighting
        if not self.small_contexts or target.frame % settings.small_interval == 0:
            return False
        reach = (self.model.response_cells - (SEARCH_SIZE - settings.small_size) / self.model.stride) / 2
        slow = sighting.motion < settings.small_motion * reach
        return slow and sighting.score >= settings.small_min_score and not target.distractors

    def respond(self, target: TargetState[BoxAppearance], features: Float32) -> Maps:
        """The box head's answer to one context."""
        return self._locate(target.appearance, features, target.w_target)

    def respond_together(self, targets: Sequence[TargetState[BoxAppearance]], features: Float32) -> Sequence[Maps] | None:
        """Where the engine likes to be asked for all at once.

        On a CPU, the small graphs behind the trunk are run for each target: they gain nothing by a batch, and answer to the bit
        what they answer a Tracker. A box head's rounding errors in a batch were fed back, and grew to 0.002 pixels in 30 frames.
        """
        if not self.model.batch_head:
            return None
        rows = max(len(each.w_target) for each in targets)  # in one batch all have as many kernels
        maps = self.model.locate(
            np.concatenate([each.appearance.now.template for each in targets]),
            np.concatenate([each.appearance.now.parts for each in targets]),
            features,
            np.stack([with_rows(each.w_target, rows) for each in targets]),
            np.concatenate([each.appearance.size for each in targets]),
        )
        return [type(maps)(*(part[i : i + 1] for part in maps)) for i in range(len(targets))]

    def find(self, target: TargetState[BoxAppearance], response: Maps, place: tuple[float, float] | None = None) -> Candidate:
        """See :func:`choose_box`."""
        cx, cy = place or target.center[:2]
        cell = target.side / SEARCH_SIZE * self.model.stride
        distractors = [((each.x - cx) / cell, (each.y - cy) / cell) for each in target.distractors]
        window = self.window if place is None else 0.0
        return self._choose(response, target.appearance, target.center, target.side, distractors, window)

    def moved(self, target: TargetState[BoxAppearance], found: Candidate, patches: Patches, rate: float) -> Center:
        """Where the box is, as far as it can be measured; see :func:`within` and :func:`measurable`."""
        cell, old = target.side / SEARCH_SIZE * self.model.stride * found.zoom, target.center
        if target.appearance.line is not None:
            return followed(target.appearance.line, patches, old)
        rate *= measurable(target.first_size, context_side(*target.first_size) / EXEMPLAR_SIZE * self.model.stride)
        ends = [
            within(at + step * cell, side * factor, side, most)
            for at, step, side, factor, most in zip(old[:2], found.displacement, old[2:], found.growth, patches.size, strict=True)
        ]
        growth = (ends[0].length / old.w, ends[1].length / old.h)
        size = resized(target, growth, (rate, rate), self.limits)
        return Center(ends[0].middle(size[0]), ends[1].middle(size[1]), *size)

    def scorer(self, target: TargetState[BoxAppearance]) -> Scorer:
        """The box head's scores."""
        model, now, size = self.model, target.appearance.now, target.appearance.size

        def logits(features: Float32, w_target: Float32) -> Float32:
            inputs = (now.template, now.parts, w_target[None], size)
            template, parts, kernels, sizes = (np.repeat(each, len(features), axis=0) for each in inputs)
            return model.locate(template, parts, features, kernels, sizes).logits

        return logits

    def _locate(self, own: BoxAppearance, features: Float32, w_target: Float32) -> Maps:
        return self.model.locate(own.now.template, own.now.parts, features, w_target[None], own.size)

    def _choose(
        self,
        maps: Maps,
        own: BoxAppearance,
        center: Center,
        side: float,
        distractors: Sequence[tuple[float, float]],
        window: float,
    ) -> Candidate:
        """:func:`choose_box` in a context whose whole side is ``side`` image pixels."""
        zoom = SEARCH_SIZE / side
        view = ContextView((center.w * zoom, center.h * zoom), own.bias, self.model.stride, self.model.response_cells)
        return choose_box(maps, view, self.settings, window, distractors, self.distractors.factor, self.form)


class Extent(NamedTuple):
    """What is known of a target along one axis, in image pixels."""

    length: float
    low: float | None  # its lower edge; None where that lies outside the frame
    high: float | None
    place: float  # its middle, where no edge or both are known

    def middle(self, length: float) -> float:
        """Where the middle is if it is so long: an edge that is seen stays where it is."""
        if self.low is not None and self.high is None:
            return self.low + length / 2
        if self.high is not None and self.low is None:
            return self.high - length / 2
        return self.place


def within(place: float, length: float, last: float, most: float) -> Extent:
    """What the frame shows of a box, along one axis: an edge at the frame's, or beyond it, is no evidence.

    Such a target is no shorter than it was, and no shorter than what is seen of it.

    Args:
        place, length: middle and length of the box that was read off, in image pixels.
        last: the last length.
        most: the frame's.

    >>> within(5, 20, 40, 100)  # cut by the left edge
    Extent(length=40, low=None, high=15.0, place=5)
    """
    low, high = place - length / 2, place + length / 2
    margin = EDGE * last
    low_seen, high_seen = low > margin, high < most - margin
    if low_seen and high_seen:
        return Extent(length, low, high, place)
    longest = max(last, min(high, most) - max(low, 0.0))
    return Extent(longest, low if low_seen else None, high if high_seen else None, place)


def measurable(size: tuple[float, float], cell: float) -> float:
    """How far a size can be told, in 0..1: not where a side is shorter than a cell of the template, whose parts all look alike.

    >>> measurable((400, 4), 22), measurable((60, 60), 15)
    (0.0, 1.0)
    """
    return min(max(min(size) / cell - 1, 0.0), 1.0)


@dataclass(frozen=True)
class ContextView:
    """How a context shows a target."""

    size: tuple[float, float]  # the target's last width and height, in pixels of the context
    bias: tuple[float, float]  # factors by which the head takes this target too wide and too high
    stride: int  # pixels per cell
    whole: int  # positions per side of a whole context's response; the cosine window of a smaller one is its middle


def choose_box(
    maps: Maps,
    view: ContextView,
    settings: BoxSearchSettings,
    window: float,
    distractors: Sequence[tuple[float, float]] = (),
    factor: float = 1.0,
    form: WindowForm = "sum",
) -> Candidate:
    """Place, size and shape of the target from a box head's answer for one context.

    Boxes whose size or shape differs from the last one's pay a penalty (as in SiamRPN, Li et al., CVPR 2018), and so do those far
    from the last place (the cosine window). The size moves to the best box's the faster, the surer it is.

    Args:
        maps: of one context.
        view: how the target is seen in it.
        settings: of the search.
        window: weight of the cosine window.
        distractors: places x, y of known distractors, in cells from the context's centre. What is nearer to one of them than to
            the target's last place is taken for that distractor, and its score is multiplied by
        factor: see :class:`DistractorSettings`.
        form: how the window is applied.
    """
    # A frame has been through the caches since this was last here: what counts is the number of calls of numpy, not their work.
    logits, sides, size, stride = finite(maps.logits[0]), maps.sides[0], view.size, view.stride
    if not np.isfinite(sides).all():
        sides = np.nan_to_num(sides, nan=1.0, posinf=1e3)
    sides = sides.clip(1e-3, 1e3)
    probability = sigmoid(logits)
    certainty = probability * _shape_factor(sides, view, settings.shape_penalty)
    centers, reach = _centers(sides, stride), REACH * math.sqrt(size[0] * size[1]) / stride  # in cells
    strength = certainty
    if len(distractors) and factor < 1:
        to_distractors = np.linalg.norm(centers[:, :, None] - np.array(distractors, np.float32), axis=-1).min(-1)
        theirs = (to_distractors < np.linalg.norm(centers, axis=-1)) & (to_distractors < reach)
        strength = np.where(theirs, certainty * factor, certainty)
    cells = logits.shape[-1]
    mixed = windowed(strength, cosine_window(cells, view.whole), window, form)
    row, column = divmod(int(np.argmax(mixed)), cells)
    # Neighbours see the same target: their mean box is steadier than the best one.
    rows, columns = slice(max(0, row - 1), row + 2), slice(max(0, column - 1), column + 2)
    weight = certainty[rows, columns] ** 2 + 1e-12
    weight /= weight.sum()
    left, top, right, bottom = (float(mean) for mean in (sides[:, rows, columns] * weight).sum((1, 2)))
    axis = _axis(cells, stride)
    x, y = float(weight.sum(0) @ axis[columns]), float(weight.sum(1) @ axis[rows])
    return Candidate(
        displacement=((x + (right - left) / 2) / stride, (y + (bottom - top) / 2) / stride),
        growth=((left + right) / view.bias[0] / size[0], (top + bottom) / view.bias[1] / size[1]),
        rate=settings.size_rate * float(certainty[row, column]),
        response=finite(maps.response[0]),
        peak=float(logits[rows, columns].max()),
        distractors=further_peaks(probability, centers, (row, column), reach),
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
    result: Floats = np.maximum(ratio, 1 / ratio)
    return result


def _centers(sides: Float32, stride: int) -> Floats:
    """Centres of the boxes ``(4, r, r)`` in cells from the context's centre: ``(r, r, 2)``, x and y."""
    cells = np.arange(sides.shape[-1]) - sides.shape[-1] // 2
    offset = (sides[2:] - sides[:2]) / (2 * stride)
    return np.stack([cells[None, :] + offset[0], cells[:, None] + offset[1]], axis=-1)


@lru_cache(maxsize=4)
def _axis(cells: int, stride: int) -> Float32:
    """Pixels of the cells of a line from its centre."""
    return ((np.arange(cells) - cells // 2) * stride).astype(np.float32)


def size_in_patch(center: Center) -> Float32:
    """Width and height of a target in pixels of its patch: ``(1, 2)``."""
    side = context_side(center.w, center.h)
    return np.array([[center.w, center.h]], np.float32) * np.float32(EXEMPLAR_SIZE / side)
