"""Settings that check themselves: what a field may hold stands in its type."""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from numbers import Integral, Real
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin, get_type_hints


class Limit(NamedTuple):
    """What is asked of a value beyond its type."""

    holds: Callable[[Any], bool]
    words: str


Share = Annotated[float, Limit(lambda value: 0 <= value <= 1, "must lie in 0..1")]
"""A probability, a weight, or a factor of at most 1."""
Amount = Annotated[float, Limit(lambda value: value >= 0, "must be at least 0")]
Count = Annotated[int, Limit(lambda value: value >= 1, "must be at least 1")]
CountOrNone = Annotated[int, Limit(lambda value: value >= 0, "must be at least 0")]
"""A number of frames, of which 0 is one, too."""


class Explained(type):
    """Of classes of settings: ``help`` shows what stands under each field, read when it is asked for."""

    @property
    def __doc__(cls) -> str:  # type: ignore[override]
        """The class's own text, and its fields with their defaults and meanings."""
        return "\n".join([inspect.cleandoc(cls.__dict__.get("__doc__") or ""), "", *cls._meanings()])

    def _meanings(cls, prefix: str = "") -> list[str]:
        texts = field_texts(cls)
        lines: list[str] = []
        for name in inspect.get_annotations(cls):
            kind = type(default := getattr(cls, name))
            own = [f"{prefix}{name} = {default!r}", f"    {texts.get(name, '')}"]
            lines += kind._meanings(f"{name}.") if isinstance(kind, Explained) else own
        return lines


def field_texts(settings: type[Any]) -> dict[str, str]:
    """What stands under each field of a class; nothing where its source is not to be had."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(settings)))
    except (OSError, TypeError, SyntaxError):
        return {}
    return {
        field.target.id: " ".join(str(text.value.value).split())
        for field, text in pairwise(getattr(tree.body[0], "body", ()))
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
    }


@dataclass(frozen=True)
class Checked(metaclass=Explained):
    """Base of settings: a frozen dataclass whose fields are checked when it is made.

    Raises:
        ValueError: a value is of another type than its field, or outside its limits.
    """

    def __post_init__(self) -> None:
        for name, kind in fields_of(type(self)).items():
            check_value(name, getattr(self, name), kind)


def fields_of(settings: type[Any]) -> dict[str, Any]:
    """Fields of a class of settings by name, with their types and limits."""
    return get_type_hints(settings, include_extras=True)


def check_value(name: str, value: Any, kind: Any) -> None:
    """Refuses a value that is not of a field's type.

    >>> check_value("adaptation.interval", "30", Count)
    Traceback (most recent call last):
    ValueError: adaptation.interval '30' must be a whole number

    Raises:
        ValueError: the message names the field, the value and what it must be.
    """
    kind, *limits = get_args(kind) if get_origin(kind) is Annotated else (kind,)
    words = _expected(value, kind) or next((limit.words for limit in limits if not limit.holds(value)), "")
    if words:
        raise ValueError(f"{name} {value!r} {words}")


def _expected(value: Any, kind: Any) -> str:
    """What the value must be; nothing if it is that."""
    if get_origin(kind) is Literal:
        known = get_args(kind)
        return "" if value in known else f"must be {' or '.join(map(repr, known))}"
    if get_origin(kind) is tuple:
        parts = get_args(kind)
        fits = isinstance(value, tuple) and len(value) == len(parts) and not any(map(_expected, value, parts))
        return "" if fits else f"must be {len(parts)} numbers"
    if kind is bool:
        return "" if isinstance(value, bool) else "must be True or False"
    if isinstance(value, bool):  # a kind of whole number to Python, and a slip here
        return "must be a number, not True or False"
    if kind is int:
        return "" if isinstance(value, Integral) else "must be a whole number"
    is_number = isinstance(value, Real)
    return "" if is_number and abs(value) <= sys.float_info.max else "must be a finite number"
