"""A tracker that keeps nothing between two requests: the state of each target travels with them."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from metatrack.adapters.state import pack, unpack
from metatrack.frames import as_rgb
from metatrack.geometry import Image
from metatrack.images import decode_image
from metatrack.runtime.model import Model
from metatrack.tracking.tracker import Tracker


class StatelessTracker:
    """Answers requests ``{"image", "shapes", "states"}``; with ``images``, a list, it tracks through all of them at once."""

    def __init__(self, model: str | Path | Model = "lite") -> None:
        self.tracker = Tracker(model, adapt=False)

    def __call__(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The answer ``{"shapes", "states"}``: a shape is corners ``[x1, y1, x2, y2]`` or, as it came, a dict with them.

        A target without a state begins in the first image, where its shape is. With ``images``, ``shapes`` holds those of each.

        Raises:
            ValueError: the body, a shape or a state is not as it should be.
            OSError: an image cannot be read.
        """
        several, states = "images" in body, [*(body.get("states") or [])]
        shapes, found = [*body["shapes"]], []
        states += [None] * (len(shapes) - len(states))
        for image in body["images"] if several else [body["image"]]:
            frame = as_rgb(decode_image(base64.b64decode(image), "image"))
            pairs = [self._step(frame, shape, state) for shape, state in zip(shapes, states)]
            shapes, states = [shape for shape, _ in pairs], [state for _, state in pairs]
            found.append(shapes)
        return {"shapes": found if several else found[0], "states": states}

    def _step(self, frame: Image, shape: Any, state: str | None) -> tuple[Any, str]:
        points = np.array(shape["points"] if isinstance(shape, dict) else shape, np.float64).reshape(-1, 2)
        corners = [*points.min(0).tolist(), *points.max(0).tolist()]
        if state is None:
            self.tracker.init(frame, (*corners[:2], corners[2] - corners[0], corners[3] - corners[1]))
        else:
            unpack(state, self.tracker)
            x, y, w, h = self.tracker.update(frame).box
            corners = [x, y, x + w, y + h]
        return {"type": "rectangle", "points": corners} if isinstance(shape, dict) else corners, pack(self.tracker)
