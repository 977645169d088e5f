"""The box on the command line: ``x,y,w,h``."""

from __future__ import annotations

import re
from collections.abc import Sequence

from metatrack.app.problem import Problem
from metatrack.geometry import Box, as_corners, check_box

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?|[-+]?(nan|inf(inity)?)", re.IGNORECASE)


def join_box(arguments: Sequence[str]) -> list[str]:
    """Makes one argument of ``--box 10 20 30 40`` or ``--box 10, 20, 30, 40``, so that both mean ``--box=10,20,30,40``.

    What follows ``--box`` is taken as long as it is made of numbers and there are fewer than four.

    >>> join_box(["clip.mp4", "--box", "1", "2,", "3", "4", "0"])
    ['clip.mp4', '--box=1,2,3,4', '0']
    """
    joined: list[str] = []
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if word == "--box":
            numbers: list[str] = []
            while rest and len(numbers) < 4 and _numbers(rest[0]):
                numbers += _numbers(rest.pop(0))
            # Without a number the word is left for the parser to complain about.
            word = f"--box={','.join(numbers)}" if numbers else word
        joined.append(word)
    return joined


def _numbers(word: str) -> list[str]:
    """The numbers of a word such as ``10,20``; none if it holds anything else."""
    parts = [part for part in re.split(r"[,\s]+", word) if part]
    return parts if all(_NUMBER.fullmatch(part) for part in parts) else []


def parse_box(text: str) -> tuple[float, float, float, float]:
    """Four numbers, separated by commas or blanks; a :class:`Problem` where they are not.

    >>> parse_box("10,20, 30 40")
    (10.0, 20.0, 30.0, 40.0)
    """
    box = parse_numbers(text)
    if box is None:
        raise Problem(f"--box {text}: give four numbers x,y,w,h: the top-left corner and the size in pixels")
    return box


def parse_numbers(text: str) -> tuple[float, float, float, float] | None:
    """Four numbers, separated by commas or blanks; None of anything else."""
    try:
        x, y, w, h = (float(part) for part in re.split(r"[,\s]+", text.strip(" \t,()[]")))
    except ValueError:
        return None
    return x, y, w, h


def first_box(given: Sequence[float] | None, frame: int, name: str, size: tuple[int, int]) -> Box:
    """The box of a person for a frame of ``(width, height)`` pixels of a source; a :class:`Problem` where none is in it."""
    width, height = size
    if given is None:
        example = ",".join(str(round(v)) for v in (0.4 * width, 0.4 * height, 0.2 * width, 0.2 * height))
        raise Problem(
            f"no box: say where the target is in frame {frame} of {name} ({width}x{height} pixels). Three ways:"
            " draw it on a page (metatrack app VIDEO); draw it in a window (--box pick);"
            f" or read it off a grid (metatrack frame VIDEO --at {frame} --out first.png) and give --box x,y,w,h,"
            f" the top-left corner and the size in pixels, for example --box {example}"
        )
    return check_given(given, frame, name, size, "--box " + ",".join(f"{value:g}" for value in given))


def check_given(given: Sequence[float], frame: int, name: str, size: tuple[int, int], what: str | None = None) -> Box:
    """As :func:`first_box`, of a box that is there; ``what`` a person typed, who may have meant two corners, or None.

    Raises:
        Problem: it is no box in that frame.
    """
    width, height = size
    try:
        box = check_box(given, (height, width))
        if what is not None and (meant := as_corners(box, (height, width))) is not None:
            right = ",".join(f"{value:g}" for value in meant)
            part = ",".join(f"{value:g}" for value in (box.x, box.y, min(box.w, width - box.x), min(box.h, height - box.y)))
            raise ValueError(
                f"{what} lies mostly outside the frame of {width}x{height} pixels: if these are two corners, give {right};"
                f" if they are x,y,w,h, give the part in the frame, {part}"
            )
        return box
    except ValueError as error:
        raise Problem(f"{error} (frame {frame} of {name})") from error
