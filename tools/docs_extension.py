"""Docstrings of this project as Markdown, for the API reference: doctests and tables become code, Sphinx roles become names."""

from __future__ import annotations

import re
from typing import Any

import griffe

ROLE = re.compile(r":(?:class|func|meth|mod|data|attr|exc):`~?\.?(?:[\w.]*\.)?([\w]+)`")
"""``:class:`metatrack.runtime.model.Model``` is shown as ``Model``."""


class PlainDocstrings(griffe.Extension):
    """Changes each docstring before it is parsed."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """See :class:`griffe.Extension`."""
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value)


def as_markdown(text: str) -> str:
    r"""Fences paragraphs that are doctests or tables, and shortens roles.

    >>> print(as_markdown("See :func:`a.b.call`.\n\n>>> 1 + 1\n2"))
    See `call`.
    <BLANKLINE>
    ```pycon
    >>> 1 + 1
    2
    ```
    """
    parts = re.split(r"\n[ \t]*\n", ROLE.sub(r"`\1`", text))
    return "\n\n".join(_fenced(part) for part in parts)


def _fenced(part: str) -> str:
    first = part.lstrip("\n")
    indent = first[: len(first) - len(first.lstrip(" "))]
    kind = "pycon" if first.lstrip().startswith(">>> ") else "text" if first.lstrip().startswith("====") else ""
    return f"{indent}```{kind}\n{part}\n{indent}```" if kind else part
