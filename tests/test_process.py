"""Trackers that are programs: what they are told, what is made of their answers, and that nothing they do can hang or leak."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

import metatrack
from metatrack.compared.child import LAST_WORDS, LINE_LENGTH, Child
from metatrack.compared.process import ProcessError, ProcessSettings, ProcessTracker, read_settings
from metatrack.data.sequence import Sequence
from metatrack.evaluation.run.evaluate import evaluate, plan
from metatrack.evaluation.run.runner import run_sequence
from metatrack.evaluation.run.store import Store
from metatrack.evaluation.run.trackers import tracker_spec
from tests.fake_trackers import make_sequence

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals and process groups")
FRAME = np.zeros((40, 60, 3), np.uint8)
BOX = (0.0, 5.0, 10.0, 10.0)

LINES = """
    import sys
    from pathlib import Path

    for line in sys.stdin:
        word, _, rest = line.rstrip("\\n").partition(" ")
        if word == "quit":
            break
        if word == "init":
            path, x, y, w, h = rest.rsplit(" ", 4)
        else:
            path = rest
        assert Path(path).is_file(), path
        print(2 * int(Path(path).stem), y, w, h, flush=True)
    """
"""A tracker in ten lines: it knows that frame k of the sequences is named k, and has its target at x = 2 k."""

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


def program(folder: Path, code: str, *arguments: str, **fields: object) -> ProcessTracker:
    """A tracker that runs Python code."""
    (folder / "tracker.py").write_text(textwrap.dedent(code), encoding="utf-8")
    return ProcessTracker(ProcessSettings((sys.executable, "tracker.py", *arguments), **fields), folder)


def failure(tracker: ProcessTracker, frames: int = 2) -> str:
    """What a tracker's error says."""
    with pytest.raises(ProcessError) as caught:
        tracker.init(FRAME, BOX)
        for _ in range(frames):
            tracker.update(FRAME)
    with pytest.raises(RuntimeError, match="before init"):
        tracker.update(FRAME)
    return str(caught.value)


def wait_for(condition, seconds: float = 600) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.01)


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


# -- our lines


def test_a_tracker_of_ten_lines(tmp_path: Path, sequence: Sequence) -> None:
    with program(tmp_path, LINES) as tracker:
        boxes, seconds = run_sequence(tracker, sequence)
        np.testing.assert_array_equal(boxes, sequence.boxes)
        assert (seconds > 0).all()
        again, _ = run_sequence(tracker, sequence, 2)  # a new process
        np.testing.assert_array_equal(again, sequence.boxes[2:])


def test_frames_without_files_are_written_without_loss(tmp_path: Path) -> None:
    code = """
        import sys, tempfile
        import cv2, numpy as np
        for line in sys.stdin:
            words = line.split()
            if words[0] == "quit":
                break
            path = words[1]
            bgr = cv2.imread(path)
            noise = np.random.default_rng(len(sys.argv)).integers(0, 256, bgr.shape, dtype=np.uint8)
            print(*np.argwhere((bgr[..., ::-1] != noise).any(2)).sum(0), *bgr.shape[:2], flush=True)
            print(path, file=open("paths.txt", "a"))
            sys.argv.append("")
        """
    with program(tmp_path, code) as tracker:
        frames = [np.random.default_rng(i).integers(0, 256, (40, 60, 3), dtype=np.uint8) for i in (1, 2, 3)]
        tracker.init(frames[0], BOX)
        assert [tuple(tracker.update(frame).box) for frame in frames[1:]] == [(0, 0, 40, 60)] * 2
        # a format that not every tracker reads is written too; and a file that was named for one frame is not that of the next
        tracker.init(frames[0], BOX)
        (tmp_path / "frame.webp").write_bytes(b"")
        tracker.next_file(tmp_path / "frame.webp")
        assert tracker.update(frames[1]).box == (0, 0, 40, 60)
    paths = [Path(line) for line in (tmp_path / "paths.txt").read_text().split()]
    assert len(set(paths)) == len(paths) == 5 and not any(path.exists() or path.parent.exists() for path in paths)


