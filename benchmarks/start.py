"""What a user waits for before the first box, and the memory that a tracker needs, each in fresh processes."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from dataclasses import asdict
from typing import Any

from benchmarks.contenders import Contender, contenders
from benchmarks.fps import in_turn
from benchmarks.options import Options
from benchmarks.page import ABSENT, Section, Table, median, number, spread
from benchmarks.processes import child
from metatrack.app.demo import demo_clip

IMPORTS = {
    "import metatrack": "import metatrack",
    "from metatrack import Tracker": "from metatrack import Tracker",
    "import numpy": "import numpy",
    "import onnxruntime": "import onnxruntime",
    "import cv2": "import cv2",
    "import torch": "import torch",
}
TIMED = "import time, json; begin = time.perf_counter(); {}; print(json.dumps({{'seconds': time.perf_counter() - begin}}))"
FRAMES = 30
"""Frames after the first box in which the memory may grow to its size."""


def measure(options: Options) -> Section:
    """Imports, and all contenders."""
    return Section(
        "Start and memory",
        [
            "Fresh processes, whose files the system has read before. An import's time does not count Python's own start.",
            imports(options),
            "From the start of the process to the first box: Python, imports, model, the clip opened, `init` and one `update`."
            f" Memory is the process's peak, Python and decoding included, at most {FRAMES} frames later.",
            first_boxes(options),
        ],
    )


def imports(options: Options) -> Table:
    """Seconds of each statement."""
    seconds: dict[str, list[float]] = defaultdict(list)
    for n in range(-1, options.rounds):  # the first brings the files into the system's memory
        for name, statement in in_turn(list(IMPORTS.items()), max(n, 0)):
            try:
                found = child(["-c", TIMED.format(statement)])["seconds"]
            except RuntimeError:  # not installed
                continue
            if n >= 0:
                seconds[name].append(found)
    rows = [
        (name, number(1000 * median(seconds[name])), spread([1000 * s for s in seconds[name]]))
        if seconds[name]
        else (name, ABSENT, "not installed")
        for name in IMPORTS
    ]
    return Table(("statement", "ms", "quartiles"), rows)


def first_boxes(options: Options) -> Table:
    """Seconds to the first box, and memory, of each contender."""
    entered = contenders(options)
    seconds: dict[str, list[float]] = defaultdict(list)
    peaks: dict[str, list[float]] = defaultdict(list)
    refused: dict[str, str] = {}
    for n in range(-1, options.rounds):
        for contender in in_turn(entered, max(n, 0)):
            if contender.name in refused:
                continue
            begin = time.time()
            try:
                answer = start(contender, options)
            except RuntimeError as error:
                answer = {"reason": f"not run: {error}"}
            if "reason" in answer:
                refused[contender.name] = str(answer["reason"])
            elif n >= 0:
                seconds[contender.name].append(answer["time"] - begin)
                peaks[contender.name].append(answer["peak"])
    rows = []
    for contender in entered:
        name = contender.name
        if name in refused:
            rows.append((name, ABSENT, ABSENT, ABSENT, refused[name]))
        else:
            memory = number(median(peaks[name]))
            rows.append((name, number(median(seconds[name])), spread(seconds[name]), memory, contender.note))
    return Table(("tracker", "s to the first box", "quartiles", "peak memory, MiB", "note"), rows)


def start(contender: Contender, options: Options) -> dict[str, Any]:
    """One start."""
    with demo_clip() as (clip, labels):
        what = {"contender": asdict(contender), "threads": options.thread_count, "clip": str(clip), "box": labels[0].box}
        return child(["-m", "benchmarks.first_box", json.dumps({**what, "frames": min(FRAMES, options.frames)})])
