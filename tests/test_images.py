"""Image files to pixels and back; what is no image, damaged, or far too large ends in a sentence."""

from __future__ import annotations

import contextlib
import io
import os
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metatrack.images import ImageError, decode_image, encode_image, image_files, read_image, resize, write_image

NOISE = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def png_of(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header claims that size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".ppm", ".tif"])
def test_there_and_back(tmp_path: Path, suffix: str) -> None:
    write_image(tmp_path / f"a{suffix}", NOISE)
    assert np.array_equal(read_image(tmp_path / f"a{suffix}"), NOISE)
    assert [path.name for path in tmp_path.iterdir()] == [f"a{suffix}"]


def test_what_is_read_may_be_written_to(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", NOISE)
    pixels = read_image(tmp_path / "a.png")
    pixels[:] = 0
    assert pixels.flags.c_contiguous


def test_jpeg_keeps_colours_at_full_resolution() -> None:
    lines = np.zeros((16, 16, 3), np.uint8)
    lines[:, ::2, 0] = 255
    back = decode_image(encode_image(lines, ".jpg", quality=95, subsampling="4:4:4"), "a.jpg").astype(int)
    assert np.abs(back - lines).mean() < 12


@pytest.mark.parametrize(
    ("mode", "value", "expected"),
    [("L", 7, 7), ("LA", (7, 0), 7), ("1", 1, 255), ("RGBA", (1, 2, 3, 0), [1, 2, 3]), ("P", 0, [0, 0, 0])],
)
def test_modes(mode: str, value: int | tuple[int, ...], expected: int | list[int]) -> None:
    file = io.BytesIO()
    PIL.Image.new(mode, (3, 2), value).save(file, "PNG")
    assert decode_image(file.getvalue(), "a.png")[0, 0].tolist() == expected


def test_sixteen_bits_stay_sixteen() -> None:
    file = io.BytesIO()
    PIL.Image.fromarray(np.array([[0, 65535, 1000]], np.uint16)).save(file, "PNG")
    assert decode_image(file.getvalue(), "a.png").tolist() == [[0, 65535, 1000]]


def test_orientation() -> None:
    picture = np.zeros((8, 16, 3), np.uint8)
    picture[:, :8] = 255  # white on the left
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    file = io.BytesIO()
    PIL.Image.fromarray(picture).save(file, "JPEG", exif=exif, quality=95)
    turned = decode_image(file.getvalue(), "a.jpg")
    assert turned.shape == (16, 8, 3)
    assert turned[:6].mean() > 240 and turned[-6:].mean() < 15  # white on top
    assert decode_image(file.getvalue(), "a.jpg", upright=False).shape == (8, 16, 3)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(("width", "height"), [(60_000, 60_000), (1 << 21, 64), (20_000, 5_000)])
def test_a_header_that_claims_too_much(width: int, height: int) -> None:
    with pytest.raises(ImageError, match=r"a\.png has .*pixels"):
        decode_image(png_of(width, height), "a.png")


@pytest.mark.skipif(sys.platform == "win32", reason="asks for the memory as POSIX counts it")
@pytest.mark.parametrize("kind", [b"IHDR", b"IDAT", b"IEND"])
def test_a_chunk_that_claims_four_gigabytes(kind: bytes) -> None:
    import resource

    data = png_of(8, 8)
    place = data.index(kind) - 4
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with contextlib.suppress(ImageError):  # what stands behind the claim may still make a picture
        decode_image(data[:place] + struct.pack(">I", 0xFFFFFFF0) + data[place + 4 :], "a.png")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024  # kB on Linux; fewer bytes on macOS


@pytest.mark.parametrize("data", [b"", b"no image", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0" + bytes(50), b"BM" + bytes(60)])
def test_what_is_no_image(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(ImageError, match=r"a\.png cannot be read as an image: .+"):
        read_image(tmp_path / "a.png")


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"a\.png cannot be read: there is no such file"):
        read_image(tmp_path / "a.png")


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names there are Unicode")
def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.png"))
    path.write_bytes(encode_image(NOISE, ".png"))
    assert np.array_equal(read_image(path), NOISE)
    assert image_files(tmp_path) == [path]


def test_files_in_the_order_of_a_person(tmp_path: Path) -> None:
    for name in ("10.png", "9.JPG", "a.txt", "._9.JPG", "1.webp"):
        (tmp_path / name).touch()
    (tmp_path / "2.png").mkdir()
    assert [path.name for path in image_files(tmp_path)] == ["1.webp", "9.JPG", "10.png"]


def test_resize_averages_and_interpolates() -> None:
    board = np.zeros((8, 8, 3), np.uint8)
    board[::2, ::2] = board[1::2, 1::2] = 200
    assert (resize(board, (4, 4)) == 100).all()
    ramp = np.repeat(np.arange(0, 160, 40, dtype=np.uint8)[None, :, None], 3, axis=2).repeat(2, axis=0)
    assert (np.diff(resize(ramp, (16, 2))[0, :, 0].astype(int)) >= 0).all()
    assert resize(board, (8, 8)) is board


@pytest.mark.filterwarnings("ignore")  # Pillow's, of what it passes over
@given(st.integers(0, 2**32 - 1), st.integers(1, 30))
def test_damage_ends_in_the_one_error(seed: int, changes: int) -> None:
    rng = np.random.default_rng(seed)
    data = bytearray(encode_image(NOISE, (".png", ".jpg", ".bmp", ".tif", ".webp", ".ppm")[seed % 6]))
    for at in rng.integers(0, len(data), changes):
        data[at] = rng.integers(256)
    try:
        pixels = decode_image(bytes(data), "a.img")
    except ImageError as error:
        assert "a.img" in str(error)
    else:
        assert pixels.size > 0


def test_formats_that_start_programs_are_not_read() -> None:
    with pytest.raises(ImageError, match="no kind of image that is known"):
        decode_image(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n", "a.png")
