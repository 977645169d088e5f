"""Reading frames: every kind of source, healthy and damaged. Each frame carries its number in its pixels."""

from __future__ import annotations

import functools
import http.server
import io
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import cv2
import numpy as np
import pytest
from av.stream import Disposition
from PIL import Image as PilImage

from metatrack.video import DamagedSourceError, FrameSource, SourceError, open_source
from metatrack.video._decode import Decoder
from metatrack.video._integrity import ZERO_RUN, ZeroRunScanner, missing_bytes
from metatrack.video.source import IMAGE_SUFFIXES

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
        stream = container.add_stream(codec, rate=25, options=options.get("codec_options", {}))
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


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for name, options in KINDS.items():
        write_video(folder / name, **options)
    return folder


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


# --- healthy videos ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", KINDS)
def test_healthy_videos_deliver_every_frame_and_raise_no_alarm(videos: Path, name: str) -> None:
    assert read(videos / name) == (list(range(N)), None)


@pytest.mark.parametrize("name", KINDS)
def test_what_a_video_says_of_itself(videos: Path, name: str) -> None:
    with open_source(str(videos / name)) as source:
        assert isinstance(source, FrameSource)
        assert source.name == name and source.size == (W, H)
        # 59 intervals of 84 ms on average and one last frame of unknown length; elsewhere 25 exactly.
        assert source.fps is not None and source.fps == pytest.approx(25, rel=1e-6 if "variable" not in name else 0.6)
        declared = N if name.endswith((".mp4", ".avi", ".gif")) and name != "fragments.mp4" else None
        assert source.frame_count == declared
        assert number_of(next(source)) == 0 and number_of(next(source)) == 1


@pytest.mark.parametrize("name", ["h264.mp4", "h264.mkv", "mjpeg.avi", "vp9.webm"])
@pytest.mark.parametrize(("start", "end"), [(0, 1), (0, 5), (7, 20), (59, 60), (50, None), (10, 1000)])
def test_a_range_is_frame_accurate(videos: Path, name: str, start: int, end: int | None) -> None:
    expected = list(range(N))[start:end]
    assert read(videos / name, start=start, end=end) == (expected, None)
    with open_source(videos / name, start=start, end=end) as source:
        assert source.frame_count in (len(expected), None)


@pytest.mark.parametrize(("start", "end"), [(-1, None), (3, 3), (5, 2), (0, 0)])
def test_a_range_that_is_none(videos: Path, start: int, end: int | None) -> None:
    with pytest.raises(ValueError, match="range"):
        open_source(videos / "h264.mp4", start=start, end=end)


def test_a_start_behind_the_end(videos: Path) -> None:
    with pytest.raises(SourceError, match=r"60 frames, none at start=60") as caught:
        open_source(videos / "h264.mp4", start=60)
    assert not isinstance(caught.value, DamagedSourceError)


def remux(source: Path, target: Path, first_key: int = 0, shift: int = 0, **options: str) -> Path:
    """Copies packets from the key frame number ``first_key`` on, earlier by ``shift`` ticks."""
    with av.open(str(source)) as reader, av.open(str(target), "w", container_options=options) as writer:
        stream = writer.add_stream_from_template(reader.streams.video[0])
        keys = -1
        for packet in reader.demux(reader.streams.video[0]):
            if packet.dts is None or packet.pts is None:
                continue
            keys += packet.is_keyframe
            if keys >= first_key:
                packet.dts, packet.pts, packet.stream = packet.dts - shift, packet.pts - shift, stream
                writer.mux(packet)
    return target


def test_frames_hidden_by_an_edit_list_are_not_missing(videos: Path, tmp_path: Path) -> None:
    # What a phone writes when a clip is trimmed: all 60 frames are in the file, and the first 7 are not to be shown.
    path = remux(videos / "h264.mp4", tmp_path / "trimmed.mp4", shift=7 * 512, avoid_negative_ts="disabled")
    with av.open(str(path)) as container:
        assert container.streams.video[0].frames == N
    assert read(path) == (list(range(7, N)), None)
    with open_source(path) as source:
        assert source.frame_count == N - 7


