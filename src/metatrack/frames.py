"""The one frame format, ``(H, W, 3)`` uint8 RGB, and the defined ways to get there."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from metatrack.geometry import Image
from metatrack.images import resize


def as_rgb(frame: npt.NDArray[np.generic]) -> Image:
    """Turns a frame handed in by a user into ``(H, W, 3)`` uint8 RGB.

    ==========================  =======================================================================================
    input                       output
    ==========================  =======================================================================================
    ``(H, W, 3)`` uint8         the very same array, not a copy
    ``(H, W)``, ``(H, W, 1)``   gray, repeated into three equal channels
    ``(H, W, 4)``               RGBA with alpha dropped: the colours as stored, composited on nothing
    uint16                      ``round(value / 257)``, so that 0..65535 becomes 0..255. Data of 10 or 12 bits in 16-bit words
                                comes out dark (12 bits: at most 16): shift it up first, ``frame << 4`` for 12 bits
    bool                        False is 0, True is 255
    float, other integers       ``TypeError``: their range is a guess (a float may mean 0..1 or 0..255)
    other shapes, no pixels     ``ValueError``
    ==========================  =======================================================================================

    The input is never changed. The order of channels cannot be seen in the data: for OpenCV's BGR pass ``frame[..., ::-1]``.

    >>> as_rgb(np.array([[0, 65535]], np.uint16)).tolist()
    [[[0, 0, 0], [255, 255, 255]]]

    Raises:
        TypeError: the frame is not a numpy array, or its dtype is not uint8, uint16 or bool.
        ValueError: the frame's shape is none of the above, or it has no pixels.
    """
    given: object = frame  # types are a promise that callers break
    if not isinstance(given, np.ndarray):
        kind = f"{type(frame).__module__}.{type(frame).__qualname__}"
        raise TypeError(f"frame is a {kind}; pass a numpy array (H, W, 3) of uint8 RGB, for example np.asarray(image)")
    if frame.ndim not in (2, 3) or (frame.ndim == 3 and frame.shape[2] not in (1, 3, 4)):
        hint = "; channels come last: frame.transpose(1, 2, 0)" if frame.ndim == 3 and frame.shape[0] in (1, 3, 4) else ""
        raise ValueError(f"frame has shape {frame.shape}; expected (H, W), (H, W, 1), (H, W, 3) or (H, W, 4){hint}")
    if frame.size == 0:
        raise ValueError(f"frame has shape {frame.shape}: it holds no pixels")
    colours = frame[..., :3] if frame.ndim == 3 else frame[..., None]  # (H, W, 1 or 3)
    pixels = _as_uint8(colours)
    if pixels.shape[2] == 1:
        return np.repeat(pixels, 3, axis=2)
    if pixels is not colours:
        return np.ascontiguousarray(pixels)
    return frame if frame.shape[2] == 3 else pixels.copy()  # type: ignore[return-value]


def _as_uint8(values: npt.NDArray[np.generic]) -> Image:
    """Values in 0..255; the input itself where it is uint8 already."""
    if values.dtype == np.uint8:
        return values  # type: ignore[return-value]
    if values.dtype == np.bool_:
        return values.astype(np.uint8) * np.uint8(255)
    if values.dtype.kind == "u" and values.dtype.itemsize == 2:  # either byte order
        return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if values.dtype.kind == "f":
        remedy = "convert it yourself: (frame * 255).astype(np.uint8) for values in 0..1, frame.astype(np.uint8) for 0..255"
    else:
        remedy = "convert it yourself with frame.astype(np.uint8) if its values lie in 0..255"
    raise TypeError(f"frame has dtype {values.dtype}, whose range is not defined; {remedy}")


def letterbox(frame: Image, width: int, height: int) -> Image:
    """Fits ``(H, W, 3)`` into ``(height, width, 3)``, aspect kept, centred on black; the same array if it fits already."""
    h, w = frame.shape[:2]
    if (w, h) == (width, height):
        return frame
    scale = min(width / w, height / h)
    inner = (max(1, min(width, round(w * scale))), max(1, min(height, round(h * scale))))
    left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
    canvas = np.zeros((height, width, 3), np.uint8)
    canvas[top : top + inner[1], left : left + inner[0]] = resize(frame, inner)
    return canvas
