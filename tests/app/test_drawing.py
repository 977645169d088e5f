"""Ways to a first box for who has none: the page that ``metatrack track`` opens, and a window of OpenCV's."""

from __future__ import annotations

import os
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from metatrack.geometry import iou
from metatrack.video import read_boxes
from tests.app.test_cli import ENVIRONMENT
from tests.conftest import Scene
from tests.web.conftest import write_clip

pty = pytest.importorskip("pty", reason="a terminal of our own needs a Unix")
httpx = pytest.importorskip("httpx2", reason="stands in for the browser")


class Terminal:
    """What a command says on a terminal of ours; what is read beyond a pattern is kept for the next one."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor, self.seen = descriptor, ""

    def until(self, pattern: str) -> re.Match[str]:
        """What the command says, up to a pattern."""
        end = time.monotonic() + 120
        while not (found := re.search(pattern, self.seen)):
            there, _, _ = select.select([self.descriptor], [], [], max(0.0, end - time.monotonic()))
            assert there and time.monotonic() < end, f"{pattern!r} not within 120 s: {self.seen!r}"
            said = b""
            with suppress(OSError):  # the command has ended, which other systems say by saying nothing
                said = os.read(self.descriptor, 4096)
            assert said, f"{pattern!r} is not in {self.seen!r}"
            self.seen += said.decode(errors="replace")
        self.seen = self.seen[found.end() :]
        return found


@pytest.mark.parametrize("draws", [True, False])
def test_track_without_a_box_takes_what_is_drawn_on_the_page(draws: bool, tmp_path: Path) -> None:
    clip, scene = write_clip(tmp_path / "clip.mp4", 20), Scene()
    ours, theirs = pty.openpty()
    terminal = Terminal(ours)
    environment = {**ENVIRONMENT, "DISPLAY": ":99", "BROWSER": "true", "XDG_DATA_HOME": str(tmp_path), "HOME": str(tmp_path)}
    command = [sys.executable, "-m", "metatrack", "track", str(clip), "--boxes", "boxes.csv", "--video", "tracked.mp4"]
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    try:
        address = terminal.until(r"(http://127\.0\.0\.1:\d+)/\?token=\S+?project=([0-9a-f]{16})")
        with httpx.Client(base_url=address[1], follow_redirects=True, timeout=60) as browser:
            assert browser.get(address[0]).status_code == 200
            if draws:
                box = dict(zip("xywh", scene.box(3)))
                answer = browser.post(f"/api/projects/{address[2]}/targets", json={"frame": 3, "box": box})
                assert answer.status_code == 201
        terminal.until("Ctrl-C ends the server")
        process.send_signal(2)
        if draws:
            terminal.until(r"1 box of 1 target in frame 3 \(drawn on the page\)")
            terminal.until(r"next ")
        else:
            terminal.until("no box was drawn on")
        assert process.wait(60) == (0 if draws else 2)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert (tmp_path / "tracked.mp4").exists() == draws
    if draws:
        rows = {row.frame: row.box for row in read_boxes(tmp_path / "boxes.csv")}
        assert sorted(rows) == list(range(3, 20)) and iou(rows[19], scene.box(19)) > 0.6


def windows_of_opencv() -> bool:
    import cv2

    found = re.search(r"GUI:\s+(\S+)", cv2.getBuildInformation())
    return found is not None and found[1] != "NONE"


@pytest.fixture
def display() -> Iterator[str]:
    """A screen that nobody sees."""
    if not (shutil.which("Xvfb") and shutil.which("xdotool")):
        pytest.skip("needs a screen and a hand: apt-get install xvfb xdotool")
    if not windows_of_opencv():
        pytest.skip("needs an OpenCV with windows: pip install opencv-python in place of the headless one")
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", "1", "-screen", "0", "1000x800x24", "-nolisten", "tcp"], stdout=subprocess.PIPE, text=True
    )
    yield f":{server.stdout.readline().strip()}"
    server.terminate()
    server.wait()


def test_pick_in_a_window(display: str, tmp_path: Path) -> None:
    """A person drags a box in OpenCV's window, Enter takes it, Esc ends."""
    clip, scene = write_clip(tmp_path / "clip.mp4", 8), Scene()
    import cv2

    paths = os.pathsep.join([str(Path(cv2.__file__).parents[1]), ENVIRONMENT.get("PYTHONPATH", "")])  # this OpenCV, not another
    environment = {**ENVIRONMENT, "DISPLAY": display, "QT_QPA_PLATFORM": "xcb", "PYTHONPATH": paths}
    command = [sys.executable, "-m", "metatrack", "track", str(clip), "--box", "pick", "--boxes", str(tmp_path / "boxes.csv")]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def hand(*words: object) -> str:
        return subprocess.run(["xdotool", *map(str, words)], env=environment, capture_output=True, text=True, check=False).stdout

    try:
        window = ""
        end = time.monotonic() + 120
        while not window and process.poll() is None and time.monotonic() < end:
            window = hand("search", "--name", "drag a box").strip()
            time.sleep(0.2)
        assert window, "no window opens"
        x, y, w, h = map(round, scene.box(0))
        window = window.splitlines()[0]
        hand("windowfocus", "--sync", window)  # there is no window manager
        hand("mousemove", "--window", window, x, y)
        time.sleep(0.5)  # a window that is busy takes what it is told later for where the pointer was
        hand("mousedown", 1)
        for part in (0.3, 0.7, 1.0):
            time.sleep(0.5)
            hand("mousemove", "--window", window, round(x + part * w), round(y + part * h))
        time.sleep(0.5)
        hand("mouseup", 1)
        time.sleep(0.5)
        hand("key", "Return")
        time.sleep(0.5)
        hand("key", "Escape")
        assert process.wait(120) == 0, process.stdout.read()
    finally:
        process.kill()
        process.wait()
    (first, *_) = read_boxes(tmp_path / "boxes.csv")
    assert (first.box.w, first.box.h) == pytest.approx((w, h), abs=8)  # it may still be late
    assert 0 <= x - first.box.x < 80 and 0 <= y - first.box.y < 80, "the window has bars around the picture"
