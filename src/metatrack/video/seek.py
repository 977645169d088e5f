"""Any frame of a video or of a folder of images by its number, exact, in any order.

A frame's number is its place in display order, as :func:`metatrack.video.open_source` counts. A list of all presentation times
is made once, without decoding; a frame is then found by decoding from the key frame before it until its very time comes out.
B-frames and variable rates need nothing special; where a container carries no times, or lies about them, all of it is decoded
for the list.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import av
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from metatrack.frames import as_rgb
from metatrack.geometry import Image
from metatrack.images import image_files, read_image, resize
from metatrack.video._decode import Decoder, Upright
from metatrack.video.errors import SourceError

if TYPE_CHECKING:
    Packet = av.Packet[VideoStream]

KEPT_BYTES = 192 << 20  # of decoded frames that are kept for the way back
PROVED = 40  # frames decoded at the opening, to see whether the times that the container lists are those that come out
TRUSTED = ("mp4", "matroska", "mpegts", "avi", "flv")
"""Formats that state the time of every packet, and lead to one that they state. A program stream, for one, does not."""
NEIGHBOURS = 12  # frames before the wanted one that are kept, too: who steps backwards asks for them next


class Seekable(Protocol):
    """What :func:`open_seekable` gives.

    Raises:
        SourceError: when a frame is asked for, and the video is damaged there.
        ValueError: when there is no frame of that number.
    """

    @property
    def count(self) -> int:
        """Number of frames."""

    @property
    def fps(self) -> float | None:
        """Frames per second, the average; None of a folder."""

    @property
    def reach(self) -> int:
        """Frames that must be decoded for one of them, at most."""

    def read(self, number: int, width: int = 0) -> Image:
        """Frame ``number``: ``(H, W, 3)`` uint8 RGB, the caller's own; made smaller where wider than ``width`` (0: as it is)."""

    def walk(self, first: int, last: int, width: int = 0) -> Iterator[tuple[int, Image]]:
        """Frames ``first`` to ``last``, both included, with their numbers; backwards where ``last`` is smaller."""

    def time(self, number: int) -> float | None:
        """Seconds at which a frame is shown, from the first on; None of a folder."""

    def close(self) -> None:
        """Lets go of the file."""


def open_seekable(path: str | Path) -> Seekable:
    """Opens a video file or a folder of images; a :class:`SourceError` where it is missing, is no video, or holds no frame."""
    path = Path(path)
    if path.is_dir():
        return SeekableFolder(path)
    if not path.is_file():
        raise SourceError(f"{path} does not exist; put it back, or pass another video")
    return SeekableVideo(path)


class SeekableFolder:
    """The images of a folder, in natural order."""

    fps: float | None = None
    reach = 1

    def __init__(self, folder: Path) -> None:
        self._files = image_files(folder)
        if not self._files:
            raise SourceError(f"{folder} holds no images; expected files named like 0001.jpg")
        self.count = len(self._files)

    def read(self, number: int, width: int = 0) -> Image:
        image = as_rgb(read_image(self._files[_within(number, self.count)]))
        height, wide = image.shape[:2]
        return resize(image, (width, max(1, round(height * width / wide)))) if 0 < width < wide else image

    def walk(self, first: int, last: int, width: int = 0) -> Iterator[tuple[int, Image]]:
        for number in range(first, last + 1) if last >= first else range(first, last - 1, -1):
            yield number, self.read(number, width)

    def time(self, number: int) -> float | None:
        return None

    def close(self) -> None:
        """Nothing is open."""


class _Key(NamedTuple):
    """A key frame."""

    pts: int
    seek: int  # what the demuxer is asked for: it counts by decoding times in some formats