@pytest.mark.parametrize(
    ("answer", "box", "score"),
    [
        ("1 2 3 4", (1, 2, 3, 4), None),
        ("1.5,-2.25,3e1,4\t0.5", (1.5, -2.25, 30, 4), 0.5),
        ("nan nan nan nan", (np.nan,) * 4, None),
        (" 1  2 3 4 \\r", (1, 2, 3, 4), None),
    ],
)
def test_answers(tmp_path: Path, answer: str, box: tuple[float, ...], score: float | None) -> None:
    with program(tmp_path, f"for _ in open(0): print({answer!r}.replace('\\\\r', chr(13)), flush=True)") as tracker:
        tracker.init(FRAME, BOX)
        found = tracker.update(FRAME)
    np.testing.assert_array_equal(found.box, box)
    assert found.score == score


@pytest.mark.parametrize("answer", ["1 2 3", "1 2 3 4 5 6", "hello", "", "1 2 3 inf", "x" * 5000])
def test_answers_that_are_none(tmp_path: Path, answer: str) -> None:
    text = failure(program(tmp_path, f"for _ in open(0): print({answer!r}, flush=True)"))
    assert text.startswith(f"{sys.executable} tracker.py answers '{answer[:100]}") and "which is not x y w h" in text
    assert "(frame 0 of its run)" in text and len(text) < 1000


def test_answers_that_nobody_asked_for(tmp_path: Path) -> None:
    twice = "for _ in open(0): print('1 2 3 4', flush=True); print('5 6 7 8', flush=True)"
    text = failure(program(tmp_path, twice), 100)
    assert "says '5 6 7 8' without being asked; standard output is for answers alone" in text


# -- processes that fail


def test_one_that_crashes(tmp_path: Path) -> None:
    code = f"""
        import sys
        input(); print("1 2 3 4", flush=True)
        input()
        for i in range({LAST_WORDS + 5}):
            print("line", i, file=sys.stderr)
        raise SystemExit(3)
        """
    lines = failure(program(tmp_path, code)).splitlines()
    assert lines[0].endswith(f"has ended with exit code 3 (frame 1 of its run); its last words: line {LAST_WORDS + 4}")
    assert lines[2:] == [f"line {i}" for i in range(5, LAST_WORDS + 5)]


@posix
def test_one_that_is_killed(tmp_path: Path) -> None:
    assert "was killed by signal 9 (SIGKILL) (frame 0" in failure(program(tmp_path, "import os; os.kill(os.getpid(), 9)"))


def test_one_that_ends_at_once_and_one_that_closes_its_output(tmp_path: Path) -> None:
    assert "has ended with exit code 0" in failure(program(tmp_path, ""))
    assert "has closed its output" in failure(program(tmp_path, "import os, time; os.close(1); time.sleep(60)"))


def test_one_that_hangs_is_killed_with_its_children(tmp_path: Path) -> None:
    code = """
        import signal, subprocess, sys, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        print(child.pid, file=open("child", "w"), flush=True)
        time.sleep(60)
        """
    text = failure(program(tmp_path, code, timeout_s=1.5))
    assert "has not answered for 1.5 s (raise timeout_s if it needs longer) (frame 0 of its run)" in text
    pid = int((tmp_path / "child").read_text())
    wait_for(lambda: not alive(pid))


@posix
def test_one_that_ends_while_its_child_holds_the_pipes(tmp_path: Path) -> None:
    code = """
        import os, subprocess, sys
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        os._exit(5)
        """
    assert "has ended with exit code 5" in failure(program(tmp_path, code))


@posix
def test_one_that_will_not_quit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metatrack.compared.child.GRACE", 0.2)
    code = """
        import os, time
        print(os.getpid(), file=open("pid", "w"), flush=True)
        input(); print("1 2 3 4", flush=True)
        time.sleep(60)
        """
    tracker = program(tmp_path, code)
    tracker.init(FRAME, BOX)
    tracker.close()
    tracker.close()
    assert not alive(int((tmp_path / "pid").read_text()))


@pytest.mark.parametrize(
    "flood", ["print('1 2 3 4')", "print('x' * 100000)", "sys.stdout.write('x' * 1000)", "print('x', file=sys.stderr)"]
)
def test_one_that_writes_without_end(tmp_path: Path, flood: str) -> None:
    text = failure(program(tmp_path, f"import sys\nwhile True: {flood}", timeout_s=1.0), 10_000)
    assert ("without being asked" in text or "is not x y w h" in text or "has not answered for 1 s" in text) and len(
        text
    ) < 30_000


