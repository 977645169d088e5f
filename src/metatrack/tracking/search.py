"""What a searcher is, and the paper's: responses at three scales, and a box whose shape never changes (section 4.1)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Literal, NamedTuple, Protocol, TypeAlias

import numpy as np

from metatrack.arrays import Float32, Float64, Floats, UInt8
from metatrack.geometry import SEARCH_SIZE, Center
from metatrack.runtime.model import Model
from metatrack.tracking.acceptance import Role, Scorer
from metatrack.tracking.checked import Checked, Count, Limit, Share
from metatrack.tracking.patches import Patches
from metatrack.tracking.target import TargetState

WindowForm: TypeAlias = Literal["sum", "product"]
PEAK_REACH = 1.5  # cells around the windowed maximum within which the response's own maximum is taken


@dataclass(frozen=True)
class SearchSettings(Checked):
    """What holds for both ways of searching."""

    window: Share = 0.176
    """Weight of the cosine window h against the response; SiamFC's value, unsaid in the paper."""
    window_form: WindowForm = "sum"
    """How the window is applied. 'sum': response and window are summed with weights 1 - w and w, as in SiamFC. 'product': the
    response is multiplied by 1 - w + w h, which with w = 1 is the paper's product."""
    size_limits: Annotated[
        tuple[float, float], Limit(lambda limits: 0 < limits[0] <= 1 <= limits[1], "must enclose 1, and be above 0")
    ] = (0.2, 5.0)
    """Smallest and largest size, as factors of the first, as in SiamFC."""


class Candidate(NamedTuple):
    """The best answer of one search."""

    displacement: tuple[float, float]  # of the target's centre from the context's, x, y in cells of that context
    growth: tuple[float, float]  # the target's width and height, as factors of the last ones
    rate: float  # weight of that size against the last one
    response: Float32  # (r, r) logits of equation (4) in that context
    peak: float  # the logit that the score is made of: without the cosine window
    context: int = 0  # which of the contexts searched it is
    zoom: float = 1.0  # that context's side, as a factor of a whole one's at the last size
    distractors: tuple[tuple[float, float], ...] = ()  # displacements of what looks like the target
    rival: Candidate | None = None  # a better answer, at a place that the target's motion does not explain


class Searcher(Protocol):
    """A way of searching contexts for a target: what it keeps of the target, where it looks, and how it reads the answer.

    ``appearance`` and ``response`` are what the searcher itself makes, and nobody else looks into them. What has a default here
    is done with a box head alone: the paper keeps the first frame's template, so there is nothing to update or to doubt.
    """

    model: Model

    def cell(self, target: TargetState[Any]) -> float:
        """Side of a cell of a whole context, in image pixels."""
        return target.side / SEARCH_SIZE * self.model.stride

    def appearance(self, patches: Patches, center: Center) -> Any:
        """What is kept of the target from its first frame."""

    def follow(self, target: TargetState[Any], patches: Patches, score: float) -> None:
        """Template update: lets what is kept follow the target, if it is surely seen."""
        return

    def template(self, target: TargetState[Any]) -> Float32:
        """The template at the last scale: ``(1, C, k, k)``."""

    def contexts(self, target: TargetState[Any], patches: Patches) -> UInt8:
        """The contexts to search around the target's last place: ``(n, s, s, 3)``."""

    def respond(self, target: TargetState[Any], features: Float32) -> Any:
        """The networks' response to contexts of one target, by their features ``(n, C, h, w)``."""

    def respond_together(self, targets: Sequence[TargetState[Any]], features: Float32) -> Sequence[Any] | None:
        """The responses for several targets with a context each, from one call; None where that gains nothing."""
        return None

    def find(self, target: TargetState[Any], response: Any, place: tuple[float, float] | None = None) -> Candidate:
        """Scale and place of the highest response under the cosine window.

        Args:
            target: as it was in the last frame.
            response: to the contexts around its last place, or to a single one around
            place: elsewhere in the image. There the window, which favours the last place, has nothing to say.
        """

    def alike(self, target: TargetState[Any], features: Float32, found: Candidate) -> float | None:
        """How much what was found looks like the target's first frame, in -1..1, by the contexts' features; None: not asked."""
        return None

    def moved(self, target: TargetState[Any], found: Candidate, patches: Patches, rate: float) -> Center:
        """The target's new place, and its size, which moves to the found one at this rate."""

    def scorer(self, target: TargetState[Any]) -> Scorer:
        """The logits of contexts, by the template as it is now: what else becomes of the target does not change them."""


def finite(logits: Float32) -> Float32:
    """The same, finite; a network that answers with no number sees nothing there."""
    return logits if np.isfinite(logits).all() else np.nan_to_num(logits, nan=-60.0, posinf=60.0, neginf=-60.0)


def sigmoid(logits: Floats) -> Floats:
    """Probabilities."""
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -60, 60))))


