"""The one reader of JSON from outside: cards, mixes, descriptions of trackers, evaluations.

What a file must hold is a dataclass (or a type made of them); msgspec checks kinds and ranges. Whatever is wrong ends in one
``ValueError`` that names the file, the place in it and what belongs there.
"""

from __future__ import annotations

import codecs
import dataclasses
import re
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

import msgspec
from msgspec import Meta

from metatrack.files import require_size
from metatrack.hints import hint

T = TypeVar("T")
_NO_NUL, _NO_NUL_NOR_EQUALS = r"\A[^\x00]*\Z", r"\A[^\x00=]+\Z"
Text = Annotated[str, Meta(pattern=_NO_NUL)]  # what can be part of a path or of a command
Variable = Annotated[str, Meta(pattern=_NO_NUL_NOR_EQUALS)]  # what can be the name of a variable of the environment
PATTERNS = {_NO_NUL: "without the character NUL", _NO_NUL_NOR_EQUALS: "of one character or more, none of them = or NUL"}
"""Patterns as a person would say them."""
MOST_BYTES = 64 << 20  # a larger file is none of ours
WORDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
    "bool": "true or false",
    "object": "an object {...}",
    "array": "a list [...]",
    "null": "null",
}
"""msgspec's names of kinds, as a person would say them."""
_EXPECTED = re.compile(r"Expected (?P<wanted>.+?)(?:, got (?P<got>.+?))?(?: - at (?P<key>`key` in )?`\$(?P<place>.*)`)?")
_CHOICE = re.compile(r"Invalid enum value (?P<got>.+) - at `\$\.?(?P<place>.*)`")
_LACKS = re.compile(r"Object missing required field `(?P<key>.+?)`(?: - at `\$(?P<place>.*)`)?")
UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_json(path: str | Path, kind: type[T], *, open_keys: bool = False, most: int = MOST_BYTES) -> T:
    """Reads a JSON file into a typed form.

    Args:
        kind: a dataclass, or ``list[...]``, ``dict[str, ...]`` and the like; ranges as ``Annotated[int, msgspec.Meta(ge=1)]``.
        open_keys: keys that the dataclass does not have are passed over; else they are an error, and the nearest is suggested.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no JSON, or does not hold what it must.
    """
    path = Path(path)
    require_size(path, most, "such JSON file")
    return parse_json(path.read_bytes(), kind, str(path), open_keys=open_keys)


def parse_json(data: bytes, kind: type[T], name: str, *, open_keys: bool = False) -> T:
    """As :func:`read_json`, of a file's contents; ``name`` is the file's.

    >>> parse_json(b'{"a": 1}', dict[str, str], "facts.json")
    Traceback (most recent call last):
    ValueError: facts.json: [...] must be a text, not a whole number

    Raises:
        ValueError: see there.
    """
    if data.startswith(UTF_16):
        raise ValueError(f"{name} is not JSON in UTF-8 but text in UTF-16; save it as UTF-8")
    try:
        value = msgspec.json.decode(data.removeprefix(codecs.BOM_UTF8))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{name} is not a JSON file: {_sentence(error)}{_line_of(data, str(error))}") from error
    if not open_keys:
        _check_keys(value, kind, name)
    try:
        return msgspec.convert(value, kind)
    except (msgspec.ValidationError, OverflowError) as error:
        raise ValueError(f"{name}: {_sentence(error)}") from error


def _check_keys(value: Any, kind: Any, name: str) -> None:
    """Suggests the right key for a wrong one, in a dataclass and in a list of them."""
    if dataclasses.is_dataclass(kind) and isinstance(value, dict):
        known = [each.name for each in dataclasses.fields(kind)]
        for key in value:
            if key not in known:
                raise ValueError(f"{name}: unknown key {key[:200]!r}; {hint(key[:200], known)}")
    inner = next((each for each in get_args(kind) if dataclasses.is_dataclass(each)), None)
    if inner is not None and isinstance(value, list):
        for each in value:
            _check_keys(each, inner, name)


def _line_of(data: bytes, message: str) -> str:
    """Where the parser stopped, as an editor counts."""
    found = re.search(r"byte (\d+)", message)
    if found is None:
        return ""
    line = data.count(b"\n", 0, int(found[1])) + 1
    return f", line {line}"


def _sentence(error: Exception) -> str:
    """The message of msgspec as a person would say it.

    >>> _sentence(ValueError("Expected `int` >= 1, got `str` - at `$.architecture.channels`"))
    'architecture.channels must be a whole number >= 1, not a text'
    """
    text = str(error).removeprefix("JSON is malformed: ")
    if isinstance(error, RecursionError):
        return "it is nested too deep"
    if found := _LACKS.fullmatch(text):
        place = (found["place"] or "").removeprefix(".")
        return f"{place + ' lacks' if place else 'it lacks'} {found['key']}"
    if found := _EXPECTED.fullmatch(text):
        place = (found["place"] or "").removeprefix(".") or "what it holds"
        wanted, got = (re.sub(r"`(\w+)`", lambda m: WORDS.get(m[1], m[1]), found[key] or "") for key in ("wanted", "got"))
        for pattern, words in PATTERNS.items():
            wanted = wanted.replace(f"matching regex {pattern!r}", words)
        wanted = re.sub(r" \| ", " or ", re.sub(r"`(.+?)`", r"\1", wanted))
        place = f"a name in {place}" if found["key"] else place
        return f"{place} must be {wanted}" + (f", not {got}" if got else "")
    if found := _CHOICE.fullmatch(text):
        return f"{found['place'] or 'what it holds'} cannot be {found['got']}"
    return text[0].lower() + text[1:]
