"""Trackers that are programs, in any language: a process for each run, which is told of frames by path and answers with boxes.

A JSON file says how it is started (:class:`ProcessSettings`; of its fields, ``command`` alone must be there)::

    {"command": ["python3", "my_tracker.py"], "protocol": "lines", "env": {"DEVICE": "cpu"}, "folder": ".", "timeout_s": 60}

**lines** is for those who write the program's side by hand. It reads lines from its standard input and answers each of the first
two kinds with one line on its standard output, at once (flush it!)::

    init /path/of the/first frame.jpg 10.0 20.0 30.0 40.0     the path; then the target's x, y, w, h
    frame /path/of the/next frame.jpg                         the path: all the rest of the line
    quit                                                      no answer; nor is one needed at the end of the input

An answer is ``x y w h``, or ``x y w h score``, separated by blanks, commas or tabs; x and y are 0 at the corner of the first
pixel. Four ``nan`` say that the target was not found. The answer to ``init`` is not used. Standard error is the program's own.

**trax** is TraX, the protocol of the VOT challenges (:mod:`metatrack.compared.trax`): a tracker that takes part in them can be
run as it is. Versions 1 to 4; images by path; the target is stated as a rectangle if the tracker takes one, else as a polygon or
a mask. Answers of any form become the upright box around them; a property ``confidence`` is the score.

Whatever the process does, a run ends: it may be silent for ``timeout_s``, its children die with it, and both die with us.
"""

from __future__ import annotations

import math
import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from msgspec import Meta

from metatrack.compared.child import Child, Trouble
from metatrack.compared.trax import Message, format_box, format_image, format_message, parse_box, parse_message
from metatrack.data.numbers import MOST
from metatrack.geometry import Box, Image, check_box
from metatrack.images import write_image
from metatrack.typed import Text, Variable, read_json

Speech = Literal["lines", "trax"]
MOST_PATIENCE = 1e7
"""Seconds, at most, that an answer may take: the system's clocks know no infinity."""
IMAGE_FILES = (".jpg", ".jpeg", ".png")
"""Formats that a tracker may be expected to read (those that TraX names); frames in others are given as PNG."""


@dataclass(frozen=True)
class ProcessSettings:
    """How a tracker is started and spoken to, as its JSON file says."""

    command: Annotated[tuple[Text, ...], Meta(min_length=1)]
    """The program and its arguments. A program without a slash is looked for on the PATH, one with a slash from ``folder``."""
    protocol: Speech = "lines"
    """'lines' or 'trax'."""
    env: dict[Variable, Text] = field(default_factory=dict)
    """Variables of the environment, besides those that we have ourselves."""
    folder: Annotated[Text, Meta(min_length=1)] = "."
    """Where it runs, seen from the JSON file."""
    timeout_s: Annotated[float, Meta(gt=0, le=MOST_PATIENCE)] = 60.0
    """Seconds for one answer; the first includes the program's start."""


class ProcessError(RuntimeError):
    """The process has ended, is silent, or says what cannot be understood; its last words are in the message."""


class ProgramAnswer(NamedTuple):
    """What a tracker says about a frame."""

    box: Box
    """``x, y, w, h`` in pixels, 0-based; four NaN where it has not found the target."""
    score: float | None = None
    """The tracker's own, if it tells one."""


def read_settings(path: Path) -> ProcessSettings:
    """Reads a tracker's JSON file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not JSON, or a field is missing, unknown (the right one is suggested) or of the wrong kind.
    """
    try:
        return read_json(path, ProcessSettings)
    except ValueError as error:
        example = '{"command": ["python3", "my_tracker.py"], "protocol": "lines"}'
        raise ValueError(f"{error}; the description of a tracker looks like {example} (or trax)") from error


def find_program(settings: ProcessSettings, base: Path) -> str:
    """Path of the program that the command starts.

    Args:
        settings: whose command it is.
        base: folder of the JSON file.

    Raises:
        ValueError: there is no such program, or no such folder.
    """
    folder, program = (base / settings.folder).absolute(), settings.command[0]
    if not folder.is_dir():
        raise ValueError(f"cannot run {shlex.join(settings.command)}: {folder} is not a folder")
    bare = os.path.basename(program) == program
    search = settings.env.get("PATH", os.environ.get("PATH"))
    found = shutil.which(program, path=search) if bare else shutil.which(str(folder / program))
    if found is None:
        where = "on the PATH" if bare else f"as a program at {folder / program}"
        beside = f"; one beside the JSON file is ./{program}" if bare and (folder / program).is_file() else ""
        raise ValueError(f"cannot run {shlex.join(settings.command)}: {program!r} is not there {where}{beside}")
    return os.path.abspath(found)


