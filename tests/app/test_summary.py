"""What ``metatrack track`` says at its end: to a person, to a program, and to nobody."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import pytest

from metatrack.app.progress import TrackingProgress
from metatrack.app.track import Summary, TrackOptions, next_step
from metatrack.cli import main
from metatrack.geometry import Box
from metatrack.tracking.tracker import Result
from metatrack.video import SourceError

CLIP = str(resources.files("metatrack") / "assets" / "demo.mp4")
TRACK = ["track", CLIP, "--box", "185,120,69,87", "--end", "6", "--no-adapt", "--threads", "1"]


def test_for_a_program(tmp_path, capsys) -> None:
    table = str(tmp_path / "boxes.csv")
    assert main([*TRACK, "--json", "--quiet", "--boxes", table]) == 0
    out, err = capsys.readouterr()
    summary = json.loads(out)
    assert err == "" and summary["frames"] == 6 and summary["lost"] == {"1": []} and summary["files"] == [["boxes", table]]
    assert summary["exit_code"] == 0 and summary["error"] is None and summary["fps"] > 0


def test_quiet_still_says_errors(tmp_path, capsys) -> None:
    cut = tmp_path / "cut.mp4"
    whole = Path(CLIP).read_bytes()
    cut.write_bytes(whole[: len(whole) // 2])
    status = main(["track", str(cut), "--box", "185,120,69,87", "--quiet", "--threads", "1"])
    out, err = capsys.readouterr()
    assert status in (1, 2) and out == "" and err.startswith("error: ") and err.count("\n") == 1


def test_two_things_on_standard_output(capsys) -> None:
    assert main([*TRACK, "--json", "--boxes", "-"]) == 2
    assert "--json and --boxes - both write to standard output" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("summary", "options", "words"),
    [
        (Summary(9, lost={1: [5, 6], 2: [3]}), {}, "lost first in frame 3: say where it is there, with --correct 3:ID:x,y,w,h"),
        (Summary(9, lost={1: []}), {"video": Path("t.mp4")}, "look at t.mp4"),
        (Summary(9, lost={1: []}), {"boxes": "b.csv"}, "metatrack batch"),
        (Summary(9, lost={1: []}), {}, "--boxes boxes.csv"),
        (Summary(9, lost={1: []}, signal=2), {"start": 10}, "--start 18"),
        (Summary(9, lost={1: [3]}, failure=SourceError("damaged")), {}, "--start 8"),
    ],
)
def test_what_to_do_next(summary, options, words) -> None:
    assert words in next_step(summary, TrackOptions(source="clip.mp4", **options))


def test_lines_tell_speed_score_losses_and_time_left(capsys, monkeypatch) -> None:
    monkeypatch.setattr("metatrack.app.progress.time.monotonic", lambda: 0.0)
    with TrackingProgress("clip", 10) as progress:
        progress._next_line = 0.0
        progress.step({1: Result(Box(0, 0, 1, 1), 0.25, True)})
    line = capsys.readouterr().err
    assert line.startswith("frame 1 of 10  ") and "fps  LOST 0.25  lost in 1  0:0" in line and line.endswith(" left\n")
