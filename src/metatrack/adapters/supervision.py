"""supervision's ``Detections``, with ``tracker_id``: for its annotators, zones, counters and sinks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from metatrack.tracking.tracker import Result

if TYPE_CHECKING:
    from supervision import Detections


def detections(results: Mapping[int, Result], lost: bool = False) -> Detections:
    """What :meth:`MultiTracker.update` returns, for supervision.

    Args:
        results: by id, which must be a number there.
        lost: take targets that are lost, too; where they are, is a guess.
    """
    from supervision import Detections

    seen = {target: result for target, result in results.items() if lost or not result.lost}
    boxes = np.array([result.box for result in seen.values()], np.float64).reshape(-1, 4)
    return Detections(
        xyxy=np.hstack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]]),
        confidence=np.array([result.score for result in seen.values()], np.float64),
        class_id=np.zeros(len(seen), int),
        tracker_id=np.array(list(seen), int),
    )
