"""Folders of images as sources of frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image as PilImage

from metatrack.images import IMAGE_SUFFIXES
from metatrack.video import DamagedSourceError, SourceError, open_source
from tests.video.clips import NOISE, H, W, coded, read

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
