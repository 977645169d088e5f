"""Healthy videos deliver every frame and raise no alarm; what is no video is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Disposition

from metatrack.images import resize
from metatrack.video import DamagedSourceError, FrameSource, SourceError, open_source
from metatrack.video.seek import open_seekable
from tests.video.clips import KINDS, H, N, W, coded, number_of, read, write_video

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
    small = open_seekable(path).read(2, want.shape[1] // 2)
    assert small.shape == (want.shape[0] // 2, want.shape[1] // 2, 3)
    assert np.abs(small.astype(int) - resize(frames[2], small.shape[1::-1])).mean() < 8


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
