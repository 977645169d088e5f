"""``metatrack track``: what is needed is made once, and what was given is read once."""

from __future__ import annotations

from importlib import resources

import pytest

from metatrack import MultiTracker, open_source
from metatrack.app import demo as demo_command
from metatrack.app import track as track_command
from metatrack.app.demo import DemoOptions
from metatrack.app.track import TrackOptions, track
from metatrack.geometry import Box

DEMO = resources.files("metatrack") / "assets" / "demo.mp4"


def counted(monkeypatch: pytest.MonkeyPatch, module: object, name: str) -> list[object]:
    """Calls of what a module knows by this name."""
    calls: list[object] = []
    original = getattr(module, name)

    def call(*arguments: object) -> object:
        calls.append(arguments)
        return original(*arguments)

    monkeypatch.setattr(module, name, call)
    return calls


def test_one_tracker_and_each_box_read_once(monkeypatch, tmp_path):
    trackers, boxes = counted(monkeypatch, track_command, "MultiTracker"), counted(monkeypatch, track_command, "parse_box")
    options = TrackOptions(str(DEMO), ("185,120,69,87", "80,125,50,50"), end=3, threads=1, boxes=str(tmp_path / "boxes.csv"))
    assert track_command.run(options) == 0
    assert len(trackers) == 1 and len(boxes) == 2
    assert len((tmp_path / "boxes.csv").read_text().splitlines()) == 1 + 2 * 3


def test_the_demo_too(monkeypatch, tmp_path):
    trackers = counted(monkeypatch, demo_command, "MultiTracker")
    assert demo_command.run(DemoOptions(tmp_path)) == 0
    assert len(trackers) == 1


def test_the_targets_stay_with_the_tracker_that_was_given():
    tracker = MultiTracker("lite", threads=1)
    with open_source(str(DEMO), end=3) as source:
        summary = track(tracker, source, Box(185, 120, 69, 87))
    assert summary.frames == 3 and tracker.targets == (1,)
