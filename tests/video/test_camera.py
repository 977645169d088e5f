"""Which way a camera is opened: no machine that runs the tests need have one, so PyAV and OpenCV are told what they find."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.resources import files
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest

from metatrack.video import SourceError, open_source
from metatrack.video import camera as module
from metatrack.video._av import has_format
from metatrack.video.camera import open_camera

CLIP = str(files("metatrack") / "assets" / "demo.mp4")
OPEN = av.open


@pytest.fixture
def devices(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[Any, ...]]]:
    """A system whose camera 0 delivers the demo clip to PyAV; yields what was asked for."""
    asked: list[tuple[Any, ...]] = []

    def fake(name: str, mode: str = "r", **options: Any) -> Any:
        asked.append((name, options.get("format")))
        if name != "/dev/video0":
            raise av.error.FileNotFoundError(2, "No such file or directory", name)
        return OPEN(CLIP, "r")

    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(av, "open", fake)
    monkeypatch.setattr(module, "has_format", lambda kind: kind == "v4l2")
    yield asked


def no_opencv(what: str) -> Any:
    raise ModuleNotFoundError(f"{what} needs OpenCV; pip install 'metatrack[opencv]'", name="cv2")


def test_by_pyav_first(devices: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "require_opencv", no_opencv)
    shots, fps = open_camera(0, 1, 3)
    frames = [shot.image for shot in shots]
    assert devices == [("/dev/video0", "v4l2")]
    assert fps and [frame.shape for frame in frames] == [(360, 640, 3)] * 2
    with OPEN(CLIP) as clip:
        expected = [frame.to_ndarray(format="rgb24") for _, frame in zip(range(3), clip.decode(video=0), strict=False)]
    assert np.array_equal(frames, expected[1:])


def test_a_camera_delivers_its_newest_frame(devices: list[tuple[Any, ...]]) -> None:
    with open_source(0) as source:
        assert (source.name, source.frame_count, source.size) == ("camera 0", None, (640, 360))
        next(source)
        assert source.index >= 0


def test_by_opencv_where_pyav_cannot(devices: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch) -> None:
    blue = SimpleNamespace(
        isOpened=lambda: True,
        get=lambda _: 25.0,
        read=lambda: (True, np.full((4, 6, 3), (255, 0, 9), np.uint8)),
        release=lambda: 0,
    )
    opencv = SimpleNamespace(VideoCapture=lambda index: blue, CAP_PROP_FPS=5)
    monkeypatch.setattr(module, "require_opencv", lambda what: opencv)
    shots, fps = open_camera(3, 0, 2)
    assert devices == [("/dev/video3", "v4l2")]
    assert fps == 25.0 and [shot.image[0, 0].tolist() for shot in shots] == [[9, 0, 255]] * 2


def test_neither_way(devices: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "require_opencv", no_opencv)
    with pytest.raises(
        SourceError, match=r"camera 3 cannot be opened \(.*No such file.*check that it is connected.*metatrack\[opencv\]"
    ):
        open_camera(3, 0, None)
    monkeypatch.setattr(module, "has_format", lambda kind: False)
    with pytest.raises(SourceError, match=r"camera 0 cannot be opened \(PyAV's FFmpeg here knows no cameras"):
        open_camera(0, 0, None)


def test_devices_that_are_not_there_are_not_known() -> None:
    assert not has_format("no such device")
    assert has_format("mp4")