class ProcessTracker:
    """A tracker in a process of its own, which :meth:`init` starts and :meth:`close` ends; also a context manager.

    Args:
        settings: how it is started.
        base: the folder from which ``settings.folder`` is seen.

    Raises:
        ValueError: there is no such program.
    """

    def __init__(self, settings: ProcessSettings, base: Path = Path()) -> None:
        self.settings, self.base = settings, Path(base)
        find_program(settings, self.base)
        self._talk: _Lines | _Trax | None = None
        self._file: Path | None = None
        self._frame = 0

    def next_file(self, path: Path) -> None:
        """Names the file that holds the frame of the next call, so that it need not be written."""
        self._file = Path(path)

    def init(self, frame: Image, box: Sequence[float]) -> None:
        """Starts a new process on a target; an earlier one is ended.

        Args:
            frame: ``(H, W, 3)`` uint8 RGB.
            box: ``x, y, w, h``, 0-based.

        Raises:
            ProcessError: it does not start, or does not answer as it must.
            ValueError: the box has no area or lies outside the frame.
        """
        self.close()
        target = check_box(box, (frame.shape[0], frame.shape[1]))
        self._frame = 0
        try:
            folder = (self.base / self.settings.folder).absolute()
            words = [find_program(self.settings, self.base), *self.settings.command[1:]]
            child = Child(words, folder, {**os.environ, **self.settings.env})
        except OSError as error:
            raise ProcessError(f"{shlex.join(self.settings.command)} does not start: {error}") from error
        self._talk = _Trax(child) if self.settings.protocol == "trax" else _Lines(child)
        self._ask(frame, lambda talk, path: talk.begin(path, target))

    def update(self, frame: Image) -> ProgramAnswer:
        """Asks for the target in the next frame, ``(H, W, 3)`` uint8 RGB.

        Raises:
            RuntimeError: :meth:`init` has not been called, or the process has failed since.
            ProcessError: the process ends, is silent for too long, or answers what cannot be understood.
        """
        self._frame += 1
        return self._ask(frame, lambda talk, path: talk.next(path))

    def close(self) -> None:
        """Tells the process to end, and waits until it and its children have."""
        talk, self._talk = self._talk, None
        if talk is not None:
            talk.child.end(talk.farewell)

    def __enter__(self) -> ProcessTracker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, frame: Image, question: Callable[[_Lines | _Trax, str], ProgramAnswer]) -> ProgramAnswer:
        """Puts a question about a frame; a process that does not answer it is ended."""
        file, self._file = self._file, None
        if self._talk is None:
            raise RuntimeError("update() before init(): give the target's box in its first frame first")
        talk = self._talk
        talk.child.wait_for(self.settings.timeout_s)
        try:
            with _file_of(frame, file, self._frame, talk.unspeakable) as path:
                return question(talk, path)
        except Trouble as trouble:
            self._talk = None
            reason = f"{shlex.join(self.settings.command)} {trouble} (frame {self._frame} of its run)"
            raise ProcessError(talk.child.obituary(reason)) from None


@contextmanager
def _file_of(frame: Image, file: Path | None, number: int, unspeakable: re.Pattern[str]) -> Iterator[str]:
    """Absolute path of a file that holds the frame; one is written where there is none that every tracker can read."""
    if file is not None and file.suffix.lower() in IMAGE_FILES and not unspeakable.search(path := os.path.abspath(file)):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="metatrack-") as folder:
        path = os.path.join(folder, f"{number:08d}.png")
        # Little compression: it would take longer than most trackers.
        try:
            write_image(path, frame, compress_level=1)
        except OSError as error:
            raise OSError(f"cannot write {path} ({error}); is there room in {tempfile.gettempdir()}?") from error
        yield path


def parse_answer(line: str) -> ProgramAnswer:
    """An answer of the line protocol: ``x y w h``, or ``x y w h score``.

    >>> parse_answer("1, 2, 3, 4 0.5")
    ProgramAnswer(box=Box(x=1.0, y=2.0, w=3.0, h=4.0), score=0.5)

    Raises:
        ValueError: it is neither, or its box lies beyond any image.
    """
    numbers = [float(word) for word in re.split(r"[\s,]+", line.strip())]
    if len(numbers) not in (4, 5) or any(abs(number) > MOST for number in numbers[:4]):
        raise ValueError(f"{line.strip()[:200]!r} is not x y w h, or x y w h score")
    return _answered(Box(*numbers[:4]), *numbers[4:])


