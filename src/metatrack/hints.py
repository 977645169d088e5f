"""What messages say: of a name that does not exist, of many numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches


def hint(name: str, known: Iterable[str], otherwise: str = "known are") -> str:
    """The known name that is most like it; if none is, all of them.

    >>> hint("lit", ["lite", "paper"])
    "did you mean 'lite'?"
    >>> hint("vgg", ["lite", "paper"])
    'known are lite, paper'
    """
    names = list(known)
    near = get_close_matches(name, names, 1)
    return f"did you mean {near[0]!r}?" if near else f"{otherwise} {', '.join(names)}"


def number_spans(numbers: Sequence[int]) -> list[str]:
    """Ascending numbers as a person writes them, a text for each run without a gap.

    >>> ", ".join(number_spans([3, 7, 8, 9]))
    '3, 7-9'
    """
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return [str(first) if first == last else f"{first}-{last}" for first, last in runs]
