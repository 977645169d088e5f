"""Trackers that are programs of a few lines, and how they fail."""

from __future__ import annotations

import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metatrack.compared.process import ProcessError, ProcessSettings, ProcessTracker

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals and process groups")
FRAME = np.zeros((40, 60, 3), np.uint8)
BOX = (0.0, 5.0, 10.0, 10.0)

LINES = """
    import sys
    from pathlib import Path

    for line in sys.stdin:
        word, _, rest = line.rstrip("\\n").partition(" ")
        if word == "quit":
            break
        if word == "init":
            path, x, y, w, h = rest.rsplit(" ", 4)
        else:
            path = rest
        assert Path(path).is_file(), path
        print(2 * int(Path(path).stem), y, w, h, flush=True)
    """
"""A tracker in ten lines: it knows that frame k of the sequences is named k, and has its target at x = 2 k."""


def program(folder: Path, code: str, *arguments: str, **fields: Any) -> ProcessTracker:
    """A tracker that runs Python code."""
    (folder / "tracker.py").write_text(textwrap.dedent(code), encoding="utf-8")
    return ProcessTracker(ProcessSettings((sys.executable, "tracker.py", *arguments), **fields), folder)


def failure(tracker: ProcessTracker, frames: int = 2) -> str:
    """What a tracker's error says."""
    with pytest.raises(ProcessError) as caught:
        tracker.init(FRAME, BOX)
        for _ in range(frames):
            tracker.update(FRAME)
    with pytest.raises(RuntimeError, match="before init"):
        tracker.update(FRAME)
    return str(caught.value)


def wait_for(condition, seconds: float = 600) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.01)


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
