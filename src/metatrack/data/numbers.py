"""Numbers that files and names state: finite, whole and bounded, whoever wrote them."""

from __future__ import annotations

import math

MOST = 10**9
"""No count of frames and no number of pixels is larger. A size is never made of such a number alone: what is there is counted."""


def whole_number(stated: str | float, what: object, least: int = 0, most: int = MOST) -> int:
    """The whole number that a text or a float states.

    >>> whole_number("12", "frames.txt"), whole_number(3.0, "frames.txt")
    (12, 3)

    Args:
        stated: as it stands in the file.
        what: whose number it is, for the message.
        least, most: bounds, which may be reached.

    Raises:
        ValueError: it is none, or beyond the bounds.
    """
    try:
        value = int(stated) if isinstance(stated, str) else stated
        if not math.isfinite(value) or value != int(value):
            raise ValueError
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{what}: {str(stated)[:40]!r} is not a whole number") from error
    if not least <= value <= most:
        raise ValueError(f"{what}: {str(stated)[:40]} is not a number from {least} to {most}")
    return int(value)


def finite_number(stated: str | float, what: object) -> float:
    """The finite number that a text or a float states.

    >>> finite_number("2.5", "boxes.csv")
    2.5

    Raises:
        ValueError: it is none; texts beyond the range of floats are infinite and so refused too.
    """
    try:
        value = float(stated)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{what}: {str(stated)[:40]!r} is not a number") from error
    if not math.isfinite(value):
        raise ValueError(f"{what}: {str(stated)[:40]!r} is not a finite number")
    return value
