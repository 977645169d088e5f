"""Evaluations that are killed, continued, shared and disturbed: what is done stays done, and nothing is done twice or torn."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metatrack.app.evaluate import EvaluationProgress
from metatrack.claims import claim
from metatrack.data.plain import read_plain
from metatrack.evaluation.run import worker
from metatrack.evaluation.run.evaluate import Workers, plan
from metatrack.evaluation.run.store import Store, Unit
from metatrack.evaluation.score.summary import tables, write_summary
from tests.evaluation.helpers import FAKES, PATHS, SCORES, command, contents, evaluate, finish, results, spec, start, wait_for
from tests.fake_trackers import make_sequence


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five sequences in the plain layout; the shortest has three frames."""
    folder = tmp_path_factory.mktemp("data")
    for name, frames in (("a", 6), ("b", 3), ("c", 8), ("d", 5), ("e", 7)):
        make_sequence(folder, name, frames)
    return folder


@pytest.fixture(scope="module")
def reference(root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What an evaluation of Slow leaves that nothing disturbs."""
    out = tmp_path_factory.mktemp("reference")
    code, _, err = finish(start(command(root, out, f"{FAKES}:Slow"), out / "log"))
    assert code == 0, err
    return contents(out, *SCORES)


# -- interruptions


def test_killed_and_continued(root: Path, tmp_path: Path, reference: dict[str, bytes]) -> None:
    words = command(root, tmp_path, f"{FAKES}:Slow", "--jobs", "2")
    log = tmp_path / "log"
    process = start(words, log, slow=0.15)
    wait_for(lambda: len(results(tmp_path)) >= 2)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=1200)  # the pipes close when the workers have gone too
    done = contents(tmp_path)
    assert 2 <= len(done) < 5
    pids = {int(line) for line in log.read_text().split()}
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids) or not Path("/proc").is_dir())
    times = {path: path.stat().st_mtime_ns for path in results(tmp_path)}
    began = len(log.read_text().split())

    code, out, err = finish(start(words, log))
    assert code == 0, err
    assert contents(tmp_path, *SCORES) == reference
    assert len(log.read_text().split()) - began == 5 - len(done)  # what was done was not done again
    assert all(path.stat().st_mtime_ns == moment for path, moment in times.items())
    assert out.splitlines()[1].startswith("Slow  ")


def test_interrupted_by_a_person(root: Path, tmp_path: Path) -> None:
    process = start(command(root, tmp_path, f"{FAKES}:Slow"), tmp_path / "log", slow=0.1)
    wait_for(lambda: results(tmp_path))
    process.send_signal(signal.SIGINT)
    code, _, err = finish(process)
    assert code == 130 and "interrupted" in err and "Traceback" not in err
    for lock in (tmp_path / "locks").iterdir():  # a worker that was ended cannot remove its file, but its claim is free
        with claim(lock) as ours:
            assert ours


def test_two_evaluations_of_one_folder(root: Path, tmp_path: Path, reference: dict[str, bytes]) -> None:
    words, log = command(root, tmp_path, f"{FAKES}:Slow"), tmp_path / "log"
    both = [start(words, log, slow=0.02, meet=2) for _ in range(2)]
    for process in both:
        code, out, err = finish(process)
        assert code == 0, err
        assert " 5\n" in out  # each shows the whole table
    assert contents(tmp_path, *SCORES) == reference
    runs = Counter(log.read_text().split())
    assert sum(runs.values()) == 5  # no run was done twice
    assert len(runs) == 2  # and both had their share


def test_one_of_two_is_killed_and_the_other_takes_over(root: Path, tmp_path: Path, reference: dict[str, bytes]) -> None:
    words, log = command(root, tmp_path, f"{FAKES}:Slow"), tmp_path / "log"
    one, two = (start(words, log, slow=0.02, meet=2) for _ in range(2))
    wait_for(lambda: log.is_file() and len(set(log.read_text().split())) == 2)  # both are in the middle of a run
    one.kill()
    one.communicate(timeout=1200)
    code, _, err = finish(two)
    assert code == 0, err
    assert contents(tmp_path, *SCORES) == reference


# -- failures


def test_failures_stop_nobody(root: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "out", "plain", "ope")
    sequences = read_plain(root)
    reports: list[Any] = []
    trackers = [spec("Broken"), spec("Crashing"), spec("Perfect")]
    units = plan(store, [tracker.name for tracker in trackers], sequences)
    failures = evaluate(store, trackers, units, sequences, jobs=2, watch=reports.append)
    failed = [(failure.unit.tracker, failure.unit.sequence) for failure in failures]
    assert failed == [(tracker, name) for tracker in ("broken", "crashing") for name in "acde"]  # b has three frames
    for failure in failures:
        text = failure.file.read_text()
        if failure.unit.tracker == "broken":
            assert failure.reason == "KeyError: 'no such state'" and "Traceback" in text and "fake_trackers.py" in text
        else:
            assert "killed by signal 11" in failure.reason and failure.reason in text
    by_tracker = {table.tracker: table for table in tables(store, units, sequences)}
    assert [row.sequence for row in by_tracker["broken"].rows] == ["b"]
    assert len(by_tracker["perfect"].rows) == 5 and by_tracker["perfect"].mean("auc") == pytest.approx(20 / 21)
    assert Counter(report.kind for report in reports if report.kind != "frames") == {"failed": 8, "done": 7}
    assert not list((store.root / "locks").glob("perfect*"))


def test_a_process_that_dies_between_two_runs_stops_nobody(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One worker has nothing left to do, and dies of its last tracker while the other is still at work."""
    for name, value in (("FAKE_LOG", str(tmp_path / "log")), ("FAKE_SLOW", "0.5"), ("FAKE_MEET", "1")):
        monkeypatch.setenv(name, value)
    sequences = [sequence for sequence in read_plain(root) if sequence.name == "a"]
    store = Store(tmp_path / "out", "plain", "ope")
    units = plan(store, ["slow", "lingering"], sequences)
    assert not evaluate(store, [spec("Slow"), spec("Lingering")], units, sequences, jobs=2)
    assert len(units) == 2 and all(store.is_done(unit) for unit in units)


def test_a_failure_is_tried_again_and_forgotten_once_it_succeeds(root: Path, tmp_path: Path) -> None:
    store = Store(tmp_path, "plain", "ope")
    (sequence, *_) = read_plain(root)
    unit = Unit("perfect", "a", 1, 0, 6)
    store.write_error(unit, "KeyError: x", "Traceback ...")
    moment = store.now()
    os.utime(store.file("errors", unit), (moment - 10, moment - 10))
    job = worker.Runs(store, moment, {"perfect": spec("Perfect"), "broken": spec("Broken")}, {})
    assert worker.do(job, unit, sequence, print).kind == "done"
    assert not store.file("errors", unit).exists() and store.is_done(unit)
    # one that failed since the evaluation began, in another process, is not
    broken = Unit("broken", "a", 1, 0, 6)
    assert worker.do(job, broken, sequence, print).reason == "KeyError: 'no such state'"
    store.write_error(broken, "said by another", "")
    assert worker.do(job, broken, sequence, print).reason == "said by another"


def test_the_command_with_a_failure(root: Path, tmp_path: Path) -> None:
    more = ("--only", "a,b", "--protocol", "sre", "--jobs", "2")
    code, out, err = finish(start(command(root, tmp_path, f"{FAKES}:Broken,good={FAKES}:Perfect", *more), tmp_path / "log"))
    assert code == 1
    lines = [line.split() for line in out.splitlines()]
    assert lines[0][0] == "AUC" and lines[1][0] == "Broken" and lines[1][-3:] == ["1", "of", "2"]
    assert lines[3][0] == "good" and lines[3][-1] == "2" and 0.5 < float(lines[3][1]) < 0.952  # of a wrong size in ten runs
    assert "failed: Broken on a: KeyError: 'no such state'" in err and "2 more" in err and "Traceback" not in err
    assert len(list((tmp_path / "boxes" / "good").iterdir())) == 24
    assert (tmp_path / "errors" / "Broken" / "a_12.txt").is_file()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("--dataset", "plainn"), "did you mean 'plain'"),
        (("--trackers", "mtl"), "did you mean 'mlt'"),
        (("--trackers", "no.such.module:make"), "No module named 'no'"),
        (("--only", "A"), "no sequence 'A'"),
        (("--only", ","), "--only names no sequence"),
        (("--root", "nowhere"), "nowhere is not a folder"),
        (("--jobs", "0"), "at least 1"),
    ],
)
def test_wrong_input_is_one_line(root: Path, tmp_path: Path, change: tuple[str, str], message: str, capsys) -> None:
    from metatrack.cli import main

    assert main(command(root, tmp_path / "out", f"{FAKES}:Still", *change)[3:]) == 2
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1


