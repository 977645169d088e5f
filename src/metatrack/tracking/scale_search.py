"""The paper's search: responses at three scales, and a box whose shape never changes (section 4.1)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Literal

import numpy as np

from metatrack.arrays import Float32, UInt8
from metatrack.geometry import SEARCH_SIZE, Center
from metatrack.runtime.model import Model
from metatrack.tracking.acceptance import Role, Scorer
from metatrack.tracking.checked import Checked, Count, Limit, Share
from metatrack.tracking.patches import Patches
from metatrack.tracking.search import (
    Candidate,
    Searcher,
    SearchSettings,
    WindowForm,
    cosine_window,
    finite,
    resized,
    sigmoid,
    windowed,
)
from metatrack.tracking.target import TargetState

PEAK_REACH = 1.5
"""Cells around the windowed maximum within which the response's own maximum is taken."""


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
        """See :func:`choose_scale`."""
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
        cell, (x, y) = target.side / SEARCH_SIZE * self.model.stride * found.zoom, target.center[:2]
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
    up-sampled response (see :class:`~metatrack.tracking.search.SearchSettings`), and the highest value wins.

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
