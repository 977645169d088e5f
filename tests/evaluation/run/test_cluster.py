"""An evaluation on a Ray cluster of two nodes, both on this machine: the same bytes as without, whatever happens to it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import ExitStack
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import metatrack
from metatrack.app.batch_job import BatchFolder, Videos, read_list
from metatrack.data.plain import read_plain
from metatrack.evaluation.run.evaluate import EvaluationError, carry_out, plan
from metatrack.evaluation.run.store import Store, Unit
from metatrack.evaluation.run.trackers import Ours, TrackerSpec
from metatrack.evaluation.run.worker import NoResult, Runs
from metatrack.evaluation.score.summary import tables, write_summary
from metatrack.video import VideoWriter
from tests.conftest import REPOSITORY, Scene
from tests.evaluation.helpers import contents, evaluate, wait_for
from tests.fake_batch import SlowVideos
from tests.fake_trackers import make_sequence

FAKES = "tests.fake_trackers"
ROOT = REPOSITORY
LIMIT = 300
"""Seconds after which a test that hangs is ended."""

needs_ray = pytest.mark.skipif(
    find_spec("ray") is None or sys.platform == "win32",
    reason="needs Ray on Linux or macOS: pip install 'metatrack[cluster]'",
)
pytestmark = [needs_ray, pytest.mark.slow]


@pytest.fixture(autouse=True)
def limit():
    """Nothing hangs."""

    def end(*_):
        raise TimeoutError(f"no end after {LIMIT} s")

    old = signal.signal(signal.SIGALRM, end)
    signal.alarm(LIMIT)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, old)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """Three sequences; b has three frames."""
    folder = tmp_path_factory.mktemp("data")
    for name, frames in (("a", 6), ("b", 3), ("c", 8)):
        make_sequence(folder, name, frames)
    return folder


@pytest.fixture(scope="module")
def log(tmp_path_factory) -> Path:
    """Where Slow notes its processes: see tests/fake_trackers.py."""
    return tmp_path_factory.mktemp("log") / "log"


@pytest.fixture(scope="module")
def cluster(log):
    """Two nodes of one CPU each. Workers have the environment that their node was started with."""
    patch = pytest.MonkeyPatch()
    patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    patch.setenv("PYTHONPATH", os.pathsep.join([str(Path(metatrack.__file__).parents[1]), str(ROOT)]))
    patch.setenv("OMP_NUM_THREADS", "1")
    for name in ("raylet_start_wait_time_s", "worker_register_timeout_seconds"):  # a busy machine is no failure
        patch.setenv(f"RAY_{name}", "120")
    patch.setenv("FAKE_LOG", str(log))
    patch.setenv("FAKE_SLOW", "0.15")
    patch.setenv("FAKE_MEET", "2")
    patch.delenv("RAY_ADDRESS", raising=False)
    folder = tempfile.mkdtemp(prefix="ray")  # short: it holds sockets, the names of which are limited
    patch.setenv("RAY_TMPDIR", folder)  # here Ray notes its address, in a folder that it does not make where none was before
    Path(folder, "ray").mkdir()
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "wait": False}
    nodes = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False, "temp_dir": folder})
    second = nodes.add_node(**node)
    nodes.wait_for_nodes(timeout=1200)
    others = [second]

    def add_second() -> None:
        if not others:
            others.append(nodes.add_node(**node))
            nodes.wait_for_nodes(timeout=1200)

    def remove_second() -> None:
        nodes.remove_node(others.pop(), allow_graceful=False)

    yield SimpleNamespace(address=nodes.address, add_second=add_second, remove_second=remove_second)
    nodes.shutdown()
    patch.undo()
    shutil.rmtree(folder, ignore_errors=True)


def spec(name: str) -> TrackerSpec:
    return TrackerSpec(name.lower(), f"{FAKES}:{name}")


def on(address: str):
    from metatrack.evaluation.run.cluster import Cluster

    return partial(Cluster, address)


@pytest.fixture(scope="module")
def local(root, tmp_path_factory):
    """What processes of this machine make of it, and the failures. Slow's boxes are Offset's."""
    return run_all(Store(tmp_path_factory.mktemp("local"), "plain", "ope"), read_plain(root))


def run_all(store: Store, sequences, **more):
    trackers = [TrackerSpec("Slow", f"{FAKES}:Offset"), spec("Broken"), spec("Crashing")]
    units = plan(store, [tracker.name for tracker in trackers], sequences)
    failures = evaluate(store, trackers, units, sequences, **more)
    write_summary(store, tables(store, units, sequences), sequences)
    return SimpleNamespace(out=store.root, failures=failures)


def test_the_same_bytes_and_the_same_failures(cluster, root, local, tmp_path) -> None:
    reports: list[Any] = []
    there = run_all(Store(tmp_path, "plain", "ope"), read_plain(root), workers=on(cluster.address), jobs=0, watch=reports.append)
    assert contents(there.out, "summary.json", "summary.csv") == contents(local.out, "summary.json", "summary.csv")
    assert len(contents(there.out)) == 5  # three by Slow, one each by the others
    failed = [(failure.unit.tracker, failure.unit.sequence) for failure in there.failures]
    assert failed == [(name, sequence) for name in ("broken", "crashing") for sequence in "ac"]
    assert failed == [(failure.unit.tracker, failure.unit.sequence) for failure in local.failures]
    for failure in there.failures:
        text = failure.file.read_text()
        if failure.unit.tracker == "broken":
            assert failure.reason == "KeyError: 'no such state'" and "fake_trackers.py" in text
        else:
            assert "the process in which it ran died" in failure.reason and failure.reason in text
    assert Counter(report.kind for report in reports if report.kind != "frames") == {"failed": 4, "done": 5}
    assert not list((there.out / "locks").iterdir())


def test_interrupted_and_continued_beside_another_evaluation(cluster, root, local, tmp_path, log) -> None:
    words = [sys.executable, "-m", "metatrack", "evaluate", "--dataset", "plain", "--root", str(root), "--out", str(tmp_path)]
    words += ["--trackers", f"{FAKES}:Slow", "--ray", cluster.address]
    log.unlink(missing_ok=True)

    def start() -> subprocess.Popen:
        return subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    process = start()
    wait_for(lambda: contents(tmp_path) or process.poll() is not None)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=1200)
    assert process.returncode == 130 and "interrupted" in err and "Traceback" not in err, err
    done = contents(tmp_path)
    assert 1 <= len(done) < 3 and not list((tmp_path / "locks").iterdir())
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in log.read_text().split()))  # tasks end with their driver
    began = len(log.read_text().split())

    # Somebody else is at one of the others, and gives it up after a while.
    store = Store(tmp_path, "plain", "ope")
    unit = next(unit for unit in plan(store, ["Slow"], read_plain(root)) if not store.is_done(unit))
    with store.claim(unit) as ours:
        assert ours
        process = start()
        wait_for(lambda: len(contents(tmp_path)) == 2 or process.poll() is not None)
        assert process.poll() is None and not store.is_done(unit)
    table, err = process.communicate(timeout=1200)
    assert process.returncode == 0 and " 3\n" in table, err
    assert contents(tmp_path) == {name: text for name, text in contents(local.out).items() if "Slow" in name}
    assert len(log.read_text().split()) - began == 3 - len(done)  # what was done was not done again


def test_a_node_is_removed_in_the_middle(cluster, root, local, tmp_path, log) -> None:
    log.unlink(missing_ok=True)
    removed: list[Any] = []
    reports: list[Any] = []

    def watch(report) -> None:
        reports.append(report)
        if not removed and len(set(log.read_text().split())) == 2:  # both nodes are at work
            removed.append(cluster.remove_second())

    slow = TrackerSpec("Slow", f"{FAKES}:Slow")
    store = Store(tmp_path, "plain", "ope")
    sequences = read_plain(root)
    failures = evaluate(
        store, [slow], plan(store, ["Slow"], sequences), sequences, workers=on(cluster.address), jobs=2, watch=watch
    )
    assert removed and not failures
    assert contents(tmp_path) == {name: text for name, text in contents(local.out).items() if "Slow" in name}
    assert len(log.read_text().split()) == 4  # one of three runs was begun twice
    frames: Counter[Any] = Counter()
    for report in reports:
        frames[report.unit] += report.frames if report.kind == "frames" else 0
    assert all(0 <= count <= unit.frames for unit, count in frames.items()) and any(frames.values())


def test_a_batch_of_videos_loses_a_node_in_the_middle(cluster, tmp_path, log) -> None:
    cluster.add_second()
    log.unlink(missing_ok=True)
    for seed, name in enumerate("abc"):
        with VideoWriter(tmp_path / f"{name}.mp4", 25.0) as film:
            for i in range(10):
                film.write(Scene(seed, size=(120, 160)).frame(i)[:120, :160])
    (tmp_path / "broken.mp4").write_text("no video")
    (tmp_path / "list.csv").write_text("".join(f"{name}.mp4,60,40,30,30\n" for name in ("a", "broken", "b", "c")))
    model = Ours("lite", False, "")
    videos = read_list(tmp_path / "list.csv")
    units = [Unit("lite", video.name, 1, 0, 0) for video in videos]
    items = {video.name: video for video in videos}

    def run(kind, out, **more) -> dict[str, bytes]:
        folder = BatchFolder(tmp_path / out)
        failures = carry_out(kind(folder, folder.now(), model, model.identity()), units, items, **more)
        assert [failure.unit.sequence for failure in failures] == ["broken"]
        return contents(folder.root, *(f"boxes/{name}.csv" for name in "abc"))

    removed: list[Any] = []

    def on_both(job, jobs):
        made = on(cluster.address)(job, jobs)
        progress = made._progress

        def look():  # asked between any two looks at the tasks
            if not removed and log.exists() and len(set(log.read_text().split())) == 2:
                removed.append(cluster.remove_second())
            yield from progress()

        made._progress = look
        return made

    there = run(SlowVideos, "there", workers=on_both, jobs=2)
    assert removed and len(log.read_text().split()) >= 5  # of four videos one at least was begun twice
    assert there == run(Videos, "here")


# -- without a cluster


def test_a_unit_that_outlives_no_machine_fails(tmp_path, monkeypatch) -> None:
    from ray.exceptions import NodeDiedError

    from metatrack.evaluation.run import cluster

    sequence = make_sequence(tmp_path, "a")
    store = Store(tmp_path / "out", "plain", "ope")
    unit = Unit("perfect", "a", 1, 0, 5)
    it = cluster.Cluster("nowhere", Runs(store, store.now(), {"perfect": spec("Perfect")}, {}))
    it.setting, it.track = None, SimpleNamespace(remote=lambda *words: object())

    def get(reference):
        raise NodeDiedError("the machine is gone")

    monkeypatch.setattr(cluster, "ray", SimpleNamespace(get=get))
    it._send(cluster._Task(unit, 1, ExitStack()), {"a": sequence})
    said = [it._end(next(iter(it.tasks)), {"a": sequence}) for _ in range(cluster.TRIES)]
    assert [report.kind for report in said] == ["frames"] * (cluster.TRIES - 1) + ["failed"]
    assert "the machines on which it ran died" in said[-1].reason and not it.tasks
    assert "the machine is gone" in store.file("errors", unit).read_text()


def test_machines_that_cannot_be_used(tmp_path) -> None:
    from metatrack.evaluation.run.cluster import Unfit, _Setting, _track

    sequence = make_sequence(tmp_path, "a")
    unit = Unit("perfect", "a", 1, 0, 5)
    here, perfect, store = os.getcwd(), spec("Perfect"), Store(tmp_path / "out", "plain", "ope")

    def reason(tracker: TrackerSpec, identity: dict, probe: Path) -> str:
        setting = _Setting("/no/such/folder", [], Runs(store, 0.0, {"perfect": tracker}, {"perfect": identity}), None)
        answer = _track(setting, unit, 1, sequence, probe)
        assert isinstance(answer, Unfit)
        return answer.reason

    first = sequence.frame_paths[0]
    assert "it has no /no/such.png; what is tracked must be there at the same path" in reason(perfect, {}, Path("/no/such.png"))
    assert "its perfect differs from the driver's" in reason(perfect, {"factory": "an older one"}, first)
    unknown = TrackerSpec("perfect", "no_such_module:make")
    assert "No module named 'no_such_module' (tracker perfect; its files must be at the same path" in reason(unknown, {}, first)
    setting = _Setting(here, [], Runs(store, 0.0, {"perfect": perfect}, {"perfect": perfect.identity()}), None)
    assert not isinstance(_track(setting, unit, 1, sequence, first), NoResult) and os.getcwd() == here


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("127.0.0.1:9", "nobody answers there"),
        ("ray://127.0.0.1:10001", "give host:port of the cluster's head"),
        ("somewhere", "give host:port of the cluster's head"),
    ],
)
def test_an_address_that_is_none(address, message, root, tmp_path, capsys) -> None:
    from metatrack.cli import main

    words = ["evaluate", "--dataset", "plain", "--root", str(root), "--out", str(tmp_path), "--trackers", f"{FAKES}:Still"]
    assert main([*words, "--ray", address]) == 2
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1


def test_a_cluster_that_refuses(root, tmp_path, monkeypatch) -> None:

    def init(*_, **__):
        raise ConnectionError("Could not find any running Ray instance.")

    monkeypatch.setattr("ray.init", init)
    store, sequences = Store(tmp_path, "plain", "ope"), read_plain(root)
    units = plan(store, ["still"], sequences)
    with pytest.raises(EvaluationError, match="no Ray cluster can be used at auto: Could not find any"):
        evaluate(store, [spec("Still")], units, sequences, workers=on("auto"))


def test_without_ray_the_command_says_what_to_install(root, tmp_path, monkeypatch, capsys) -> None:
    from metatrack.cli import main

    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "metatrack.evaluation.run.cluster", raising=False)
    words = ["evaluate", "--dataset", "plain", "--root", str(root), "--out", str(tmp_path), "--trackers", f"{FAKES}:Still"]
    assert main([*words, "--ray", "auto"]) == 2
    assert "pip install 'metatrack[cluster]'" in capsys.readouterr().err
