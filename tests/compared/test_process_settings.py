"""The JSON file that describes a program, and programs in an evaluation."""

from __future__ import annotations

import json
import math
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from metatrack.compared.process import ProcessSettings, ProcessTracker, parse_answer, read_settings
from metatrack.evaluation.run.evaluate import plan
from metatrack.evaluation.run.store import Store
from metatrack.evaluation.run.trackers import tracker_spec
from tests.compared.programs import BOX, FRAME, LINES, posix
from tests.evaluation.helpers import evaluate
from tests.fake_trackers import make_sequence


def write(path: Path, **given: object) -> Path:
    path.write_text(json.dumps(given))
    return path


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "it lacks command; the description of a tracker looks like "),
        ({"command": "python3 x.py"}, "command must be a list [...], not a text"),
        ({"command": []}, "command must be a list [...] of length >= 1"),
        ({"command": ["x", 1]}, "command[1] must be a text, not a whole number"),
        ({"command": ["x\0"]}, "command[0] must be a text without the character NUL"),
        ({"command": ["x"], "protocl": "trax"}, "unknown key 'protocl'; did you mean 'protocol'"),
        ({"command": ["x"], "gpu": 1}, "unknown key 'gpu'; known are command, protocol, env, folder, timeout_s"),
        ({"command": ["x"], "protocol": "TraX"}, "protocol cannot be 'TraX'"),
        ({"command": ["x"], "env": {"A": 1}}, "env[...] must be a text, not a whole number"),
        ({"command": ["x"], "env": {"A": "\0"}}, "env[...] must be a text without the character NUL"),
        ({"command": ["x"], "env": {"A=B": "1"}}, "a name in env must be a text of one character or more, none of them = or NUL"),
        ({"command": ["x"], "folder": 3}, "folder must be a text, not a whole number"),
        ({"command": ["x"], "folder": ""}, "folder must be a text of length >= 1"),
        ({"command": ["x"], "timeout_s": 0}, "timeout_s must be a number > 0"),
        ({"command": ["x"], "timeout_s": 1e300}, "timeout_s must be a number <= 10000000.0"),
        ({"command": ["x"], "timeout_s": True}, "timeout_s must be a number, not true or false"),
    ],
)
def test_files_that_are_wrong(tmp_path: Path, given: dict[str, object], message: str) -> None:
    path = write(tmp_path / "x.json", **given)
    with pytest.raises(ValueError) as caught:
        read_settings(path)
    assert str(caught.value).startswith(str(path)) and message in str(caught.value)


def test_files_that_are_not_json(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    wrong = {"{": "is not a JSON", "[1]": "must be an object", "[" * 100_000: "nested too deep", "\udcff": "is not a JSON"}
    for text, message in wrong.items():
        path.write_bytes(text.encode("utf-8", "surrogateescape"))
        with pytest.raises(ValueError, match=message):
            read_settings(path)
    with pytest.raises(FileNotFoundError):
        read_settings(tmp_path / "none.json")


def test_programs_that_are_not_there(tmp_path: Path) -> None:
    (tmp_path / "here").write_text("")
    for command, message in (
        ("no-such-program", "'no-such-program' is not there on the PATH$"),
        ("./here", "'./here' is not there as a program at "),  # not executable
        ("here", "on the PATH; one beside the JSON file is ./here"),
    ):
        with pytest.raises(ValueError, match=message):
            ProcessTracker(ProcessSettings((command,)), tmp_path)
    with pytest.raises(ValueError, match="nowhere is not a folder"):
        ProcessTracker(ProcessSettings((sys.executable,), folder="nowhere"), tmp_path)


@posix
def test_folder_environment_and_path(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    script = inner / "tracker"
    answer = "os.environ['SIZE'], *'234', os.path.exists('tracker') * 1"
    script.write_text(f"#!{sys.executable}\nimport os\nfor _ in open(0): print({answer}, flush=True)\n")
    script.chmod(0o755)
    for command, more in (("./tracker", {}), ("tracker", {"PATH": str(inner)})):
        path = write(tmp_path / "x.json", command=[command], folder="inner", env={"SIZE": "7", **more})
        made = tracker_spec(str(path)).make()
        assert isinstance(made, ProcessTracker)
        with made as tracker:
            tracker.init(FRAME, BOX)
            assert tracker.update(FRAME) == ((7, 2, 3, 4), 1)


def test_in_an_evaluation(tmp_path: Path) -> None:
    """By the worker, which ends each process; a tracker that fails leaves its reason."""
    (tmp_path / "tracker.py").write_text(textwrap.dedent(LINES))
    (tmp_path / "bad.py").write_text("raise SystemExit('no GPU')")
    good = write(tmp_path / "good.json", command=[sys.executable, "tracker.py"], timeout_s=30)
    bad = write(tmp_path / "bad.json", command=[sys.executable, "bad.py"], env={"API_KEY": "secret"})
    sequences = [make_sequence(tmp_path / "data", name, 4) for name in "ab"]
    specs = [tracker_spec(str(good)), tracker_spec(f"broken={bad}")]
    store = Store(tmp_path / "out", "plain", "ope")
    units = plan(store, [spec.name for spec in specs], sequences)
    failures = evaluate(store, specs, units, sequences)
    assert [failure.unit.tracker for failure in failures] == ["broken"] * 2
    assert failures[0].reason.endswith("has ended with exit code 1 (frame 0 of its run); its last words: no GPU")
    np.testing.assert_array_equal(store.read_boxes(units[0]), sequences[0].boxes)
    program = specs[0].identity()["program"]
    expected = {"command": (sys.executable, "tracker.py"), "protocol": "lines", "env": None, "folder": "."}
    assert {**program, "env": None} == expected
    other = specs[1].identity()["program"]
    assert other["env"] != program["env"]
    assert not any("secret" in path.read_text() for path in (tmp_path / "out").rglob("*.json"))
    write(good, command=[sys.executable, "tracker.py"], timeout_s=90)  # decides no box
    store.pin_tracker("good", specs[0].identity())
    write(good, command=[sys.executable, "tracker.py", "--fast"])
    with pytest.raises(ValueError, match="another tracker good"):
        store.pin_tracker("good", specs[0].identity())


@pytest.mark.parametrize("line", ["", "1 2 3", "1 2 3 inf", "1e999 2 3 4", "1e12 2 3 4 0.5", "a b c d", "9" * 400 + " 1 1 1"])
def test_answers_that_are_none(line: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_answer(line)


def test_a_score_that_is_no_number_is_none() -> None:
    assert [parse_answer(f"1 2 3 4 {word}").score for word in ("nan", "inf", "-1e999", "0.5")] == [None, None, None, 0.5]
    assert all(math.isnan(number) for number in parse_answer("nan 2 3 4").box)
