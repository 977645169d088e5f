"""metatrack installed where an OpenCV wheel lives already: that wheel stays as it was, and both work."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from tools.all_pythons import PIP, build_wheel, run

ROOT = Path(__file__).resolve().parents[2]
PROBE = """
import hashlib, sys
from importlib.metadata import distributions
from pathlib import Path

import cv2
import numpy as np

digest = hashlib.sha256()
for path in sorted(Path(cv2.__file__).parent.rglob("*")):
    if path.is_file() and path.suffix != ".pyc":
        digest.update(f"{path.name}:".encode() + path.read_bytes())
frame = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
tracker = getattr(cv2, sys.argv[1]).create()
tracker.init(frame, (40, 30, 32, 24))
found, box = tracker.update(frame)
windows = next(line for line in cv2.getBuildInformation().splitlines() if line.strip().startswith("GUI:"))
wheels = sorted(dist.metadata["Name"] for dist in distributions() if dist.metadata["Name"].startswith("opencv"))
print(cv2.__version__, wheels, found, box, windows.split(), digest.hexdigest())
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    asked = [sys.executable, *PIP, "--retries", "0", "index", "versions", "opencv-python"]
    if subprocess.run(asked, capture_output=True, check=False).returncode:
        pytest.skip("no package index with opencv-python can be reached")
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("opencv", "tracker"),
    [("opencv-python", "TrackerMIL"), pytest.param("opencv-contrib-python", "TrackerCSRT", marks=pytest.mark.long)],
)
def test_an_opencv_that_is_there_stays(opencv: str, tracker: str, wheel: Path, tmp_path: Path) -> None:
    run([sys.executable, "-m", "venv", tmp_path / "environment"])
    inside = tmp_path / "environment" / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    run([inside, *PIP, "install", "--only-binary", ":all:", opencv])
    try:
        before = run([inside, "-c", PROBE, tracker])
    except RuntimeError as error:
        if "cannot open shared object file" in str(error):
            pytest.skip(f"{opencv} does not run here by itself: {str(error).splitlines()[-1]}")
        raise
    run([inside, *PIP, "install", "--only-binary", ":all:", wheel])
    assert f"['{opencv}']" in before
    assert run([inside, "-m", "metatrack", "demo"], tmp_path).splitlines()
    assert (tmp_path / "metatrack-demo" / "filmstrip.png").stat().st_size > 0
    assert run([inside, "-c", PROBE, tracker]) == before


def test_no_extra_but_its_own_brings_an_opencv() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    naming = [line.partition(" = ")[0] for line in text.splitlines() if re.search(r'"opencv[a-z-]*[><=~]', line)]
    assert naming == ["opencv"]
    asking = [line.partition(" = ")[0] for line in text.splitlines() if re.search(r"metatrack\[[a-z,]*opencv", line)]
    assert asking == ["dev"]
