"""What to say of a name that does not exist."""

from __future__ import annotations

from collections.abc import Iterable
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
