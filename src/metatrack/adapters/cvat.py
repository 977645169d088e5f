"""CVAT: a serverless (nuclio) tracker, whose state travels with each request, and a tracking function for CVAT's agents.

Source: https://docs.cvat.ai/docs/manual/advanced/serverless-tutorial, and https://docs.cvat.ai/docs/api_sdk/sdk/auto-annotation.
docs/adapters.md shows the function.yaml, and the command of the agent.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from metatrack.adapters.state import pack, unpack
from metatrack.frames import as_rgb
from metatrack.geometry import Image
from metatrack.images import decode_image
from metatrack.runtime.load import load_model
from metatrack.runtime.model import Model
from metatrack.tracking.tracker import Tracker


class CvatTracker:
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


def init_context(context: Any) -> None:
    """Nuclio calls this once."""
    context.user_data.tracker = CvatTracker()


def handler(context: Any, event: Any) -> Any:
    """Nuclio calls this with every request."""
    try:
        body, status = context.user_data.tracker(event.body), 200
    except (ValueError, KeyError, TypeError, OSError) as error:
        body, status = {"error": f"{type(error).__name__}: {error}"}, 400
    return context.Response(body=json.dumps(body), headers={}, content_type="application/json", status_code=status)


class AgentFunction:
    """A tracking function of cvat-sdk: ``cvat-cli function run-agent`` keeps the states, so the meta-learner adapts."""

    def __init__(self, model: str = "lite") -> None:
        self.model = load_model(model)

    @cached_property
    def spec(self) -> Any:
        """What it can track."""
        from cvat_sdk.auto_annotation import TrackingFunctionSpec

        return TrackingFunctionSpec(supported_shape_types=["rectangle"])

    def init_tracking_state(self, context: Any, pp_image: Any, shape: Any) -> Tracker:
        """Starts on a shape in an image of Pillow's."""
        (x, y, right, bottom), tracker = shape.points, Tracker(self.model)
        tracker.init(np.asarray(pp_image.convert("RGB")), (x, y, right - x, bottom - y))
        return tracker

    def track(self, context: Any, pp_image: Any, state: Tracker) -> Any:
        """The shape in the next image, or None where the target is lost."""
        from cvat_sdk.auto_annotation import TrackableShape

        (x, y, w, h), _, lost = state.update(np.asarray(pp_image.convert("RGB")))
        return None if lost else TrackableShape(type="rectangle", points=[x, y, x + w, y + h])


def create(model: str = "lite") -> AgentFunction:
    """What ``cvat-cli`` calls."""
    return AgentFunction(model)
