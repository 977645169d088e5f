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

DEMO = Path(metatrack.__file__).parent / "assets" / "demo.mp4"
BOX = "185,120,69,87"
MODEL = os.environ.get("METATRACK_TEST_MODEL", "lite")
"""The shipped model; the variable names another one, for instance while it is being made."""
SOURCE = str(Path(metatrack.__file__).parents[1])  # the package under test, from whatever folder a test runs it
ENVIRONMENT = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1", "PYTHONPATH": SOURCE}


def run(*words: str | Path, cwd: Path | None = None, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "metatrack", *map(str, words)]
    return subprocess.run(command, cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, timeout=timeout, check=False)


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, timeout=120, check=False)


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
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_run_keeps_every_finished_frame(tmp_path: Path, number: signal.Signals, code: int) -> None:
    frames = tmp_path / "frames"
    frames.mkdir()
    first = frames / "00000.jpg"
    cv2.imwrite(str(first), np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8))
    for i in range(1, 5000):
        os.link(first, frames / f"{i:05d}.jpg")
    table, video = tmp_path / "boxes.csv", tmp_path / "out.mp4"
    words = ["track", frames, "--box", "60,40,30,30", "--boxes", table, "--video", video, "--model", MODEL]
    process = subprocess.Popen(
        [sys.executable, "-m", "metatrack", *map(str, words)],
        env=ENVIRONMENT,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background job inherits "ignore"
    )
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline and not (table.is_file() and table.read_text().count("\n") > 10):
        time.sleep(0.05)
    process.send_signal(number)
    _, said = process.communicate(timeout=120)
    assert process.returncode == code, said
    text = table.read_text()
    assert text.endswith("\n")
    rows = read_boxes(table)
    assert len(rows) >= 10
    assert [row.frame for row in rows] == list(range(len(rows)))
    assert count_frames(video) == len(rows)
    assert f"{len(rows)} of 5000 frames" in said
    assert "interrupted" in said
    assert "Traceback" not in said


def test_closed_pipe_is_no_traceback() -> None:
    command = f"{sys.executable} -m metatrack track {DEMO} --box {BOX} --end 20 --boxes - --model {MODEL} | head -n 2"
    done = subprocess.run(command, shell=True, env=ENVIRONMENT, capture_output=True, text=True, timeout=120, check=False)
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
        if name.split(".")[0] in ("torch", "onnx", "PIL", "scipy", "matplotlib"):
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


def test_missing_pillow_names_the_extra() -> None:
    words = ["data", "synth", "--objects", "a", "--backgrounds", "b", "--out", "c"]
    done = python(f"{NO_TORCH}\nsys.exit(main({words!r}))")
    assert done.returncode == 2
    assert done.stderr == "error: metatrack data synth needs PIL, which is not installed: pip install 'metatrack[train]'\n"


def test_import_is_light() -> None:
    done = python("import sys, metatrack; print([m for m in ('numpy', 'cv2', 'onnxruntime', 'av', 'torch') if m in sys.modules])")
    assert done.stdout == "[]\n"


def test_public_names() -> None:
    assert metatrack.__all__ == [
        "Box", "BoxWriter", "BundleError", "DamagedSourceError", "Model", "Result", "SourceError", "Tracker", "TrackerSettings",
        "VideoWriter", "draw", "load_model", "open_source", "shipped_models",
    ]  # fmt: skip
    for name in metatrack.__all__:
        assert getattr(metatrack, name).__name__ == name
    with pytest.raises(AttributeError, match="Tracker"):
        _ = metatrack.Trackr  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ([], "is no JSON object with the keys name"),
        ({"name": "x", "licens": "y"}, "unknown key 'licens'; did you mean 'licence'?"),
        ({"name": "x"}, "lacks description, licence, data, training"),
    ],
)
def test_export_refuses_a_wrong_card(tmp_path: Path, facts: object, message: str) -> None:
    pytest.importorskip("torch")
    from metatrack.app.export import read_card_info
    from metatrack.app.problem import Problem

    path = tmp_path / "card.json"
    path.write_text(json.dumps(facts))
    with pytest.raises(Problem, match=re.escape(message)):
        read_card_info(path)


def test_export_replaces_nothing_but_a_bundle(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from metatrack.app.export import check_folder
    from metatrack.app.problem import Problem

    (tmp_path / "videos").mkdir()
    check_folder(tmp_path / "videos")
    check_folder(tmp_path / "new")
    (tmp_path / "videos" / "clip.mp4").touch()
    for taken in (tmp_path / "videos", tmp_path / "videos" / "clip.mp4"):
        with pytest.raises(Problem, match="no model bundle"):
            check_folder(taken)
    (tmp_path / "videos" / "card.json").touch()
    check_folder(tmp_path / "videos")


def test_readme_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readme = (Path(__file__).resolve().parents[1] / "README.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(.*?)```", readme, re.DOTALL)
    assert code is not None
    (tmp_path / "clip.mp4").write_bytes(DEMO.read_bytes())
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(code[1].replace('"lite"', repr(MODEL)), names)
    assert len(names["box"]) == 4  # type: ignore[arg-type]
    assert 0 <= names["score"] <= 1  # type: ignore[operator]
