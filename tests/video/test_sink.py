"""Writing annotated videos and tables of boxes, also when a run is interrupted."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metatrack.geometry import Box
from metatrack.video import BoxRow, BoxWriter, VideoWriter, open_source, read_boxes


def picture(value: int, height: int = 48, width: int = 64) -> np.ndarray[Any, Any]:
    return np.full((height, width, 3), value, np.uint8)


def levels(path: Path) -> list[int]:
    """The mean gray of each frame."""
    with open_source(path) as source:
        return [round(float(frame.mean())) for frame in source]


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".M4V"])
def test_what_is_written_can_be_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    with VideoWriter(path, 30000 / 1001) as video:
        for i in range(50):
            video.write(picture(4 * i))
            assert not path.exists()
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    np.testing.assert_allclose(levels(path), [4 * i for i in range(50)], atol=3)
    with open_source(path) as source:
        assert source.fps == pytest.approx(30000 / 1001, rel=1e-3 if suffix == ".mkv" else 1e-9)
        assert source.size == (64, 48)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert stream.frames == (0 if suffix == ".mkv" else 50)  # a plain mp4 with an index, not fragments


def test_without_a_path_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with VideoWriter(None, 25) as video, BoxWriter(None) as boxes:
        video.write(picture(0))
        boxes.write(0, (1, 2, 3, 4), 0.5)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("fps", "expected"), [(None, 25), (12.5, 12.5), (59.94005994, 59.94005994), (1, 1)])
def test_the_rate(tmp_path: Path, fps: float | None, expected: float) -> None:
    with VideoWriter(tmp_path / "out.mp4", fps) as video:
        for i in range(4):
            video.write(picture(i))
    with open_source(tmp_path / "out.mp4") as source:
        assert source.fps == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("fps", [0, -25, float("nan"), float("inf"), 90000])
def test_a_rate_that_is_none(tmp_path: Path, fps: float) -> None:
    with pytest.raises(ValueError, match="fps"):
        VideoWriter(tmp_path / "out.mp4", fps)


@pytest.mark.parametrize(("height", "width"), [(47, 63), (48, 63), (47, 64), (1, 1)])
def test_odd_sizes_are_padded_with_their_own_last_line(tmp_path: Path, height: int, width: int) -> None:
    with VideoWriter(tmp_path / "out.mp4") as video:
        video.write(picture(200, height, width))
    with open_source(tmp_path / "out.mp4") as source:
        frame = next(source)
    assert frame.shape == (height + height % 2, width + width % 2, 3)
    assert (np.abs(frame.astype(int) - 200) < 5).all()


def test_frames_of_another_size_are_fitted_into_the_first(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "out.mp4") as video:
        video.write(picture(250, 48, 64))
        video.write(picture(250, 48, 32))  # fits in height: columns 16 to 47
        video.write(picture(250, 24, 64))  # fits in width: rows 12 to 35
        video.write(picture(250, 240, 320))
    with open_source(tmp_path / "out.mp4") as source:
        frames = [frame > 125 for frame in source]
    assert frames[0].all() and frames[3].all()
    assert frames[1][:, 16:48].all() and not frames[1][:, :15].any() and not frames[1][:, 49:].any()
    assert frames[2][12:36].all() and not frames[2][:11].any() and not frames[2][37:].any()


def test_frames_of_every_kind(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "out.mp4") as video:
        video.write(np.full((48, 64), 100, np.uint8))
        video.write(np.full((48, 64), 100 * 257, np.uint16))
        video.write(np.full((48, 64, 4), 100, np.uint8)[:, ::-1])
        with pytest.raises(TypeError, match="float64"):
            video.write(np.zeros((48, 64)))
    np.testing.assert_allclose(levels(tmp_path / "out.mp4"), [100, 100, 100], atol=3)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interruption_loses_no_frame(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "out.mp4"
    path.write_bytes(b"the result of yesterday")
    with pytest.raises(error), VideoWriter(path, 10) as video:
        for i in range(20):
            video.write(picture(5 * i))
        assert path.read_bytes() == b"the result of yesterday"
        raise error
    assert len(levels(path)) == 20
    assert [p.name for p in tmp_path.iterdir()] == ["out.mp4"]


def test_a_run_without_a_frame_leaves_the_older_video(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    path.write_bytes(b"the result of yesterday")
    with VideoWriter(path, 10):
        pass
    assert path.read_bytes() == b"the result of yesterday"


def test_a_killed_run_leaves_a_video_that_plays_and_every_box(tmp_path: Path) -> None:
    script = """
        import os, sys
        import numpy as np
        from metatrack.video import BoxWriter, VideoWriter
        noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
        with VideoWriter(sys.argv[1] + "/out.mp4", 10) as video, BoxWriter(sys.argv[1] + "/out.csv") as boxes:
            for i in range(100):
                video.write(np.roll(noise, i, 1))
                boxes.write(i, (i, 1, 2, 3), 0.5)
            os._exit(9)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script), str(tmp_path)], check=False)  # noqa: S603
    assert done.returncode == 9
    assert [row.frame for row in read_boxes(tmp_path / "out.csv")] == list(range(100))
    (part,) = tmp_path.glob("out.*.part.mp4")
    assert not (tmp_path / "out.mp4").exists()
    with open_source(part) as source:
        kept = sum(1 for _ in source)
    assert 60 <= kept < 100  # what the encoder and the last fragment held is gone