def windowed(strength: Floats, window: Float64, weight: float, form: WindowForm = "sum") -> Floats:
    """A response under the cosine window, which counts for ``weight``: see :class:`SearchSettings`.

    >>> windowed(np.array([0.5, 1.0]), np.array([1.0, 0.2]), 1.0, "product")
    array([0.5, 0.2])
    """
    if form == "product":
        return strength * (1 - weight + weight * window)
    return (1 - weight) * strength + weight * window


@lru_cache(maxsize=4)
def cosine_window(size: int, whole: int | None = None) -> Float64:
    """The window h of Algorithm 1, 1 at the centre: the middle ``size x size`` of one for ``whole`` positions per side."""
    whole = whole or size
    first = (whole - size) // 2
    line = np.hanning(whole + 2)[1:-1][first : first + size]
    window = np.outer(line, line)
    window.setflags(write=False)
    return window


def moved_window(size: int, whole: int, x: float, y: float) -> Float64:
    """:func:`cosine_window`, its middle moved by so many positions.

    >>> moved_window(3, 5, 1.0, 0.0).round(2).tolist()[1]
    [0.25, 0.75, 1.0]
    """
    if x == y == 0:
        return cosine_window(size, whole)
    steps = np.arange(size) - (size - 1) / 2
    lines = (np.cos(np.pi * ((steps - at) / (whole + 1)).clip(-0.5, 0.5)) ** 2 for at in (x, y))
    across, down = lines
    return np.outer(down, across)


def resized(
    target: TargetState[Any], growth: tuple[float, float], rates: tuple[float, float], limits: tuple[float, float]
) -> tuple[float, float]:
    """Width and height after a frame: damped, and never less than a pixel.

    Args:
        growth: of width and height, as factors of the last ones.
        rates: weights of the new width and height against the last ones.
        limits: smallest and largest size, as factors of the first.
    """
    w, h = (
        max(1.0, min(max(last * (1 - rate + rate * factor), first * limits[0]), first * limits[1]))
        for last, factor, rate, first in zip(target.center[2:], growth, rates, target.first_size, strict=True)
    )
    return w, h


@dataclass(frozen=True)
class ScaleSearchSettings(Checked):
    """The search at three scales, for models without a box head."""

    step: Annotated[float, Limit(lambda value: value > 1, "must be above 1")] = 1.05
    """Factor between neighbouring scales (section 4.1)."""
    interval: Count = 1
    """Frames between searches of all three contexts; in the others, the one at the last scale is searched. 1 is the paper's."""
    penalty: Share = 0.95
    """Factor on the odds of a target at another scale than the last one (section 4.1)."""
    damping: Share = 0.60
    """Weight of the new size against the old one (section 4.1)."""
    upsample: Count = 16
    """Factor by which responses are enlarged (bicubic) before their peak is taken, as in SiamFC."""
    pyramid: Literal["search", "template"] = "search"
    """'search': contexts at three scales against one template, as in the paper.
    'template': templates at three scales against one context, a third of the work."""

    @property
    def scales(self) -> tuple[float, float, float]:
        """The three scales, as factors of the last."""
        return (1.0, 1 / self.step, self.step)


class ScaleSearch(Searcher):
    """Searches with equation (4) alone.

    What it keeps of a target is its templates ``(m, C, k, k)``; the response is ``(n, m, 17, 17)`` logits for n contexts, or
    ``(2, n, m, 17, 17)`` by equations (4) and (1), where both count.
    """

    def __init__(self, model: Model, settings: ScaleSearchSettings, search: SearchSettings, role: Role = "all") -> None:
        self.model, self.settings, self.search, self.role = model, settings, search, role
        self._context_scales: tuple[float, ...] = settings.scales if settings.pyramid == "search" else (1.0,)
        self._template_scales: tuple[float, ...] = settings.scales if settings.pyramid == "template" else (1.0,)

    def appearance(self, patches: Patches, center: Center) -> Float32:
        """The first frame's templates, at one scale or at three."""
        return self.model.template(patches.target(center, self._template_scales))

    def template(self, target: TargetState[Float32]) -> Float32:
        """That at scale 1."""
        return target.appearance[:1]

    def contexts(self, target: TargetState[Float32], patches: Patches) -> UInt8:
        """At all scales, or at the last one alone: ``(1 or 3, 255, 255, 3)``."""
        scales = self._context_scales if target.frame % self.settings.interval == 0 else (1.0,)
        center, side = target.center, target.side
        return np.stack([patches.cut(center.cx, center.cy, side * scale, SEARCH_SIZE) for scale in scales])

    def respond(self, target: TargetState[Float32], features: Float32) -> Float32:
        """Equation (1), or (4) once there are kernels."""
        found = self.model.match(target.appearance, features, target.w_target)
        if self.role == "all" or len(target.w_target) == 0:
            return found
        return np.stack([found, self.model.match(target.appearance, features, self.model.no_kernels)])

    def find(self, target: TargetState[Float32], response: Float32, place: tuple[float, float] | None = None) -> Candidate:
        responses, plain = (response, None) if response.ndim == 4 else response
        window, shape = self.search.window if place is None else 0.0, (-1, *responses.shape[2:])
        found, scale = choose_scale(responses.reshape(shape), self.settings, window, self.search.window_form)
        if plain is not None:  # kernels have had their say
            found = found._replace(peak=highest_near(finite(plain).reshape(shape)[scale], found.displacement))
        if len(self._context_scales) == 1:
            return found
        return found._replace(context=scale, zoom=self._context_scales[scale])

    def moved(self, target: TargetState[Float32], found: Candidate, patches: Patches, rate: float) -> Center:
        """Where the peak is; both sides change alike."""
        cell, (x, y) = self.cell(target) * found.zoom, target.center[:2]
        dx, dy = found.displacement
        return Center(x + dx * cell, y + dy * cell, *resized(target, found.growth, (rate, rate), self.search.size_limits))

    def scorer(self, target: TargetState[Float32]) -> Scorer:
        """At the last scale."""
        model, template = self.model, self.template(target)
        return lambda features, w_target: model.match(template, features, w_target)[:, 0]


