"""Trackers that are programs and speak TraX."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from metatrack.compared.process import ProcessSettings, ProcessTracker
from metatrack.data.sequence import Sequence
from metatrack.evaluation.run.runner import run_sequence
from tests.compared.programs import BOX, FRAME, failure, program
from tests.conftest import REPOSITORY
from tests.fake_trackers import make_sequence

TRAX = """
    import re, sys
    from pathlib import Path

    VERSION, REGION, ANSWER = sys.argv[1:]
    print("loading weights")
    hello = f'"trax.image=memory;path" "trax.region={REGION};"'
    print(f'@@TRAX:hello "trax.name=m \\\\"t\\\\"" trax.version={VERSION} {hello}', flush=True)
    for line in sys.stdin:
        kind = re.match("@@TRAX:([a-z]+)", line)[1]
        words = [re.sub(r"\\\\(.)", r"\\1", word) for word in re.findall(r'"((?:[^"\\\\]|\\\\.)*)"', line)]
        if kind == "quit":
            break
        if kind == "initialize":
            Path("told").write_text(words[-1])
            if VERSION == "4":
                assert len(words) == 1
                continue
        path = Path(words[0].removeprefix("file://"))
        assert path.is_absolute() and path.is_file(), path
        print("chatter", flush=True)
        x = 2 * int(path.stem)
        print(f'@@TRAX:state "{ANSWER.format(x=x, right=x + 10)}" confidence=0.75', flush=True)
    """


@pytest.fixture
def sequence(tmp_path: Path) -> Sequence:
    """Its folder's name holds what must be quoted."""
    folder = tmp_path / 'a "b" c=d \\ é'
    return make_sequence(folder, "moving")


@pytest.mark.parametrize("version", ["1", "2", "3", "4"])
@pytest.mark.parametrize(
    ("form", "answer", "told"),
    [
        ("rectangle", "{x},5,10,10", "0.0,5.0,10.0,10.0"),
        ("polygon;special", "{x},5,{right},5,{right},15,{x},15", "0.0,5.0,10.0,5.0,10.0,15.0,0.0,15.0"),
        ("mask", "mask:{x},5,10,10,0,100", "mask:0,5,10,10,0,100"),
    ],
)
def test_trax(tmp_path: Path, sequence: Sequence, version: str, form: str, answer: str, told: str) -> None:
    with program(tmp_path, TRAX, version, form, answer, protocol="trax") as tracker:
        boxes, _ = run_sequence(tracker, sequence)
        np.testing.assert_array_equal(boxes, sequence.boxes)
        assert tracker.update(sequence.frame(0)).score == 0.75
        assert (tmp_path / "told").read_text() == told


def test_trax_says_that_there_is_no_target(tmp_path: Path) -> None:
    with program(tmp_path, TRAX, "4", "rectangle", "0", protocol="trax") as tracker:
        tracker.init(FRAME, BOX)
        assert np.isnan(tracker.update(FRAME).box).all()


@pytest.mark.parametrize(
    ("hello", "then", "message"),
    [
        ("trax.version=9", "", "speaks version 9 of TraX; 1 to 4"),
        ("trax.image=memory;data", "", "takes images as memory, data alone"),
        ("trax.region=blob", "", "takes regions as blob alone"),
        ("trax.channels=color,depth", "", "wants the channels color, depth"),
        ("", '@@TRAX:quit "trax.reason=no such file"', "has quit: no such file"),
        ("", "@@TRAX:quit", "has quit: it does not say why"),
        ("", "@@TRAX:hello", "says 'hello' where 'state' is to come"),
        ("", "@@TRAX:state 1,2", "answers '1,2', which is no region"),
        ("", "@@TRAX:state", "answers '', which is no region"),
        ("", "@@TRAX:state 1,2,3,inf", "which is no region"),
        ("", '@@TRAX:state "1,2', "says what is no message"),
        ("", "@@TRAX:state 1,2,3,4\\n@@TRAX:state 1,2,3,4", "says 'state' without being asked"),
        ("", "1 2 3 4", "has not answered for 2 s"),
    ],
)
def test_trax_that_goes_wrong(tmp_path: Path, hello: str, then: str, message: str) -> None:
    code = f"""
        print("@@TRAX:hello {hello}", flush=True)
        for line in open(0):
            print('{then}', flush=True)
        """
    assert message in failure(program(tmp_path, code, protocol="trax", timeout_s=2.0), 200)


REFERENCE = """
    import trax
    from pathlib import Path

    with trax.Server([trax.Region.RECTANGLE], [trax.Image.PATH], tracker_name="x") as server:
        while True:
            request = server.wait()
            if request.type == "quit":
                break
            if request.type == "initialize":
                ((region, _),) = request.objects
                bounds = region.bounds()
            image = request.image["color"] if isinstance(request.image, dict) else request.image[0]
            k = int(Path(image.path()).stem)
            assert Path(image.path()).is_file()
            server.status([(trax.Rectangle.create(2 * k, *bounds[1:]), {"confidence": 0.5})])
    """


def python_with_trax() -> str:
    """Where vot-trax is: here, or in the virtual environment of VOT's toolkit (see test_vot_toolkit.py)."""
    toolkit = Path(os.environ.get("METATRACK_VOT_VENV", REPOSITORY / ".venv-vot"))
    for python in (sys.executable, str(toolkit / "bin" / "python"), str(toolkit / "Scripts" / "python.exe")):
        if (
            os.path.isfile(python)
            and subprocess.run([python, "-c", "from trax import Server"], capture_output=True).returncode == 0
        ):
            return python
    pytest.skip("needs vot-trax: make pytest")


def test_the_reference_implementation(tmp_path: Path, sequence: Sequence) -> None:
    (tmp_path / "tracker.py").write_text(textwrap.dedent(REFERENCE))
    with ProcessTracker(ProcessSettings((python_with_trax(), "tracker.py"), "trax"), tmp_path) as tracker:
        boxes, _ = run_sequence(tracker, sequence)
        np.testing.assert_array_equal(boxes, sequence.boxes)
        assert tracker.update(sequence.frame(0)).score == 0.5