class SeekableVideo:
    """A video file; a :class:`SourceError` where it cannot be opened, or holds no frame that can be decoded."""

    def __init__(self, path: Path) -> None:
        self.label = path.name
        self._decoder = Decoder(str(path.resolve()), str(path))
        self._container, self._stream = self._decoder.container, self._decoder.stream
        self._stream.thread_type = "AUTO"
        self._upright = Upright()
        self._kept: OrderedDict[int, VideoFrame] = OrderedDict()
        self._run: Iterator[VideoFrame] | None = None  # decoding goes on from here
        self._next = 0  # number of the frame that it delivers next
        self._timed = True  # whether the list below holds true times
        self._times, self._keys = self._listed()
        if not self._proved():
            self._times, self._keys = self._decoded(), []
        if not self._times:
            raise SourceError(f"{path} holds no frame that can be decoded; re-encode it (ffmpeg -i in.mp4 -c:v libx264 out.mp4)")
        self._number = {pts: number for number, pts in enumerate(self._times)}
        self.count = len(self._times)
        self.fps = self._decoder.fps
        self._rewind()

    def _listed(self) -> tuple[list[int], list[_Key]]:
        """Presentation times of all packets, sorted, and the key frames among them; empty where the container does not say."""
        times: set[int] = set()
        keys: list[_Key] = []
        packets = 0
        if not set(TRUSTED) & set(self._container.format.name.split(",")):
            return [], []
        try:
            for packet in self._container.demux(self._stream):
                if not packet.size or packet.is_discard:
                    continue
                if packet.pts is None:
                    return [], []
                packets += 1
                times.add(packet.pts)
                if packet.is_keyframe:
                    keys.append(_Key(packet.pts, packet.pts if packet.dts is None else packet.dts))
        except (av.FFmpegError, OSError, ValueError):
            pass  # damaged from here on: what came before can be used
        return (sorted(times), sorted(keys)) if len(times) == packets else ([], [])

    def _shown(self, most: int | None = None) -> list[int | None]:
        """Times of the frames that come out, from the first on."""
        self._rewind()
        times: list[int | None] = []
        with suppress(av.FFmpegError, OSError, ValueError):  # damaged from here on
            for frame in self._container.decode(self._stream):
                times.append(frame.pts)
                if len(times) == most:
                    break
        return times

    def _proved(self) -> bool:
        """Whether the first frames come out at the times that are listed; drops what stands before the first that does."""
        if not self._times or not self._keys:
            return False
        out = self._shown(PROVED)
        if not out or out[0] not in self._times:
            return False
        self._times = self._times[self._times.index(out[0]) :]  # pictures that lean on what was cut off before the first
        return out == self._times[: len(out)] and (len(out) == PROVED or len(out) == len(self._times))

    def _decoded(self) -> list[int]:
        """The list made by decoding all of it: true times where all frames have one and they grow, else places."""
        times = self._shown()
        known = [pts for pts in times if pts is not None]
        self._timed = len(known) == len(times) and all(a < b for a, b in zip(known, known[1:]))
        return known if self._timed else list(range(len(times)))

    def _rewind(self) -> None:
        """To the first frame; some formats can only be opened anew for that."""
        self._run, self._next = None, 0
        try:
            self._container.seek(min(0, self._stream.start_time or 0), stream=self._stream, backward=True)
        except (av.FFmpegError, OSError):
            decoder = Decoder(self._decoder.container.name, self._decoder.label)
            self._container.close()
            self._decoder, self._container, self._stream = decoder, decoder.container, decoder.stream
            self._stream.thread_type = "AUTO"

    def time(self, number: int) -> float | None:
        base, number = self._stream.time_base, _within(number, self.count)
        if self._timed and base is not None:
            return float((self._times[number] - self._times[0]) * base)
        return number / self.fps if self.fps else None

    @property
    def reach(self) -> int:
        keys = [self._number.get(key.pts, 0) for key in self._keys] + [self.count]
        return max(b - a for a, b in zip([0, *keys], keys))

    def read(self, number: int, width: int = 0) -> Image:
        return self._upright(self._frame(_within(number, self.count)), width)

    def walk(self, first: int, last: int, width: int = 0) -> Iterator[tuple[int, Image]]:
        # Backwards, stretches are decoded forwards and given back in reverse, as long as memory allows.
        _within(first, self.count), _within(last, self.count)
        if last >= first:
            for number in range(first, last + 1):
                yield number, self._upright(self._frame(number), width)
            return
        room = max(2, self._room() - NEIGHBOURS)
        while first >= last:
            key = self._number.get(self._key(first).pts, 0) if self._keys else 0
            begin = max(last, first - room + 1, min(key, first))
            for number in range(begin, first + 1):
                self._frame(number)
            for number in range(first, begin - 1, -1):
                yield number, self._upright(self._frame(number), width)
            first = begin - 1

    def close(self) -> None:
        self._kept.clear()
        self._container.close()

    def _room(self) -> int:
        """So many decoded frames are kept at most."""
        context = self._stream.codec_context
        return max(4, min(300, KEPT_BYTES // max(1, context.width * context.height * 3 // 2)))

    def _keep(self, number: int, frame: VideoFrame) -> None:
        self._kept[number] = frame
        self._kept.move_to_end(number)
        while len(self._kept) > self._room():
            self._kept.popitem(last=False)

    def _key(self, number: int) -> _Key:
        """The last key frame at or before a frame."""
        return self._keys[max(0, bisect_right(self._keys, (self._times[number], 1 << 62)) - 1)]

    def _frame(self, number: int) -> VideoFrame:
        if number in self._kept:
            self._kept.move_to_end(number)
            return self._kept[number]
        if self._run is None or not self._near(number):
            self._seek(number)
        try:
            frame = self._go(number)
            if frame is None and self._keys:  # not where the container led: from the very beginning, then
                self._begin(number)
                frame = self._go(number)
            if frame is None:
                raise ValueError("nothing comes out of the decoder")
        except (av.FFmpegError, OSError, ValueError) as error:
            self._run = None
            what = f"frame {number} of {self.label} cannot be decoded"
            raise SourceError(f"{what} ({error}); the video is damaged there") from error
        return frame

    def _near(self, number: int) -> bool:
        """Whether going on is no longer than seeking: the frame lies ahead, and no key frame between."""
        if number < self._next:
            return False
        return not self._keys or self._next >= self.count or self._key(number).pts <= self._times[self._next]

    def _seek(self, number: int) -> None:
        """Puts the decoder on the key frame before a frame, or further back where the demuxer leads there."""
        place = max(0, bisect_right(self._keys, (self._times[number], 1 << 62)) - 1)
        for key in self._keys[place::-1]:
            self._container.seek(key.seek, stream=self._stream, backward=True)
            packets = self._container.demux(self._stream)
            first = next(packets, None)
            if first is not None and first.pts is not None and first.pts <= self._times[number]:
                self._run = self._decode(packets, first, number, first.pts)
                self._next = self._number.get(first.pts, 0)
                return
        self._begin(number)

    def _begin(self, number: int) -> None:
        """Puts the decoder on the first frame."""
        self._rewind()
        self._run = self._decode(self._container.demux(self._stream), None, number if self._keys else None, None)

    def _decode(
        self, packets: Iterator[Packet], first: Packet | None, wanted: int | None, start: int | None
    ) -> Iterator[VideoFrame]:
        """Frames from here on, but for those that lean on what comes before ``start``.

        On the way to the wanted frame pictures that no other leans on are not decoded; they are then missing, and not wrong.
        """
        context = self._stream.codec_context
        skip_until = self._times[max(0, wanted - NEIGHBOURS)] if wanted is not None else None
        packet = first or next(packets, None)
        while packet is not None:
            skips = skip_until is not None and packet.pts is not None and packet.pts < skip_until
            context.skip_frame = "NONREF" if skips and packet.size else "DEFAULT"
            for frame in packet.decode():
                if isinstance(frame, VideoFrame) and (start is None or frame.pts is None or frame.pts >= start):
                    yield frame
            packet = next(packets, None)

    def _go(self, number: int) -> VideoFrame | None:
        """Decodes until a frame comes out; None where it does not."""
        if self._run is None:
            return None
        by_time = bool(self._keys)
        for frame in self._run:
            at = self._number.get(frame.pts, -1) if by_time and frame.pts is not None else self._next
            if at < 0:
                continue
            self._next = at + 1
            if number - at <= NEIGHBOURS or number - at < self._room() // 2:
                self._keep(at, frame)
            if at == number:
                return frame
            if at > number:
                break
        self._run = None
        return None


def _within(number: int, count: int) -> int:
    if not 0 <= number < count:
        raise ValueError(f"there is no frame {number}; frames are numbered 0 to {count - 1}")
    return number
