"""Trackers that are programs: what they are told, what is made of their answers, and that nothing they do can hang or leak."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import metatrack
from metatrack.compared.child import LAST_WORDS, LINE_LENGTH, Child
from metatrack.data.sequence import Sequence
from metatrack.evaluation.run.runner import run_sequence
from tests.compared.programs import BOX, FRAME, LINES, alive, failure, posix, program, wait_for
from tests.conftest import REPOSITORY
from tests.fake_trackers import make_sequence


@pytest.fixture
def sequence(tmp_path: Path) -> Sequence:
    """Its folder's name holds what must be quoted."""
    folder = tmp_path / 'a "b" c=d \\ é'
    return make_sequence(folder, "moving")


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
            "import time\nfrom tests.compared.programs import *\n"
            f"t = ProcessTracker(ProcessSettings((sys.executable, 'tracker.py')), Path({str(tmp_path)!r}))\n"
            "t.init(FRAME, BOX)\nprint('ready', flush=True)\ntime.sleep(60)\n"
        )
        paths = os.pathsep.join([str(Path(metatrack.__file__).parents[1]), str(REPOSITORY)])
        environment = {**os.environ, "PYTHONPATH": paths}
        owner = subprocess.Popen([sys.executable, "-c", ours], env=environment, stdout=subprocess.PIPE, text=True)
        assert owner.stdout is not None and owner.stdout.readline() == "ready\n"
        assert alive(int(file.read_text()))
        owner.send_signal(signal.SIGKILL)
        owner.communicate()
    wait_for(lambda: not alive(int(file.read_text())))
