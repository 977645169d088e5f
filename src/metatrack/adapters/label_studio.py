"""Label Studio: an ML backend that tracks on from the last box of each region, many frames in one request.

Source: https://labelstud.io/guide/ml_create. The request is ``POST /predict`` with ``tasks`` and ``params.context.result``, of
which label-studio-ml makes a call of ``predict(tasks, context)``; docs/adapters.md shows the class around :func:`predict`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from metatrack.adapters.regions import follow_regions
from metatrack.runtime.model import Model


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
    result = follow_regions(video, (context or {}).get("result", ()), frames, model)
    return [{"model_version": "metatrack", "result": result}] if result else []
