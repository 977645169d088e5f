"""Everything that the core promises, in processes in which ``import cv2`` fails as if there were no OpenCV."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import pytest

from metatrack.images import write_image
from metatrack.video import open_source

BOX = "185,120,69,87"
NONE = 'raise ModuleNotFoundError("No module named \'cv2\'", name="cv2")\n'


@pytest.fixture
def metatrack(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the command; its worker processes have no OpenCV either."""
    blocked = tmp_path / "blocked" / "cv2"
    blocked.mkdir(parents=True)
    (blocked / "__init__.py").write_text(NONE)
    path = os.pathsep.join([str(blocked.parent), *filter(None, sys.path)])

    def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "metatrack", *map(str, words)]
        environment = {**os.environ, "PYTHONPATH": path}
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    return run


def test_demo(metatrack: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path) -> None:
    done = metatrack("demo")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "metatrack-demo" / "filmstrip.png").is_file()


def test_track_evaluate_report(metatrack: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="metatrack report draws with it")
    sequence = tmp_path / "own" / "bunny"
    sequence.mkdir(parents=True)
    with open_source(str(files("metatrack") / "assets" / "demo.mp4"), end=6) as frames:
        for number, frame in enumerate(frames):
            write_image(sequence / f"{number:04d}.jpg", frame)
    video = tmp_path / "tracked.mp4"
    done = metatrack("track", sequence, "--box", BOX, "--boxes", sequence / "boxes.csv", "--video", video)
    assert done.returncode == 0, done.stderr
    assert video.stat().st_size > 0
    where = ["--dataset", "plain", "--root", sequence.parent]
    done = metatrack("evaluate", *where, "--trackers", "mlt,csk,kcf", "--out", "results")
    assert done.returncode == 0, done.stderr
    done = metatrack("report", "results", "--root", sequence.parent, "--out", "report")
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "report").rglob("*.jpg"))
    done = metatrack("evaluate", *where, "--trackers", "csrt", "--out", "more")
    assert done.returncode != 0
    assert "Traceback" not in done.stderr and "pip install 'metatrack[opencv]'" in done.stderr
