"""Image files, by Pillow: bytes to pixels and back, with a limit on pixels that is asked before anything is decoded."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageOps

from metatrack.arrays import Array
from metatrack.files import natural_order, write_atomically
from metatrack.geometry import Image

IMAGE_SUFFIXES = frozenset(".jpg .jpeg .jpe .jp2 .png .bmp .webp .tif .tiff .ppm .pgm .pbm .pnm".split())
"""Files that are images, whatever the case of the letters; all readers have this one list."""
MOST_PIXELS = 80_000_000  # pixels of an image, at most: 10,000 x 8,000. A header of a few bytes may claim any number
FORMATS = ("JPEG", "JPEG2000", "PNG", "BMP", "WEBP", "TIFF", "PPM", "GIF")
"""Pillow's formats that are read, whatever a file is called: some of the others start programs (EPS) or read further files."""
PLAIN_MODES = {"L": "L", "1": "L", "LA": "L", "I;16": "", "I;16B": "", "I;16L": "", "I": "", "F": ""}
"""Pillow's modes that are not turned into RGB: gray, and what has more than 8 bits."""


class ImageError(OSError):
    """A file cannot be read as an image; the message names it and says why."""


def image_files(folder: Path) -> list[Path]:
    """The images of a folder, as a person would order them; ``._1.jpg``, which macOS leaves beside ``1.jpg``, is none.

    Raises:
        OSError: the folder cannot be read.
    """
    found = [path for path in folder.iterdir() if is_image_name(path.name) and path.is_file()]
    return sorted(found, key=natural_order)


def is_image_name(name: str) -> bool:
    """Whether a file of that name counts as an image.

    >>> is_image_name("0001.JPG"), is_image_name("._0001.jpg")
    (True, False)
    """
    return Path(name).suffix.lower() in IMAGE_SUFFIXES and not name.startswith(".")


def read_image(path: str | Path, *, upright: bool = True) -> Array:
    """Reads an image file.

    Args:
        path: any name that the system has, be it in UTF-8 or not.
        upright: turn it as its EXIF orientation says, as viewers do; False leaves the pixels as they are stored.

    Returns:
        ``(H, W, 3)`` RGB or ``(H, W)`` gray, uint8; uint16, int32 or float32 where the file has more than 8 bits of gray.
        Palettes and CMYK become RGB, and alpha is dropped: the colours as stored. RGB of 16 bits is read with its upper 8.

    Raises:
        FileNotFoundError: there is no such file.
        ImageError: it is no image, damaged, of a kind that Pillow cannot read, or too large.
    """
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} cannot be read: there is no such file") from None
    except (OSError, ValueError) as error:
        raise ImageError(f"{path} cannot be read: {error}") from error
    return decode_image(data, str(path), upright=upright)


def decode_image(data: bytes, name: str, *, upright: bool = True) -> Array:
    """As :func:`read_image`, of a file's contents; ``name`` is for messages."""
    try:
        with PIL.Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > MOST_PIXELS:
                size = f"{image.width}x{image.height}"
                raise ImageError(f"{name} has {size} pixels; at most {MOST_PIXELS} are read: make it smaller first")
            turned = PIL.ImageOps.exif_transpose(image) if upright else image
            mode = PLAIN_MODES.get(turned.mode, "RGB")
            pixels: Array = np.array(turned.convert(mode) if mode else turned)
            return pixels
    except ImageError:
        raise
    except PIL.Image.DecompressionBombError as error:
        raise ImageError(f"{name} has too many pixels: {error}") from error
    except Exception as error:  # whatever its many decoders raise, struct.error and SyntaxError among it
        raise ImageError(f"{name} cannot be read as an image: {_reason(data, error)}") from error


def _reason(data: bytes, error: Exception) -> str:
    if not data:
        return "it is empty"
    return "no kind of image that is known" if isinstance(error, PIL.UnidentifiedImageError) else str(error) or repr(error)


def encode_image(picture: Image, suffix: str, **options: Any) -> bytes:
    """A picture ``(H, W, 3)``, RGB uint8, as a file of that suffix.

    Args:
        suffix: ``.png``, ``.jpg`` or another of Pillow's.
        options: of Pillow's writer, ``quality=80`` for JPEG, say.
    """
    file = io.BytesIO()
    PIL.Image.fromarray(np.ascontiguousarray(picture)).save(file, PIL.Image.registered_extensions()[suffix], **options)
    return file.getvalue()


def write_image(path: str | Path, picture: Image, **options: Any) -> None:
    """Writes a picture in one step, in the format that the suffix names; an ``OSError`` where that cannot be."""
    path = Path(path)
    write_atomically(path, encode_image(picture, path.suffix.lower(), **options))


def png_text(path: str | Path, key: str) -> str | None:
    """What a PNG file states under a key of its texts; None where it states nothing, or is no PNG that can be read."""
    try:
        with PIL.Image.open(path, formats=("PNG",)) as image:
            return image.info.get(key)
    except Exception:  # noqa: BLE001 - whatever Pillow raises for what is none
        return None


def resize(picture: Image, size: Sequence[int], *, sharp: bool = False) -> Image:
    """A picture in another size ``(width, height)``: averaged where it shrinks, else bilinear (bicubic if ``sharp``)."""
    width, height = int(size[0]), int(size[1])
    if (picture.shape[1], picture.shape[0]) == (width, height):
        return picture
    grows = PIL.Image.Resampling.BICUBIC if sharp else PIL.Image.Resampling.BILINEAR
    how = PIL.Image.Resampling.BOX if width * height < picture.shape[0] * picture.shape[1] else grows
    return np.array(PIL.Image.fromarray(np.ascontiguousarray(picture)).resize((width, height), how))