def choose_scale(
    responses: Float32, settings: ScaleSearchSettings, window: float, form: WindowForm = "sum"
) -> tuple[Candidate, int]:
    """Scale and place of the target from the responses ``(3, 17, 17)`` (logits) at scales 1, 1/step, step.

    Scales other than the last one's pay a penalty on their odds; at the best scale, the cosine window is applied to the
    up-sampled response (see :class:`SearchSettings`), and the highest value wins.

    Returns:
        What was found, as if in a single context, and the index of its scale.
    """
    clean = finite(responses)
    heights = clean.max((1, 2)) + np.array([0.0] + [math.log(max(settings.penalty, 1e-9))] * (len(clean) - 1))
    scale = int(np.argmax(heights))
    cells, up = clean.shape[-1], settings.upsample
    large = upsampled(clean[scale], up)
    probability = sigmoid(large)
    probability /= max(float(probability.max()), 1e-9)
    mixed = windowed(probability, cosine_window(cells * up), window, form)
    row, column = divmod(int(np.argmax(mixed)), cells * up)
    # The window has chosen among peaks. It must not move the chosen one: probabilities are flat around a target, and the sum's
    # maximum would lag behind every motion. The logits are not flat, and say where the peak is. The product is the paper's, whose
    # maximum is the place.
    reach = int(PEAK_REACH * up) if form == "sum" else 0
    top, left = max(0, row - reach), max(0, column - reach)
    around = large[top : row + reach + 1, left : column + reach + 1]
    row, column = divmod(int(np.argmax(around)), around.shape[1])
    middle = cells * up / 2 - 0.5
    displacement = ((column + left - middle) / up, (row + top - middle) / up)
    factor = settings.scales[scale]
    return Candidate(displacement, (factor, factor), settings.damping, clean[scale], float(clean[scale].max())), scale


def highest_near(response: Float32, place: tuple[float, float]) -> float:
    """The highest logit of a response ``(r, r)`` within about a cell of a place: x, y from the middle, in cells."""
    middle = response.shape[-1] // 2
    column, row = (min(max(round(at) + middle, 0), response.shape[-1] - 1) for at in place)
    return float(response[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2].max())


def upsampled(response: Float32, factor: int) -> Float32:
    """A response ``(r, r)`` enlarged to ``(r * factor, r * factor)`` by bicubic interpolation, its border repeated outside."""
    matrix = bicubic_matrix(response.shape[-1], factor)
    return np.asarray(matrix @ response @ matrix.T, np.float32)


@lru_cache(maxsize=4)
def bicubic_matrix(cells: int, factor: int) -> Float32:
    """Enlarges a line of values: ``(cells * factor, cells)``, the weights of each new value.

    Keys' kernel (Cubic convolution interpolation, IEEE Transactions on Acoustics, Speech and Signal Processing, 1981) with
    a = -0.75, as in OpenCV. Values are at the middles of their cells.
    """
    a = -0.75
    places = (np.arange(cells * factor) + 0.5) / factor - 0.5
    first = np.floor(places).astype(int)
    matrix = np.zeros((cells * factor, cells))
    for step in (-1, 0, 1, 2):
        x = np.abs(places - first - step)
        inner, outer = ((a + 2) * x - (a + 3)) * x**2 + 1, ((x - 5) * x + 8) * x * a - 4 * a
        np.add.at(matrix, (np.arange(len(places)), (first + step).clip(0, cells - 1)), np.where(x <= 1, inner, outer))
    result = matrix.astype(np.float32)
    result.setflags(write=False)
    return result
