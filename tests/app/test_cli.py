"""The command line as a contract: exit codes, tables, interrupted and damaged runs. Every run is a process of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

import metatrack
from metatrack.cli import COMMANDS
from metatrack.geometry import iou
from metatrack.video import SourceError, open_source, read_boxes
from metatrack.video.overlay import color_of
from tests.conftest import REPOSITORY

DEMO = Path(metatrack.__file__).parent / "assets" / "demo.mp4"
BOX = "185,120,69,87"
MODEL = os.environ.get("METATRACK_TEST_MODEL", "lite")
"""The shipped model; the variable names another one, for instance while it is being made."""
SOURCE = str(Path(metatrack.__file__).parents[1])  # the package under test, from whatever folder a test runs it
ENVIRONMENT = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1", "PYTHONPATH": SOURCE}


def run(*words: str | Path, cwd: Path | None = None, timeout: float = 1200) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "metatrack", *map(str, words)]
    return subprocess.run(command, cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, timeout=timeout, check=False)


def python(code: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=1200, check=False)


def count_frames(path: Path) -> int:
    with open_source(path) as source:
        return sum(1 for _ in source)


def test_overview_names_every_command() -> None:
    done = run("--help")
    assert done.returncode == 0
    for name, command in COMMANDS.items():
        assert f"  {name} " in done.stdout
        assert command.help in done.stdout
    assert run().returncode == 2


def test_version() -> None:
    assert run("--version").stdout == f"metatrack {metatrack.__version__}\n"


@pytest.mark.parametrize("command", [name for name, c in COMMANDS.items() if c.extra is None or name.startswith("data")])
def test_help_of(command: str) -> None:
    done = run(*command.split(), "--help")
    assert done.returncode == 0
    assert f"usage: metatrack {command}" in done.stdout


def test_help_of_training_has_every_field() -> None:
    pytest.importorskip("torch")
    done = run("train", "matching", "--help")
    assert done.returncode == 0
    for option in ("--mix", "--val-mix", "--trunk", "--scale-weight", "--balanced", "--iterations"):
        assert option in done.stdout


def test_track_writes_table_and_video(tmp_path: Path) -> None:
    table, video = tmp_path / "boxes.csv", tmp_path / "out.mp4"
    done = run("track", DEMO, "--box", BOX, "--end", "12", "--boxes", table, "--video", video, "--model", MODEL)
    assert done.returncode == 0, done.stderr
    lines = table.read_text().splitlines()
    assert lines[0] == "frame,x,y,w,h,score,lost"
    assert lines[1] == "0,185.000,120.000,69.000,87.000,1.0000,0"
    rows = read_boxes(table)
    assert [row.frame for row in rows] == list(range(12))
    assert all(0 <= row.score <= 1 for row in rows)
    assert count_frames(video) == 12
    assert "tracked  12 frames of demo.mp4 (640x360)" in done.stderr
    assert "fps tracking alone" in done.stderr
    assert str(table) in done.stderr and str(video) in done.stderr
    assert not done.stdout


def test_start_and_end_count_from_zero(tmp_path: Path) -> None:
    table = tmp_path / "boxes.csv"
    done = run("track", DEMO, "--box", BOX, "--start", "5", "--end", "9", "--boxes", table, "--model", MODEL)
    assert done.returncode == 0, done.stderr
    rows = read_boxes(table)
    assert [row.frame for row in rows] == [5, 6, 7, 8]
    assert rows[0].box == (185, 120, 69, 87)


def test_table_on_standard_output_is_all_that_is_there() -> None:
    forms = [["--box", BOX], ["--box", "185", "120,", "69", "87"], ["--box=185 120 69 87"]]
    outputs = [run("track", *form, DEMO, "--end", "3", "--boxes", "-", "--model", MODEL).stdout for form in forms]
    lines = outputs[0].splitlines()
    assert lines[:2] == ["frame,x,y,w,h,score,lost", "0,185.000,120.000,69.000,87.000,1.0000,0"]
    assert len(lines) == 4
    assert outputs == [outputs[0]] * 3


def test_no_adapt_is_no_error(tmp_path: Path) -> None:
    done = run("track", DEMO, "--box", BOX, "--end", "3", "--no-adapt", "--model", MODEL)
    assert done.returncode == 0
    assert "not adapting" in done.stderr


ROCKS, HAND = "395,137,177,75", "250,200,40,40"
"""Of the demo clip: one stands still, the other's is of frame 20, of the rabbit's hand that soon rises, and is lost."""


def test_several_targets_have_ids_and_colours(tmp_path: Path) -> None:
    table, video, alone = tmp_path / "boxes.csv", tmp_path / "out.mp4", tmp_path / "alone.csv"
    words = ["--end", "6", "--model", MODEL]
    done = run("track", DEMO, "--box", BOX, "--box", "395", "137,", "177", "75", "--boxes", table, "--video", video, *words)
    assert done.returncode == 0, done.stderr
    lines = table.read_text().splitlines()
    assert lines[:3] == [
        "frame,id,x,y,w,h,score,lost",
        "0,1,185.000,120.000,69.000,87.000,1.0000,0",
        "0,2,395.000,137.000,177.000,75.000,1.0000,0",
    ]
    rows = read_boxes(table)
    assert [(row.frame, row.target) for row in rows] == [(frame, target) for frame in range(6) for target in (1, 2)]
    assert "tracked  2 targets in 6 frames of demo.mp4 (640x360)" in done.stderr
    assert "lost     never" in done.stderr
    run("track", DEMO, "--box", BOX, "--boxes", alone, *words)
    for row, single in zip([row for row in rows if row.target == 1], read_boxes(alone), strict=True):
        assert (row.frame, row.lost) == (single.frame, single.lost)
        assert (*row.box, row.score) == pytest.approx((*single.box, single.score), abs=2e-3)  # as rounded as the table is
    assert count_frames(video) == 6
    with open_source(video) as source:
        *_, last = source
    for row in rows[-2:]:  # the left side of each box has its target's colour
        x, y, _, h = (round(value) for value in row.box)
        colors = last[y + h // 4 : y + h * 3 // 4, x - 2 : x + 3].reshape(-1, 3).astype(int)
        assert np.abs(colors - color_of(row.target)).sum(axis=1).min() < 90


def test_several_targets_on_standard_output_from_a_later_frame() -> None:
    done = run("track", DEMO, f"--box={BOX}", "--box", ROCKS, "--start", "5", "--end", "7", "--boxes", "-", "--model", MODEL)
    assert done.returncode == 0, done.stderr
    assert [line.split(",")[:2] for line in done.stdout.splitlines()] == [
        ["frame", "id"],
        *(["5", i] for i in "12"),
        *(["6", i] for i in "12"),
    ]


def test_the_lost_one_of_several_targets_is_named(tmp_path: Path) -> None:
    table = tmp_path / "boxes.csv"
    done = run("track", DEMO, "--box", ROCKS, "--box", HAND, "--start", "20", "--end", "38", "--boxes", table, "--model", MODEL)
    lost = [(row.target, row.frame) for row in read_boxes(table) if row.lost]
    assert lost and {target for target, _ in lost} == {2}
    assert f"lost     target 2 in {len(lost)} of 18 frames: {lost[0][1]}" in done.stderr


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ("1,2,3", "--box 1,2,3: give four numbers x,y,w,h"),
        ("700,120,69,87", r"box \(700.0, 120.0, 69.0, 87.0\) lies outside the frame of 640x360 pixels \(frame 0 of demo.mp4\)"),
    ],
)
def test_one_bad_box_of_several_is_named(tmp_path: Path, box: str, message: str) -> None:
    table = tmp_path / "boxes.csv"
    done = run("track", DEMO, "--box", BOX, "--box", box, "--boxes", table, "--model", MODEL)
    assert done.returncode == 2
    assert re.match(f"error: {message}", done.stderr)
    assert not table.exists()


def test_damaged_video_keeps_what_was_tracked(tmp_path: Path) -> None:
    data = DEMO.read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(data[: len(data) // 4])
    good = 0
    with pytest.raises(SourceError), open_source(cut) as source:
        for _ in source:
            good += 1
    table, video = tmp_path / "boxes.csv", tmp_path / "out.mp4"
    done = run("track", cut, "--box", BOX, "--boxes", table, "--video", video, "--model", MODEL)
    assert done.returncode == 1
    assert 0 < good < 116
    assert [row.frame for row in read_boxes(table)] == list(range(good))
    assert count_frames(video) == good
    assert f"tracked  {good} of 116 frames" in done.stderr
    assert re.search(r"error: .*cut\.mp4", done.stderr)


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize(
    ("number", "code", "boxes"),
    [
        (signal.SIGINT, 130, ("60,40,30,30",)),
        (signal.SIGTERM, 143, ("60,40,30,30",)),
        (signal.SIGINT, 130, ("60,40,30,30", "20,20,30,40")),
    ],
)
def test_interrupted_run_keeps_every_finished_frame(
    tmp_path: Path, number: signal.Signals, code: int, boxes: tuple[str, ...]
) -> None:
    frames = tmp_path / "frames"
    frames.mkdir()
    first = frames / "00000.jpg"
    cv2.imwrite(str(first), np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8))
    for i in range(1, 5000):
        os.link(first, frames / f"{i:05d}.jpg")
    table, video = tmp_path / "boxes.csv", tmp_path / "out.mp4"
    words = ["track", frames, *(f"--box={box}" for box in boxes), "--boxes", table, "--video", video, "--model", MODEL]
    process = subprocess.Popen(
        [sys.executable, "-m", "metatrack", *map(str, words)],
        env=ENVIRONMENT,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background job inherits "ignore"
    )
    deadline = time.monotonic() + 1200
    while process.poll() is None and time.monotonic() < deadline and not (table.is_file() and table.read_text().count("\n") > 10):
        time.sleep(0.05)
    process.send_signal(number)
    _, said = process.communicate(timeout=1200)
    assert process.returncode == code, said
    text = table.read_text()
    assert text.endswith("\n")
    rows = read_boxes(table)
    count = len(rows) // len(boxes)
    assert len(rows) >= 10
    assert [row.frame for row in rows] == [frame for frame in range(count) for _ in boxes]
    assert count_frames(video) == count
    assert f"{count} of 5000 frames" in said
    assert "interrupted" in said
    assert "Traceback" not in said


def test_closed_pipe_is_no_traceback() -> None:
    command = f"{sys.executable} -m metatrack track {DEMO} --box {BOX} --end 20 --boxes - --model {MODEL} | head -n 2"
    done = subprocess.run(command, shell=True, env=ENVIRONMENT, capture_output=True, text=True, timeout=1200, check=False)
    assert len(done.stdout.splitlines()) == 2
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr


def test_demo_follows_the_head_of_the_rabbit(tmp_path: Path) -> None:
    done = run("demo", "--out", tmp_path / "new" / "demo", "--model", MODEL)
    assert done.returncode == 0, done.stderr
    out = tmp_path / "new" / "demo"
    rows = {row.frame: row for row in read_boxes(out / "boxes.csv")}
    assert sorted(rows) == list(range(116))
    assert count_frames(out / "tracked.mp4") == 116
    strip = cv2.imread(str(out / "filmstrip.png"))
    assert strip is not None and strip.shape[1] > strip.shape[0] > 300
    labels = read_boxes(DEMO.with_suffix(".csv"))[1:]
    overlap = float(np.mean([iou(rows[label.frame].box, label.box) for label in labels]))
    assert f"{overlap:.3f} on average with 16 boxes drawn by hand" in done.stdout
    assert "CC BY 3.0" in done.stdout
    assert overlap > 0.5


def test_bench_accounts_for_the_whole_time() -> None:
    done = run("bench", "--frames", "6", "--repeats", "1", "--model", MODEL)
    assert done.returncode == 0, done.stderr
    shares = dict(re.findall(r"^(\w+) +[\d.]+ +([\d.]+) %", done.stdout, re.MULTILINE))
    assert list(shares) == ["crop", "embed", "match", "adapt", "rest", "all"]
    assert sum(float(shares[part]) for part in shares if part != "all") == pytest.approx(100, abs=0.3)
    assert float(shares["embed"]) > 0 and float(shares["crop"]) > 0
    assert re.search(r"[\d.]+ frames per second", done.stdout)
    assert "onnxruntime" in done.stdout


def test_models_lists_what_ships() -> None:
    done = run("models")
    names = metatrack.shipped_models()
    assert done.returncode == (0 if names else 1)
    assert all(name in done.stdout for name in names)


NO_TORCH = """
import sys