def test_progress_counts_frames(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metatrack.app.evaluate.LINE_EVERY", 0.0)
    one, two = Unit("x", "a", 1, 0, 6), Unit("x", "b", 1, 0, 3)
    with EvaluationProgress([one, two]) as progress:
        for report in (
            worker.Report("frames", one, 4),
            worker.Report("frames", one, -4),  # its machine has died: it begins anew
            worker.Report("frames", one, 5),
            worker.Report("failed", one, reason="x"),
            worker.Report("done", two),
        ):
            progress.report(report)
    lines = [line for line in capsys.readouterr().err.splitlines() if " of 9 frames" in line]
    assert [line.split()[-4] for line in lines] == ["4", "0", "5", "6", "9"]
    assert lines[-1].startswith("1 of 2 runs, 1 failed")


# -- the folder


def test_a_folder_is_of_one_kind(root: Path, tmp_path: Path) -> None:
    store = Store(tmp_path, "plain", "ope")
    store.pin_tracker("x", {"factory": "a:b", "numbers": (1, 2.5)})
    Store(tmp_path, "plain", "ope").pin_tracker("x", {"factory": "a:b", "numbers": (1, 2.5)})
    with pytest.raises(ValueError, match="another evaluation .protocol: 'ope', now 'tre'.; give another folder"):
        Store(tmp_path, "plain", "tre")
    with pytest.raises(ValueError, match="another tracker x .factory: 'a:b', now 'a:c'.; .* the tracker another name: name="):
        store.pin_tracker("x", {"factory": "a:c", "numbers": (1, 2.5)})


def test_results_are_kept_exactly(tmp_path: Path) -> None:
    store = Store(tmp_path, "plain", "tre")
    unit = Unit("x", "a", 3, 7, 2)
    boxes = np.array([(1 / 3, -2.5e-7, np.pi, 1e6), (np.nan, np.nan, np.nan, np.nan)])
    assert not store.is_done(unit)
    store.write(unit, boxes, [0.25, 1e-9])
    assert store.is_done(unit) and store.file("boxes", unit).name == "a_03.txt"
    np.testing.assert_array_equal(store.read_boxes(unit), boxes)
    assert store.read_seconds(unit).tolist() == [0.25, 1e-9]
    longer = unit._replace(frames=3)  # the data were changed: made again
    assert not store.is_done(longer)
    with pytest.raises(ValueError, match="holds 2 boxes, the run has 3 frames"):
        store.read_boxes(longer)
    with pytest.raises(ValueError, match="cannot be the name of a file"):
        store.is_done(unit._replace(sequence="../x"))


def test_plan(root: Path, tmp_path: Path) -> None:
    sequences = read_plain(root)
    store = Store(tmp_path, "plain", "sre")
    units = plan(store, ["still", "perfect"], sequences)
    assert len(units) == len(set(units)) == 2 * 5 * 12
    assert units[0] == Unit("still", "a", 1, 0, 6) and units[-1] == Unit("perfect", "e", 12, 0, 7)
    with pytest.raises(ValueError, match="two sequences are named 'a'"):
        plan(store, ["still"], [sequences[0], sequences[0]])


def test_an_evaluation_that_has_nothing_to_do_starts_no_process(root: Path, tmp_path: Path) -> None:
    store = Store(tmp_path, "plain", "ope")
    sequences = read_plain(root)
    units = plan(store, ["still"], sequences)
    for unit in units:
        store.write(unit, np.ones((unit.frames, 4)), np.ones(unit.frames))

    def none(*_: object) -> Workers:
        raise AssertionError("there is nothing to do")

    assert len(units) == 5 and not evaluate(store, [spec("Still")], units, sequences, workers=none)
    write_summary(store, tables(store, units, sequences), sequences)
    assert json.loads((tmp_path / "summary.json").read_text())["sequences"] == 5


# -- claims


def test_a_claim_is_one_process_s_and_ends_with_it(tmp_path: Path) -> None:
    path = tmp_path / "locks" / "x.lock"
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom metatrack.claims import claim\n"
        "with claim(Path(sys.argv[1])) as ours:\n    print(ours, flush=True)\n    time.sleep(60)\n"
    )
    words = [sys.executable, "-c", code, str(path)]
    owner = subprocess.Popen(words, env={**os.environ, "PYTHONPATH": PATHS}, stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None and owner.stdout.readline() == "True\n"
    with claim(path) as ours:
        assert not ours
    owner.kill()
    owner.communicate()
    assert path.exists()  # left behind, and no hindrance
    with claim(path) as ours:
        assert ours
        with claim(path) as again:
            assert not again
    assert not path.exists()
