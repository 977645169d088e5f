"""Frames out of anything PyAV opens, and a watch on what it does not report."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from av.container import InputContainer
from av.index import IndexEntry
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream

from metatrack.geometry import Image
from metatrack.images import MOST_PIXELS
from metatrack.video._av import byte_size, open_input
from metatrack.video._integrity import ZeroRunScanner, missing_bytes
from metatrack.video.errors import DamagedSourceError, SourceError

LIVE = ("rtsp", "rtsps", "rtmp", "rtmps", "rtp", "srt", "udp", "tcp")
"""Address schemes of live streams: no end, no declared length, and a lost packet is the daily bread, not damage. A web
address may be one too, see :func:`_endless`."""
REMEDY = "re-encode it (ffmpeg -i in.mp4 -c:v libx264 out.mp4), or copy it again from where it came from"


class Shot(NamedTuple):
    """A frame on its way from a source."""

    image: Image
    time: float | None = None  # seconds in the source's own time; None where it has none


class Decoder:
    """One video stream, decoded in display order from its first frame on.

    What it notices: an error of the demuxer or the decoder; frames and packets that FFmpeg marks as corrupt; runs of zeros in
    H.264 and HEVC; a container that ends before its announced end; frames that an mp4 or mov lists and does not deliver.
    """

    def __init__(self, target: str, label: str, schemes: Collection[str] | None = None) -> None:
        """Opens ``target``, an absolute path, or an address with the ``schemes`` that it may use; ``label`` names it in messages.

        Raises:
            SourceError: it cannot be opened, has no video stream, or is coded in a way that this build of FFmpeg cannot decode.
        """
        scheme, _, rest = target.partition("://")
        self.label, self.live = label, bool(rest) and scheme.lower() in LIVE
        options = {"rtsp_transport": "tcp"} if scheme.lower().startswith("rtsp") else {}  # over udp, packets get lost
        try:
            self.missing_bytes = 0 if rest else missing_bytes(Path(target))
            # The timeout is for addresses, files never wait.
            self.container: InputContainer = open_input(target, options, 10.0 if rest else None, schemes)
        except (av.FFmpegError, OSError, ValueError) as error:
            cut = (
                "An mp4 that was cut before its end has lost its index and cannot be read: copy it again from where it came from"
            )
            remedy = "check the address, the network and the password" if rest else f"check that it is a video. {cut}"
            raise SourceError(f"{label} cannot be opened as a video ({_reason(error)}); {remedy}") from error
        try:
            self.stream = self._video_stream()
        except SourceError:
            self.container.close()
            raise
        self.live |= bool(rest) and _endless(self.container)
        context = self.stream.codec_context
        if context.width * context.height > MOST_PIXELS:
            self.container.close()
            size = f"{context.width}x{context.height}"
            raise SourceError(f"{label} has frames of {size} pixels; at most {MOST_PIXELS} are read: scale it down first")
        if not context.is_open:
            context.options = {**context.options, "max_pixels": str(MOST_PIXELS)}  # for what the first header does not say
        self._zeros = ZeroRunScanner(context.name, context.extradata)
        self._indexed = "mp4" in self.container.format.name  # mp4 and mov list every frame; each packet is one frame
        # A recording of a broadcast starts and stops anywhere: half a picture at its ends is how it always is, not damage.
        self._ragged = self.container.format.name in ("mpegts", "mpeg")
        self.decoded = 0
        self.suspect: int | None = None  # number of the first frame that looks damaged

    def _video_stream(self) -> VideoStream:
        stream = self.container.streams.best("video")
        if not isinstance(stream, VideoStream) or stream.disposition & Disposition.attached_pic:  # a picture: an album cover
            kinds = sorted({s.type for s in self.container.streams})
            what = f"has no video stream (only: {', '.join(kinds) or 'nothing'})"
            raise SourceError(f"{self.label} {what}; pass a video. If it should be one, its index is damaged: copy it again")
        # Without a decoder PyAV leaves this None, whatever its stubs say, and versions before 18.1 crash when asked to decode.
        if getattr(stream, "codec_context", None) is None:
            what = "holds video that this build of FFmpeg cannot decode, or is cut in its header"
            raise SourceError(f"{self.label} {what}; {REMEDY}")
        return stream

    @property
    def fps(self) -> float | None:
        """Frames per second; the average where the rate varies."""
        rate = self.stream.average_rate or self.stream.guessed_rate
        return float(rate) if rate else None

    def pixel_aspect(self, size: tuple[int, int]) -> Fraction:
        """Width of a pixel against its height in frames of ``(width, height)``, which may be turned; 1 where that is not said."""
        aspect = self.stream.sample_aspect_ratio or Fraction(1)
        if not Fraction(1, 10) <= aspect <= 10:
            return Fraction(1)
        turned = (self.stream.height, self.stream.width) == size != (self.stream.width, self.stream.height)
        return 1 / aspect if turned else aspect

    @property
    def frame_count(self) -> int | None:
        """The number of frames that the file declares; an edit list's invisible frames, which mp4 counts, do not count here."""
        if self.live or self.stream.frames <= 0:
            return None
        if self._indexed:
            return sum(not entry.is_discard for entry in self._listed()) or None
        return self.stream.frames

    def _listed(self) -> list[IndexEntry]:
        """What an mp4 lists; an entry of no bytes says that the picture before it stays, and is no frame of its own."""
        return [entry for entry in self.stream.index_entries if entry.size]

    def frames(self) -> Iterator[VideoFrame]:
        """All frames in display order.

        Raises:
            DamagedSourceError: a part cannot be read or decoded. What follows it would carry wrong numbers and is not delivered.
        """
        packets = self.container.demux(self.stream)
        ledger = _Ledger(self.stream.codec_context.has_b_frames)
        torn: av.InvalidDataError | None = None  # what the last packet may be, but no other
        while True:
            packet = None
            try:
                packet = next(packets, None)
                if packet is None:
                    break
                if not packet.size and packet.dts is not None:
                    continue  # the picture before it stays; to a decoder, an empty packet would be the end
                if packet.size:
                    if torn is not None:
                        raise torn
                    data = bytes(packet)
                    ledger.enter(packet, self.decoded, data.endswith(b"\0\0"))
                elif self.missing_bytes:  # the end of a cut file: what waits for its turn may have lost its neighbours
                    yield from self._rest(ledger.horizon)
                    break
                batch = packet.decode()
                if packet.size and (packet.is_corrupt or self._zeros.finds(data)):
                    self._suspect(self.decoded)
            except (av.FFmpegError, OSError, ValueError) as error:
                if isinstance(error, av.InvalidDataError) and packet is not None:
                    if self.live:
                        continue
                    if self._ragged and torn is None:
                        torn = error
                        continue
                yield from self._rest(ledger.horizon)
                if ledger.blank_end is not None:
                    self._suspect(ledger.blank_end)
                raise self._damaged(f"cannot be decoded past its first {self.decoded} frames ({_reason(error)})") from error
            for frame in batch:
                before = ledger.leave(frame, self.decoded)
                if frame.is_corrupt:
                    self._suspect(before)
                self.decoded += 1
                yield frame
        lost = ledger.lost(len(self._listed()), self.decoded) if self._indexed else 0
        if lost:
            self._suspect(min(ledger.stray(), self.decoded))
            raise self._damaged(f"lists {self.decoded + lost} frames and delivers {self.decoded}")

    def _rest(self, horizon: int | None) -> Iterator[VideoFrame]:
        """The frames that wait in the decoder for their turn and that nothing missing can precede."""
        if horizon is None:
            return
        try:
            waiting = self.stream.decode(None)
        except (av.FFmpegError, OSError, ValueError):
            return
        for frame in waiting:
            if frame.pts is None or frame.pts > horizon:
                return
            self.decoded += 1
            yield frame

    def check(self, ended: bool) -> None:
        """To be called after the last frame that is wanted; ``ended``: it was the stream's last, too.

        Raises:
            DamagedSourceError: a frame decoded so far looks damaged, although the decoder delivered it; or the file is shorter
                than it says.
        """
        if ended and self.missing_bytes:
            raise self._damaged(f"is cut: the last {self.missing_bytes} bytes that it announces are missing")
        if self.live or self.suspect is None:
            return
        if self._ragged and self.suspect >= self.decoded - 8:  # half a picture at the end, and the few that lean on it
            return
        raise self._damaged(f"was read to its end, but it is damaged from about frame {self.suspect} on")

    def _suspect(self, number: float) -> None:
        self.suspect = int(number) if self.suspect is None else min(self.suspect, int(number))

    def _damaged(self, what: str) -> DamagedSourceError:
        good = self.decoded if self.suspect is None else min(self.suspect, self.decoded)
        declared = self.frame_count
        of = f" of {declared}" if declared else ""
        keep = f"pass end={good} to use the first {good}{of} frames alone, or " if good else ""
        remedy = "check the camera and the network" if self.live else keep + REMEDY
        return DamagedSourceError(f"{self.label} {what}; {remedy}", good)