class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "onnx", "cv2", "scipy", "matplotlib"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, NoTorch())
import metatrack
from metatrack.cli import main
"""


def test_run_time_needs_no_torch() -> None:
    names = ", ".join(metatrack.__all__)
    track = ["track", str(DEMO), "--box", BOX, "--end", "3", "--model", MODEL]
    work = f"from metatrack import {names}\nassert main({track!r}) == 0\nassert 'torch' not in sys.modules\n"
    done = python(f"{NO_TORCH}\n{work}main(['track', '--help'])")
    assert done.returncode == 0, done.stderr
    assert "--adapt, --no-adapt" in done.stdout


@pytest.mark.parametrize("command", ["train matching", "train meta", "export"])
def test_missing_torch_names_the_extra(command: str) -> None:
    done = python(f"{NO_TORCH}\nsys.exit(main({command.split()!r}))")
    assert done.returncode == 2
    assert re.fullmatch(rf"error: metatrack {command} needs (torch|onnx), .*: pip install 'metatrack\[train\]'\n", done.stderr)


def test_missing_opencv_names_the_extra() -> None:
    words = ["data", "synth", "--objects", "a", "--backgrounds", "b", "--out", "c"]
    done = python(f"{NO_TORCH}\nsys.exit(main({words!r}))")
    assert done.returncode == 2
    assert done.stderr == "error: metatrack data synth needs cv2, which is not installed: pip install 'metatrack[opencv]'\n"


def test_import_is_light() -> None:
    done = python("import sys, metatrack; print([m for m in ('numpy', 'cv2', 'onnxruntime', 'av', 'torch') if m in sys.modules])")
    assert done.stdout == "[]\n"


def test_public_names() -> None:
    assert metatrack.__all__ == [
        "Box", "BoxWriter", "BundleError", "DamagedSourceError", "Model", "MultiTracker", "Result", "SourceError", "Tracker",
        "TrackerSettings", "VideoWriter", "draw", "load_model", "open_source", "shipped_models",
    ]  # fmt: skip
    for name in metatrack.__all__:
        assert getattr(metatrack, name).__name__ == name
    with pytest.raises(AttributeError, match="Tracker"):
        _ = metatrack.Trackr


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ([], "must be an object {...}, not a list [...]"),
        ({"name": "x", "licens": "y"}, "unknown key 'licens'; did you mean 'licence'?"),
        ({"name": "x", "description": 1}, "description must be a text"),
        ({"name": "x"}, "it lacks description"),
    ],
)
def test_export_refuses_a_wrong_card(tmp_path: Path, facts: object, message: str) -> None:
    pytest.importorskip("torch")
    from metatrack.app.export import ExportOptions, run
    from metatrack.app.problem import Problem

    path = tmp_path / "card.json"
    path.write_text(json.dumps(facts))
    with pytest.raises(Problem, match=re.escape(message)):
        run(ExportOptions(tmp_path / "best.pt", path, tmp_path / "out"))


def test_export_replaces_nothing_but_a_bundle(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from metatrack.bundling.replacing import check_replaceable

    (tmp_path / "videos").mkdir()
    check_replaceable(tmp_path / "videos")
    check_replaceable(tmp_path / "new")
    (tmp_path / "videos" / "clip.mp4").touch()
    for taken in (tmp_path / "videos", tmp_path / "videos" / "clip.mp4"):
        with pytest.raises(ValueError, match="no model bundle"):
            check_replaceable(taken)
    (tmp_path / "videos" / "card.json").write_text('{"name": "mine"}')  # what a person wrote, beside his video
    with pytest.raises(ValueError, match=r"no model bundle: it holds clip\.mp4"):
        check_replaceable(tmp_path / "videos")


def test_readme_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(.*?)```", readme, re.DOTALL)
    assert code is not None
    (tmp_path / "clip.mp4").write_bytes(DEMO.read_bytes())
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(code[1].replace('"lite"', repr(MODEL)), names)
    assert len(names["box"]) == 4  # type: ignore[arg-type]
    assert 0 <= names["score"] <= 1  # type: ignore[operator]
