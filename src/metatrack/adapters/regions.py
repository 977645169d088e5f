"""Regions of Label Studio's, followed through the frames behind their last boxes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from metatrack.convert.labelstudio import steps_of
from metatrack.convert.tracks import Mark, Track, Video
from metatrack.runtime.model import Model
from metatrack.tracking.multi import MultiTracker
from metatrack.video import open_source

KEYS = ("x", "y", "width", "height")


def follow_regions(
    video: str | Path, regions: Iterable[Mapping[str, Any]], frames: int, model: str | Path | Model
) -> list[dict[str, Any]]:
    """The video rectangles among the regions, each followed through so many frames behind its last box.

    Args:
        video: the file.
        regions: as Label Studio writes them.
        frames: how far.
        model: see :class:`Tracker`.

    Raises:
        ValueError: a region's last box is none in the frame.
        OSError: the video cannot be read.
    """
    regions = [each for each in regions if each.get("type") == "videorectangle"]
    last = {each["id"]: max(each["value"]["sequence"], key=lambda step: step["frame"]) for each in regions}
    begin = min((step["frame"] for step in last.values()), default=0)
    if not last:
        return []
    tracker, marks = MultiTracker(model), {name: list[Mark]() for name in last}
    with open_source(video, start=begin - 1, end=max(step["frame"] for step in last.values()) + frames) as source:
        sides = source.size * 2
        for frame in source:
            for name, (box, score, lost) in (tracker.update(frame) if tracker.targets else {}).items():
                if source.index < last[name]["frame"] + frames:
                    marks[name].append(Mark(source.index, box, score, lost))
            for name, step in last.items():
                if step["frame"] == source.index + 1:
                    tracker.add(frame, [step[key] * side / 100 for key, side in zip(KEYS, sides)], name)
        result = []
        for region in regions:
            name, value = region["id"], region["value"]
            steps = steps_of(Track(name, tuple(marks[name])), Video(source.size), source.fps or 25.0, source.index + 1)
            result.append({**region, "value": {**value, "sequence": [*value["sequence"], *steps]}})
    return result
