"""A first box for who has none: drawn on the page, in a window of OpenCV's, or read off a grid."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import webbrowser
from importlib.util import find_spec
from pathlib import Path

from metatrack.app.problem import Problem
from metatrack.app.window import NO_WINDOWS
from metatrack.geometry import Box, Image
from metatrack.images import encode_image
from metatrack.opencv import require_opencv
from metatrack.video.source import scheme_of

PICK = "pick"  # in place of a box's numbers: draw it in a window


def has_display() -> bool:
    """Whether a window can be opened."""
    return not sys.platform.startswith("linux") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def has_browser() -> bool:
    """Whether a browser with a window can be opened here."""
    if not has_display():
        return False
    try:
        webbrowser.get()
    except webbrowser.Error:
        return False
    return True


def page_for(source: str) -> bool:
    """Whether a person without a box is best shown the page: there is a terminal, a browser, a video here, and the extra app."""
    terminal = all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr))
    local = scheme_of(source) is None and Path(source).exists()
    return terminal and local and has_browser() and all(find_spec(name) for name in ("fastapi", "uvicorn"))


def draw_in_window(frame: Image, name: str) -> list[Box]:
    """Boxes drawn in a window; Enter or Space takes each, Esc ends.

    Args:
        frame: RGB ``(H, W, 3)``.
        name: of the video, for the window's title.

    Raises:
        Problem: there is no display, no OpenCV with windows, or nothing was drawn.
    """
    other = "draw it on a page instead (metatrack app), or read it off a grid (metatrack frame)"
    if not has_display():
        raise Problem(f"--box pick needs a display, and there is none (DISPLAY is not set); {other}")
    try:
        require_opencv("--box pick")
    except ModuleNotFoundError as error:
        raise Problem(f"{error}; or {other}") from error
    title = f"{name}: drag a box, Enter takes it, Esc ends"
    paths = [str(Path(__file__).resolve().parents[2]), *filter(None, sys.path)]
    window = subprocess.run(  # noqa: S603 - a module of ours
        [sys.executable, "-m", "metatrack.app.window", title],
        input=encode_image(frame, ".png", compress_level=1),
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        check=False,
    )
    if window.returncode == NO_WINDOWS:
        raise Problem(f"--box pick needs an OpenCV with windows, and this one (headless) has none; {other}")
    if window.returncode != 0:
        raise Problem(f"the window of --box pick ended with an error (above); {other}")
    said = window.stdout.decode().strip().splitlines()  # OpenCV says how it is used before that
    boxes = [Box(*box) for box in json.loads(said[-1]) if box[2] > 0 and box[3] > 0]
    if not boxes:
        raise Problem("no box was drawn; drag one in the window, and press Enter, then Esc")
    return boxes
