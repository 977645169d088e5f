"""Damaged videos: what is left is delivered, and then the damage is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from metatrack.video import DamagedSourceError, SourceError, open_source
from metatrack.video._integrity import missing_bytes
from tests.video.clips import N, read, write_video

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
