"""The wheel as a new user gets it: on another Python than the one that runs the tests, with what pip resolves to there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tools.all_pythons import PIP, VERSIONS, build_wheel, find_python, make_environment, run
from tools.oldest import constraints, oldest
from tools.smoke import SHOWN

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def other_python() -> Path:
    """The newest other Python, since it gets the newest versions."""
    own = "{}.{}".format(*sys.version_info)
    for version in reversed(VERSIONS):
        if version != own and (python := find_python(version)):
            return python
    pytest.skip(f"there is no other Python than {own} here")


@pytest.fixture(scope="module")
def index() -> None:
    asked = [sys.executable, *PIP, "--retries", "0", "index", "versions", "tyro"]
    if subprocess.run(asked, capture_output=True, check=False).returncode:
        pytest.skip("no package index can be reached")


@pytest.mark.slow
def test_demo_track_evaluate_on_another_python(other_python: Path, index: None, tmp_path: Path) -> None:
    inside = make_environment(other_python, tmp_path / "environment", build_wheel(tmp_path), ())
    assert run([inside, ROOT / "tools" / "smoke.py"], tmp_path).startswith("works: Python ")


def test_every_dependency_has_a_lower_bound() -> None:
    lines = constraints(["plot", "eval", "cluster", "openvino", "train", "dev"])
    assert {line.split("==")[0] for line in lines} >= {*SHOWN, "matplotlib", "scipy", "ray", "openvino", "torch", "pytest"}


@pytest.mark.parametrize(
    ("requirement", "expected"),
    [("numpy>=1.26,<3", "numpy==1.26"), ("av<19,>=17", "av==17"), ("torch==2.13.0", "torch==2.13.0"), ("metatrack[plot]", None)],
)
def test_oldest(requirement: str, expected: str | None) -> None:
    assert oldest(requirement) == expected


def test_no_lower_bound_is_an_error() -> None:
    with pytest.raises(ValueError, match="'rich<16' has no lower bound"):
        oldest("rich<16")
