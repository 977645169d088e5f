"""VOT's own toolkit runs our tracker: workspace, trackers.ini and commands as docs/evaluation.md has them.

The toolkit's requirements exclude ours, so it lives in a virtual environment of its own: ``.venv-vot``, which ``make test``
makes, or the folder that METATRACK_VOT_VENV names.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

import metatrack
from metatrack.compared.trax import parse_box
from metatrack.data.vot import read_vot
from metatrack.geometry import iou
from tests.conftest import REPOSITORY, VOT

ROOT = REPOSITORY
NAMED = os.environ.get("METATRACK_VOT_VENV")
FRAMES = 16
STACK = """\
title: Small
experiments:
  once:
    type: unsupervised
    repetitions: 1
    analyses:
      - {type: average_accuracy, name: Accuracy}
  anchors:
    type: multistart
    analyses:
      - {type: multistart_eao_score, name: EAO, low: 4, high: 14}
"""

pytestmark = pytest.mark.skipif(
    not NAMED and not VOT.exists(), reason=f"VOT's toolkit is not installed in {VOT.parents[1]}: make pytest"
)


def make_sequence(folder: Path, seed: int) -> None:
    """A textured card of 40 x 30 that moves over a textured wall, in VOT's layout, with anchors at both ends for multistart."""
    rng = np.random.default_rng(seed)
    wall = cv2.resize(rng.integers(0, 256, (24, 32, 3), np.uint8), (320, 240), interpolation=cv2.INTER_CUBIC) // 2
    card = cv2.resize(rng.integers(0, 256, (6, 8, 3), np.uint8), (40, 30), interpolation=cv2.INTER_NEAREST)
    (folder / "color").mkdir(parents=True)
    boxes = []
    for k in range(FRAMES):
        x, y = int(60 + 5 * k), int(100 + 40 * np.sin(k / 4 + seed))
        frame = wall.copy()
        frame[y : y + 30, x : x + 40] = card
        cv2.imwrite(str(folder / "color" / f"{k + 1:08d}.jpg"), frame, [cv2.IMWRITE_JPEG_QUALITY, 95])
        boxes.append(f"{x},{y},40,30\n")
    (folder / "groundtruth.txt").write_text("".join(boxes))
    (folder / "sequence").write_text("channels.color=color/%08d.jpg\nformat=default\nfps=30\nname=x\nwidth=320\nheight=240\n")
    (folder / "anchor.value").write_text("".join(f"{value}\n" for value in (1, *[0] * (FRAMES - 2), -1)))


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with two sequences, in a folder whose name has a space."""
    folder = tmp_path_factory.mktemp("vot") / "a workspace"
    for seed, name in enumerate(("left", "right")):
        make_sequence(folder / "sequences" / name, seed)
    (folder / "sequences" / "list.txt").write_text("left\nright\n")
    (folder / "config.yaml").write_text("stack: stack.yaml\nregistry: [./trackers.ini]\n")
    (folder / "stack.yaml").write_text(STACK)
    command = f"'{sys.executable}' -m metatrack vot --threads 1"
    (folder / "trackers.ini").write_text(
        f"[mlt]\nlabel = metatrack\nprotocol = trax\ntimeout = 120\ncommand = {command}\n\n"
        f"[mltport]\nlabel = by port\nprotocol = trax\ntimeout = 120\nsocket = true\ncommand = {command} --no-adapt\n\n"
        f"[broken]\nlabel = broken\nprotocol = trax\ntimeout = 120\ncommand = {command} --model nowhere\n"
    )
    return folder


def vot(workspace: Path, action: str, *words: str) -> str:
    # It looks for a newer version of itself; to where nobody listens, so that no test depends on the network.
    offline = {name: "http://127.0.0.1:9" for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")}
    ours = {"PYTHONPATH": str(Path(metatrack.__file__).parents[1]), "OMP_NUM_THREADS": "1", "VOT_RESULTS_BINARY": "0"}
    words = (str(VOT), action, "--workspace", str(workspace), *words)
    done = subprocess.run(words, env={**os.environ, **offline, **ours}, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.slow
def test_the_toolkit_runs_and_scores_our_tracker(workspace: Path) -> None:
    assert "concluded successfuly" in vot(workspace, "evaluate", "mlt")
    results = workspace / "results" / "mlt"
    for sequence in read_vot(workspace):
        # after the mark of the initialisation: once through, forwards from the first anchor, backwards from the last
        name, forwards, backwards = sequence.name, sequence.boxes[1:], sequence.boxes[-2::-1]
        assert overlaps(results / "once" / name / f"{name}_001.txt", forwards).mean() > 0.8
        assert overlaps(results / "anchors" / name / f"{name}_{0:08d}.txt", forwards).min() > 0.5
        assert overlaps(results / "anchors" / name / f"{name}_{FRAMES - 1:08d}.txt", backwards).min() > 0.5
        scores = (results / "once" / name / f"{name}_001_confidence.value").read_text().split()
        assert len(scores) == FRAMES - 1 and all(0.5 < float(score) <= 1 for score in scores)
    vot(workspace, "analysis", "mlt", "--name", "scores", "--format", "json")
    scored = json.loads((workspace / "analysis" / "scores.json").read_text())["results"]
    for experiment in ("once", "anchors"):  # accuracy and EAO
        assert 0.8 < scored[experiment]["results"][0][0][0] <= 1


@pytest.mark.slow
def test_by_port(workspace: Path) -> None:
    assert "concluded successfuly" in vot(workspace, "evaluate", "mltport", "--experiments", "once")
    for sequence in read_vot(workspace):
        path = workspace / "results" / "mltport" / "once" / sequence.name / f"{sequence.name}_001.txt"
        assert overlaps(path, sequence.boxes[1:]).mean() > 0.8


def test_what_is_wrong_is_in_the_toolkit_s_log(workspace: Path) -> None:
    assert "tracker error" in vot(workspace, "evaluate", "broken", "--experiments", "once")
    assert "no model 'nowhere'" in "".join(path.read_text() for path in (workspace / "logs").glob("broken*"))


def overlaps(path: Path, truth: np.ndarray) -> np.ndarray:
    first, *lines = path.read_text().split()
    assert first == "1" and len(lines) == len(truth)
    return iou([parse_box(line) for line in lines], truth)
