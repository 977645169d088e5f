"""The one place that imports OpenCV: compared trackers, made clips, training samples and cameras use it, tracking never does.

metatrack installs no OpenCV unless asked to by name: two of its wheels cannot live in one environment, and most people have one.
"""

from __future__ import annotations

import sys
from typing import Any

_one_thread = False


def require_opencv(what: str) -> Any:
    """OpenCV's module, whichever of its wheels is installed.

    Raises:
        ModuleNotFoundError: none is installed.
    """
    try:
        import cv2
    except ModuleNotFoundError as error:
        if error.name != "cv2":
            raise
        raise ModuleNotFoundError(
            f"{what} needs OpenCV; any of its wheels will do, and if you have none: pip install 'metatrack[opencv]'", name="cv2"
        ) from error
    if _one_thread:
        cv2.setNumThreads(1)
    return cv2


def single_threaded() -> None:
    """Keeps OpenCV to one thread in this process, be it imported already or later: for processes that share a machine."""
    global _one_thread  # noqa: PLW0603 - a process has one OpenCV
    _one_thread = True
    if "cv2" in sys.modules:
        sys.modules["cv2"].setNumThreads(1)