def test_one_that_writes_without_end_fills_no_memory(tmp_path: Path) -> None:
    """Not even if no line ends: it waits, once 100 MB at most are here that nobody has asked for."""
    child = Child([sys.executable, "-c", "while True: print('x' * 4096, end='')"], tmp_path, os.environ)
    held = -1
    while (now := child._lines.qsize()) != held or not now:
        held = now
        time.sleep(0.5)
    assert held * LINE_LENGTH < 100e6
    child.end("")


@posix
def test_one_that_never_reads(tmp_path: Path) -> None:
    code = "import time\nwhile True: print('1 2 3 4', flush=True); time.sleep(0.0005)"
    assert "does not read what it is told" in (text := failure(program(tmp_path, code), 10_000)) or "without being asked" in text


@posix
@pytest.mark.parametrize("how", ["forgotten", "killed"])
def test_the_process_ends_when_we_do(tmp_path: Path, how: str) -> None:
    code = """
        import os, time
        print(os.getpid(), file=open("pid", "w"), flush=True)
        input()
        print("1 2 3 4", flush=True)
        time.sleep(60)
        """
    file = tmp_path / "pid"
    if how == "forgotten":
        tracker = program(tmp_path, code)
        tracker.init(FRAME, BOX)
        del tracker
        gc.collect()
    else:
        program(tmp_path, code).close()  # writes the code
        ours = (
            "import time\nfrom tests.test_process import *\n"
            f"t = ProcessTracker(ProcessSettings((sys.executable, 'tracker.py')), Path({str(tmp_path)!r}))\n"
            "t.init(FRAME, BOX)\nprint('ready', flush=True)\ntime.sleep(60)\n"
        )
        paths = os.pathsep.join([str(Path(metatrack.__file__).parents[1]), str(Path(__file__).parents[1])])
        environment = {**os.environ, "PYTHONPATH": paths}
        owner = subprocess.Popen([sys.executable, "-c", ours], env=environment, stdout=subprocess.PIPE, text=True)
        assert owner.stdout is not None and owner.stdout.readline() == "ready\n"
        assert alive(int(file.read_text()))
        owner.send_signal(signal.SIGKILL)
        owner.communicate()
    wait_for(lambda: not alive(int(file.read_text())))


# -- TraX


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
    toolkit = Path(os.environ.get("METATRACK_VOT_VENV", Path(__file__).parents[1] / ".venv-vot"))
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


# -- the JSON file


def write(path: Path, **given: object) -> Path:
    path.write_text(json.dumps(given))
    return path


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "'command' is missing; it must be a list of the program and its arguments, as in "),
        ({"command": "python3 x.py"}, "'command' is 'python3 x.py'; it must be a list"),
        ({"command": []}, "it must be a list"),
        ({"command": ["x", 1]}, "it must be a list"),
        ({"command": ["x"], "protocl": "trax"}, "unknown 'protocl'; did you mean 'protocol'"),
        ({"command": ["x"], "gpu": 1}, "unknown 'gpu'; known are command, protocol, env, folder, timeout_s"),
        ({"command": ["x"], "protocol": "TraX"}, "'protocol' is 'TraX'; it must be 'lines' or 'trax'"),
        ({"command": ["x"], "env": {"A": 1}}, "'env' is {'A': 1}; it must be names, each with a text"),
        ({"command": ["x"], "env": {"A": "\0"}}, "it must be names, each with a text"),
        ({"command": ["x"], "env": {"A=B": "1"}}, "it must be names, each with a text"),
        ({"command": ["x"], "folder": 3}, "'folder' is 3; it must be a folder's path"),
        ({"command": ["x"], "timeout_s": 0}, "'timeout_s' is 0; it must be a number of seconds"),
        ({"command": ["x"], "timeout_s": True}, "it must be a number of seconds"),
    ],
)
def test_files_that_are_wrong(tmp_path: Path, given: dict[str, object], message: str) -> None:
    path = write(tmp_path / "x.json", **given)
    with pytest.raises(ValueError) as caught:
        read_settings(path)
    assert str(caught.value).startswith(str(path)) and message in str(caught.value)


def test_files_that_are_not_json(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    for text, message in (("{", "is not a JSON file"), ("[1]", "does not describe a tracker"), ("\udcff", "is not a JSON file")):
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
        with tracker_spec(str(path)).make() as tracker:
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
