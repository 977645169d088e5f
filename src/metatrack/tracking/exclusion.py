"""Several targets are several things: no other is looked for where one is, and of two boxes on one thing one yields.

Not in the paper, whose tracker knows one target.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from metatrack.geometry import Center, from_center, iou
from metatrack.tracking.distractors import REACH
from metatrack.tracking.settings import TrackerSettings
from metatrack.tracking.target import TargetState
from metatrack.tracking.tracker import Result, Tracker

CONTESTED = 3
"""Frames for which two boxes must lie on one thing before one yields: two that pass each other may do so for a moment."""
TOGETHER = 0.2
"""Overlap from which two targets were given on one thing, a face and its head for example: such never exclude each other."""
Id: TypeAlias = int | str
Pair: TypeAlias = tuple[Id, Id]


@dataclass
class Exclusion:
    """Which targets contend for one thing, and which have yielded it to which."""

    together: set[Pair] = field(default_factory=set)  # were given on one thing
    contests: dict[Pair, list[float]] = field(default_factory=dict)  # by how much more the first looks like itself, by frames
    yielded: set[Pair] = field(default_factory=set)  # the first to the second

    def added(self, new: Id, trackers: Mapping[Id, Tracker]) -> None:
        """A target was given, or given anew: those that lie on the same thing from the first do not exclude it."""
        self.removed(new)
        own = trackers[new].started.center
        for other, tracker in trackers.items():
            if other != new and _on_one_thing(own, tracker.started.center):
                self.together |= {(new, other), (other, new)}

    def removed(self, target: Id) -> None:
        self.together = {pair for pair in self.together if target not in pair}
        self.yielded = {pair for pair in self.yielded if target not in pair}
        self.contests = {pair: each for pair, each in self.contests.items() if target not in pair}

    def tell(self, trackers: Mapping[Id, Tracker], settings: TrackerSettings) -> None:
        """Tells every target where the others are that are surely seen, before the next frame."""
        if settings.exclusion.overlap == 1:
            return
        for own, tracker in trackers.items():
            state = tracker.started
            state.other_targets, state.taken = [], []
            for other, its in self._others(own, trackers):
                if not its.sighting.lost and its.sighting.score >= settings.distractors.min_score:
                    places = state.taken if (own, other) in self.yielded else state.other_targets
                    (vx, vy), share = its.motion.velocity, settings.motion.follows
                    places.append((its.center.cx + share * vx, its.center.cy + share * vy))

    def settled(self, trackers: Mapping[Id, Tracker], results: dict[Id, Result], settings: TrackerSettings) -> dict[Id, Result]:
        """The results of a frame, in which a box that lies on another target's thing has a low score."""
        if settings.exclusion.overlap == 1:
            return results
        recognised = settings.redetection.min_score
        self.yielded = {(a, b) for a, b in self.yielded if results[a].score < recognised and not results[b].lost}
        contests: dict[Pair, list[float]] = {}
        for own in trackers:
            for other, _ in self._others(own, trackers):
                pair, both = (own, other), (results[own], results[other])
                sure = min(each.score for each in both) >= settings.distractors.min_score
                if (other, own) in contests or not sure or float(iou(both[0].box, both[1].box)) < settings.exclusion.overlap:
                    continue
                better = _standing(trackers[own].started) - _standing(trackers[other].started)
                contests[pair] = [*self.contests.get(pair, []), better]
        for (one, other), gains in contests.items():
            if len(gains) >= CONTESTED:
                loser, winner = (other, one) if sum(gains) >= 0 else (one, other)
                self.yielded.add((loser, winner))
                score = results[loser].score * settings.distractors.factor
                trackers[loser].started.sighting.score = score
                results[loser] = results[loser]._replace(score=score)
        self.contests = contests
        return results

    def _others(self, own: Id, trackers: Mapping[Id, Tracker]) -> Iterator[tuple[Id, TargetState[Any]]]:
        return ((other, its.started) for other, its in trackers.items() if other != own and (own, other) not in self.together)


def _on_one_thing(a: Center, b: Center) -> bool:
    near = math.hypot(a.cx - b.cx, a.cy - b.cy) < REACH * math.sqrt(min(a.w * a.h, b.w * b.h))
    return near or float(iou(from_center(a), from_center(b))) >= TOGETHER


def _standing(target: TargetState[Any]) -> float:
    """How much a target looks like itself, as a share of what is usual; by its score, where no second opinion is asked."""
    alike = target.alike
    return target.sighting.score if alike.now is None or not alike.usual else alike.now / max(alike.usual, 1e-3)
