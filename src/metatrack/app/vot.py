"""``metatrack vot``: the tracker as VOT's toolkit runs it, a process that speaks TraX (set-up: docs/evaluation.md)."""

from __future__ import annotations

import io
import os
import socket
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TextIO

from metatrack import __version__
from metatrack.app.problem import INCOMPLETE, Problem, user_input
from metatrack.app.track import ModelName
from metatrack.compared.trax import format_box, format_message, parse_box, parse_image, parse_message
from metatrack.frames import as_rgb
from metatrack.images import read_image
from metatrack.tracking.tracker import Tracker


@dataclass(frozen=True)
class VotOptions:
    """Tracks what VOT's toolkit, or any other program that speaks TraX, asks for: images by path, one target, answers as boxes.

    The toolkit starts this command itself, in a folder of its own: put it into trackers.ini (docs/evaluation.md shows how) with
    absolute paths. It talks through standard input and output, or the port on this machine that TRAX_SOCKET names.
    """

    model: ModelName = "lite"
    """Shipped model (see metatrack models), or folder of a bundle."""
    adapt: bool = True
    """Let the meta-learner adapt the model to the target while it tracks."""
    threads: int = 0
    """Threads of the networks; 0 is one for each core that the process may use."""


def run(options: VotOptions) -> int:
    """Runs the command; returns the exit code."""
    port = os.environ.get("TRAX_SOCKET", "")
    if not port and sys.stdin.isatty():
        raise Problem("metatrack vot is started by VOT's toolkit, not by hand; docs/evaluation.md shows the trackers.ini for it")
    with user_input():
        tracker = Tracker(options.model, options.adapt, threads=options.threads)
    with _streams(port) as (lines, out):

        def say(line: str) -> None:
            out.write(line)
            out.flush()

        serve(tracker, lines, say)
    return 0


def serve(tracker: Tracker, lines: Iterable[str], say: Callable[[str], None]) -> None:
    """Answers one client until it quits or its lines end.

    Args:
        tracker: is initialised as often as the client wishes.
        lines: what the client sends; lines that are no messages are skipped.
        say: sends a line.

    Raises:
        Problem: a message cannot be read, an image or the first box cannot be used, or two targets are to be followed at once.
            The client has been told.
    """
    about = {"trax.version": 4, "trax.name": "metatrack", "trax.description": f"metatrack {__version__}, {tracker.model.name}"}
    say(format_message("hello", (), {**about, "trax.image": "path;", "trax.region": "rectangle;", "trax.channels": "color;"}))
    started, target = False, None
    try:
        for line in lines:
            message = parse_message(line)
            if message is None:
                continue
            if message.type == "quit":
                return
            if message.type == "initialize":
                if target is not None:
                    raise ValueError("a second target was given; this tracker follows one: run it once for each")
                started = False
                target = parse_box(message.arguments[-1]) if message.arguments else None
                if len(message.arguments) < 2:  # the frame comes in a message of its own (version 4)
                    continue
            elif message.type != "frame" or len(message.arguments) != 1 or not (started or target):
                raise ValueError(f"{line.strip()[:200]!r} was not expected here")
            frame = as_rgb(read_image(parse_image(message.arguments[0]), upright=False))
            if target is not None:
                tracker.init(frame, target)
            box, score, _ = tracker.update(frame) if target is None else (target, 1.0, False)
            say(format_message("state", [format_box(box)], {"confidence": score}))
            started, target = True, None
    except (ValueError, OSError) as error:
        say(format_message("quit", (), {"trax.reason": error}))
        raise Problem(str(error), INCOMPLETE) from error


@contextmanager
def _streams(port: str) -> Iterator[tuple[TextIO, TextIO]]:
    """The client's lines, and where it reads ours."""
    if port:
        with user_input():
            connection = socket.create_connection(("127.0.0.1", int(port)))
        with connection, _text(connection.makefile("rb")) as lines, _text(connection.makefile("wb")) as out:
            yield lines, out
        return
    # What anything else prints, native code included, must not end up in the middle of a message.
    with _text(open(os.dup(0), "rb")) as lines, _text(open(os.dup(1), "wb")) as out:
        os.dup2(2, 1)
        yield lines, out


def _text(stream: IO[bytes]) -> TextIO:
    # A path is bytes to the system: one that is not UTF-8 comes back as it was. A carriage return may be part of it.
    return io.TextIOWrapper(stream, encoding="utf-8", errors="surrogateescape", newline="\n")
