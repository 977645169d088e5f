"""Messages of TraX: whatever is written is read back, and lines of the reference implementation (vot-trax 4.0.2) are read."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metatrack.compared.trax import (
    TYPES,
    Message,
    format_box,
    format_image,
    format_message,
    parse_box,
    parse_image,
    parse_message,
)

KEYS = st.text("abcXYZ059._", min_size=1, max_size=64)
TEXTS = st.text(st.characters(exclude_categories=["Cs"])) | st.text('\\"=n \n\r')


@given(st.sampled_from(TYPES), st.lists(TEXTS), st.dictionaries(KEYS, TEXTS))
def test_what_is_written_is_read(kind, arguments, properties):
    line = format_message(kind, arguments, properties)
    assert line.count("\n") == 1
    assert parse_message(line) == parse_message(line[:-1]) == Message(kind, tuple(arguments), properties)


@given(TEXTS)
def test_any_line_is_read_or_refused(text):
    assert parse_message(text) is None or text.startswith("@@TRAX:")
    try:
        parse_message(f"@@TRAX:state {text}")
    except ValueError as error:
        assert "cannot read" in str(error)


@given(st.tuples(*[st.floats(-1e6, 1e6)] * 2, *[st.floats(1e-6, 1e6)] * 2))
def test_boxes_keep_all_digits(box):
    assert parse_box(format_box(box)) == box


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('@@TRAX:hello "trax.name=m \\"t\\"" "trax.family=" "trax.version=4" \n',
         Message("hello", (), {"trax.name": 'm "t"', "trax.family": "", "trax.version": "4"})),
        ('@@TRAX:initialize "file:///a b.png" "1.5000,2.0000,3.0000,4.0000" \n',
         Message("initialize", ("file:///a b.png", "1.5000,2.0000,3.0000,4.0000"))),
        ('@@TRAX:frame "file:///tmp/a=b \\"\\\\c.png" \r\n', Message("frame", ('file:///tmp/a=b "\\c.png',))),
        ("@@TRAX:status 1,2,3,4  confidence=0.5\n", Message("state", ("1,2,3,4",), {"confidence": "0.5"})),
        ("@@TRAX:initialize \n", Message("initialize")),
        ("@@TRAX:quit", Message("quit")),
        ("@@TRAX:dance 1\n", None),
        ("@@TRAX:quitting\n", None),
        (" @@TRAX:quit\n", None),
    ],
)  # fmt: skip
def test_lines_of_others(line, message):
    assert parse_message(line) == message


@pytest.mark.parametrize("line", ['@@TRAX:state "1,2', '@@TRAX:state "1"2', "@@TRAX:state 1\\"])
def test_what_cannot_be_read(line):
    with pytest.raises(ValueError, match="TraX: cannot read"):
        parse_message(line)


def test_a_long_line_is_read_in_no_time():
    """Of a megabyte, as a process may send it; no time-out watches over reading."""
    began = time.process_time()
    message = parse_message("@@TRAX:state " + "a " * 2**19)
    assert len(message.arguments) == 2**19
    assert time.process_time() - began < 15  # 1 or 2; it was minutes


def test_what_cannot_be_written():
    with pytest.raises(ValueError, match="no message 'dance'"):
        format_message("dance")
    for key in ("", "a b", "a=b", "x" * 65):
        with pytest.raises(ValueError, match="cannot be a key"):
            format_message("state", (), {key: "1"})


def test_regions_and_images():
    assert parse_box("0,0,10,0,10,10.5") == (0, 0, 10, 10.5)
    assert parse_box("mask:5,6,3,2,1,1,4") == (6, 6, 1, 1)
    assert parse_image(format_image("/a b/1.jpg")) == "/a b/1.jpg"
    assert parse_image("/old/style.jpg") == "/old/style.jpg"
    assert parse_image("file://c:/x.jpg") == "c:/x.jpg"
    for text in ("image:3;4;rgb;AAAA", "data:image/png;base64;AAAA", "http://x/1.jpg"):
        with pytest.raises(ValueError, match="is no file"):
            parse_image(text)
