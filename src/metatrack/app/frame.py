"""``metatrack frame``: one frame of a video as a picture, with a grid to read a box off."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import PIL.Image
import tyro
from PIL import ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from metatrack.app.mistakes import check_source
from metatrack.app.outputs import may_be_replaced
from metatrack.app.problem import Problem, user_input
from metatrack.files import require_writable
from metatrack.geometry import Image
from metatrack.images import png_text, write_image
from metatrack.video import open_source
from metatrack.video.seek import open_seekable
from metatrack.video.source import local_path, scheme_of

STEPS = (10, 20, 50, 100, 200, 500, 1000)  # pixels between two lines of a grid that has numbers
MOST_LINES = 14
MARK = "metatrack frame"  # in pictures of ours: they may be replaced by the next


@dataclass(frozen=True)
class FrameOptions:
    """Writes one frame as a picture, with a grid of coordinates: read the box for metatrack track --box off it."""

    source: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="SOURCE")]
    """Video file, folder of images, number of a camera, or address of a stream."""
    at: int = 0
    """Number of the frame, counted from 0."""
    out: Annotated[Path, tyro.conf.arg(metavar="FILE.png")] = Path("first.png")
    """Picture to write."""
    grid: bool = True
    """Draw the grid."""


def run(options: FrameOptions) -> int:
    """Runs the command; returns the exit code."""
    if options.out.suffix.lower() != ".png":
        raise Problem(f"{options.out} does not end in .png; name the picture first.png, say")
    with user_input():
        require_writable(options.out)
    may_be_replaced(options.out, lambda path: png_text(path, "Comment") == MARK, "picture")
    check_source(options.source)
    frame = _frame(options.source, options.at)
    info = PngInfo()
    info.add_text("Comment", MARK)
    with user_input():
        write_image(options.out, with_grid(frame) if options.grid else frame, pnginfo=info)
    height, width = frame.shape[:2]
    print(f"{'frame':<9}{options.at} of {options.source}, {width}x{height} pixels", file=sys.stderr)
    print(f"{'picture':<9}{options.out}", file=sys.stderr)
    begin = f" --start {options.at}" if options.at else ""
    print(f"{'next':<9}metatrack track {options.source} --box x,y,width,height{begin}", file=sys.stderr)
    return 0


def _frame(source: str, number: int) -> Image:
    with user_input():
        if scheme_of(source) is None and not source.isdecimal():
            video = open_seekable(local_path(source))
            try:
                return video.read(number)
            except ValueError as error:
                raise ValueError(f"{error} ({source})") from error
            finally:
                video.close()
        with open_source(source, start=number) as stream:
            return next(stream)


def with_grid(frame: Image) -> Image:
    """A copy of a frame, ``(H, W, 3)``, with lines at round coordinates, and their numbers along the edges."""
    image = PIL.Image.fromarray(frame).convert("RGB")
    step = next((step for step in STEPS if max(image.size) / step <= MOST_LINES), STEPS[-1])
    shade = PIL.Image.new("RGBA", image.size)
    pen = ImageDraw.Draw(shade)
    font = ImageFont.load_default(max(12, round(max(image.size) / 64)))
    upright = [[(x, 0), (x, image.height)] for x in range(step, image.width, step)]
    for line in [*upright, *([(0, y), (image.width, y)] for y in range(step, image.height, step))]:
        pen.line(line, fill=(0, 0, 0, 110), width=3)
        pen.line(line, fill=(255, 255, 255, 170), width=1)
    for value in range(0, max(image.size), step):
        for place in ((value + 3, 2), (3, value + 2)) if value else ((3, 2),):
            pen.text(place, str(value), font=font, fill=(255, 255, 255, 255), stroke_width=2, stroke_fill=(0, 0, 0, 255))
    return np.array(PIL.Image.alpha_composite(image.convert("RGBA"), shade).convert("RGB"))
