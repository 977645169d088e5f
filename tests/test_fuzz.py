"""A short run of tools/fuzz with a fixed seed: damaged files end in an answer or in a sentence, for every parser."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
from tools.fuzz.run import ask
from tools.fuzz.targets import TARGETS

INPUTS = 20
PATIENCE = 300.0
NEED_TORCH = ("facts", "mix")


@pytest.mark.parametrize("name", TARGETS)
def test_damaged_files(name: str) -> None:
    if name in NEED_TORCH and find_spec("torch") is None:
        pytest.skip("torch is not installed, and this parser is training's")
    if name == "results-mat" and find_spec("scipy") is None:
        pytest.skip("scipy is not installed, and reads .mat files")
    answers = list(ask(name, 1, 0, INPUTS, PATIENCE))
    assert len(answers) == INPUTS
    assert [answer for answer in answers if answer.verdict not in ("fine", "refused")] == []


def test_good_files_are_damaged_the_same_way_each_time() -> None:
    target = TARGETS["tracker-json"]
    assert [target.damaged(3, k) for k in range(9)] == [target.damaged(3, k) for k in range(9)]
    assert len({target.damaged(3, k) for k in range(9)}) > 5
