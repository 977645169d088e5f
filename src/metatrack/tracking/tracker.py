"""Algorithm 1 of the paper at run time, with numpy and onnxruntime.

The model is shared and immutable; what belongs to one target is in :class:`TargetState`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from metatrack.frames import as_rgb
from metatrack.geometry import (
    EXEMPLAR_SIZE,
    SEARCH_SIZE,
    Box,
    Center,
    Image,
    check_box,
    context_side,
    crop,
    from_center,
    mean_color,
    to_center,
)
from metatrack.runtime.engine import Float32, Maps, Model, Ready, load_model
from metatrack.tracking.memory import Memory, labels
from metatrack.tracking.search import OTHER_REACH, Found, choose_box, choose_scale
from metatrack.tracking.settings import TrackerSettings, settings_from

OTHERS_KEPT = 5
"""Frames for which an other that is not seen is remembered."""
OTHERS_TRUSTED = 20
"""Frames without the target after which any of the others may be it."""
GRID_STEP = 0.4
"""Distance of the places where a lost target is looked for, in sides of a context: neighbours overlap by a target."""
GRID_LINES = 64
"""A grid's lines, at most, both ways together: a target of few pixels in a large frame is not worth thousands of places."""
PLACES = 8
"""Places looked at in one frame."""
MOTION_FADES = 0.8
"""Factor by which the greatest motion between two frames fades with each further one."""


class Look(NamedTuple):
    """What a target looks like: all that is compared with a context."""

    template: Float32  # (1, C, k, k)
    parts: Float32  # (1, C, 7, 7)

    def mix(self, other: Look, share: float) -> Look:
        """The weighted mean; ``share`` is the other's."""
        return Look(*((1 - share) * own + share * its for own, its in zip(self, other, strict=True)))


class Other(NamedTuple):
    """Something that looks like the target."""

    x: float  # its centre, in image pixels
    y: float
    seen: int  # number of the frame


class Result(NamedTuple):
    """What the tracker says about one frame."""

    box: Box
    """``x, y, w, h`` in pixels, 0-based, float: finite, of positive size, and meeting the frame."""
    score: float
    """In 0..1: how likely the box holds the target (calibrated on held-out tracks, see the model's card)."""
    lost: bool
    """True while the score has been low for several frames."""


