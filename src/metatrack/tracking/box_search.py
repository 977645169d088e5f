"""The search with a box head: one context at one scale, and boxes of any size and shape read off it; not in the paper."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from metatrack.arrays import Float32, UInt8
from metatrack.geometry import EXEMPLAR_SIZE, SEARCH_SIZE, Center, context_side
from metatrack.runtime.model import Maps, Model, with_rows
from metatrack.tracking.acceptance import Scorer
from metatrack.tracking.appearance import Appearance, BoxAppearance, known_of
from metatrack.tracking.choice import BoxResponse, ContextView, Prior, choose_box
from metatrack.tracking.lines import followed, line
from metatrack.tracking.opinion import BESIDE, LEAST_AROUND, FirstLook, first_look, likeness
from metatrack.tracking.patches import Patches
from metatrack.tracking.search import Candidate, Searcher, resized
from metatrack.tracking.settings import TrackerSettings
from metatrack.tracking.target import TargetState

BoxTarget: TypeAlias = TargetState[BoxAppearance]
FIRST_ZOOMS = (1.0, 1.1, 1 / 1.1)
"""Sides of the contexts in which the head is asked for the first box, as factors of a whole one's."""
EDGE = 0.03
"""Distance of a box's edge from the frame's, in the box's length, up to which it may be the frame's edge that is seen."""


