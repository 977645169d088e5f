"""Clips whose frames carry their numbers in their pixels, and how they are read."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from metatrack.video import SourceError, open_source

N = 60
W, H = 160, 120
NOISE = np.random.default_rng(0).integers(0, 256, (H // 8, W // 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)


def coded(number: int) -> np.ndarray[Any, Any]:
    """Moving texture under a row of eight blocks, black or white: the bits of the number."""
    frame = np.roll(NOISE, (3 * number, 2 * number), (0, 1))
    frame[:32] = [[[255 * (number >> (x // 20) & 1)] * 3 for x in range(W)]]
    return frame


def number_of(frame: np.ndarray[Any, Any]) -> int:
    return sum(int(frame[4:28, 20 * b + 4 : 20 * b + 16].mean() > 128) << b for b in range(8))


def write_video(path: Path, codec: str = "libx264", pix_fmt: str = "yuv420p", **options: Any) -> Path:
    """``options``: ``container`` and ``codec_options`` as dicts, ``times`` in milliseconds, ``rotation`` as keywords."""
    with av.open(str(path), "w", container_options=options.get("container", {})) as container:
        stream: Any = container.add_stream(codec, rate=25, options=options.get("codec_options", {}))
        stream.width, stream.height, stream.pix_fmt = W, H, pix_fmt
        if "rotation" in options:
            stream.set_display_rotation(**options["rotation"])
        times = options.get("times")
        if times:
            stream.codec_context.time_base = Fraction(1, 1000)
        for i in range(options.get("count", N)):
            frame = av.VideoFrame.from_ndarray(coded(i))
            frame.pts, frame.time_base = (times[i], Fraction(1, 1000)) if times else (i, Fraction(1, 25))
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


B = {"bf": "3", "g": "20"}
FAST = {"movflags": "faststart"}  # the index in front, so that a cut file can still be opened
VARIABLE = np.cumsum([0] + [20, 40, 40, 120, 200] * (N // 5))[:N].tolist()
KINDS: dict[str, dict[str, Any]] = {
    "h264.mp4": {"codec_options": B},
    "fast.mp4": {"codec_options": B, "container": FAST},
    "fragments.mp4": {"codec_options": B, "container": {"movflags": "frag_keyframe+empty_moov"}},
    "h264.mkv": {"codec_options": B},
    "h264.ts": {"codec_options": B},
    "h264.avi": {"codec_options": B},
    "variable.mp4": {"times": VARIABLE},
    "variable.mkv": {"times": VARIABLE},
    "mjpeg.avi": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
    "mpeg4.avi": {"codec": "mpeg4", "codec_options": {"bf": "2"}},
    "mpeg2.mpg": {"codec": "mpeg2video", "codec_options": {"bf": "2"}},
    "anim.gif": {"codec": "gif", "pix_fmt": "rgb8"},
    "vp9.webm": {"codec": "libvpx-vp9", "codec_options": {"cpu-used": "8", "deadline": "realtime"}},
    "ffv1.mkv": {"codec": "ffv1", "pix_fmt": "yuv444p"},
}


def read(source: Any, **choice: Any) -> tuple[list[int], SourceError | None]:
    """The numbers of the frames delivered, and the error that ended them."""
    numbers: list[int] = []
    try:
        with open_source(source, **choice) as frames:
            for frame in frames:
                assert frame.dtype == np.uint8 and frame.flags.c_contiguous and frame.flags.writeable
                numbers.append(number_of(frame))
    except SourceError as error:
        return numbers, error
    return numbers, None