class _Ledger:
    """Which packets went into a decoder and which frames came out, by their presentation times."""

    def __init__(self, reorders: bool) -> None:
        self.reorders = reorders
        self.packets = 0
        self.visible = 0  # packets that should become a frame
        self.interlaced = False
        self.first: int | None = None  # time of the first frame
        self.horizon: int | None = None  # every packet still to come is shown at or after this time
        self.blank_end: int | None = None  # frames out when the packet before the current one went in, if that one ends in zeros
        self._blank: int | None = None
        self._early: list[int] = []
        self._inside: dict[int, int] = {}  # time of a packet -> frames out when it went in

    def enter(self, packet: av.Packet[VideoStream], out: int, blank: bool) -> None:
        """Notes a packet, when ``out`` frames were out; ``blank``: it ends in zeros, maybe those that ruin the next one."""
        self.packets += 1
        self.blank_end, self._blank = self._blank, out if blank else None
        if packet.dts is not None:
            self.horizon = packet.dts
        if packet.pts is None or packet.is_discard:  # discarded: an edit list hides its frame
            return
        if len(self._inside) < 100:  # far above any decoder's delay; the oldest strays are the ones to keep
            self._inside[packet.pts] = out
        if self.first is None:
            self._early.append(packet.pts)
        else:
            # A clip cut out of a longer one may start with pictures that lean on what was cut off; decoders skip them.
            self.visible += packet.pts >= self.first

    def leave(self, frame: VideoFrame, out: int) -> int:
        """Notes a frame, and says how many frames were out when its packet went in.

        Those frames cannot lean on it. Frames that follow may, even where they are shown before it.
        """
        if self.first is None and frame.pts is not None:
            self.first = frame.pts
            self.visible += sum(pts >= self.first for pts in self._early)
        self.interlaced |= frame.interlaced_frame
        guess = max(0, out - 2 * self.reorders)  # the delay of MPEG-4, twice; H.264 and later always carry times
        return guess if frame.pts is None else self._inside.pop(frame.pts, guess)

    def lost(self, listed: int, out: int) -> int:
        """How many frames an mp4 that lists ``listed`` packets owes."""
        missing = max(0, listed - self.packets)
        # Interlaced: two packets, one for each field, may make one frame.
        return missing if self.interlaced else missing + max(0, self.visible - out)

    def stray(self) -> float:
        """How many frames were out when the first packet went in that never became a frame."""
        return min((out for pts, out in self._inside.items() if self.first is not None and pts > self.first), default=math.inf)


