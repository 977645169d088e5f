"""A short run of tools/fuzz with a fixed seed: damaged files end in an answer or in a sentence, for every parser."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
from tools.fuzz.run import Answer, ask
from tools.fuzz.targets import TARGETS
from tools.fuzz.worker import examine

from metatrack.app.problem import Problem

INPUTS = 20
PATIENCE = 300.0
NATIVE = ("video-", "graph", "model", "weights")
"""Parsers that could take the process down: they have one of their own."""
NEED_TORCH = ("facts", "mix", "weights")


@pytest.fixture(params=TARGETS)
def name(request: pytest.FixtureRequest) -> str:
    """A target whose packages are installed."""
    if request.param in NEED_TORCH and find_spec("torch") is None:
        pytest.skip("torch is not installed, and this parser is training's")
    if request.param == "results-mat" and find_spec("scipy") is None:
        pytest.skip("scipy is not installed, and reads .mat files")
    return str(request.param)


def test_good_files_are_read(name: str, tmp_path: Path) -> None:
    """Else every damaged one would be refused, for whatever reason it is that the good one is."""
    target = TARGETS[name]
    target.prepare(tmp_path)
    for data in target.good():
        if name == "command-line":
            with pytest.raises(Problem, match=r"missing\.mp4 does not exist"):
                target.call(tmp_path, data)
        else:
            target.call(tmp_path, data)


def test_damaged_files(name: str, tmp_path: Path) -> None:
    if name.startswith(NATIVE):
        answers = list(ask(name, 1, 0, INPUTS, PATIENCE))
    else:
        answers = [Answer(*answer) for answer in examine(name, tmp_path, 1, 0, INPUTS)]
    assert len(answers) == INPUTS
    assert [answer for answer in answers if answer.is_fault] == []


def test_good_files_are_damaged_the_same_way_each_time() -> None:
    target = TARGETS["tracker-json"]
    assert [target.damaged(3, k) for k in range(9)] == [target.damaged(3, k) for k in range(9)]
    assert len({target.damaged(3, k) for k in range(9)}) > 5
