"""Boxes drawn on frames, and strips of frames: what a person looks at. Nothing here changes its input.

Frames are any that :func:`metatrack.video.as_rgb` takes, boxes ``x, y, w, h`` in pixels, of which the part outside the frame is
not seen, and what is returned is ``(H, W, 3)`` uint8 RGB. A box that holds a value that is not finite is a ``ValueError``.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import PIL.Image
from PIL import ImageDraw, ImageFont

from metatrack.frames import as_rgb
from metatrack.geometry import Image
from metatrack.images import resize

TRACKED = (64, 220, 120)  # RGB of the box of a target that is being followed
LOST = (255, 112, 48)  # RGB of the box of a target that is lost: the last place it was seen at, or a guess
INK = (18, 20, 24)  # RGB of outlines and plates: dark, so that the colours above stand out on any background
PAPER = (245, 246, 248)  # RGB of text
COLORS = (
    TRACKED,
    (88, 176, 255),
    (255, 222, 60),
    (255, 120, 190),
    (60, 225, 225),
    (176, 136, 255),
    (200, 240, 90),
    (245, 246, 248),
)
"""RGB of the boxes of several targets: none is near LOST, and neighbours are far apart."""
LETTERS = 28  # size of letters in pixels on a picture of 850 pixels, and the smallest that can be read
SMALLEST = 12
Rectangle = tuple[float, float, float, float]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def draw(
    frame: npt.NDArray[np.generic],
    box: Sequence[float],
    score: float | None = None,
    lost: bool = False,
    label: str | None = None,
    number: int | None = None,
    color: tuple[int, int, int] | None = None,
) -> Image:
    """A copy of a frame with one box on it; for several, see :func:`draw_targets`, or draw on the result again.

    Args:
        frame: any frame that :func:`metatrack.video.as_rgb` takes.
        box: ``x, y, w, h`` in pixels, finite; the part outside the frame is not seen.
        score: confidence, written on the plate with two decimals.
        lost: draws the box dashed and orange, and says so on the plate.
        number: the frame's number, written on the plate.
        color: RGB that replaces the colour of a tracked or lost target, to tell several targets apart.

    Returns:
        ``(H, W, 3)`` uint8 RGB.

    Raises:
        ValueError: the box holds a value that is not finite.
    """
    canvas = np.array(as_rgb(frame), order="C")
    paint = color or (LOST if lost else TRACKED)
    thick = _thickness(canvas)
    left, top, _, bottom = _outline(canvas, box, paint, thick, _lost_dashes(thick) if lost else None)
    words = [label, "LOST" if lost else None, None if score is None else f"{score:.2f}", None if number is None else f"#{number}"]
    text = "  ".join(word for word in words if word)
    if text:
        _plate(canvas, text, (left, top, bottom), paint, thick)
    return canvas


def draw_targets(
    frame: npt.NDArray[np.generic],
    targets: Mapping[int | str, tuple[Sequence[float], float | None, bool]],
    number: int | None = None,
) -> Image:
    """A copy of a frame with the boxes of several targets on it, each in its colour and with its id.

    Args:
        targets: by id, what :meth:`MultiTracker.update` returns: box (see :func:`draw`), score and whether it is lost. A lost
            target keeps its colour; its box is dashed and its plate says so.
        number: the frame's number, written in the corner at the top left.
    """
    canvas = np.array(as_rgb(frame), order="C")
    thick = _thickness(canvas)
    plates = []
    for target, (box, score, lost) in targets.items():
        paint = color_of(target)
        dashes = _lost_dashes(thick) if lost else None
        left, top, _, bottom = _outline(canvas, box, paint, thick, dashes, f" of target {target!r}")
        words = [str(target), "LOST" if lost else None, None if score is None else f"{score:.2f}"]
        plates.append(("  ".join(word for word in words if word), (left, top, bottom), paint))
    if number is not None:
        plates.append((f"#{number}", (0.0, 0.0, float(len(canvas))), INK))
    for text, place, paint in plates:  # behind all the boxes, so that none crosses out words
        _plate(canvas, text, place, paint, thick)
    return canvas


def color_of(target: int | str) -> tuple[int, int, int]:
    """RGB of a target, from its id alone: the same in every frame and every run, whatever other targets there are.

    Numbers take the :data:`COLORS` in turn, from 1 on; names are spread over them.
    """
    return COLORS[(target - 1 if isinstance(target, int) else zlib.crc32(target.encode())) % len(COLORS)]


def outline(
    frame: npt.NDArray[np.generic],
    box: Sequence[float],
    color: tuple[int, int, int],
    thick: int = 2,
    dashes: tuple[float, float] | None = None,
) -> Image:
    """A copy of a frame with the outline of one box on it and no words: for many boxes in one picture.

    Args:
        thick: width of the line in pixels; a dark rim half as wide is added on either side.
        dashes: lengths of dashes and of the gaps between them, in pixels; None is a solid line.
    """
    canvas = np.array(as_rgb(frame), order="C")
    _outline(canvas, box, color, thick, dashes)
    return canvas


def _thickness(canvas: Image) -> int:
    """Width of the lines on a picture, in pixels."""
    return max(2, round(min(len(canvas), len(canvas[0])) / 140))


def _lost_dashes(thick: int) -> tuple[float, float]:
    """Lengths of dashes and gaps around a lost target, for lines ``thick`` pixels wide."""
    return (5.0 * thick + 3,) * 2


def _outline(
    canvas: Image, box: Sequence[float], paint: tuple[int, int, int], thick: int, dashes: tuple[float, float] | None, of: str = ""
) -> Rectangle:
    """Draws in place; returns left, top, right and bottom of what was drawn."""
    height, width = canvas.shape[:2]
    x, y, w, h = map(float, box)
    if not np.isfinite([x, y, w, h]).all():
        raise ValueError(f"box {(x, y, w, h)}{of} holds a value that is not finite and cannot be drawn")
    # Far outside nothing is seen, but dashes without end would be counted; a line's width stays out of the picture.
    left, right = np.clip(sorted([x, x + w]), -4 * thick, width + 4 * thick)
    top, bottom = np.clip(sorted([y, y + h]), -4 * thick, height + 4 * thick)
    sides = [(left, top, right, top), (right, top, right, bottom), (left, bottom, right, bottom), (left, top, left, bottom)]
    strokes = [stroke for side in sides for stroke in (_dashes(side, *dashes) if dashes else [side])]
    for line_color, reach in ((INK, thick / 2 + thick // 2), (paint, thick / 2)):
        for x0, y0, x1, y1 in strokes:
            _fill(canvas, (x0 - reach, y0 - reach, x1 + reach, y1 + reach), line_color)
    return float(left), float(top), float(right), float(bottom)


def _dashes(side: Rectangle, dash: float, gap: float) -> list[Rectangle]:
    """Cuts a side ``x0, y0, x1, y1`` into dashes and gaps of about these lengths; it begins and ends with a dash."""
    x0, y0, x1, y1 = side
    long = abs(x1 - x0 + y1 - y0)
    gaps = round((long - dash) / (dash + gap)) if long > dash else 0
    scale = long / (gaps * (dash + gap) + dash)  # of both, so that they come out even
    starts = [i * (dash + gap) * scale / long for i in range(gaps + 1)] if long else [0.0]
    share = dash * scale / long if long else 0.0
    dx, dy = x1 - x0, y1 - y0
    return [(x0 + s * dx, y0 + s * dy, x0 + (s + share) * dx, y0 + (s + share) * dy) for s in starts]


def _fill(canvas: Image, rectangle: Rectangle, color: tuple[int, int, int]) -> None:
    """Fills ``x0, y0, x1, y1`` in place, each pixel by the share of it that is covered: a slow box glides instead of jumping."""
    height, width = canvas.shape[:2]
    x0, x1 = np.clip(rectangle[0::2], 0, width)
    y0, y1 = np.clip(rectangle[1::2], 0, height)
    columns, rows = np.arange(int(x0), math.ceil(x1)), np.arange(int(y0), math.ceil(y1))
    across = np.minimum(columns + 1, x1) - np.maximum(columns, x0)  # (w,), in 0..1
    down = np.minimum(rows + 1, y1) - np.maximum(rows, y0)  # (h,)
    area = canvas[int(y0) : math.ceil(y1), int(x0) : math.ceil(x1)]
    area[:] = np.rint(area + (np.array(color) - area) * (down[:, None] * across)[..., None])


def _plate(canvas: Image, text: str, place: tuple[float, float, float], paint: tuple[int, int, int], thick: int) -> None:
    """Writes ``text`` on a dark plate above the box (``place``: its left, top and bottom), else below it, else inside it."""
    height, width = canvas.shape[:2]
    font = _font(max(SMALLEST, round(LETTERS * min(height, width) / 850)))
    text_width, text_height = _text_size(text, font)
    pad = max(3, round(text_height * 0.4))
    plate_width, plate_height = text_width + 3 * pad, text_height + 2 * pad
    left, top, bottom = place
    gap = 2 * thick
    if top - gap - plate_height >= 0:
        y = top - gap - plate_height
    elif bottom + gap + plate_height <= height:
        y = bottom + gap
    else:
        y = max(0.0, top) + gap
    x0, y0 = round(min(max(0.0, left - thick), max(0, width - plate_width))), round(min(y, max(0, height - plate_height)))
    area = canvas[y0 : y0 + plate_height, x0 : x0 + plate_width]
    if area.size:
        area[:] = np.rint(0.2 * area + 0.8 * np.array(INK))
        area[:, : max(2, pad // 2)] = paint
        _write(canvas, text, (x0 + 2 * pad, y0 + pad), font, PAPER)


@lru_cache(maxsize=32)
def _font(size: int) -> Font:
    """The font that comes with Pillow, in pixels."""
    return ImageFont.load_default(size)


def _text_size(text: str, font: Font) -> tuple[int, int]:
    """Width of a text, and height of any line: the letters' own would make plates jump with what is written on them."""
    return math.ceil(font.getlength(text)), math.ceil(font.getbbox("Ag0")[3])


