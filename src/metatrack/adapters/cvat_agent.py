"""CVAT: a tracking function for its agents, which keep the states.

Source: https://docs.cvat.ai/docs/api_sdk/sdk/auto-annotation. docs/adapters.md shows the command.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from metatrack.runtime.load import load_model
from metatrack.tracking.tracker import Tracker


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