@pytest.mark.parametrize("writer", [VideoWriter, BoxWriter])
def test_a_missing_folder_is_noticed_before_the_work(tmp_path: Path, writer: Any) -> None:
    with pytest.raises(FileNotFoundError, match=r"gone.*does not exist"):
        writer(tmp_path / "gone" / "out.mp4")
    (tmp_path / "out.mp4").mkdir()
    with pytest.raises(IsADirectoryError, match="is a folder"):
        writer(tmp_path / "out.mp4")


@pytest.mark.parametrize("name", ["out", "out.gif", "out.webm", "out.csv"])
def test_a_suffix_that_is_no_video(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"result\.mp4"):
        VideoWriter(tmp_path / name)


def test_a_finished_writer_refuses_more(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "out.mp4") as video, BoxWriter(tmp_path / "out.csv") as boxes:
        video.write(picture(0))
        boxes.write(0, (1, 2, 3, 4), 0.5)
    for _ in range(2):
        video.close()
        boxes.close()
    with pytest.raises(ValueError, match="finished"):
        video.write(picture(0))
    with pytest.raises(ValueError, match="closed"):
        boxes.write(1, (1, 2, 3, 4), 0.5)
    assert len(levels(tmp_path / "out.mp4")) == 1 and len(read_boxes(tmp_path / "out.csv")) == 1


# --- boxes -------------------------------------------------------------------------------------------------------------------


def test_the_format_of_the_table(tmp_path: Path) -> None:
    path = tmp_path / "boxes.csv"
    with BoxWriter(path) as boxes:
        boxes.write(0, Box(1, 2.00049, 30.5, 40), 0.98765)
        boxes.write(7, np.array([-1.25, 0, 3, 4], np.float32), np.float32(0), lost=True)  # type: ignore[arg-type]
    assert path.read_bytes() == (
        b"frame,x,y,w,h,score,lost\n0,1.000,2.000,30.500,40.000,0.9877,0\n7,-1.250,0.000,3.000,4.000,0.0000,1\n"
    )


def test_each_line_is_there_at_once(tmp_path: Path) -> None:
    path = tmp_path / "boxes.csv"
    with pytest.raises(KeyboardInterrupt), BoxWriter(path) as boxes:
        assert not path.exists()
        for i in range(3):
            boxes.write(i, (1, 2, 3, 4), 0.5)
            assert len(read_boxes(path)) == i + 1
        raise KeyboardInterrupt
    assert len(read_boxes(path)) == 3


COORDINATES = st.integers(-(10**7), 10**7).map(lambda v: v / 1000)
ROWS = st.lists(
    st.builds(
        BoxRow,
        st.integers(0, 10**6),
        st.builds(Box, COORDINATES, COORDINATES, COORDINATES, COORDINATES),
        st.integers(0, 10**4).map(lambda v: v / 10**4),
        st.booleans(),
        st.none(),
    ),
    max_size=5,
)


@settings(max_examples=50, deadline=None)
@given(ROWS)
def test_what_is_written_is_read_back(tmp_path_factory: pytest.TempPathFactory, rows: list[BoxRow]) -> None:
    path = tmp_path_factory.mktemp("rows") / "boxes.csv"
    with BoxWriter(path) as boxes:
        for row in rows:
            boxes.write(*row)
    assert read_boxes(path) == rows


def test_standard_output_stays_open(capsys: pytest.CaptureFixture[str]) -> None:
    with BoxWriter("-") as boxes:
        boxes.write(3, (1, 2, 3, 4), 0.5)
    print("and on")
    assert capsys.readouterr().out == "frame,x,y,w,h,score,lost\n3,1.000,2.000,3.000,4.000,0.5000,0\nand on\n"


@pytest.mark.parametrize(
    ("box", "score"), [((float("nan"), 1, 2, 3), 0.5), ((1, 2, 3, float("inf")), 0.5), ((1, 2, 3, 4), float("nan"))]
)
def test_values_that_are_not_finite_are_refused(tmp_path: Path, box: tuple[float, ...], score: float) -> None:
    with BoxWriter(tmp_path / "boxes.csv") as boxes, pytest.raises(ValueError, match="frame 4: .* is not finite"):
        boxes.write(4, box, score)
    assert read_boxes(tmp_path / "boxes.csv") == []


HEAD = "frame,x,y,w,h,score,lost\n"


@pytest.mark.parametrize(
    ("text", "frames"),
    [
        (HEAD, []),
        (HEAD + "0,1,2,3,4,0.5,0\n1,1,2,3", [0]),  # the writer was killed in the middle of a line
        (HEAD + "0,1,2,3,4,0.5,0\n1,1,2,3,4,0.5,1", [0]),  # or perhaps in the middle of a longer number
        (HEAD.replace("\n", "\r\n") + "0,1,2,3,4,0.5,0\r\n", [0]),  # saved again by a spreadsheet
    ],
)
def test_tables_that_can_be_read(tmp_path: Path, text: str, frames: list[int]) -> None:
    (tmp_path / "boxes.csv").write_bytes(text.encode())
    assert [row.frame for row in read_boxes(tmp_path / "boxes.csv")] == frames


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "does not begin with"),
        ("0,1,2,3,4,0.5,0\n", "does not begin with"),
        (HEAD + "0,1,2,3,4,0.5\n", "line 2"),
        (HEAD + "0,1,2,3,4,0.5,0\n0,1,2,3,4,high,0\n", "line 3.*high"),
        (HEAD + "0,1,2,3,4,0.5,0,9\n", "line 2"),
    ],
)
def test_tables_that_cannot(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "boxes.csv").write_text(text)
    with pytest.raises(ValueError, match=rf"boxes\.csv.*{words}"):
        read_boxes(tmp_path / "boxes.csv")
