"""The right time, the right shape and the right colours: what a written video has of its source."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from metatrack.video import BoxWriter, VideoWriter, open_source, read_boxes

GRAY = np.full((48, 64, 3), 90, np.uint8)
UNEVEN = [i / 25 for i in range(20)] + [20 / 25 + 0.2 * i for i in range(6)]


def written(path: Path, times: list[float | None], **options: object) -> Path:
    """A video with a frame at each time."""
    with VideoWriter(path, **options) as video:  # type: ignore[arg-type]
        for time in times:
            video.write(GRAY, time)
    return path


def times_of(path: Path) -> list[float | None]:
    with open_source(path) as source:
        return [source.time for _ in source]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_frames_keep_their_times(tmp_path: Path, suffix: str) -> None:
    path = written(tmp_path / f"a{suffix}", [time + 3.5 for time in UNEVEN], fps=16.0)
    np.testing.assert_allclose(np.array(times_of(path), float), UNEVEN, atol=0.0011)  # an mkv counts milliseconds


def test_the_last_frame_is_shown_for_a_while(tmp_path: Path) -> None:
    path = written(tmp_path / "a.mp4", list(UNEVEN), fps=10.0)
    with av.open(str(path)) as container:
        assert container.duration is not None
        assert abs(container.duration / av.time_base - (UNEVEN[-1] + 0.1)) < 0.05


def test_without_times_the_rate_counts(tmp_path: Path) -> None:
    path = written(tmp_path / "a.mp4", [None] * 12, fps=29.97)
    np.testing.assert_allclose(np.array(times_of(path), float), np.arange(12) * 1001 / 30000, atol=1e-4)


@pytest.mark.parametrize("times", [[0.0, 0.0, 0.0], [5.0, 4.0, 3.0], [float("nan"), 1.0, 2.0], [0.0, None, 0.01]])
def test_times_that_do_not_grow_lose_no_frame(tmp_path: Path, times: list[float | None]) -> None:
    found = times_of(written(tmp_path / "a.mp4", times, fps=25.0))
    assert len(found) == 3
    assert (np.diff(np.array(found, float)) > 0).all()


def test_pixels_that_are_not_square(tmp_path: Path) -> None:
    path = written(tmp_path / "a.mp4", [None] * 3, pixel_aspect=Fraction(2))
    with open_source(path) as source:
        assert (source.size, source.pixel_aspect) == ((64, 48), Fraction(2))


def test_colours_are_tagged_and_come_back(tmp_path: Path) -> None:
    picture = np.full((64, 64, 3), (200, 40, 90), np.uint8)
    with VideoWriter(tmp_path / "a.mp4") as video:
        video.write(picture)
    with av.open(str(tmp_path / "a.mp4")) as container:
        frame = next(container.decode(video=0))
        assert (frame.colorspace, frame.color_range) == (1, 1)  # BT.709, limited
    with open_source(tmp_path / "a.mp4") as source:
        assert np.abs(next(source).astype(int) - picture).max() <= 4


def test_folders_have_no_times(tmp_path: Path) -> None:
    from metatrack.images import write_image

    write_image(tmp_path / "1.png", GRAY)
    assert times_of(tmp_path) == [None]


def test_a_table_with_times(tmp_path: Path) -> None:
    with BoxWriter(tmp_path / "a.csv", times=True) as table:
        table.write(0, (1, 2, 3, 4), 0.5, time=0.04)
        table.write(1, (1, 2, 3, 4), 0.5)
    assert (tmp_path / "a.csv").read_text().splitlines()[0] == "frame,x,y,w,h,score,lost,time"
    assert (tmp_path / "a.csv").read_text().splitlines()[1].endswith(",0.040000")
    assert [row.frame for row in read_boxes(tmp_path / "a.csv")] == [0, 1]
    with BoxWriter(tmp_path / "b.csv", ids=True, times=True) as table:
        table.write(0, (1, 2, 3, 4), 0.5, target="a", time=0.04)
    assert [row.target for row in read_boxes(tmp_path / "b.csv")] == ["a"]
