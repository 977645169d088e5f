"""Scenes in which the target goes away and comes back: what the ``lost`` flag and re-detection are worth.

A scene begins with a clip of the target, goes on with a clip of another target, in which ours cannot be, and ends with the first
clip again. Meanwhile the camera has turned: the target stands somewhere else. Both clips are simulated, of held-out trajectories.
"""

from __future__ import annotations

from collections.abc import Sequence as Seq

import numpy as np

from metatrack.arrays import Bools, Floats
from metatrack.bundling.calibration import RIGHT
from metatrack.geometry import Box, Image, iou, mean_color, warp
from metatrack.runtime.model import Model
from metatrack.tracking.settings import TrackerSettings
from metatrack.tracking.tracker import Tracker
from metatrack.training.validation import VIEW, ViewedClip

SEEN, AWAY = 10, 12
"""Frames before the target goes, and frames without it."""


def disappear(model: Model, clips: Seq[ViewedClip], adapt: bool) -> dict[str, float | None]:
    """Tracks one scene for every clip, which has ``SEEN + 2`` frames at least, with a model whose score is calibrated.

    Returns:
        ``lost_precision``: share of the frames flagged as lost that do not show the target or whose box misses it;
        ``lost_recall``: share of the frames without target that are flagged, from the first that can be (``lost_after``);
        ``false_alarms``: share of the frames with target and right box that are flagged;
        ``found_again``: share of the scenes in which the last frame's box holds the target, of those that held it before it went;
        ``overlap_after``: mean overlap after its return, of the same ``scenes``. A mean of nothing is None.
    """
    chosen = TrackerSettings(**model.card["tracking"])
    flagged, absent, right, early = [], [], [], []
    found, after = [], []
    for i, clip in enumerate(clips):
        other = clips[(i + len(clips) // 2) % len(clips)]
        tracker = Tracker(model, adapt=adapt, settings=chosen)
        tracker.init(clip.frames[0], clip.boxes[0])
        held = False
        overlaps = []
        away: list[tuple[Image, Box | None]] = [(frame, None) for frame in (other.frames * 2)[:AWAY]]
        shown = [(frame, Box(*box)) for frame, box in zip(clip.frames, clip.boxes, strict=True)]
        for n, (frame, truth) in enumerate([*shown[1:SEEN], *away, *elsewhere(shown[SEEN:])]):
            result = tracker.update(frame)
            overlap = 0.0 if truth is None else float(iou(result.box, truth))
            flagged.append(result.lost)
            absent.append(truth is None)
            right.append(overlap > RIGHT)
            early.append(truth is None and n < SEEN - 1 + chosen.judging.lost_after)
            if n == SEEN - 2:
                held = overlap > RIGHT
            if n >= SEEN - 1 + AWAY:
                overlaps.append(overlap)
        if held:
            found.append(overlaps[-1] > RIGHT)
            after.append(float(np.mean(overlaps)))
    flags, gone, ok, soon = (np.array(a) for a in (flagged, absent, right, early))
    missed = gone | ~ok
    return {
        "lost_precision": _mean(missed[flags]),
        "lost_recall": _mean(flags[gone & ~soon]),
        "false_alarms": _mean(flags[~gone & ok]),
        "found_again": _mean(found),
        "overlap_after": _mean(after),
        "scenes": len(found),
    }


def _mean(values: Floats | Bools | Seq[float]) -> float | None:
    return round(float(np.mean(values)), 4) if len(values) else None


def elsewhere(shown: Seq[tuple[Image, Box]]) -> list[tuple[Image, Box]]:
    """The same frames and boxes after the camera has turned: the target of the first stands on the other side of the view."""
    x, y, w, h = shown[0][1]
    offset = np.array([VIEW - (2 * x + w), VIEW - (2 * y + h)])
    return [
        (warp(image, np.eye(2), -offset, VIEW, mean_color(image)), box._replace(x=box.x + offset[0], y=box.y + offset[1]))
        for image, box in shown
    ]