class BoxSearch(Searcher):
    """Searches with equation (4) and a box head.

    What it keeps of a target is a :class:`BoxAppearance`; the response is the box head's
    :class:`~metatrack.tracking.choice.BoxResponse` to one context.
    """

    def __init__(self, model: Model, settings: TrackerSettings, small_contexts: bool = True) -> None:
        self.model, self.settings, self.search = model, settings.box_search, settings.search
        self.template_update, self.distractors = settings.template_update, settings.distractors
        self.motion, self.opinion, self.role = settings.motion, settings.opinion, settings.adaptation.role
        self.small_contexts = small_contexts and self.settings.small_size < SEARCH_SIZE

    def appearance(self, patches: Patches, center: Center) -> BoxAppearance:
        """The appearance in the first frame, and how much larger than the given box the head would have drawn it."""
        first = self._seen(patches, center)
        result = BoxAppearance(first.repeated(), first, first, size_in_patch(center))
        if not measurable(center[2:], context_side(*center[2:]) / EXEMPLAR_SIZE * self.model.stride):
            result.line = line(patches, center)
        zooms = FIRST_ZOOMS if self.settings.size_trust > 0 else FIRST_ZOOMS[:1]
        sides = [context_side(center.w, center.h) * SEARCH_SIZE / EXEMPLAR_SIZE * zoom for zoom in zooms]
        if self.settings.size_trust > 0 or self.opinion.weight > 0:
            features = self.model.search(np.stack([patches.cut(center.cx, center.cy, side, SEARCH_SIZE) for side in sides]))
            if self.settings.size_trust > 0:
                result.bias = self._size_bias(result, patches, center, features, sides)
            if self.opinion.weight > 0 and first.known is None and result.line is None:
                result.look = self._look(first, patches, center, features[0], sides[0])
        return result

    def _look(self, first: Appearance, patches: Patches, center: Center, context: Float32, side: float) -> FirstLook | None:
        """What the second opinion goes by; nothing where the frame shows too little beside the target."""
        cell, offsets = side / SEARCH_SIZE * self.model.stride, np.arange(context.shape[-1]) - context.shape[-1] // 2
        beside, inside = [], []
        for at, length, most in zip(center[:2], center[2:], patches.size, strict=True):
            beside.append(np.abs(offsets) * cell > length / 2 + BESIDE * cell)
            inside.append((at + offsets * cell >= 0) & (at + offsets * cell <= most))
        around = (beside[0][None, :] | beside[1][:, None]) & inside[0][None, :] & inside[1][:, None]
        return first_look(first.parts[0], context, around) if around.sum() >= LEAST_AROUND else None

    def _seen(self, patches: Patches, center: Center) -> Appearance:
        """What a target looks like in a frame, and which of it lies there."""
        template, parts = self.model.appearance(patches.target(center), size_in_patch(center))
        return Appearance(
            template, parts, known_of(center, patches.width, patches.height, len(template[0, 0]), self.model.stride)
        )

    def _size_bias(
        self, own: BoxAppearance, patches: Patches, center: Center, features: Float32, sides: Sequence[float]
    ) -> tuple[float, float]:
        """What the head makes of the first frame, whose box is given: a face may be given without hair, and it shall stay so."""
        growths = []
        for i, side in enumerate(sides):
            maps = self._locate(own, features[i : i + 1], self.model.no_kernels)
            growths.append(self._choose(BoxResponse(maps), own, center, side, Prior(), self.search.window).growth)
        bias = np.exp(np.log(np.clip(growths, 0.5, 2.0)).mean(0) * self.settings.size_trust)
        # The head draws what it sees: a box that reaches beyond the frame says nothing of its habits.
        inside = [
            0 <= at - side / 2 and at + side / 2 <= most
            for at, side, most in zip(center[:2], center[2:], patches.size, strict=True)
        ]
        return float(bias[0]) if inside[0] else 1.0, float(bias[1]) if inside[1] else 1.0

    def follow(self, target: BoxTarget, patches: Patches, score: float) -> None:
        """Every few frames, lets the template follow the target's appearance, if it is surely seen."""
        settings = self.template_update
        if settings.share and target.frame % settings.interval == 0 and score >= settings.min_score:
            target.appearance.follow(self._seen(patches, target.center), settings)

    def template(self, target: BoxTarget) -> Float32:
        return target.appearance.now.template

    def contexts(self, target: BoxTarget, patches: Patches) -> UInt8:
        """One, whole or small: ``(1, 255, 255, 3)``, or smaller (``small_size``)."""
        size = self.settings.small_size if self.small_will_do(target) else SEARCH_SIZE
        return patches.cut(target.center.cx, target.center.cy, target.side * size / SEARCH_SIZE, size)[None]

    def small_will_do(self, target: BoxTarget) -> bool:
        """Whether a small context will do for the next frame: the target is surely seen, slow, and without distractors."""
        settings, sighting = self.settings, target.sighting
        if not self.small_contexts or target.frame % settings.small_interval == 0:
            return False
        reach = (self.model.response_cells - (SEARCH_SIZE - settings.small_size) / self.model.stride) / 2
        slow = sighting.motion < settings.small_motion * reach
        return slow and sighting.score >= settings.small_min_score and not target.disturbed

    def respond(self, target: BoxTarget, features: Float32) -> BoxResponse:
        maps = self._locate(target.appearance, features, target.w_target)
        if self.role == "all" or len(target.w_target) == 0:
            return BoxResponse(maps)
        return BoxResponse(maps, self._locate(target.appearance, features, self.model.no_kernels).logits)

    def respond_together(self, targets: Sequence[BoxTarget], features: Float32) -> Sequence[BoxResponse] | None:
        """Where the engine likes to be asked for all at once.

        On a CPU, the small graphs behind the trunk are run for each target: they gain nothing by a batch, and answer to the bit
        what they answer a Tracker. A box head's rounding errors in a batch were fed back, and grew to 0.002 pixels in 30 frames.
        """
        if not self.model.batch_head:
            return None
        rows = max(len(each.w_target) for each in targets)  # in one batch all have as many kernels
        template = np.concatenate([each.appearance.now.template for each in targets])
        parts = np.concatenate([each.appearance.now.parts for each in targets])
        kernels = np.stack([with_rows(each.w_target, rows) for each in targets])
        size = np.concatenate([each.appearance.size for each in targets])
        maps, plain = self.model.locate(template, parts, features, kernels, size), None
        if self.role != "all" and rows:
            plain = self.model.locate(template, parts, features, kernels[:, :0], size).logits
        own = [slice(i, i + 1) for i in range(len(targets))]
        return [BoxResponse(type(maps)(*(part[i] for part in maps)), None if plain is None else plain[i]) for i in own]

    def find(self, target: BoxTarget, response: BoxResponse, place: tuple[float, float] | None = None) -> Candidate:
        cell = self.cell(target)

        def cells(places: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
            cx, cy = place or target.center[:2]
            return [((x - cx) / cell, (y - cy) / cell) for x, y in places]

        distractors, taken = cells(each.at(target.frame) for each in target.distractors), cells(target.taken)
        factor = self.distractors.factor
        view = (target.appearance, target.center, target.side)
        if place is not None:  # far from the last place, what is another thing's stays so
            return self._choose(response, *view, Prior(taken=distractors + taken, factor=factor), 0.0)
        step = target.motion.velocity
        prior = Prior(
            (step[0] * self.motion.follows / cell, step[1] * self.motion.follows / cell),
            distractors + cells(target.other_targets),
            taken,
            factor,
            self.motion.explained * math.sqrt(target.center.w * target.center.h) / cell or math.inf,
        )
        return self._choose(response, *view, prior, self.search.window)

    def alike(self, target: BoxTarget, features: Float32, found: Candidate) -> float | None:
        """See :func:`~metatrack.tracking.opinion.likeness`; nothing is said of a target that was cut in its first frame."""
        if target.appearance.look is None:
            return None
        cell = self.cell(target)
        w, h = (
            side / cell * (1 - found.rate + found.rate * factor)
            for side, factor in zip(target.center[2:], found.growth, strict=True)
        )
        return likeness(target.appearance.look, features[found.context], found.displacement, (w, h), self.model.stride)

    def moved(self, target: BoxTarget, found: Candidate, patches: Patches, rate: float) -> Center:
        """Where the box is, as far as it can be measured; see :func:`within` and :func:`measurable`."""
        cell, old = self.cell(target) * found.zoom, target.center
        if target.appearance.line is not None:
            return followed(target.appearance.line, patches, old)
        rate *= measurable(target.first_size, context_side(*target.first_size) / EXEMPLAR_SIZE * self.model.stride)
        ends = [
            within(at + step * cell, side * factor, side, most)
            for at, step, side, factor, most in zip(old[:2], found.displacement, old[2:], found.growth, patches.size, strict=True)
        ]
        growth = (ends[0].length / old.w, ends[1].length / old.h)
        size = resized(target, growth, (rate, rate), self.search.size_limits)
        return Center(ends[0].middle(size[0]), ends[1].middle(size[1]), *size)

    def scorer(self, target: BoxTarget) -> Scorer:
        model, now, size = self.model, target.appearance.now, target.appearance.size
        return lambda features, w_target: model.locate(now.template, now.parts, features, w_target[None], size).logits

    def _locate(self, own: BoxAppearance, features: Float32, w_target: Float32) -> Maps:
        return self.model.locate(own.now.template, own.now.parts, features, w_target[None], own.size)

    def _choose(
        self, response: BoxResponse, own: BoxAppearance, center: Center, side: float, prior: Prior, window: float
    ) -> Candidate:
        """:func:`choose_box` in a context whose whole side is ``side`` image pixels."""
        zoom = SEARCH_SIZE / side
        view = ContextView((center.w * zoom, center.h * zoom), own.bias, self.model.stride, self.model.response_cells)
        return choose_box(response.maps, view, self.settings, window, prior, self.search.window_form, response.plain)


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


def size_in_patch(center: Center) -> Float32:
    """Width and height of a target in pixels of its patch: ``(1, 2)``."""
    side = context_side(center.w, center.h)
    return np.array([[center.w, center.h]], np.float32) * np.float32(EXEMPLAR_SIZE / side)
