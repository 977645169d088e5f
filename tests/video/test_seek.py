"""Any frame by its number: equal, to the last bit, to the frame that reading from the beginning gives."""

from __future__ import annotations

import gc
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from metatrack.images import resize, write_image
from metatrack.video import SourceError, open_source
from metatrack.video.seek import open_seekable

KINDS = {
    "b-frames.mp4": ("libx264", {"g": "25", "bf": "3", "x264-params": "b-pyramid=normal"}),
    "open-gop.mkv": ("libx264", {"x264-params": "keyint=12:min-keyint=4:open-gop=1:bframes=3"}),
    "open-gop.ts": ("libx264", {"x264-params": "keyint=12:min-keyint=4:open-gop=1:bframes=3"}),
    "one-key.mp4": ("libx264", {"g": "1000", "bf": "2"}),
    "mpeg4.avi": ("mpeg4", {"g": "12", "bf": "2"}),
    "mpeg2.ts": ("mpeg2video", {"g": "12", "bf": "2"}),
    "mpeg2.mpg": ("mpeg2video", {"g": "12", "bf": "2"}),
    "vp9.webm": ("libvpx-vp9", {"g": "20", "deadline": "realtime", "cpu-used": "8"}),
    "hevc.mp4": ("libx265", {"x265-params": "keyint=15:bframes=3:open-gop=1:log-level=none"}),
    "raw.h264": ("libx264", {"g": "15", "bf": "2"}),
    "motion.gif": ("gif", {}),
}


def write(path: Path, codec: str, options: dict[str, str], count: int = 70, varies: bool = False) -> None:
    rng = np.random.default_rng(5)
    scene = np.kron(rng.integers(0, 255, (16, 40, 3), np.uint8), np.ones((8, 8, 1), np.uint8))
    with av.open(str(path), "w") as out:
        stream: Any = out.add_stream(codec, rate=25, options=options)
        stream.width, stream.height = 128, 96
        stream.pix_fmt = "rgb8" if codec == "gif" else "yuv420p"
        base = Fraction(1, 1000 if varies else 25)
        stream.codec_context.time_base = base
        at = 0
        for i in range(count):
            picture = scene[16:112, 2 * i : 2 * i + 128].copy()
            picture[:8, : i + 1] = 255
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.pts, frame.time_base = at, base
            at += int(rng.integers(7, 90)) if varies else 1
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


@pytest.mark.parametrize("name", [*KINDS, "varies.mp4", "varies.mkv"])
def test_equal_to_reading_from_the_beginning(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    codec, options = KINDS.get(name, ("libx264", {"g": "30", "bf": "2"}))
    if codec not in av.codecs_available:
        pytest.skip(f"this FFmpeg has no {codec}")
    write(path, codec, options, varies=name.startswith("varies"))
    with open_source(path) as source:
        frames, times = [], []
        for frame in source:
            frames.append(frame)
            times.append(source.time)
    video = open_seekable(path)
    assert video.count == len(frames) >= 69
    order = np.random.default_rng(1).permutation(video.count)[:30]
    for number in [*map(int, order), 0, video.count - 1, 30, 29, 28, 10, 11, 12]:
        assert np.array_equal(video.read(number), frames[number]), f"frame {number}"
        if times[0] is not None:
            assert video.time(number) == pytest.approx(times[number] - times[0], abs=1e-6)
    for first, last in ((20, 60), (60, 20), (video.count - 1, 0)):
        walked = list(video.walk(first, last))
        assert [number for number, _ in walked] == list(range(first, last + 1) if first < last else range(first, last - 1, -1))
        assert all(np.array_equal(image, frames[number]) for number, image in walked)
    small = video.read(40, 64)
    errors = [np.abs(small.astype(int) - resize(frame, (64, 48))).mean() for frame in frames]
    assert small.shape == (48, 64, 3) and int(np.argmin(errors)) == 40 and errors[40] < 16
    assert video.read(40, 500).shape == frames[40].shape, "never made larger"
    with pytest.raises(ValueError, match=f"frames are numbered 0 to {video.count - 1}"):
        video.read(video.count)
    video.close()


def test_how_far_it_is_to_a_frame(tmp_path: Path) -> None:
    for name, reach in (("b-frames.mp4", 25), ("one-key.mp4", 70)):
        write(tmp_path / name, *KINDS[name])
        assert open_seekable(tmp_path / name).reach == reach


def test_backwards_with_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "one-key.mp4"
    write(path, *KINDS["one-key.mp4"])
    monkeypatch.setattr("metatrack.video.seek.KEPT_BYTES", 18 * 128 * 96 * 3 // 2)
    with open_source(path) as source:
        frames = list(source)
    video = open_seekable(path)
    assert all(np.array_equal(image, frames[number]) for number, image in video.walk(69, 0))
    video.close()


def test_frames_are_let_go_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the garbage collector: it comes by rarely where little else is made, and a frame is megabytes."""
    path = tmp_path / "b-frames.mp4"
    write(path, *KINDS["b-frames.mp4"])
    monkeypatch.setattr("metatrack.video.seek.KEPT_BYTES", 0)

    def count() -> int:
        return sum(isinstance(each, av.VideoFrame) for each in gc.get_objects())

    gc.collect()
    before = count()  # what earlier tests keep
    gc.disable()
    try:
        video = open_seekable(path)
        for _ in video.walk(0, 69, 64):
            pass
        held = count() - before
        with open_source(path) as source:
            for _ in source:
                pass
        after = count() - before
    finally:
        gc.enable()
    assert held < 12 and after < held + 6


def test_cut_video_gives_what_is_left(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole.mkv", tmp_path / "cut.mkv"
    write(whole, *KINDS["b-frames.mp4"])
    data = whole.read_bytes()
    cut.write_bytes(data[: len(data) * 6 // 10])
    video, good = open_seekable(cut), open_seekable(whole)
    assert 10 < video.count < good.count
    assert np.array_equal(video.read(8), good.read(8))


def test_folder_and_refusals(tmp_path: Path) -> None:
    for i in range(3):
        write_image(tmp_path / "images" / f"{i}.png", np.full((20, 30, 3), 40 * i, np.uint8))
    folder = open_seekable(tmp_path / "images")
    assert [int(image[0, 0, 0]) for _, image in folder.walk(2, 0)] == [80, 40, 0]
    assert folder.read(1, 15).shape == (10, 15, 3) and folder.reach == 1
    (tmp_path / "notes.mp4").write_text("buy milk")
    (tmp_path / "empty").mkdir()
    for name in ("missing.mp4", "notes.mp4", "empty"):
        with pytest.raises(SourceError, match=name):
            open_seekable(tmp_path / name)
