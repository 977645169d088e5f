"""Rerun: frames, boxes and scores on one timeline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metatrack.arrays import Array
from metatrack.tracking.tracker import Result
from metatrack.video.overlay import LOST, color_of


def log(number: int, results: Mapping[int | str, Result], frame: Array | None = None, recording: Any = None) -> None:
    """Logs a frame: the image, a box for each target in its colour (a lost one's in orange), and its score.

    Args:
        number: of the frame; the timeline is ``frame``.
        results: what :meth:`MultiTracker.update` returns.
        frame: ``(H, W, 3)`` RGB, or None.
        recording: a ``rerun.RecordingStream``; None is the current one.
    """
    import rerun as rr

    rr.set_time("frame", sequence=number, recording=recording)
    if frame is not None:
        rr.log("video", rr.Image(frame), recording=recording)
    boxes = [[*result.box] for result in results.values()]
    colors = [LOST if result.lost else color_of(target) for target, result in results.items()]
    shown = rr.Boxes2D(array=boxes, array_format=rr.Box2DFormat.XYWH, labels=[*map(str, results)], colors=colors)
    rr.log("video/boxes", shown if boxes else rr.Clear(recursive=False), recording=recording)
    for target, result in results.items():
        rr.log(f"score/{target}", rr.Scalars(result.score), recording=recording)