def test_frames_that_an_edit_list_hides_at_the_end_are_not_missing(videos: Path, tmp_path: Path) -> None:
    data = bytearray((videos / "h264.mp4").read_bytes())
    length = data.index(b"elst") + 12  # of the only edit, behind flags and count, in milliseconds
    assert int.from_bytes(data[length : length + 4], "big") == N * 40
    data[length : length + 4] = (50 * 40).to_bytes(4, "big")
    path = tmp_path / "trimmed.mp4"
    path.write_bytes(data)
    numbers, error = read(path)
    assert error is None and numbers == list(range(len(numbers))) and 50 <= len(numbers) < 56


@pytest.mark.parametrize(
    ("codec", "options"),
    [
        ("libx264", {"x264-params": "intra-refresh=1", "g": "20"}),
        ("libx264", {"x264-params": "open-gop=1", "g": "20", "bf": "3"}),
        ("mpeg2video", {"g": "20", "bf": "2"}),
    ],
)
def test_a_clip_that_starts_with_pictures_it_cannot_show_is_not_damaged(
    tmp_path: Path, codec: str, options: dict[str, str]
) -> None:
    whole = write_video(tmp_path / "whole.mp4", codec=codec, codec_options=options)
    numbers, error = read(remux(whole, tmp_path / "clip.mp4", first_key=1))
    assert error is None
    assert numbers == list(range(numbers[0], N)) and 15 <= numbers[0] <= 45


@pytest.mark.parametrize("name", ["h264.ts", "mpeg2.mpg"])
def test_a_broadcast_recording_starts_and_stops_anywhere(videos: Path, tmp_path: Path, name: str) -> None:
    data = (videos / name).read_bytes()
    third = len(data) // 3
    path = tmp_path / name
    for start, stop in [(third, -1), (third + 77, -188), *((0, int(share * len(data))) for share in np.linspace(0.5, 0.95, 10))]:
        path.write_bytes(data[start:stop])
        numbers, error = read(path)
        assert error is None and len(numbers) > 5
    # In its middle, damage is damage.
    path.write_bytes(data[: len(data) // 2] + bytes(2000) + data[len(data) // 2 + 2000 :])
    numbers, error = read(path)
    assert isinstance(error, DamagedSourceError) and 15 <= error.frame <= 34
    assert numbers[: error.frame] == list(range(error.frame))


@pytest.mark.parametrize(
    ("rotation", "expected"),
    [
        ({"degrees": 0}, lambda f: f),
        ({"degrees": 90}, lambda f: np.rot90(f, 1)),  # counter-clockwise, both
        ({"degrees": -90}, lambda f: np.rot90(f, -1)),
        ({"degrees": 180}, lambda f: np.rot90(f, 2)),
        ({"degrees": 0, "hflip": True}, lambda f: f[:, ::-1]),
        ({"degrees": 0, "vflip": True}, lambda f: f[::-1]),
        ({"degrees": 90, "hflip": True}, lambda f: np.rot90(f, 1)[:, ::-1]),
        ({"degrees": 45}, lambda f: f),  # left as it is
    ],
)
def test_a_phone_held_upright(tmp_path: Path, rotation: dict[str, Any], expected: Callable[[Any], Any]) -> None:
    path = write_video(tmp_path / "phone.mp4", rotation=rotation, count=3, codec_options={"crf": "1"})
    with open_source(path) as source:
        frames = list(source)
    want = expected(coded(2))
    assert len(frames) == 3 and frames[2].shape == want.shape
    assert source.size == (want.shape[1], want.shape[0])
    assert np.abs(frames[2].astype(int) - want).mean() < 20  # chroma is halved; a wrong turn is off by 80
    assert frames[2].flags.c_contiguous


def test_words_in_another_alphabet_do_not_matter(tmp_path: Path) -> None:
    path = write_video(tmp_path / "title.avi", codec="mjpeg", pix_fmt="yuvj420p", count=3)
    with av.open(str(path)) as reader, av.open(str(tmp_path / "latin.avi"), "w") as writer:
        writer.metadata["title"] = "a caf\N{LATIN SMALL LETTER E WITH ACUTE}"
        stream = writer.add_stream_from_template(reader.streams.video[0])
        for packet in reader.demux(reader.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                writer.mux(packet)
    data = (tmp_path / "latin.avi").read_bytes()
    assert b"a caf\xc3\xa9" in data
    path.write_bytes(data.replace(b"a caf\xc3\xa9", b"un caf\xe9"))  # Latin-1
    assert read(path) == ([0, 1, 2], None)


def test_frames_belong_to_the_caller(videos: Path) -> None:
    with open_source(videos / "ffv1.mkv") as source:
        frames = []
        for frame in source:
            frames.append(frame.copy())
            frame[:] = 0  # must reach neither the decoder's references nor the frames to come
    assert [number_of(frame) for frame in frames] == list(range(N))


# --- videos that are none ----------------------------------------------------------------------------------------------------


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"gone\.mp4 does not exist"):
        open_source(tmp_path / "gone.mp4")
    assert issubclass(SourceError, OSError) and issubclass(DamagedSourceError, SourceError)


@pytest.mark.parametrize("content", [b"", b"\0", b"This is a diary, not a film.\n" * 100, bytes(5000)])
@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv"])
def test_no_video_at_all(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"diary{suffix}"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=f"diary{suffix}"):
        open_source(path)


@pytest.mark.parametrize("cover", [False, True])
def test_sound_alone(tmp_path: Path, cover: bool) -> None:
    path = tmp_path / "song.mp3"
    with av.open(str(path), "w") as container:
        sound = container.add_stream("mp3", rate=44100)
        if cover:  # an album cover is stored as a video of one frame
            picture = container.add_stream("mjpeg", rate=1)
            picture.width, picture.height, picture.pix_fmt = 64, 64, "yuvj420p"
            picture.disposition = Disposition.attached_pic
            container.mux(picture.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8))))
            container.mux(picture.encode(None))
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 44100), np.float32), format="fltp", layout="mono")
        silence.rate = 44100
        container.mux(sound.encode(silence))
        container.mux(sound.encode(None))
    with pytest.raises(SourceError, match=r"song\.mp3 has no video stream"):
        open_source(path)


