"""Damaged copies of good files: bytes, numbers, lines and JSON values are changed, as accidents and strangers change them."""

from __future__ import annotations

import copy
import json
import random
import re
from collections.abc import Callable
from typing import Any

NUMBERS = (
    *(b"0", b"-1", b"1e308", b"1e999", b"nan", b"-inf", b"0x10", b"4294967296", b"9" * 400, b"1.5", b"", b"1,5", b"-0", b"\xff"),
    *(b"2147483648", b"65536", b"1_000", b"True"),
)
"""What a number may turn into."""
BITS = (
    *(b"\x00", b"\xff", b"\xfe\xff", b"\xef\xbb\xbf", b"\r", b"\n\n", b";", b"\t", b'"', b"{", b"[", b"../", b"/etc/passwd"),
    b"%s",
)
"""What may slip in anywhere."""
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1.5, 10**400, 1e308, float("nan"), float("inf"), "", "text", "../../x", "\x00", "9" * 300),
    *([], {}, [[]], [1, "a", None], {"a": {"b": []}}, [0] * 50),
)
"""What a value of a JSON file may turn into: every kind, and the edges of each."""


def mutate(data: bytes, rng: random.Random) -> bytes:
    """A changed copy of a good file; a file that is JSON is changed as JSON half of the time."""
    if rng.random() < 0.5 and data[:1] in (b"{", b"["):
        try:
            value = json.loads(data)
        except ValueError:
            pass
        else:
            for _ in range(rng.choice((1, 1, 2, 4))):
                value = _changed_value(value, rng)
            return json.dumps(value).encode()
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        data = rng.choice(CHANGES)(data, rng)
    return data


def _changed_value(value: Any, rng: random.Random) -> Any:
    """One value somewhere inside replaced, removed, doubled or renamed."""
    value = copy.deepcopy(value)
    places = list(_places(value))
    if not places:
        return rng.choice(VALUES)
    holder, key = rng.choice(places)
    action = rng.random()
    if action < 0.65:
        holder[key] = copy.deepcopy(rng.choice(VALUES))
    elif action < 0.85:
        del holder[key]
    elif isinstance(holder, dict):
        holder[rng.choice(("", "x", "a/b", str(key).upper(), "\x00"))] = holder.pop(key)
    else:
        holder.insert(key, copy.deepcopy(holder[key]))
    return rng.choice(VALUES) if rng.random() < 0.02 else value


def _places(value: Any) -> Any:
    """All ``(container, key)`` inside a value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(items):
        yield value, key
        yield from _places(inner)


def _flip(data: bytes, rng: random.Random) -> bytes:
    if not data:
        return data
    at = rng.randrange(len(data))
    return data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :]


def _cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _drop(data: bytes, rng: random.Random) -> bytes:
    at, length = rng.randrange(len(data) + 1), rng.choice((1, 2, 8, 64, 512))
    return data[:at] + data[at + length :]


def _double(data: bytes, rng: random.Random) -> bytes:
    at, length = rng.randrange(len(data) + 1), rng.choice((1, 4, 32, 256))
    return data[:at] + data[at : at + length] * rng.choice((2, 2, 2, 50)) + data[at + length :]


def _slip_in(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.choice(BITS) + data[at:]


def _zero(data: bytes, rng: random.Random) -> bytes:
    at, length = rng.randrange(len(data) + 1), rng.choice((1, 4, 64, 1024))
    gone = data[at : at + length]
    return data[:at] + bytes(len(gone)) + data[at + length :]


def _number(data: bytes, rng: random.Random) -> bytes:
    found = list(re.finditer(rb"-?\d+(\.\d+)?", data[:100_000]))
    if not found:
        return _flip(data, rng)
    one = rng.choice(found)
    return data[: one.start()] + rng.choice(NUMBERS) + data[one.end() :]


def _integer(data: bytes, rng: random.Random) -> bytes:
    """A length or a count in a binary file, in either order of bytes."""
    if len(data) < 4:
        return _flip(data, rng)
    at = rng.randrange(len(data) - 3)
    value = rng.choice((0, 1, 0x7F, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 0x10000, 0x40000000))
    return data[:at] + value.to_bytes(4, rng.choice(("big", "little"))) + data[at + 4 :]


def _lines(data: bytes, rng: random.Random) -> bytes:
    """Lines swapped, repeated or removed."""
    rows = data.split(b"\n")
    a, b = rng.randrange(len(rows)), rng.randrange(len(rows))
    if rng.random() < 0.3:
        rows[a], rows[b] = rows[b], rows[a]
    elif rng.random() < 0.5:
        rows.insert(a, rows[b])
    else:
        del rows[a]
    return b"\n".join(rows)


def _encoding(data: bytes, rng: random.Random) -> bytes:
    """The same text as another program would save it."""
    try:
        text = data[:1_000_000].decode("utf-8")
    except UnicodeDecodeError:
        return _flip(data, rng)
    return text.encode(rng.choice(("utf-16", "utf-16-le", "utf-8-sig", "utf-32")))


CHANGES: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    *(_flip, _flip, _cut, _drop, _double, _slip_in, _zero, _number, _number, _number, _integer, _lines, _encoding),
)