def _write(canvas: Image, text: str, place: tuple[int, int], font: Font, ink: tuple[int, int, int]) -> None:
    """Writes a line in place, its top left corner at ``place``; what lies outside the canvas is not seen."""
    width, height = _text_size(text, font)
    mask = PIL.Image.new("L", (width + 1, height + 1))
    ImageDraw.Draw(mask).text((0, 0), text, fill=255, font=font)
    x, y = place
    area = canvas[max(0, y) : y + height + 1, max(0, x) : x + width + 1]
    share = np.asarray(mask, np.float64)[max(0, -y) :, max(0, -x) :][: area.shape[0], : area.shape[1], None] / 255
    area[:] = np.rint(area + (np.array(ink) - area) * share)


def filmstrip(
    frames: Sequence[npt.NDArray[np.generic]],
    columns: int | None = None,
    captions: Sequence[str] | None = None,
    height: int = 180,
    gap: int = 8,
    background: tuple[int, int, int] = (255, 255, 255),
) -> Image:
    """Several frames side by side on one picture, each ``height`` pixels high.

    Args:
        frames: at least one; widths may differ.
        columns: frames in a row; None is all of them.
        gap: pixels between frames and around them.
        background: RGB between the frames; the captions are dark or light, whichever is legible on it.

    Raises:
        ValueError: there is no frame, ``columns`` or ``height`` is not positive, or the captions are not one for each frame.
    """
    if not frames or height < 1 or (columns is not None and columns < 1):
        raise ValueError(f"{len(frames)} frames, {columns} columns, height {height}: each must be at least 1")
    if captions is not None and len(captions) != len(frames):
        raise ValueError(f"{len(captions)} captions for {len(frames)} frames; give one for each")
    font = _font(max(SMALLEST, round(height / 13)))
    room = 0 if captions is None else round(1.5 * _text_size("0", font)[1])  # under each frame
    tiles = []
    for picture in map(as_rgb, frames):
        width = max(1, round(picture.shape[1] * height / picture.shape[0]))
        tile = np.full((height + room, width, 3), background, np.uint8)
        tile[:height] = resize(picture, (width, height))
        tiles.append(tile)
    for tile, caption in zip(tiles, captions or (), strict=captions is not None):
        ink = INK if sum(background) > 382 else PAPER
        _write(tile, caption, (1, height + room // 6), font, ink)
    rows = [tiles[i : i + (columns or len(tiles))] for i in range(0, len(tiles), columns or len(tiles))]
    width = max(sum(tile.shape[1] + gap for tile in row) for row in rows) + gap
    canvas = np.full((gap + len(rows) * (height + room + gap), width, 3), background, np.uint8)
    for r, row in enumerate(rows):
        x, y = gap, gap + r * (height + room + gap)
        for tile in row:
            canvas[y : y + height + room, x : x + tile.shape[1]] = tile
            x += tile.shape[1] + gap
    return canvas
