"""Every script in examples/, run as its docstring says, on the demo clip."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from metatrack.geometry import iou
from metatrack.video import open_source, read_boxes

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
BOX = "185,120,69,87"
FRAMES = 116  # of the demo clip


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, list[str]]]:
    """A folder with the clip in which all examples have run, and the lines that each printed."""
    folder = tmp_path_factory.mktemp("examples")
    with resources.as_file(resources.files("metatrack") / "assets" / "demo.mp4") as clip:
        shutil.copy(clip, folder / "clip.mp4")
    cases = {
        "track_a_video": ["clip.mp4", BOX],
        "write_video_and_table": ["clip.mp4", BOX, "tracked.mp4", "boxes.csv"],
        "several_targets": ["clip.mp4", BOX, "300,200,60,60"],
        "your_own_frames": [],
        "follow_with_a_robot": ["clip.mp4", BOX],
        "blur_a_target": ["clip.mp4", BOX, "blurred.mp4"],
    }
    assert set(cases) == {path.stem for path in EXAMPLES.glob("*.py")}
    lines = {}
    for name, words in cases.items():
        command = [sys.executable, str(EXAMPLES / f"{name}.py"), *words]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, encoding="utf-8", check=False)
        assert done.returncode == 0, f"{name}: {done.stderr}"
        lines[name] = done.stdout.splitlines()
    return folder, lines


def test_a_box_for_each_frame(outputs: tuple[Path, dict[str, list[str]]]) -> None:
    lines = outputs[1]["track_a_video"]
    assert [int(line.split(":")[0]) for line in lines] == list(range(1, FRAMES))


def test_video_and_table_agree(outputs: tuple[Path, dict[str, list[str]]]) -> None:
    folder, lines = outputs
    rows = read_boxes(folder / "boxes.csv")
    with open_source(folder / "tracked.mp4") as frames:
        assert sum(1 for _ in frames) == len(rows) == FRAMES
    first = np.array([float(value) for value in lines["track_a_video"][0].split()[1:5]])
    assert iou(first, rows[1].box) > 0.99


def test_targets_come_and_go(outputs: tuple[Path, dict[str, list[str]]]) -> None:
    ids = {line.split()[1] for line in outputs[1]["several_targets"]}
    assert ids == {"1", "2"}
    assert len(outputs[1]["several_targets"]) == 2 * 30 + FRAMES - 31  # the second is removed behind frame 30


def test_found_where_it_truly_is(outputs: tuple[Path, dict[str, list[str]]]) -> None:
    for line in outputs[1]["your_own_frames"]:
        words = line.replace(",", "").split()
        truth = (float(words[1]), float(words[2]), 40, 40)
        assert iou(truth, [float(value) for value in words[4:]]) > 0.7, line


def test_turns_towards_the_left(outputs: tuple[Path, dict[str, list[str]]]) -> None:
    lines = outputs[1]["follow_with_a_robot"]
    assert len(lines) == FRAMES - 1
    assert lines[0].startswith("turn -")  # the rabbit's head is left of the middle


def test_the_target_is_coarse_and_the_rest_is_not(outputs: tuple[Path, dict[str, list[str]]]) -> None:
    folder = outputs[0]
    with open_source(folder / "clip.mp4") as frames:
        before = next(frames).astype(int)
    with open_source(folder / "blurred.mp4") as frames:
        after = next(frames).astype(int)
    change = np.abs(before - after).mean(2)
    assert change[120:207, 185:254].mean() > 5 * change[:100, 300:].mean()
    inside = after[122:128, 187:192].reshape(-1, 3)  # one of 8x8 cells of 87 x 69 pixels
    assert inside.std(0).max() < 4
