"""Re-detection: a target that is not seen at its last place is looked for elsewhere in the frame; not in the paper."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from metatrack.geometry import SEARCH_SIZE, Center
from metatrack.tracking.checked import Checked, Share
from metatrack.tracking.opinion import OpinionSettings, against
from metatrack.tracking.patches import Patches
from metatrack.tracking.search import Searcher, finite
from metatrack.tracking.target import TargetState, score_of

GRID_STEP = 0.4
"""Distance of the places where a target is looked for, in sides of a context: neighbours overlap by a target."""
GRID_LINES = 64
"""A grid's lines, at most, both ways together: a target of few pixels in a large frame is not worth thousands of places."""
PLACES = 8  # places looked at in one frame


@dataclass(frozen=True)
class RedetectionSettings(Checked):
    """When an unseen target is looked for over the whole frame, and when it counts as found."""

    enabled: bool = True
    """While the target is unseen, search eight further places a frame, the nearest first."""
    below: Share = 0.1
    """Score under which the target is unseen: re-detection begins, and no size is read off the response."""
    min_score: Share = 0.7
    """Score from which what re-detection finds is taken for the target."""


def redetect(
    target: TargetState[Any], patches: Patches, searcher: Searcher, settings: RedetectionSettings, opinion: OpinionSettings
) -> tuple[Center, float] | None:
    """Searches a few places of the frame for an unseen target: the nearest first, over the whole frame, then again.

    A place where it seemed to be in the last frame is searched alone.

    Returns:
        New centre and score; None where no place holds it beyond doubt.
    """
    center, side, model, claim = target.center, target.side, searcher.model, target.motion.claim
    claimed = claim is not None and target.motion.claims(target.frame - 1)
    places = [(claim.x, claim.y)] if claim and claimed else _next_places(target, patches)
    if not places:
        return None
    features = model.search(np.stack([patches.cut(x, y, side, SEARCH_SIZE) for x, y in places]))
    peaks = finite(searcher.scorer(target)(features, target.w_target)).max((1, 2))
    best = int(np.argmax(peaks))
    found = searcher.find(target, searcher.respond(target, features[best : best + 1]), places[best])
    alike = searcher.alike(target, features[best : best + 1], found)
    score = score_of(found.peak, model.card["calibration"], against(alike, opinion))
    if score < settings.min_score:
        return None
    (cx, cy), (x, y), cell = places[best], found.displacement, searcher.cell(target)
    return patches.inside(center._replace(cx=cx + x * cell, cy=cy + y * cell)), score


def _next_places(target: TargetState[Any], patches: Patches) -> list[tuple[float, float]]:
    """Those whose turn it is."""
    step = max(target.side * GRID_STEP, (patches.width + patches.height) / GRID_LINES)
    places = grid_places(target.center.cx, target.center.cy, step, patches.width, patches.height)
    rounds = max(math.ceil(len(places) / PLACES), 1)
    first = (target.sighting.unseen_frames % rounds) * PLACES
    return places[first : first + PLACES]


def grid_places(cx: float, cy: float, step: float, width: int, height: int) -> list[tuple[float, float]]:
    """Points of a square grid around a place that lie in the frame, the place itself left out, the nearest first.

    >>> grid_places(50, 50, 40, 100, 60)
    [(50, 10), (10, 50), (90, 50), (10, 10), (90, 10)]
    """
    xs = [cx + i * step for i in range(-math.floor(cx / step), math.floor((width - cx) / step) + 1)]
    ys = [cy + i * step for i in range(-math.floor(cy / step), math.floor((height - cy) / step) + 1)]
    places = [(x, y) for y in ys for x in xs if (x, y) != (cx, cy)]
    return sorted(places, key=lambda place: (round(math.hypot(place[0] - cx, place[1] - cy), 6), place[1], place[0]))