class Upright:
    """Turns frames of one video into pictures as they are shown; one for all of its frames, since each would have threads.

    A phone held upright writes pictures that lie on their side, and a display matrix. Quarter turns and mirror images are
    applied, any other angle is left as it is. The matrix is read once for each angle that occurs: a frame that was asked for
    its side data is part of a circle of references, and stays in memory until the garbage collector comes by.
    """

    def __init__(self) -> None:
        self._converter = VideoReformatter()
        self._known: dict[int, tuple[bool, int, int]] = {}

    def __call__(self, frame: VideoFrame, width: int = 0) -> Image:
        """The frame as ``(H, W, 3)`` uint8 RGB, C-contiguous and its own memory; not wider than ``width`` (0: as it is)."""
        if frame.rotation not in self._known:
            self._known[frame.rotation] = _orientation(frame)
        turned, across, down = self._known[frame.rotation]
        wide, high = _smaller(frame.width, frame.height, width, turned)
        how = Interpolation.AREA if wide else None
        pixels = self._converter.reformat(frame, wide, high, format="rgb24", interpolation=how).to_ndarray()
        if turned:
            pixels = pixels.transpose(1, 0, 2)
        pixels = pixels[::down, ::across]
        # A frame that is RGB already may still serve the decoder as a reference: never hand out its memory.
        return np.array(pixels) if frame.format.name == "rgb24" else np.ascontiguousarray(pixels)


def _orientation(frame: VideoFrame) -> tuple[bool, int, int]:
    """Whether rows become columns, then the steps across and down: 1, or -1 for what is mirrored."""
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return False, 1, 1
    # (p, q) is shown at (a p + c q, b p + d q), q downwards.
    a, b, _, c, d = map(int, np.sign(np.frombuffer(bytes(matrix), np.int32)[:5]))  # type: ignore[call-overload]
    if (a == 0) != (d == 0) or (b == 0) != (c == 0) or (a == 0) == (b == 0):
        return False, 1, 1
    return (False, a, d) if a else (True, c, b)


def _smaller(width: int, height: int, most: int, turned: bool) -> tuple[int, int] | tuple[None, None]:
    """The size before turning of a frame that is to be at most ``most`` pixels wide behind it; None where it need not change.

    >>> _smaller(1920, 1080, 960, False), _smaller(1920, 1080, 540, True), _smaller(640, 360, 960, False)
    ((960, 540), (960, 540), (None, None))
    """
    shown = height if turned else width
    if not 0 < most < shown:
        return None, None
    return max(1, round(width * most / shown)), max(1, round(height * most / shown))


def _endless(container: InputContainer) -> bool:
    """Whether a web address is a stream: it announces no duration, nor a number of bytes (a playlist's are not the video's)."""
    return container.duration is None and (byte_size(container) is None or container.format.name.startswith(("hls", "dash")))


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
