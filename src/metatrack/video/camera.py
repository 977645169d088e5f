"""Cameras of this machine: by PyAV where its FFmpeg can open them, else by OpenCV where that is installed."""

from __future__ import annotations

import sys
from collections.abc import Generator
from typing import Any

import av
import numpy as np

from metatrack.geometry import Image
from metatrack.opencv import require_opencv
from metatrack.video._av import has_format
from metatrack.video._decode import Shot, Upright
from metatrack.video.errors import DamagedSourceError, SourceError

DEVICES = {"linux": ("v4l2", "/dev/video{}"), "darwin": ("avfoundation", "{}:none")}
"""FFmpeg's name for a system's cameras, and of a camera by its number. Windows counts no cameras: OpenCV does it there."""
ADVICE = "check that it is connected, that no other program uses it, and its number"


def open_camera(index: int, start: int, end: int | None) -> tuple[Generator[Shot, None, None], float | None]:
    """Opens camera number ``index``, to read its frames ``start`` to ``end`` (not included) one after the other, and their rate.

    Raises:
        SourceError: it cannot be opened, or nothing here can open one.
    """
    name = f"camera {index}"
    kind, device = DEVICES.get(sys.platform, ("", ""))
    reason = f"PyAV's FFmpeg here knows no cameras{f' ({kind})' if kind else ''}"
    if kind and has_format(kind):
        try:
            container = av.open(device.format(index), "r", format=kind)
        except (av.FFmpegError, OSError, ValueError) as error:
            reason = str(error)
        else:
            rate = container.streams.video[0].average_rate
            return _numbered(_by_pyav(container), name, start, end), float(rate) if rate else None
    try:
        cv2 = require_opencv(f"another way to {name}")
    except ModuleNotFoundError as error:
        raise SourceError(f"{name} cannot be opened ({reason}); {ADVICE}. {error}") from error
    camera = cv2.VideoCapture(index)
    if not camera.isOpened():
        camera.release()
        raise SourceError(f"{name} cannot be opened ({reason}); {ADVICE}")
    fps = float(camera.get(cv2.CAP_PROP_FPS))
    return _numbered(_by_opencv(camera), name, start, end), fps if fps > 0 else None


def _by_pyav(container: Any) -> Generator[Image, None, None]:
    upright = Upright()
    with container:
        try:
            for frame in container.decode(video=0):
                yield upright(frame)
        except (av.FFmpegError, OSError):
            return


def _by_opencv(camera: Any) -> Generator[Image, None, None]:
    try:
        while True:
            ok, image = camera.read()
            if not ok:
                return
            yield np.ascontiguousarray(image[..., ::-1], np.uint8)  # from BGR
    finally:
        camera.release()


def _numbered(images: Generator[Image, None, None], name: str, start: int, end: int | None) -> Generator[Shot, None, None]:
    """The frames of the range; a camera has no end of its own, so one that stops is an error."""
    number = 0
    try:
        while end is None or number < end:
            image = next(images, None)
            if image is None:
                message = f"{name} stopped after {number} frames; check that it is connected and that no other program uses it"
                raise DamagedSourceError(message, number)
            if number >= start:
                yield Shot(image)
            number += 1
    finally:
        images.close()
