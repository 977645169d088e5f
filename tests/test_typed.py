"""The reader of JSON from outside: right values come back as they are, wrong ones end in a sentence."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metatrack.typed import parse_json, read_json


@dataclass(frozen=True)
class Entry:
    """An example of what a file must hold."""

    name: str
    count: Annotated[int, msgspec.Meta(ge=1)] = 1
    weight: Annotated[float, msgspec.Meta(gt=0, le=1)] = 1.0
    extra: dict[str, Any] = field(default_factory=dict)


def test_what_is_right_comes_back(tmp_path: Path) -> None:
    file = tmp_path / "entry.json"
    file.write_bytes(b"\xef\xbb\xbf" + json.dumps({"name": "a", "weight": 1, "extra": {"b": [None]}}).encode())
    assert read_json(file, Entry) == Entry("a", 1, 1.0, {"b": [None]})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "entry.json: it lacks name"),
        ('{"name": 1}', "entry.json: name must be a text, not a whole number"),
        ('{"name": "a", "count": 0}', "entry.json: count must be a whole number >= 1"),
        ('{"name": "a", "count": true}', "entry.json: count must be a whole number, not true or false"),
        ('{"name": "a", "count": "3"}', "entry.json: count must be a whole number, not a text"),
        ('{"name": "a", "weight": 1e999}', "entry.json is not a JSON file: number out of range"),
        ('{"name": "a", "weight": NaN}', "entry.json is not a JSON file: invalid character (byte 24), line 1"),
        ('{"name": "a", "wieght": 1}', "entry.json: unknown key 'wieght'; did you mean 'weight'?"),
        ('{\n"name": "a",\n"count": }', "byte 24), line 3"),
        ("[1, 2]", "entry.json: what it holds must be an object {...}, not a list [...]"),
        ("", "entry.json is not a JSON file: input data was truncated"),
        ("[" * 100_000, "entry.json is not a JSON file: it is nested too deep"),
    ],
)
def test_what_is_wrong_is_said(text: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is compared below
        parse_json(text.encode(), Entry, "entry.json")
    assert message in str(caught.value)


def test_another_encoding_is_named() -> None:
    with pytest.raises(ValueError, match="entry.json is not JSON in UTF-8 but text in UTF-16; save it as UTF-8"):
        parse_json('{"name": "a"}'.encode("utf-16"), Entry, "entry.json")


def test_keys_inside_a_list_are_known_too() -> None:
    with pytest.raises(ValueError, match="unknown key 'nane'; did you mean 'name'"):
        parse_json(b'[{"name": "a"}, {"nane": "b"}]', list[Entry], "mix.json")
    assert parse_json(b'[{"name": "a", "note": "b"}]', list[Entry], "mix.json", open_keys=True) == [Entry("a")]


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "huge.json"
    with file.open("wb") as out:
        out.truncate(1 << 40)  # a hole: no byte of it is on disk
    with pytest.raises(ValueError, match="are no such JSON file"):
        read_json(file, Entry)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "count", "weight", "x"]), inner, max_size=4)
    ),
    max_leaves=8,
)


@given(JSON)
def test_whatever_it_holds_is_typed_or_refused(value: Any) -> None:
    try:
        entry = parse_json(json.dumps(value).encode(), Entry, "entry.json")
    except ValueError as error:
        assert str(error).startswith("entry.json")
        return
    assert isinstance(entry.name, str)
    assert entry.count >= 1
    assert 0 < entry.weight <= 1


@given(st.binary(max_size=40))
def test_whatever_bytes_are_refused(data: bytes) -> None:
    try:
        parse_json(data, Entry, "entry.json")
    except ValueError as error:
        assert str(error).startswith("entry.json")
