"""The tracker as a TraX server: what it answers to each message, and to messages that make no sense. No toolkit is needed."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

import metatrack
from metatrack import Tracker
from metatrack.app.problem import Problem
from metatrack.app.vot import serve
from metatrack.compared.trax import Message, format_message, parse_box, parse_message

BOX = "60,40,30,30"


@pytest.fixture(scope="module")
def tracker() -> Tracker:
    return Tracker("lite", threads=1)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("a folder") / "x=1.png"
    noise = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    cv2.imwrite(str(path), cv2.resize(noise, (160, 120), interpolation=cv2.INTER_CUBIC))
    return f"file://{path}"


told: list[Message] = []  # the last talk's answers, of one that ended with an error too


def talk(tracker, *messages):
    said: list[str] = []
    try:
        serve(tracker, [format_message(*m) if isinstance(m, tuple) else m for m in messages], said.append)
    finally:
        answers = [parse_message(line) for line in said]
        assert answers[0].type == "hello" and answers[0].properties["trax.region"] == "rectangle;"
        told[:] = answers[1:]
    return told


def test_version_4(tracker, image):
    init, frame = ("initialize", [BOX]), ("frame", [image])
    answers = talk(tracker, init, frame, "something printed\n", frame, ("initialize",), init, frame, ("quit",), frame)
    assert [a.type for a in answers] == ["state"] * 3  # nothing after quit
    assert parse_box(answers[0].arguments[0]) == parse_box(answers[2].arguments[0]) == parse_box(BOX)
    assert answers[0].properties == {"confidence": "1.0"} and 0 < float(answers[1].properties["confidence"]) <= 1
    assert abs(parse_box(answers[1].arguments[0]).x - 60) < 2


def test_before_version_4(tracker, image):
    answers = talk(tracker, ("initialize", [image, BOX]), ("frame", [image]))
    assert [a.type for a in answers] == ["state"] * 2 and parse_box(answers[0].arguments[0]) == parse_box(BOX)


def test_polygons_and_masks_are_boxed(tracker, image):
    for region in ("60,40,90,40,90,70,60,70", "mask:60,40,30,30,0,900"):
        (answer,) = talk(tracker, ("initialize", [region]), ("frame", [image]))
        assert parse_box(answer.arguments[0]) == parse_box(BOX)


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([("initialize", [BOX]), ("initialize", [BOX]), ("frame", ["IMAGE"])], "one"),
        ([("initialize", [BOX]), ("frame", ["/no/such.png"])], "no such file"),
        ([("initialize", [BOX]), ("frame", ["image:1;1;rgb;AAAA"])], "is no file"),
        ([("initialize", ["0"]), ("frame", ["IMAGE"])], "not finite"),
        ([("initialize", ["500,40,30,30"]), ("frame", ["IMAGE"])], "outside the frame"),
        ([("initialize", ["a,b"])], "could not convert"),
        ([("frame", ["IMAGE"])], "not expected"),
        ([("state", [BOX])], "not expected"),
        (['@@TRAX:frame "x'], "quote is not closed"),
    ],
)
def test_what_cannot_be_done_ends_it_with_a_reason(tracker, image, messages, reason):
    words = [m if isinstance(m, str) else (m[0], [w.replace("IMAGE", image) for w in m[1]]) for m in messages]
    with pytest.raises(Problem, match=reason) as caught:
        talk(tracker, *words)
    assert caught.value.status == 1
    assert told[-1].type == "quit" and reason in told[-1].properties["trax.reason"]


def test_the_command_by_pipe_and_by_port(image):
    words = [sys.executable, "-m", "metatrack", "vot", "--threads", "1"]
    environment = {**os.environ, "PYTHONPATH": str(Path(metatrack.__file__).parents[1])}
    text = "".join(format_message(*m) for m in (("initialize", [BOX]), ("frame", [image]), ("quit",)))
    done = subprocess.run(words, env=environment, input=text, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0 and [parse_message(line).type for line in done.stdout.splitlines()] == ["hello", "state"]
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(120)
        environment["TRAX_SOCKET"] = str(server.getsockname()[1])
        process = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True)
        connection, _ = server.accept()
        connection.settimeout(120)
        with connection, connection.makefile("rw") as stream:
            stream.write(text)
            stream.flush()
            assert [parse_message(line).type for line in stream] == ["hello", "state"]
        assert process.communicate(timeout=1200)[0] == "" and process.returncode == 0
