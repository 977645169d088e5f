"""One source of frames for every input: video file, folder of images, camera, address.

Damage that :func:`open_source` cannot see: bytes of a picture were changed into others that decode (no format here has
checksums); zeros took the place of bytes of VP9, MJPEG or other codecs that do not mind them, or stand at the end of a picture;
an mkv or webm was hit between two pictures (FFmpeg looks for the next intact piece, and the numbers move up); a transport
stream, program stream or gif is cut; an mkv, webm or avi is cut whose length was never filled in; anything is cut behind an
address, but for an mp4. On a live stream broken packets are passed over.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Generator, Iterator
from contextlib import AbstractContextManager, closing
from fractions import Fraction
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from metatrack.files import natural_order
from metatrack.frames import as_rgb
from metatrack.geometry import Image
from metatrack.images import IMAGE_SUFFIXES, image_files, is_image_name, read_image
from metatrack.video._av import SCHEMES, seconds
from metatrack.video._decode import Decoder, Shot, Upright
from metatrack.video.camera import open_camera
from metatrack.video.errors import DamagedSourceError, SourceError
from metatrack.video.reader import Newest, ReadAhead

MOST_FOLDERS = 1000  # in so many folders inside one without images, at most, images are looked for, to say so
MOST_CAMERAS = 999  # a number above is a slip, and OpenCV ends the process on some


class FrameSource(Iterator[Image], AbstractContextManager["FrameSource"]):
    """Frames ``(H, W, 3)`` uint8 RGB, one after another; made by :func:`open_source`, read once, closed by ``with``.

    Every frame is C-contiguous and belongs to the caller. Its size may change on the way (folders, streams). A thread
    reads beside the caller: a few frames ahead, or, for cameras and streams, on and on, and keeps the newest frame alone.

    Attributes:
        name: what to call the source: the name of the file or folder, ``camera 0``, the address without its password.
        size: ``(width, height)`` of the first frame, as delivered: after rotation.
        fps: frames per second; the average where the rate varies; None for folders and where it is not known.
        time: seconds of the frame delivered last, in the source's own time; None for folders and cameras, and before the first.
        pixel_aspect: width of a stored pixel against its height, as a player shows it; 1 nearly always. Frames and boxes are in
            stored pixels.
        frame_count: how many frames the source declares, within ``start`` and ``end``; None where nothing is declared (mkv, webm,
            streams, cameras). A promise, not a fact: damaged files deliver fewer, and an avi's empty frames are never delivered.
    """

    def __init__(
        self,
        frames: Generator[Shot, None, None],
        name: str,
        fps: float | None,
        frame_count: int | None,
        start: int = 0,
        newest: bool = False,
        pixel_aspect: Callable[[tuple[int, int]], Fraction] = lambda size: Fraction(1),
    ) -> None:
        """``frames`` begins with frame number ``start``; ``newest``: frames that were not asked for in time are dropped."""
        self.name, self.fps, self.frame_count = name, fps, frame_count
        # Reading the first frame at once tells the size that rotation leaves, and finds an empty source where it was opened.
        first = next(frames)
        self.size: tuple[int, int] = (first.image.shape[1], first.image.shape[0])
        self.pixel_aspect = pixel_aspect(self.size)
        self.time: float | None = None
        self._start = start
        # The first frame of a camera may be old when it is asked for, so it is dropped like any other.
        self._frames = (Newest if newest else ReadAhead)(_put_back(first, frames))

    @property
    def index(self) -> int:
        """0-based number in the source of the frame delivered last; ``start - 1`` before the first."""
        return self._start + self._frames.index

    @property
    def dropped(self) -> int:
        """How many frames of a camera or stream were passed over, from ``start`` on; always 0 for files and folders."""
        return self._frames.dropped

    def __next__(self) -> Image:
        """The next frame; of a camera or stream the newest, waiting for one that was not delivered before.

        Raises:
            StopIteration: that was all.
            DamagedSourceError: every frame that could be read was delivered, and the source is damaged.
        """
        shot = next(self._frames)
        self.time = shot.time
        return shot.image

    def close(self) -> None:
        """Lets go of the file or device; the source ends here. Closing twice is harmless."""
        self._frames.close()

    def __exit__(self, *_: object) -> None:
        self.close()


def open_source(
    source: str | Path | int, *, start: int = 0, end: int | None = None, drop: bool = True, allow: Collection[str] = ()
) -> FrameSource:
    """Opens a source of frames.

    ===============================  ==================================================================================
    source                           is read as
    ===============================  ==================================================================================
    path of a file                   video or animated image, through PyAV (FFmpeg); a phone's rotation is applied
    path of a folder                 its images in natural order (``2.jpg`` before ``10.jpg``); EXIF orientation is applied
    ``0``, ``"0"``                   camera 0, through PyAV or, where it cannot, OpenCV if that is installed; a file of
                                     that name is ``"./0"`` or ``Path("0")``
    ``rtsp://``, ``http://`` ...     a stream or a file elsewhere, through PyAV
    ===============================  ==================================================================================

    Rotation is applied in both cases because viewers and annotation tools apply it: a box is drawn on what a person sees.

    A file is read by itself alone: playlists and other lists of files are no videos here, whatever they are called. Addresses are
    those of :data:`metatrack.video._av.SCHEMES`, and of what ``allow`` adds; a stream's playlist can lead to further addresses.

    Live sources never lag. Of a camera or stream (rtsp, rtmp, rtp, srt, udp, tcp; http where neither length nor duration is
    known) each frame delivered is the newest one. Those between are dropped: the source's ``dropped`` counts them, and its
    ``index`` is the number of the frame delivered last. ``drop=False`` delivers every frame, and lags where they come faster
    than they are taken. Frames of files and folders are never dropped.

    ``start`` and ``end`` choose frames, counted from 0, ``end`` not included, as in a slice; also as in a slice, an ``end``
    beyond the last frame is that last frame. Videos are decoded from their beginning, so the numbers are exact and a late
    ``start`` takes its time.

    Damage. The frames before the damage are delivered, then :class:`DamagedSourceError` says what was found: a part that cannot
    be decoded, pictures that FFmpeg had to conceal (these are delivered, and the error comes after the last frame), a stretch of
    16 or more zero bytes in H.264 or HEVC of an mp4, mov or mkv, an mp4, mov, avi, mkv or webm that is shorter than it says, an
    mp4 or mov that does not deliver a frame for each one that it lists. Damage behind ``end`` is not reported. What
    cannot be seen stands at the top of this module.

    >>> from importlib.resources import files
    >>> with open_source(str(files("metatrack") / "assets" / "demo.mp4"), start=10, end=12) as frames:
    ...     [frame.shape for frame in frames]
    [(360, 640, 3), (360, 640, 3)]

    Raises:
        SourceError: nothing is there, it cannot be read, it has no video stream, or no frame lies within ``start`` and ``end``.
        DamagedSourceError: the damage comes before the first frame; else it is raised by the iteration.
        ValueError: ``start`` is negative, or ``end`` is not behind it.
    """
    if start < 0 or (end is not None and end <= start):
        raise ValueError(f"frames {start} to {end} are no range; start counts from 0 and end, not included, must lie behind it")
    if isinstance(source, int) or (isinstance(source, str) and re.fullmatch(r"[0-9]+", source)):
        if isinstance(source, bool) or not 0 <= int(source) <= MOST_CAMERAS:
            raise SourceError(f"there is no camera {source!r}; cameras are numbered from 0")
        frames, fps = open_camera(int(source), start, end)
        return FrameSource(frames, f"camera {int(source)}", fps, None, start, drop)
    if isinstance(source, str) and (scheme := scheme_of(source)) is not None:
        parts, schemes = urlsplit(source), (*SCHEMES, *allow)
        address = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()  # without a password
        if scheme not in schemes:
            begins = f"an address that begins with one of {', '.join(SCHEMES)}"
            raise SourceError(f"{address}: {scheme!r} is no protocol that is read; give the path of a file, or {begins}")
        return _open_video(source, address, address, start, end, drop, schemes)
    return _open_path(local_path(checked_kind(source)), start, end, drop)


def _open_path(path: Path, start: int, end: int | None, drop: bool) -> FrameSource:
    if path.is_dir():
        return _open_folder(path, start, end)
    if not path.is_file():
        if re.search(r"[*?\[]|%0?[0-9]*d", path.name) and path.parent.is_dir():
            raise SourceError(
                f"{path} is a pattern of names; pass the folder, {path.parent}: its images are read in the order of their numbers"
            )
        raise SourceError(f"{path} does not exist; pass a video file, a folder of images, a camera's number or an address")
    # An absolute path keeps FFmpeg from reading "clip:1.mp4" as an address.
    return _open_video(str(path.resolve()), str(path), path.name, start, end, drop)


def checked_kind(source: object) -> str | Path:
    """The source, if it is one by its kind.

    Raises:
        TypeError: it is something else, OpenCV's capture say; the message says what to pass.
    """
    if isinstance(source, str | os.PathLike):
        return source if isinstance(source, str) else Path(source)
    remedy = "pass a path, the number of a camera, or an address"
    if hasattr(source, "read") and hasattr(source, "isOpened"):
        remedy += "; instead of OpenCV's capture, what it was opened with. Frames of your own go to Tracker.update, as RGB"
    raise TypeError(f"{type(source).__name__} is no source of frames; {remedy}")


def scheme_of(source: str) -> str | None:
    """The protocol of an address; None of a path, and of the ``file:`` address of one.

    >>> scheme_of("rtsp://camera/1"), scheme_of("clip:1.mp4"), scheme_of("file:///clip.mp4"), scheme_of("concat:file://a|b")
    ('rtsp', None, None, 'concat')
    """
    if "://" not in source or source.lower().startswith("file://"):
        return None
    found = re.match(r"[A-Za-z][A-Za-z0-9+.-]*", source)
    return found[0].lower() if found else ""


def local_path(source: str | Path) -> Path:
    """The path of a file or folder, also of its ``file:`` address.

    Raises:
        SourceError: it is empty, or an address that names no file of this machine.
    """
    if isinstance(source, str) and source.lower().startswith("file://"):
        address = urlsplit(source)
        if address.netloc.lower() not in ("", "localhost") or not address.path:
            raise SourceError(f"{source} names no file of this machine; write file:///folder/clip.mp4, or the path alone")
        return Path(url2pathname(address.path))
    if not str(source):
        raise SourceError("the source is empty; pass a video file, a folder of images, a camera's number or an address")
    return Path(source)


def _open_video(
    target: str, label: str, name: str, start: int, end: int | None, drop: bool, schemes: Collection[str] | None = None
) -> FrameSource:
    decoder = Decoder(target, label, schemes)
    count = _within(decoder.frame_count, start, end)
    frames = _read_video(decoder, start, end)
    return FrameSource(frames, name, decoder.fps, count, start, decoder.live and drop, decoder.pixel_aspect)


def _read_video(decoder: Decoder, start: int, end: int | None) -> Generator[Shot, None, None]:
    upright = Upright()
    with decoder.container:
        for number, frame in enumerate(decoder.frames()):
            if number >= start:
                yield Shot(upright(frame), seconds(frame, decoder.stream))
            if number + 1 == end:
                break
        decoder.check(ended=decoder.decoded != end)
        _require_frames(decoder.label, decoder.decoded, start)


def _open_folder(folder: Path, start: int, end: int | None) -> FrameSource:
    files = image_files(folder)
    if not files:
        expected = f"expected files named like 0001.jpg ({' '.join(sorted(IMAGE_SUFFIXES))})"
        raise SourceError(f"{folder} holds no images; {_folders_with_images(folder) or expected}")
    _require_frames(str(folder), len(files), start)
    return FrameSource(_read_folder(files, start, end), folder.resolve().name, None, _within(len(files), start, end), start)


def _folders_with_images(folder: Path) -> str:
    """What to say where the images lie one folder lower."""
    lower = [path for path in sorted(folder.iterdir(), key=natural_order)[:MOST_FOLDERS] if path.is_dir()]
    found = [str(path) for path in lower if any(is_image_name(name) for name in os.listdir(path))]
    more = ", ..." if len(found) > 5 else ""
    return f"pass a folder in it that does: {', '.join(found[:5])}{more}" if found else ""


def _read_folder(files: list[Path], start: int, end: int | None) -> Generator[Shot, None, None]:
    for number, file in enumerate(files[start:end], start):
        try:
            frame = as_rgb(read_image(file))
        except OSError as error:
            raise DamagedSourceError(f"{error}; replace it, or pass end={number} to use the images before it", number) from error
        except TypeError as error:
            raise SourceError(f"{file}: {error}") from error
        yield Shot(frame)


def _put_back(first: Shot, frames: Generator[Shot, None, None]) -> Generator[Shot, None, None]:
    with closing(frames):
        yield first
        del first  # else it would stay in memory to the end
        yield from frames


def _require_frames(label: str, count: int, start: int) -> None:
    if count == 0:
        raise SourceError(f"{label} holds no frame; check that it is a complete video")
    if count <= start:
        raise SourceError(f"{label} has {count} frames, none at start={start}; frames count from 0")


def _within(count: int | None, start: int, end: int | None) -> int | None:
    """How many of ``count`` frames a range leaves."""
    return None if count is None else max(0, min(count, count if end is None else end) - start)
