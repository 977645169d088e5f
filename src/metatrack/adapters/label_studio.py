"""Label Studio: an ML backend that tracks on from the last box of each region, many frames in one request.

Source: https://labelstud.io/guide/ml_create. The request is ``POST /predict`` with ``tasks`` and ``params.context.result``, of
which label-studio-ml makes a call of ``predict(tasks, context)``; docs/adapters.md shows the class around :func:`predict`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from metatrack.convert.labelstudio import steps_of
from metatrack.convert.tracks import Mark, Track, Video
from metatrack.runtime.model import Model
from metatrack.tracking.multi import MultiTracker
from metatrack.video import open_source

KEYS = ("x", "y", "width", "height")


def predict(
    video: str | Path, context: Mapping[str, Any] | None, frames: int = 100, model: str | Path | Model = "lite"
) -> list[dict[str, Any]]:
    """Predictions for a task: the regions of the context, each followed through so many frames behind its last box.

    Args:
        video: the file.
        context: what Label Studio sends when a person has drawn: its ``result`` are regions.
        frames: how far.
        model: see :class:`Tracker`.

    Raises:
        ValueError: a region's last box is none in the frame.
        OSError: the video cannot be read.
    """
    regions = [each for each in (context or {}).get("result", ()) if each.get("type") == "videorectangle"]
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
    return [{"model_version": "metatrack", "result": result}]
