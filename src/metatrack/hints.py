"""What messages say: of a name that does not exist, of many numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

MOST = 60  # names that a message lists


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most like it, if any is; letters in another order are the likeliest slip.

    >>> nearest("mtl", ["mil", "mlt"])
    'mlt'
    """
    near = get_close_matches(name, list(known))
    near.sort(key=lambda each: sorted(each) != sorted(name))
    return near[0] if near else None


def hint(name: str, known: Iterable[str], otherwise: str = "known are") -> str:
    """The known name that is most like it; if none is, all of them.

    >>> hint("lit", ["lite", "paper"])
    "did you mean 'lite'?"
    >>> hint("vgg", ["lite", "paper"])
    'known are lite, paper'
    """
    names = list(known)
    if (near := nearest(name, names)) is not None:
        return f"did you mean {near!r}?"
    more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
    return f"{otherwise} {', '.join(names[:MOST])}{more}"


def listed(text: str, known: Iterable[str], what: str, option: str) -> list[str]:
    """The names in a text like ``A,B``, each once.

    Args:
        text: the value of an option.
        known: the names that there are.
        what: they are of, for messages: "sequence".
        option: for messages.

    Raises:
        ValueError: there is no such name (the nearest is suggested), or the text holds none.

    >>> listed("lite, paper", ["lite", "paper"], "model", "--models")
    ['lite', 'paper']
    """
    names, there = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip())), list(known)
    if not names:
        raise ValueError(f"{option} names no {what}; leave it out to take all")
    for name in names:
        if name not in there:
            raise ValueError(f"{option}: no {what} {name!r}; {hint(name, there, 'there are')}")
    return names


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
