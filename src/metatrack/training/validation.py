"""Validation by tracking: one step from a belief of place and size that is a little wrong, measured as overlap."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from metatrack.geometry import iou
from metatrack.training.sampling import SCALE_STEP

UP = 16
"""Up-sampling of the response before its peak is taken, as in tracking."""
PENALTY = 0.95
"""Factor of a response at another than the believed scale (section 4.1), on its odds."""


def probe_overlap(responses: npt.NDArray[np.float32], displacement: npt.NDArray[np.float32], error: float, size: npt.NDArray[np.float32]) -> float:
    """Overlap of the target with the box that a tracker without window or damping would report.

    Args:
        responses: ``(3, 17, 17)`` logits of the templates at context sides times 1, 1/1.05, 1.05.
        displacement: ``(2,)``, where the target is, in cells from the context's centre.
        error: believed size / true size.
        size: ``(2,)``, width and height in cells at the true size.
    """
    peaks = responses.max((1, 2)) + np.log([1.0, PENALTY, PENALTY])
    best = int(np.argmax(peaks))
    response = cv2.resize(responses[best], None, fx=UP, fy=UP, interpolation=cv2.INTER_CUBIC)
    row, column = np.unravel_index(int(np.argmax(response)), response.shape)
    center = (np.array([column, row]) + 0.5) / UP - 0.5 - responses.shape[-1] // 2  # cells of the context patch
    factor = (1.0, 1 / SCALE_STEP, SCALE_STEP)[best]
    # The patch shows the world at 1 / error of its true size; everything below is in the patch's cells.
    true_size = size / error
    believed = size / factor
    offset = center - displacement
    return float(iou([*(-true_size / 2), *true_size], [*(offset - believed / 2), *believed]))
