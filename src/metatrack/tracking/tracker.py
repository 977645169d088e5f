"""Algorithm 1 of the paper at run time, with numpy and onnxruntime.

The model is shared and immutable; what belongs to one target is in :class:`TargetState`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
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
from metatrack.runtime.engine import Float32, Model, load_model
from metatrack.tracking.memory import Memory, labels
from metatrack.tracking.search import Found, choose_box, choose_scale
from metatrack.tracking.settings import TrackerSettings, settings_from

RING_STEP = 0.4
"""Distance of a ring's contexts from the last place, in sides of a context: neighbours overlap by a target."""
RINGS = 3
"""Rings that a lost target is looked for in, one a frame."""


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
    template_size: Float32  # (1, 2): width and height in the template's patch, in pixels
    w_target: Float32  # (32, C), or (0, C) before the first update
    memory: Memory
    frame: int = 0  # frames since init
    low_frames: int = 0  # frames in a row with a low score


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
        threads: threads of onnxruntime; 0 is one per core.

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
        side = context_side(center.w, center.h)
        fill = _fill(image)
        crops = np.stack([crop(image, center.cx, center.cy, side / f, EXEMPLAR_SIZE, fill) for f in self._template_scales])
        self.state = TargetState(
            center=center,
            first_size=(center.w, center.h),
            template=self.model.template(crops),
            template_size=np.array([[center.w, center.h]], np.float32) * (EXEMPLAR_SIZE / side),
            w_target=self.model.no_kernels,
            memory=Memory(max(1, self.model.support)),
        )

    def update(self, frame: npt.NDArray[Any]) -> Result:
        """Finds the target in the next frame, which is not changed.

        Raises:
            RuntimeError: :meth:`init` has not been called.
            ValueError, TypeError: the frame is no image (see :meth:`init`).
        """
        if self.state is None:
            raise RuntimeError("update() before init(): give the target's box in its first frame first")
        image = as_rgb(frame)
        state, settings = self.state, self.settings
        side = context_side(state.center.w, state.center.h) * SEARCH_SIZE / EXEMPLAR_SIZE
        features, found = self._search(image, side)
        score = self._score(found.peak)
        state.frame += 1
        # A size read off a response that does not see the target would only drift.
        moved = self._moved(found, side, image.shape[1], image.shape[0], resize=score >= settings.lost_below)
        if score < settings.lost_below and settings.search_wider:
            again = self._search_ring(image, side)
            if again is not None:
                moved, score = again
        elif self.adapt:
            self._remember(features, found, score)
        state.center = moved
        if self.adapt:
            self._learn()
        state.low_frames = 0 if score >= settings.lost_below else state.low_frames + 1
        return Result(from_center(state.center), score, state.low_frames >= settings.lost_after)

    def _search(self, image: Image, side: float) -> tuple[Float32, Found]:
        """Context features ``(1 or 3, C, h, w)`` around the last place, and the target's place in them."""
        assert self.state is not None  # noqa: S101 - update() has checked it
        center, fill = self.state.center, _fill(image)
        crops = np.stack([crop(image, center.cx, center.cy, side * f, SEARCH_SIZE, fill) for f in self._search_scales])
        features = self.model.search(crops)
        return features, self._found(features, side, self.settings)

    def _found(self, features: Float32, side: float, settings: TrackerSettings) -> Found:
        """The target's place in the features of one context, or of one place at several scales."""
        assert self.state is not None  # noqa: S101
        state, model = self.state, self.model
        if not model.has_boxes:
            responses = model.match(state.template, features, state.w_target)
            return choose_scale(responses.reshape(-1, *responses.shape[2:]), settings)
        maps = model.locate(state.template, features, state.w_target[None], state.template_size)
        zoom = SEARCH_SIZE / side
        size = (state.center.w * zoom, state.center.h * zoom)
        return choose_box(maps.response[0], maps.logits[0], maps.sides[0], size, model.stride, settings)

    def _search_ring(self, image: Image, side: float) -> tuple[Center, float] | None:
        """Looks for a lost target around its last place: new centre and score, or None where no context holds it beyond doubt."""
        assert self.state is not None  # noqa: S101
        center, settings = self.state.center, self.settings
        reach = side * RING_STEP * (1 + self.state.low_frames % RINGS)
        steps = [(dx, dy) for dx in (-1, 0, 1) for dy in (-1, 0, 1) if dx or dy]
        height, width = image.shape[:2]
        places = [(center.cx + dx * reach, center.cy + dy * reach) for dx, dy in steps]
        places = [(x, y) for x, y in places if 0 <= x <= width and 0 <= y <= height]
        if not places:
            return None
        fill = _fill(image)
        crops = np.stack([crop(image, x, y, side, SEARCH_SIZE, fill) for x, y in places])
        features = self.model.search(crops)
        heights = self._heights(features)
        best = int(np.argmax(heights))
        found = self._found(features[best : best + 1], side, replace(settings, window=0.0))
        score = self._score(found.peak)
        if score < settings.found_above:
            return None
        cell = side / SEARCH_SIZE * self.model.stride
        cx, cy = places[best][0] + found.displacement[0] * cell, places[best][1] + found.displacement[1] * cell
        return _inside(Center(cx, cy, center.w, center.h), width, height), score

    def _heights(self, features: Float32) -> npt.NDArray[np.floating]:
        """Highest logit in each of several contexts: ``(n,)``."""
        assert self.state is not None  # noqa: S101
        state, model, n = self.state, self.model, len(features)
        if model.has_boxes:
            same = (np.repeat(a, n, axis=0) for a in (state.template, state.w_target[None], state.template_size))
            template, w_target, size = same
            logits = model.locate(template, features, w_target, size).logits
        else:
            logits = model.match(state.template[:1], features, state.w_target)[:, 0]
        return np.asarray(np.nan_to_num(logits, nan=-60.0).max((1, 2)))

    def _moved(self, found: Found, side: float, width: int, height: int, resize: bool) -> Center:
        """The new place and the damped, clamped new size; the box always meets the frame."""
        assert self.state is not None  # noqa: S101
        old, settings = self.state.center, self.settings
        # With a pyramid of contexts, a cell of the context at that scale is larger by the scale.
        cell = side / SEARCH_SIZE * self.model.stride * self._search_scales[found.scale % len(self._search_scales)]
        cx, cy = old.cx + found.displacement[0] * cell, old.cy + found.displacement[1] * cell
        rate = found.rate if resize else 0.0
        low, high = settings.size_limits
        w, h = (
            max(1.0, min(max(last * (1 - rate + rate * growth), first * low), first * high))  # never less than a pixel
            for last, growth, first in zip(old[2:], found.growth, self.state.first_size, strict=True)
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
        """Offers the frame to the memory."""
        assert self.state is not None  # noqa: S101
        if score >= self.settings.update_threshold:
            chosen = features[found.scale % len(features)]
            self.state.memory.add(chosen, found.displacement, found.response)

    def _learn(self) -> None:
        """Every T frames, asks the meta-learner for new kernels."""
        assert self.state is not None  # noqa: S101
        state, settings = self.state, self.settings
        if state.frame % settings.update_interval == 0 and state.memory.samples:
            samples = [state.memory.samples[i % len(state.memory.samples)] for i in range(self.model.support)]
            support = np.stack([s.features for s in samples])
            y = labels(np.array([s.displacement for s in samples]), self.model.response_cells, settings.positive_radius)
            state.w_target = self.model.adapt(state.template[:1], support, y)
            state.memory.clear()


def _inside(center: Center, width: int, height: int) -> Center:
    """The target with its centre moved into the frame, so that its box meets the frame."""
    return center._replace(cx=min(max(center.cx, 0.0), float(width)), cy=min(max(center.cy, 0.0), float(height)))


def _fill(image: Image) -> tuple[float, float, float]:
    """Mean colour of a frame, from every 8th pixel."""
    return mean_color(np.ascontiguousarray(image[::8, ::8]))
