"""What differs between the versions of PyAV, 17 to 19: asked here and nowhere else.

With 19 files are read and written as with 17 and 18. A stream over http is not: see pyproject.toml, which leaves 19 out.
"""

from __future__ import annotations

import ctypes
import gc
import os
from collections.abc import Collection

import av
from av.codec import CodecContext
from av.container import Container, InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

VERSION = int(av.__version__.partition(".")[0])
CONTAINERS = (
    *("mov", "matroska", "avi", "mpegts", "mpeg", "mpegvideo", "flv", "asf", "ogg", "mxf", "nut", "ivf", "wtv", "dv", "gxf"),
    *("rm", "h264", "hevc", "vvc", "av1", "obu", "m4v", "mjpeg", "h261", "h263", "dirac", "vc1", "yuv4mpegpipe", "swf"),
    *("gif", "apng", "jpegxl_anim", "png_pipe", "jpeg_pipe", "bmp_pipe", "tiff_pipe", "webp_pipe", "ppm_pipe", "pgm_pipe"),
    *("wav", "mp3", "aac", "flac", "aiff", "au", "ac3"),  # sound alone, to be refused by its name
)
"""Formats of files. Not among them: lists of other files (concat, hls, dash, image2, sdp ...), which lead elsewhere."""
STREAMS = (*CONTAINERS, "hls", "dash", "rtsp", "rtp", "mpjpeg", "live_flv", "sdp")
"""Formats behind addresses; what these name in turn must be behind an address, too."""
SCHEMES = ("http", "https", "rtsp", "rtsps", "rtmp", "rtmps", "rtmpt", "rtp", "srt", "udp", "tcp")
"""Protocols of addresses. None of them can read a file of this machine."""
NEEDED = ("tcp", "udp", "tls", "httpproxy", "crypto", "rtp", "rtmp", "http", "https")  # protocols that those are made of


def open_input(
    target: str, options: dict[str, str], timeout: float | None, schemes: Collection[str] | None = None
) -> InputContainer:
    """Opens a file or address to read from, whatever its title and comments are written in.

    FFmpeg chooses a format by contents, and some formats are lists of further files: so formats and protocols are listed.

    Args:
        target: an absolute path, or an address.
        options: of FFmpeg's demuxer or protocol.
        timeout: seconds until an address that does not answer is given up; None waits for ever.
        schemes: protocols that an address may use; None for a file, which is read by itself alone.

    Raises:
        av.FFmpegError, OSError, ValueError: it cannot be opened.
    """
    # Up to 18 metadata that is not UTF-8 is an error unless it is told otherwise; 19 has no such argument and always replaces.
    lenient = {"metadata_errors": "replace"} if VERSION < 19 else {}
    protocols = ("file",) if schemes is None else (*schemes, *NEEDED)
    limits = {"protocol_whitelist": ",".join(protocols), "format_whitelist": ",".join(CONTAINERS if schemes is None else STREAMS)}
    return av.open(target, "r", container_options={**options, **limits}, timeout=timeout, **lenient)  # type: ignore[call-overload,no-any-return]


def _leave_to_the_parent() -> None:
    """Keeps what FFmpeg has opened in the parent from ever being freed in a forked child.

    Whatever works in threads (a decoder, an encoder, what turns a frame into RGB) waits for them when it is freed, at the child's
    exit if not before, and a fork has none of them: the child would wait for ever. What is done with stays until the garbage
    collector comes, and PyAV's objects know no weak references, so all objects are looked through: some 20 ms for each fork.
    """
    for each in gc.get_objects():
        if issubclass(type(each), (Container, CodecContext, VideoFrame)):
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(each))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_the_parent)


def has_format(name: str) -> bool:
    """Whether this build of FFmpeg reads a format, be it a container's or a device's."""
    try:
        av.ContainerFormat(name, "r")
    except ValueError:
        return False
    return True


def byte_size(container: InputContainer) -> int | None:
    """Bytes of the whole file; None where they are not known. Up to 18 PyAV says a negative number then, from 19 on None."""
    size: int | None = container.size
    return size if size is not None and size > 0 else None


def seconds(frame: VideoFrame, stream: VideoStream) -> float | None:
    """When a frame is shown; None where its stream carries no times. 17.0 gives what waited in the decoder no unit of its own."""
    return None if frame.pts is None or stream.time_base is None else float(frame.pts * stream.time_base)