@dataclass
class TargetState:
    """Everything that belongs to one target, and nothing of the model."""

    center: Center
    first_size: tuple[float, float]
    template: Float32  # (m, C, k, k): m is 1, or 3 with pyramid="template"
    parts: Float32 | None  # (1, C, 7, 7), for a box head
    template_size: Float32  # (1, 2): width and height in the template's patch, in pixels
    size_bias: tuple[float, float]  # a box head's width and height in the first frame, as factors of the given ones
    first_look: Look | None  # with a box head: what the target looked like in the first frame,
    recent_look: Look | None  # and lately
    others: list[Other]  # what looks like the target and is not
    w_target: Float32  # (32, C), or (0, C) before the first update
    memory: Memory
    frame: int = 0  # frames since init
    sure: bool = False  # whether the last score was high
    motion: float = 0.0  # cells that the target has lately moved from frame to frame, at most; fades
    coming: Future[Float32] | Ready | None = None  # the next w_target, while the meta-learner works
    low_frames: int = 0  # frames in a row with a score under lost_below
    unseen_frames: int = 0  # the same, under unseen_below

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles, which cannot hold what is still being computed: waits for it."""
        coming = None if self.coming is None else Ready(self.coming.result())
        return {**self.__dict__, "coming": coming}


class Tracker:
    """Follows one target from a box in its first frame.

    >>> import numpy as np
    >>> frame = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    >>> tracker = Tracker("lite")
    >>> tracker.init(frame, (60, 40, 30, 30))
    >>> x, y, w, h = tracker.update(frame).box

    Args:
        model: name of a shipped model, folder of a bundle, or a loaded model.
        adapt: let the meta-learner add kernels every ``update_interval`` frames (equations 2 to 4); without effect where the
        model has none (``tracker.adapt`` says whether it does).
        settings: None takes the model card's; a dict changes single values of it.
        threads: threads of the networks; 0 is one per core.

    Raises:
        BundleError: the model is missing or damaged.
        ValueError: a setting is unknown or out of range.
    """

    def __init__(
        self,
        model: str | Path | Model = "lite",
        adapt: bool = True,
        settings: TrackerSettings | dict[str, Any] | None = None,
        threads: int = 0,
    ) -> None:
        self.model = load_model(model, threads)
        if isinstance(settings, TrackerSettings):
            self.settings = settings
        else:
            self.settings = settings_from({**self.model.card["tracking"], **(settings or {})})
        self.adapt = adapt and self.model.can_adapt
        self.state: TargetState | None = None
        # A box head reads the size off one context at one scale.
        self._template_scales: tuple[float, ...] = (1.0,)
        self._search_scales: tuple[float, ...] = (1.0,)
        if not self.model.has_boxes:
            if self.settings.pyramid == "template":
                self._template_scales = self.settings.scales
            else:
                self._search_scales = self.settings.scales

    def init(self, frame: npt.NDArray[Any], box: Sequence[float]) -> None:
        """Starts on a target, forgetting any earlier one.

        Args:
            frame: RGB uint8 ``(H, W, 3)``; gray, RGBA and 16-bit frames are converted as :func:`metatrack.frames.as_rgb` says.
            box: ``x, y, w, h`` in pixels, 0-based, top-left corner and size.

        Raises:
            ValueError: the box has no area, is not finite, or lies outside the frame; or the frame is no image.
            TypeError: the frame's dtype has no defined meaning.
        """
        image = as_rgb(frame)
        center = to_center(check_box(box, (image.shape[0], image.shape[1])))
        crops, size = _target_patches(image, center, self._template_scales)
        template, parts = self.model.look(crops, size) if self.model.has_boxes else (self.model.template(crops), None)
        self.state = TargetState(
            center=center,
            first_size=(center.w, center.h),
            template=template,
            parts=parts,
            template_size=size,
            size_bias=(1.0, 1.0),
            first_look=None if parts is None else Look(template, parts),
            recent_look=None if parts is None else Look(template, parts),
            others=[],
            w_target=self.model.no_kernels,
            memory=Memory(max(1, self.model.support)),
        )
        if self.model.has_boxes and self.settings.size_trust > 0:
            self.state.size_bias = self._size_bias(image)

    def update(self, frame: npt.NDArray[Any]) -> Result:
        """Finds the target in the next frame, which is not changed.

        Raises:
            RuntimeError: :meth:`init` has not been called.
            ValueError, TypeError: the frame is no image (see :meth:`init`).
        """
        image = as_rgb(frame)
        features = self.model.search(self.contexts(image))
        return self.settle(image, features, self.find(features))

    # The steps of an update, so that MultiTracker can run the trunk once for all: contexts, find, settle.

    def contexts(self, image: Image) -> npt.NDArray[np.uint8]:
        """The patches to search: around the last place, ``(1 or 3, 255, 255, 3)``, or one smaller (``near_size``)."""
        state = self.started
        center = state.center
        if self._near():
            size = self.settings.near_size
            return _cut(image, center.cx, center.cy, self._side * size / SEARCH_SIZE, size)[None]
        scales = self._search_scales if state.frame % self.settings.scale_interval == 0 else self._search_scales[:1]
        return np.stack([_cut(image, center.cx, center.cy, self._side * f, SEARCH_SIZE) for f in scales])

    def _near(self) -> bool:
        """Whether a small context will do for the next frame: the target is surely seen, alone, and slow."""
        state, settings = self.started, self.settings
        if state.parts is None or settings.near_size == SEARCH_SIZE or state.frame % settings.near_interval == 0:
            return False
        # The memory takes whole contexts alone: from one update to the next there must be enough of them.
        if self.adapt and settings.update_interval < self.model.support * settings.near_interval:
            return False
        reach = (self.model.response_cells - (SEARCH_SIZE - settings.near_size) / self.model.stride) / 2
        return state.sure and not state.others and state.motion < settings.near_motion * reach

    def settle(self, image: Image, features: Float32, found: Found) -> Result:
        """Takes the target's place over, looks further where it is not seen, remembers and learns.

        Args:
            image: the frame.
            features: ``(1 or 3, C, h, w)`` of :meth:`contexts`.
            found: the target's place in them.
        """
        state, settings = self.started, self.settings
        score = self._score(found.peak)
        state.frame += 1
        self._note_others(found, score)
        # A size read off a response that does not see the target would only drift.
        moved = self._moved(found, image.shape[1], image.shape[0], resize=score >= settings.unseen_below)
        if score < settings.unseen_below and settings.search_wider:
            again = self._search_frame(image)
            if again is not None:
                moved, score = again
        elif self.adapt:
            self._remember(features, found, score)
        state.center = moved
        if self.adapt:
            self._learn()
        self._look_again(image, score)
        state.sure = score >= settings.near_above
        state.motion = max(math.hypot(*found.displacement), state.motion * MOTION_FADES)
        state.unseen_frames = 0 if score >= settings.unseen_below else state.unseen_frames + 1
        state.low_frames = 0 if score >= settings.lost_below else state.low_frames + 1
        return Result(from_center(state.center), score, state.low_frames >= settings.lost_after)

    def _note_others(self, found: Found, score: float) -> None:
        """Remembers where others of the target's look are, for some frames; forgets all when the target stays away.

        A new one counts only while the target itself is surely seen: else it may be the target.
        """
        state = self.started
        cell = self._side / SEARCH_SIZE * self.model.stride
        now = [Other(state.center.cx + x * cell, state.center.cy + y * cell, state.frame) for x, y in found.others]
        reach = OTHER_REACH * math.sqrt(state.center.w * state.center.h)
        if score < self.settings.others_above:
            now = [o for o in now if any(math.hypot(other.x - o.x, other.y - o.y) <= reach for other in state.others)]
        kept = [
            other
            for other in state.others
            if state.frame - other.seen <= OTHERS_KEPT and all(math.hypot(other.x - o.x, other.y - o.y) > reach for o in now)
        ]
        state.others = [] if state.unseen_frames > OTHERS_TRUSTED else now + kept

    def _look_again(self, image: Image, score: float) -> None:
        """Every few frames, lets the template follow the target's look, if it is surely there."""
        state, settings = self.started, self.settings
        if state.first_look is None or state.recent_look is None or not settings.template_share:
            return
        if state.frame % settings.template_interval or score < settings.template_threshold:
            return
        now = Look(*self.model.look(*_target_patches(image, state.center, (1.0,))))
        state.recent_look = state.recent_look.mix(now, settings.template_rate)
        state.template, state.parts = state.first_look.mix(state.recent_look, settings.template_share)

    @property
    def started(self) -> TargetState:
        """The state, once there is one."""
        if self.state is None:
            raise RuntimeError("update() before init(): give the target's box in its first frame first")
        return self.state

    @property
    def _side(self) -> float:
        """Side of the context in image pixels at the last scale."""
        center = self.started.center
        return context_side(center.w, center.h) * SEARCH_SIZE / EXEMPLAR_SIZE

    def _size_bias(self, image: Image) -> tuple[float, float]:
        """What the head makes of the first frame, whose box is given: a face may be given without hair, and it shall stay so."""
        center, side = self.started.center, self._side
        zooms = (1.0, 1.1, 1 / 1.1)
        features = self.model.search(np.stack([_cut(image, center.cx, center.cy, side * zoom, SEARCH_SIZE) for zoom in zooms]))
        growths = [self._found(features[i : i + 1], side * zoom, self.settings).growth for i, zoom in enumerate(zooms)]
        bias = np.exp(np.log(np.clip(growths, 0.5, 2.0)).mean(0) * self.settings.size_trust)
        return float(bias[0]), float(bias[1])

    def find(self, features: Float32, maps: Maps | None = None) -> Found:
        """The target's place in the features of :meth:`contexts`; with a box head, ``maps`` are its answer, if it is known."""
        return self._found(features, self._side, self.settings, maps=maps)

    def _found(
        self,
        features: Float32,
        side: float,
        settings: TrackerSettings,
        place: tuple[float, float] | None = None,
        maps: Maps | None = None,
    ) -> Found:
        """The target's place in the features of one context, or of one place at several scales; by default, of the last place."""
        state, model = self.started, self.model
        if state.parts is None:
            responses = model.match(state.template, features, state.w_target)
            return choose_scale(responses.reshape(-1, *responses.shape[2:]), settings)
        if maps is None:
            maps = model.locate(state.template, state.parts, features, state.w_target[None], state.template_size)
        cx, cy = place or state.center[:2]
        zoom = SEARCH_SIZE / side
        cell = model.stride / zoom  # image pixels
        size = (state.center.w * zoom, state.center.h * zoom)
        others = np.array([((other.x - cx) / cell, (other.y - cy) / cell) for other in state.others], np.float32)
        return choose_box(
            maps.response[0],
            maps.logits[0],
            maps.sides[0],
            size,
            state.size_bias,
            model.stride,
            settings,
            others,
            model.response_cells,
        )

    def _search_frame(self, image: Image) -> tuple[Center, float] | None:
        """Looks for a lost target elsewhere: a few places a frame, from near to far over the whole frame, then again.

        Returns:
            New centre and score; None where no place holds it beyond doubt.
        """
        state, settings, side = self.started, self.settings, self._side
        center = state.center
        height, width = image.shape[:2]
        step = max(side * GRID_STEP, (width + height) / GRID_LINES)
        places = grid_places(center.cx, center.cy, step, width, height)
        rounds = math.ceil(len(places) / PLACES)
        if not rounds:
            return None
        first = (state.unseen_frames % rounds) * PLACES
        places = places[first : first + PLACES]
        features = self.model.search(np.stack([_cut(image, x, y, side, SEARCH_SIZE) for x, y in places]))
        best = int(np.argmax(self._heights(features)))
        found = self._found(features[best : best + 1], side, replace(settings, window=0.0), places[best])
        score = self._score(found.peak)
        if score < settings.found_above:
            return None
        cell = side / SEARCH_SIZE * self.model.stride
        cx, cy = places[best][0] + found.displacement[0] * cell, places[best][1] + found.displacement[1] * cell
        return _inside(Center(cx, cy, center.w, center.h), width, height), score

    def _heights(self, features: Float32) -> npt.NDArray[np.floating]:
        """Highest logit in each of several contexts: ``(n,)``."""
        state, model, n = self.started, self.model, len(features)
        if state.parts is not None:
            own = (state.template, state.parts, state.w_target[None], state.template_size)
            template, parts, w_target, size = (np.repeat(a, n, axis=0) for a in own)
            logits = model.locate(template, parts, features, w_target, size).logits
        else:
            logits = model.match(state.template[:1], features, state.w_target)[:, 0]
        return np.asarray(np.nan_to_num(logits, nan=-60.0).max((1, 2)))

    def _moved(self, found: Found, width: int, height: int, resize: bool) -> Center:
        """The new place and the damped, clamped new size; the box always meets the frame."""
        old, settings, side = self.started.center, self.settings, self._side
        # With a pyramid of contexts, a cell of the context at that scale is larger by the scale.
        cell = side / SEARCH_SIZE * self.model.stride * self._search_scales[found.scale % len(self._search_scales)]
        cx, cy = old.cx + found.displacement[0] * cell, old.cy + found.displacement[1] * cell
        rate = found.rate if resize else 0.0
        low, high = settings.size_limits
        w, h = (
            max(1.0, min(max(last * (1 - rate + rate * growth), first * low), first * high))  # never less than a pixel
            for last, growth, first in zip(old[2:], found.growth, self.started.first_size, strict=True)
        )
        return _inside(Center(cx, cy, w, h), width, height)

    def _score(self, peak: float) -> float:
        """The peak's logit through the logistic curve that the model's card carries."""
        calibration = self.model.card["calibration"]
        logit = calibration.get("slope", 1.0) * peak + calibration.get("offset", 0.0)
        if not math.isfinite(logit):
            return 0.0
        return 1 / (1 + math.exp(-min(max(logit, -60.0), 60.0)))

    def _remember(self, features: Float32, found: Found, score: float) -> None:
        """Offers the frame to the memory, if its context was a whole one, as the meta-learner knows them."""
        if score >= self.settings.update_threshold and features.shape[-1] == self.model.search_cells:
            chosen = features[found.scale % len(features)]
            self.started.memory.add(chosen, found.displacement, found.response)

    def _learn(self) -> None:
        """Every T frames, asks the meta-learner for new kernels, which come some frames later."""
        state, settings = self.started, self.settings
        since = state.frame % settings.update_interval
        if since == 0 and state.memory.samples:
            samples = [state.memory.samples[i % len(state.memory.samples)] for i in range(self.model.support)]
            support = np.stack([s.features for s in samples])
            y = labels(np.array([s.displacement for s in samples]), self.model.response_cells, settings.positive_radius)
            state.coming = self.model.adapt_aside(state.template[:1], support, y)
            state.memory.clear()
        if state.coming is not None and since >= min(settings.update_delay, settings.update_interval - 1):
            coming, state.coming = state.coming, None
            state.w_target = coming.result()