# --- damaged videos ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["fast.mp4", "fragments.mp4", "h264.mkv", "vp9.webm", "h264.avi", "mjpeg.avi", "mpeg4.avi"])
@pytest.mark.parametrize("share", [0.95, 0.7])
def test_a_cut_file_delivers_what_is_left_and_then_says_so(videos: Path, tmp_path: Path, name: str, share: float) -> None:
    data = (videos / name).read_bytes()
    path = tmp_path / name
    path.write_bytes(data[: int(share * len(data))])
    numbers, error = read(path)
    assert isinstance(error, DamagedSourceError)
    assert 0.4 * N < error.frame <= len(numbers) < N
    assert numbers[: error.frame] == list(range(error.frame))
    assert str(path) in str(error) and f"end={error.frame}" in str(error) and "ffmpeg" in str(error)
    # The remedy of the message.
    assert read(path, end=error.frame) == (list(range(error.frame)), None)
    # A range does not hide damage within it.
    assert isinstance(read(path, start=5)[1], DamagedSourceError)


def test_half_a_picture_is_delivered_and_not_called_good(videos: Path, tmp_path: Path) -> None:
    place, size = packets(videos / "mjpeg.avi")[40]
    path = tmp_path / "half.avi"
    path.write_bytes((videos / "mjpeg.avi").read_bytes()[: place + size // 2])
    numbers, error = read(path)
    assert isinstance(error, DamagedSourceError)
    assert (len(numbers), error.frame) == (41, 40)


@pytest.mark.parametrize("name", ["fast.mp4", "h264.mkv"])
def test_a_cut_never_makes_a_frame_move_up(videos: Path, tmp_path: Path, name: str) -> None:
    data = (videos / name).read_bytes()
    path = tmp_path / name
    order = display_order(videos / name)
    delivered = available = 0
    for count in range(30, 46):  # packets that are left: every place in the pattern of B-frames
        place, size = packets(videos / name)[count]
        path.write_bytes(data[: place + size // 2])
        numbers, error = read(path)
        assert isinstance(error, DamagedSourceError)
        assert numbers == list(range(len(numbers)))
        delivered += len(numbers)
        available += next(i for i in range(N) if i not in order[:count])
    # Frames whose turn has come are not kept back, but for the one or two that cannot be known to be next.
    assert available - 16 * (1 if name == "fast.mp4" else 2) < delivered <= available


def test_a_cut_mp4_without_an_index_cannot_be_opened(videos: Path, tmp_path: Path) -> None:
    data = (videos / "h264.mp4").read_bytes()
    path = tmp_path / "cut.mp4"
    for share in (0.95, 0.7):
        path.write_bytes(data[: int(share * len(data))])
        with pytest.raises(SourceError, match=r"cut\.mp4.*index"):
            open_source(path)


def test_a_cut_inside_the_header_is_always_a_source_error(videos: Path, tmp_path: Path) -> None:
    data = (videos / "fast.mp4").read_bytes()
    header = data.index(b"mdat")
    path = tmp_path / "cut.mp4"
    for length in [*range(4, header, header // 40), *range(header - 8, header + 60, 7)]:
        path.write_bytes(data[:length])
        with pytest.raises(SourceError, match=r"cut\.mp4"):
            open_source(path)


def packets(path: Path) -> list[tuple[int, int]]:
    """Place and size of each frame's data in the file, in decoding order."""
    with av.open(str(path)) as container:
        return [(p.pos, p.size) for p in container.demux(container.streams.video[0]) if p.size and p.pos is not None]


def display_order(path: Path) -> list[int]:
    """The number of the frame that each packet becomes, in decoding order."""
    with av.open(str(path)) as container:
        times = [p.pts for p in container.demux(container.streams.video[0]) if p.size and p.pts is not None]
    return [sorted(times).index(time) for time in times]


@pytest.mark.parametrize("name", ["h264.mp4", "fast.mp4"])
@pytest.mark.parametrize("zeros", [64, 512, 4096])
def test_zeros_in_the_middle_of_an_h264_file_are_found(videos: Path, tmp_path: Path, name: str, zeros: int) -> None:
    data = (videos / name).read_bytes()
    with open_source(videos / name) as source:
        good = list(source)
    path = tmp_path / name
    for number in (1, 20, 47):
        place, size = packets(videos / name)[number]
        for offset in (0, size // 3, size - 10):
            hurt = bytearray(data)
            stop = min(place + offset + zeros, packets(videos / name)[-1][0])  # the index behind the frames is another matter
            hurt[place + offset : stop] = bytes(stop - place - offset)
            path.write_bytes(hurt)
            frames: list[Any] = []
            with pytest.raises(DamagedSourceError, match=name) as caught, open_source(path) as source:
                for frame in source:
                    frames.append(frame)
            frame_number = caught.value.frame
            # Decoding order is not display order: with 3 B-frames the 20th packet is shown as the 17th to 23rd frame.
            assert abs(frame_number - number) <= 4 and frame_number <= len(frames)
            assert all(np.array_equal(a, b) for a, b in zip(frames[:frame_number], good[:frame_number], strict=True))


def test_damage_behind_the_end_of_the_range_is_nobodys_business(videos: Path, tmp_path: Path) -> None:
    data = bytearray((videos / "fast.mp4").read_bytes())
    place, _ = packets(videos / "fast.mp4")[40]
    data[place : place + 5000] = bytes(5000)
    path = tmp_path / "late.mp4"
    path.write_bytes(data)
    assert read(path, end=30) == (list(range(30)), None)
    assert isinstance(read(path, end=50)[1], DamagedSourceError)


def test_pictures_that_ffmpeg_conceals_are_delivered_and_reported(videos: Path, tmp_path: Path) -> None:
    data = bytearray((videos / "mpeg4.avi").read_bytes())
    place, size = packets(videos / "mpeg4.avi")[30]
    data[place + size // 3 : place + size // 3 + 64] = bytes(64)
    path = tmp_path / "concealed.avi"
    path.write_bytes(data)
    numbers, error = read(path)
    assert isinstance(error, DamagedSourceError) and "damaged from about frame" in str(error)
    assert len(numbers) == N and 26 <= error.frame <= 31


def test_a_file_cut_between_two_frames_whose_data_are_of_open_length(videos: Path, tmp_path: Path) -> None:
    # The container's sizes say nothing here, and every frame that is left is whole: the index alone knows.
    data = bytearray((videos / "fast.mp4").read_bytes())
    length = data.index(b"mdat") - 4
    data[length : length + 4] = bytes(4)
    path = tmp_path / "open.mp4"
    path.write_bytes(data[: packets(videos / "fast.mp4")[45][0]])
    assert missing_bytes(path) == 0
    numbers, error = read(path)
    assert isinstance(error, DamagedSourceError) and 40 <= error.frame <= len(numbers) == 45
    assert numbers[: error.frame] == list(range(error.frame))


@pytest.mark.skipif("libsvtav1" not in av.codecs_available, reason="needs an encoder of AV1")
def test_a_listed_frame_that_never_comes(tmp_path: Path) -> None:
    path = write_video(tmp_path / "skip.mp4", codec="libsvtav1", codec_options={"preset": "12"})
    assert read(path) == (list(range(N)), None)
    data = bytearray(path.read_bytes())
    number, (place, size) = min(enumerate(packets(path)), key=lambda item: item[1][1])
    assert size < 10  # no picture, but the order to show one that was sent before
    data[place : place + size] = bytes(size)
    path.write_bytes(data)
    numbers, error = read(path)
    assert isinstance(error, DamagedSourceError) and number - 4 <= error.frame <= number
    assert "lists 60 frames and delivers 59" in str(error) and len(numbers) == 59
    assert numbers[: error.frame] == list(range(error.frame))


BROKEN = av.InvalidDataError(1094995529, "Invalid data")
GONE = av.error.TimeoutError(110, "Connection timed out")


class Script:
    """Stands in for a container and its packets: a number is a good frame, an error is raised by the decoder."""

    def __init__(self, *steps: Any, end: BaseException | None = None) -> None:
        self.steps, self.end = steps, end

    def demux(self, _: Any) -> Iterator[Any]:
        for i, step in enumerate(self.steps):
            yield ScriptedPacket(i, step)
        if self.end is not None:
            raise self.end
        yield ScriptedPacket(len(self.steps), None)

    def decoder(self, live: bool = False, ragged: bool = False) -> Decoder:
        decoder = Decoder.__new__(Decoder)
        vars(decoder).update(label="script", live=live, missing_bytes=0, container=self, decoded=0, suspect=None)
        vars(decoder).update(_zeros=ZeroRunScanner("none", None), _indexed=False, _ragged=ragged)
        vars(decoder).update(
            stream=SimpleNamespace(codec_context=SimpleNamespace(has_b_frames=False), frames=0, decode=lambda _: [])
        )
        return decoder


class ScriptedPacket(SimpleNamespace):
    def __init__(self, i: int, step: Any) -> None:
        super().__init__(size=step is not None, pts=i, dts=i, is_discard=False, is_corrupt=False, step=step)

    def __bytes__(self) -> bytes:
        return b"data"

    def decode(self) -> list[Any]:
        if isinstance(self.step, BaseException):
            raise self.step
        return [] if self.step is None else [SimpleNamespace(pts=self.pts, is_corrupt=False, interlaced_frame=False)]


def run(decoder: Decoder) -> tuple[int, str | None]:
    count = 0
    try:
        for _ in decoder.frames():
            count += 1
        decoder.check()
    except DamagedSourceError as error:
        return count, str(error)
    return count, None


def test_what_a_broadcast_may_be_torn_at() -> None:
    assert run(Script(0, 1, 2, BROKEN).decoder(ragged=True)) == (3, None)
    count, error = run(Script(0, 1, BROKEN, 3, 4).decoder(ragged=True))
    assert count == 2 and error is not None and "past its first 2 frames" in error
    count, error = run(Script(0, 1, 2, BROKEN).decoder())
    assert count == 3 and error is not None


def test_a_live_stream_passes_over_broken_packets_and_reports_a_broken_line() -> None:
    assert run(Script(BROKEN, 1, BROKEN, BROKEN, 4, 5).decoder(live=True)) == (3, None)
    for end in (GONE, BROKEN):  # of the demuxer: nothing comes any more, and that is not the stream's end
        count, error = run(Script(0, 1, end=end).decoder(live=True))
        assert count == 2 and error is not None and "check the camera and the network" in error


def unit(kind: int, payload: bytes) -> bytes:
    body = bytes([0x60 | kind]) + payload
    return len(body).to_bytes(4, "big") + body


AVCC = bytes([1, 100, 0, 31, 0xFF, 0xE1, 0, 0])  # 4-byte lengths
RUN = b"\x11" + bytes(ZERO_RUN) + b"\x11"


@pytest.mark.parametrize(
    ("packet", "found"),
    [
        (unit(1, b"\x11" * 40), False),
        (unit(1, RUN), True),
        (unit(5, b"\x11" * 9) + unit(1, RUN), True),
        (unit(1, b"\x11" + bytes(ZERO_RUN - 1) + b"\x11"), False),
        (unit(1, b"\x11" + bytes(500)), False),  # padding at the end
        (unit(6, RUN) + unit(1, b"\x11" * 40), False),  # a message that an encoder forgot to escape
        (unit(1, bytes(10)) + bytes(100), False),
        (b"\xff\xff\xff\xff" + bytes(30), False),
        (b"", False),
    ],
)
def test_runs_of_zeros(packet: bytes, found: bool) -> None:
    assert ZeroRunScanner("h264", AVCC).finds(packet) is found
    assert not ZeroRunScanner("vp9", AVCC).finds(packet)
    assert not ZeroRunScanner("h264", b"\0\0\0\1\x67").finds(packet)  # start codes: zeros may stand between units
    assert not ZeroRunScanner("h264", None).finds(packet)


def test_runs_of_zeros_in_hevc() -> None:
    scanner = ZeroRunScanner("hevc", bytes([1] + [0] * 20 + [0xFF, 0]))
    for kind, found in ((1, True), (21, True), (39, False)):  # two kinds of slices, and a message
        body = bytes([kind << 1, 1]) + RUN
        assert scanner.finds(len(body).to_bytes(4, "big") + body) is found


def box(kind: bytes, payload: bytes, length: int | None = None) -> bytes:
    return (len(payload) + 8 if length is None else length).to_bytes(4, "big") + kind + payload


EBML = b"\x1a\x45\xdf\xa3\x84abcd\x18\x53\x80\x67"
FTYP = box(b"ftyp", b"isom" * 4)


@pytest.mark.parametrize(
    ("content", "missing"),
    [
        (FTYP + box(b"mdat", b"x" * 50), 0),
        (FTYP + box(b"mdat", b"x" * 50, 58 + 7), 7),
        (FTYP + b"\0\0\0\1mdat" + (16 + 50 + 9).to_bytes(8, "big") + b"x" * 50, 9),
        (FTYP + box(b"mdat", b"x" * 50, 0), 0),  # "to the end of the file"
        (FTYP + box(b"mdat", b"x" * 50) + b"junk that is no box", 0),
        (FTYP + box(b"mdat", b"x" * 50) + box(b"free", b"x" * 20, 999), 0),  # no picture is lost
        (b"RIFF" + (54).to_bytes(4, "little") + b"AVI " + b"x" * 50, 0),
        (b"RIFF" + (54 + 8).to_bytes(4, "little") + b"AVI " + b"x" * 50, 0),  # counts its header
        (b"RIFF" + (54 + 100).to_bytes(4, "little") + b"AVI " + b"x" * 50, 100 - 9),
        ((b"RIFF" + (55).to_bytes(4, "little") + b"AVI " + b"x" * 52) * 2, 0),  # padded to an even length
        (b"RIFF" + (55).to_bytes(4, "little") + b"AVI " + b"x" * 52 + b"RIFF" + (99).to_bytes(4, "little"), 100 - 9),
        (b"RIFF" + b"\xff\xff\xff\xff" + b"AVI " + b"x" * 50, 0),
        (b"RIFF" + bytes(4) + b"AVI " + b"x" * 50, 0),
        (EBML + b"\x40\x32" + b"x" * 50, 0),  # 14 bits: 50
        (EBML + b"\x40\x40" + b"x" * 50, 14),  # 14 bits: 64
        (EBML + b"\x01" + b"\xff" * 7 + b"x" * 50, 0),  # left open
        (b"GIF89a" + b"x" * 50, 0),
        (b"", 0),
    ],
)
def test_missing_bytes(tmp_path: Path, content: bytes, missing: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    assert missing_bytes(path) == missing


# --- folders -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "images é"
    path.mkdir()
    for i in range(12):
        (path / f"img{i}.png").write_bytes(cv2.imencode(".png", coded(i))[1].tobytes())
    return path


def test_a_folder_is_read_in_natural_order(folder: Path) -> None:
    (folder / "notes.txt").write_text("not a frame")
    (folder / "._img3.png").write_bytes(b"what macOS leaves on foreign disks")
    (folder / "sub.png").mkdir()
    assert read(folder) == (list(range(12)), None)
    assert read(str(folder), start=3, end=7) == ([3, 4, 5, 6], None)
    with open_source(folder, start=3) as source:
        assert (source.name, source.size, source.fps, source.frame_count) == ("images é", (W, H), None, 9)
    with pytest.raises(SourceError, match="12 frames, none at start=12"):
        open_source(folder, start=12)


def test_names_with_and_without_zeros_and_capitals(tmp_path: Path) -> None:
    for i, name in enumerate(["1.png", "002.PNG", "3.png", "010.png", "a1.png", "A2.png", "a10.png"]):
        (tmp_path / name).write_bytes(cv2.imencode(".png", coded(i))[1].tobytes())
    assert read(tmp_path) == (list(range(7)), None)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp", ".tif", ".ppm"])
def test_kinds_of_images(tmp_path: Path, suffix: str) -> None:
    assert suffix in IMAGE_SUFFIXES
    red = np.zeros((H, W, 3), np.uint8)
    red[..., 0] = 255
    (tmp_path / f"0{suffix}").write_bytes(cv2.imencode(suffix, red[..., ::-1])[1].tobytes())
    with open_source(tmp_path) as source:
        frame = next(source)
    np.testing.assert_allclose(frame[5, 5], [255, 0, 0], atol=4)


def test_gray_deep_and_transparent_images_and_changing_sizes(tmp_path: Path) -> None:
    pictures: list[Any] = [
        np.full((4, 6), 1000, np.uint16),  # 1000 / 257 = 3.9
        np.full((8, 5, 4), [30, 20, 10, 0], np.uint8),  # BGRA
        np.full((3, 3), 9, np.uint8),
    ]
    for i, picture in enumerate(pictures):
        (tmp_path / f"{i}.png").write_bytes(cv2.imencode(".png", picture)[1].tobytes())
    with open_source(tmp_path) as source:
        frames = list(source)
    assert [frame.shape for frame in frames] == [(4, 6, 3), (8, 5, 3), (3, 3, 3)]
    assert [frame[0, 0].tolist() for frame in frames] == [[4, 4, 4], [10, 20, 30], [9, 9, 9]]


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    picture = PilImage.fromarray(coded(5))
    exif = PilImage.Exif()
    exif[0x0112] = 6  # "turn me by 90 degrees clockwise"
    picture.save(tmp_path / "0.jpg", exif=exif, quality=95)
    with open_source(tmp_path) as source:
        frame = next(source)
    assert source.size == (H, W)
    assert np.abs(frame.astype(int) - np.rot90(coded(5), -1)).mean() < 20


@pytest.mark.parametrize("content", [b"", b"no image", "half"])
def test_a_broken_image_is_named_after_the_good_ones_were_delivered(folder: Path, content: bytes | str) -> None:
    broken = folder / "img7.png"
    whole = broken.read_bytes()
    broken.write_bytes(whole[: len(whole) // 2] if isinstance(content, str) else content)
    numbers, error = read(folder)
    assert numbers == list(range(7))
    assert isinstance(error, DamagedSourceError) and error.frame == 7
    assert str(broken) in str(error) and "end=7" in str(error)
    assert read(folder, end=7) == (list(range(7)), None)
    assert read(folder, start=8) == (list(range(8, 12)), None)


@pytest.mark.parametrize("share", [0.5, 0.95])
def test_half_a_jpeg_is_no_image(tmp_path: Path, share: float) -> None:
    data = cv2.imencode(".jpg", NOISE)[1].tobytes()
    (tmp_path / "0.jpg").write_bytes(data[: int(share * len(data))])
    with pytest.raises(DamagedSourceError, match=r"0\.jpg"):
        open_source(tmp_path)


def test_an_image_of_floats_is_refused_with_a_reason(tmp_path: Path) -> None:
    (tmp_path / "0.tif").write_bytes(cv2.imencode(".tif", np.zeros((4, 4), np.float32))[1].tobytes())
    with pytest.raises(SourceError, match=r"0\.tif.*float32"):
        open_source(tmp_path)


def test_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no images here")
    with pytest.raises(SourceError, match="holds no images"):
        open_source(tmp_path)


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
