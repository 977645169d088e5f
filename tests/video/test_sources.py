"""Cameras, addresses, and how sources are closed."""

from __future__ import annotations

import functools
import http.server
import io
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from metatrack.video import DamagedSourceError, SourceError, open_source
from tests.video.clips import N, read

# --- cameras and addresses ---------------------------------------------------------------------------------------------------


class Camera:
    """Five blue frames, in OpenCV's order of channels, and then a pulled plug."""

    made: list[Camera] = []

    def __init__(self, index: int) -> None:
        self.index, self.left, self.open, self.released = index, 5, index == 0, False
        Camera.made.append(self)

    def isOpened(self) -> bool:  # noqa: N802 -- OpenCV's name
        return self.open

    def get(self, _: int) -> float:
        return 30.0

    def read(self) -> tuple[bool, Any]:
        self.left -= 1
        return (True, np.full((4, 6, 3), [255, 0, 9], np.uint8)) if self.left >= 0 else (False, None)

    def release(self) -> None:
        self.open, self.released = False, True


@pytest.mark.parametrize("number", [0, "0"])
def test_a_camera(monkeypatch: pytest.MonkeyPatch, number: int | str) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    with open_source(number, end=3, drop=False) as source:
        assert (source.name, source.size, source.fps, source.frame_count) == ("camera 0", (6, 4), 30.0, None)
        frames = list(source)
    assert len(frames) == 3 and frames[0][0, 0].tolist() == [9, 0, 255]
    assert not Camera.made[-1].open
    stopped = pytest.raises(DamagedSourceError, match="camera 0 stopped after 5 frames")
    with open_source(number, start=1, drop=False) as source, stopped:
        list(source)
    assert not Camera.made[-1].open
    source = open_source(number)
    source.close()  # before its end
    assert not Camera.made[-1].open and list(source) == []


def test_no_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    with pytest.raises(SourceError, match="camera 3 cannot be opened"):
        open_source("3")
    assert Camera.made[-1].released


def test_a_file_whose_name_is_a_number(videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(videos / "h264.mp4", "0")
    assert read("./0", end=2) == ([0, 1], None)
    assert read(Path("0"), end=2) == ([0, 1], None)


@pytest.mark.skipif(os.name == "nt", reason="Windows allows no colon in names")
def test_a_file_whose_name_looks_like_an_address(videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(videos / "h264.mp4", "http:clip.mp4")
    assert read("http:clip.mp4", end=2) == ([0, 1], None)


@pytest.fixture
def server(videos: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(videos))) as service:
        threading.Thread(target=service.serve_forever, args=(0.02,), daemon=True).start()
        yield f"127.0.0.1:{service.server_port}"
        service.shutdown()


def test_an_address(server: str) -> None:
    assert read(f"http://{server}/fast.mp4") == (list(range(N)), None)
    with open_source(f"http://me:secret@{server}/fast.mp4") as source:
        assert source.name == f"http://{server}/fast.mp4" and source.frame_count == N
    with pytest.raises(SourceError, match=r"gone\.mp4 cannot be opened") as caught:
        open_source(f"http://me:secret@{server}/gone.mp4")
    assert "secret" not in str(caught.value)


def test_a_file_that_may_not_be_read(videos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> int:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("metatrack.video._decode.missing_bytes", refuse)
    with pytest.raises(SourceError, match=r"h264\.mp4 cannot be opened as a video \(Permission denied\)"):
        open_source(videos / "h264.mp4")


def test_closing(videos: Path) -> None:
    with open_source(videos / "h264.mp4") as source:
        next(source)
    assert list(source) == []  # closed is at its end
    source.close()
    unread = open_source(videos / "h264.mp4")
    unread.close()
    assert list(unread) == []


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts open files where the system shows them")
def test_no_file_stays_open(videos: Path, tmp_path: Path) -> None:
    def opened() -> int:
        return sum(os.path.realpath(f"/proc/self/fd/{fd}").startswith(str(videos.parent)) for fd in os.listdir("/proc/self/fd"))

    before = opened()
    with open_source(videos / "h264.mp4") as source:
        next(source)
        assert opened() == before + 1
    assert opened() == before
    diary = io.BytesIO(b"no video").getvalue()
    (videos / "diary.mp4").write_bytes(diary)
    for wrong in (videos / "diary.mp4", videos / "h264.mp4"):
        with pytest.raises(SourceError):
            open_source(wrong, start=1000)
    assert opened() == before