def grid_places(cx: float, cy: float, step: float, width: int, height: int) -> list[tuple[float, float]]:
    """Points of a square grid around a place that lie in the frame, the place itself left out, from near to far.

    >>> grid_places(50, 50, 40, 100, 60)
    [(50, 10), (10, 50), (90, 50), (10, 10), (90, 10)]
    """
    xs = [cx + i * step for i in range(-math.floor(cx / step), math.floor((width - cx) / step) + 1)]
    ys = [cy + i * step for i in range(-math.floor(cy / step), math.floor((height - cy) / step) + 1)]
    places = [(x, y) for y in ys for x in xs if (x, y) != (cx, cy)]
    return sorted(places, key=lambda place: (round(math.hypot(place[0] - cx, place[1] - cy), 6), place[1], place[0]))


def _inside(center: Center, width: int, height: int) -> Center:
    """The target with its centre moved into the frame, so that its box meets the frame."""
    return center._replace(cx=min(max(center.cx, 0.0), float(width)), cy=min(max(center.cy, 0.0), float(height)))


def _target_patches(image: Image, center: Center, scales: Sequence[float]) -> tuple[npt.NDArray[np.uint8], Float32]:
    """Patches of the target ``(m, 127, 127, 3)`` at scales, and its size ``(1, 2)`` at scale 1, in pixels of its patch."""
    side = context_side(center.w, center.h)
    crops = np.stack([_cut(image, center.cx, center.cy, side / scale, EXEMPLAR_SIZE) for scale in scales])
    return crops, np.array([[center.w, center.h]], np.float32) * np.float32(EXEMPLAR_SIZE / side)


def _cut(image: Image, cx: float, cy: float, side: float, size: int) -> Image:
    """A square patch; what lies outside the frame is the frame's mean colour, from every 8th pixel."""
    height, width = image.shape[:2]
    inside = side / 2 <= cx <= width - side / 2 and side / 2 <= cy <= height - side / 2
    fill = (0.0, 0.0, 0.0) if inside else mean_color(np.ascontiguousarray(image[::8, ::8]))
    return crop(image, cx, cy, side, size, fill)