def _answered(box: Box, score: float | None = None) -> ProgramAnswer:
    """An answer: a box that is not whole is none, and a score that is not finite is none."""
    if any(math.isnan(number) for number in box):
        box = Box(math.nan, math.nan, math.nan, math.nan)
    return ProgramAnswer(box, score if score is not None and math.isfinite(score) else None)


class _Lines:
    """Our own protocol."""

    farewell = "quit\n"
    unspeakable = re.compile(r"[\r\n]")
    """What a path must not hold."""

    def __init__(self, child: Child) -> None:
        self.child = child

    def begin(self, path: str, box: Box) -> ProgramAnswer:
        return self._answer(f"init {path} {' '.join(repr(float(value)) for value in box)}\n")

    def next(self, path: str) -> ProgramAnswer:
        return self._answer(f"frame {path}\n")

    def _answer(self, question: str) -> ProgramAnswer:
        for line in self.child.unasked():
            raise Trouble(f"says {_short(line)} without being asked; standard output is for answers alone, one for each frame")
        self.child.say(question)
        line = self.child.hear()
        try:
            return parse_answer(line)
        except ValueError:
            raise Trouble(f"answers {_short(line)}, which is not x y w h, or x y w h score") from None


class _Trax:
    """The client's side of TraX."""

    farewell = format_message("quit")
    # The reference implementation (vot-trax 4.0.2) takes a byte above 127 for the end of its input.
    unspeakable = re.compile(r"[\r\n]|[^\x00-\x7f]")

    def __init__(self, child: Child) -> None:
        self.child = child
        self._version = 0

    def begin(self, path: str, box: Box) -> ProgramAnswer:
        hello = self._hear("hello").properties
        version = hello.get("trax.version", "1")
        if version not in ("1", "2", "3", "4"):
            raise Trouble(f"speaks version {version} of TraX; 1 to 4 are understood here")
        images, channels = _listed(hello, "trax.image", "path"), _listed(hello, "trax.channels", "color")
        if "path" not in images:
            raise Trouble(f"takes images as {', '.join(images)} alone; only by path are they given here")
        if channels not in ([], ["color"]):
            raise Trouble(f"wants the channels {', '.join(channels)}; only color is there")
        self._version = int(version)
        region = _region(box, _listed(hello, "trax.region", "rectangle"))
        if self._version < 4:
            return self._answer(format_message("initialize", [format_image(path), region]))
        self.child.say(format_message("initialize", [region]))
        return self.next(path)

    def next(self, path: str) -> ProgramAnswer:
        return self._answer(format_message("frame", [format_image(path)]))

    def _answer(self, question: str) -> ProgramAnswer:
        for line in self.child.unasked():
            message = _message(line)
            if message is not None:
                raise Trouble(f"says {message.type!r} without being asked: {_short(line)}")
        self.child.say(question)
        state = self._hear("state")
        try:
            (region,) = state.arguments
            box = parse_box(region)
        except ValueError:
            raise Trouble(f"answers {_short(' '.join(state.arguments))}, which is no region") from None
        try:
            return _answered(box, float(state.properties["confidence"]))
        except (KeyError, ValueError):
            return _answered(box)

    def _hear(self, kind: str) -> Message:
        """The next message, whatever else is printed before it."""
        while True:
            message = _message(self.child.hear())
            if message is None:
                continue
            if message.type == "quit":
                raise Trouble(f"has quit: {message.properties.get('trax.reason', 'it does not say why')}")
            if message.type != kind:
                raise Trouble(f"says {message.type!r} where {kind!r} is to come")
            return message


def _message(line: str) -> Message | None:
    try:
        return parse_message(line)
    except ValueError as error:
        raise Trouble(f"says what is no message: {error}") from None


def _listed(hello: Mapping[str, str], key: str, default: str) -> list[str]:
    """A property such as ``path;memory;``."""
    return [word for word in re.split(r"[;,\s]+", hello.get(key, default)) if word]


def _region(box: Box, forms: list[str]) -> str:
    """A box in the simplest of the forms that a tracker takes."""
    x, y, w, h = box
    if "rectangle" in forms or not forms:
        return format_box(box)
    if "polygon" in forms:
        return format_box((x, y, x + w, y, x + w, y + h, x, y + h))
    if "mask" in forms:
        left, top = round(x), round(y)
        width, height = max(round(x + w) - left, 1), max(round(y + h) - top, 1)
        return f"mask:{left},{top},{width},{height},0,{width * height}"
    raise Trouble(f"takes regions as {', '.join(forms)} alone; only rectangle, polygon and mask are given here")


def _short(text: str) -> str:
    """A line for a message."""
    return repr(text.strip() if len(text) < 100 else f"{text[:100]} ...")
