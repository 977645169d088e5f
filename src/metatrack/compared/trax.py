r"""Messages of TraX, the protocol between a tracker and a program that evaluates it: text to tuples and back, without any I/O.

The tracker is the *server*, the program that starts it the *client*. A message is a line, among whatever else a tracker prints::

    @@TRAX:state "10.5,20,30,40" "confidence=0.9"

that is a type, arguments, and properties ``key=value``. Inside quotes, ``\"``, ``\\`` and ``\n`` stand for a quote, a backslash,
a new line. The conversation, as version 4 of the protocol has it (which the reference implementation speaks):

====================================== ==========================================================================
server: ``hello``                      properties ``trax.version``, ``trax.name``, ``trax.region``, ``trax.image``
client: ``initialize REGION``          one for each target. Without an argument: forget all targets. No answer
client: ``frame IMAGE``                answered by one ``state REGION`` for each target; the first one initialises
either: ``quit``                       ends it; the property ``trax.reason`` may say why
====================================== ==========================================================================

Up to version 3, ``initialize IMAGE REGION`` is one message, and answered by ``state``. The protocol's documentation describes
version 2; the rest was observed on vot-trax 4.0.2.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from metatrack.data.regions import parse_region
from metatrack.geometry import Box

PREFIX = "@@TRAX:"
TYPES = ("hello", "initialize", "frame", "state", "quit")
KEY_LENGTH = 64
"""Characters of a property's key, at most."""

_KEY = re.compile(r"[A-Za-z0-9._]+")
_PROPERTY = re.compile(r"([A-Za-z0-9._]+)=(.*)", re.DOTALL)
_BLANKS = re.compile(r"[ \r]*")
_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"(?=[ \r]|$)|((?:[^ \r"\\]|\\.)(?:[^ \r\\]|\\.)*)', re.DOTALL)


class Message(NamedTuple):
    """A line of the protocol."""

    type: str
    """One of :data:`TYPES`."""
    arguments: tuple[str, ...] = ()
    properties: Mapping[str, str] = {}


def parse_message(line: str) -> Message | None:
    r"""A line, with or without its end, to a message; None if it is something else that the tracker has printed.

    >>> parse_message('@@TRAX:state "1,2,3,4" "confidence=0.5"\n')
    Message(type='state', arguments=('1,2,3,4',), properties={'confidence': '0.5'})
    >>> parse_message("loading weights ...") is None
    True

    Raises:
        ValueError: it begins like a message and cannot be read to its end.
    """
    head = re.match(re.escape(PREFIX) + r"([A-Za-z0-9]+)(?=[ \r\n]|$)", line)
    kind = head[1].lower().replace("status", "state") if head else ""  # an old name for the same
    if head is None or kind not in TYPES:
        return None
    rest, arguments, properties = line[head.end() :].strip(" \r\n"), [], {}
    place = 0  # not cut off word by word: copying a long line for each of its words would take minutes
    while place < len(rest):
        word = _WORD.match(rest, place)
        if word is None:
            raise ValueError(
                f"TraX: cannot read {line.rstrip()[:200]!r} from {rest[place : place + 40]!r} on: a quote is not closed"
            )
        text = word[2] if word[1] is None else word[1]
        named = _PROPERTY.fullmatch(text)
        if named is None:
            arguments.append(_unescape(text))
        else:
            properties[named[1]] = _unescape(named[2])
        place = _BLANKS.match(rest, word.end()).end()  # type: ignore[union-attr] # matches anything
    return Message(kind, tuple(arguments), properties)


def format_message(kind: str, arguments: Sequence[str] = (), properties: Mapping[str, object] | None = None) -> str:
    r"""A message to a line, with its end.

    >>> format_message("quit", properties={"trax.reason": 'no file "a"'})
    '@@TRAX:quit "trax.reason=no file \\"a\\""\n'

    Raises:
        ValueError: there is no such type, or a key holds anything but at most 64 letters, digits, ``.`` and ``_``.
    """
    if kind not in TYPES:
        raise ValueError(f"TraX knows no message {kind!r}; there are {', '.join(TYPES)}")
    # An argument such as a=b would be read as a property: its sign is escaped too.
    words = [re.sub(r"\A([A-Za-z0-9._]*)=", r"\1\\=", _escape(text)) for text in arguments]
    for key, value in (properties or {}).items():
        if not _KEY.fullmatch(key) or len(key) > KEY_LENGTH:
            raise ValueError(f"TraX: {key!r} cannot be a key; use at most {KEY_LENGTH} letters, digits, . and _")
        words.append(f"{key}={_escape(str(value))}")
    return " ".join([PREFIX + kind, *(f'"{word}"' for word in words)]) + "\n"


def format_box(box: Sequence[float]) -> str:
    """``x, y, w, h`` in pixels, as a region, with all digits.

    >>> format_box((1, 2.5, 3, 4))
    '1.0,2.5,3.0,4.0'
    """
    return ",".join(repr(float(value)) for value in box)


def parse_box(text: str) -> Box:
    """A region, which is a rectangle, a polygon or a mask, to the upright box around it; NaN where it states no target.

    >>> parse_box("mask:5,6,3,2,1,4")
    Box(x=5.0, y=6.0, w=3.0, h=2.0)

    Raises:
        ValueError: it has none of these forms.
    """
    return Box(*parse_region(re.sub(r"\Amask:", "m", text)))


def format_image(path: str) -> str:
    """An absolute path, as an image. Nothing is percent-encoded, as in the reference implementation.

    >>> format_image("/data/a b.jpg")
    'file:///data/a b.jpg'
    """
    return f"file://{path}"


def parse_image(text: str) -> str:
    """An image to its path.

    >>> parse_image("file:///data/a b.jpg")
    '/data/a b.jpg'

    Raises:
        ValueError: it is no file but pixels or an address.
    """
    if re.match(r"image:|data:|[a-z]+://", text) and not text.startswith("file://"):
        raise ValueError(f"TraX: {text[:40]!r} is no file; only images by path are understood (trax.image=path)")
    return re.sub(r"\Afile:(//)?", "", text)


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _unescape(text: str) -> str:
    return re.sub(r"\\(.)", lambda found: "\n" if found[1] == "n" else found[1], text, flags=re.DOTALL)
