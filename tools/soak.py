"""Long and rough use: many updates, many targets, threads, forks, kills, full disks. A line a trial; exit code 1 if one fails.

python tools/soak.py            # about ten minutes on two cores
python tools/soak.py --quick    # a tenth of it
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import numpy as np

from metatrack import MultiTracker, Tracker, load_model, open_source
from metatrack.arrays import UInt8
from metatrack.video import read_boxes

BOX = (185.0, 120.0, 69.0, 87.0)
COMMAND = [sys.executable, "-m", "metatrack"]
TRACK = ["track", str(resources.files("metatrack") / "assets" / "demo.mp4"), "--box", "185,120,69,87"]


def clip() -> list[UInt8]:
    """The demo clip's frames, there and back, so that they can be shown for ever."""
    with open_source(str(resources.files("metatrack") / "assets" / "demo.mp4")) as source:
        frames = list(source)
    return frames + frames[-2:0:-1]


def resident() -> float:
    """Memory that this process uses now, in MiB; 0 where that cannot be asked."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def many_updates(scale: float) -> str:
    """20,000 updates of one tracker: boxes stay finite, memory flat."""
    frames, tracker = clip(), Tracker("lite")
    tracker.init(frames[0], BOX)
    count, after = int(20_000 * scale), 0.0
    for i in range(1, count):
        result = tracker.update(frames[i % len(frames)])
        if not np.isfinite([*result.box, result.score]).all():
            raise AssertionError(f"update {i}: {result}")
        if i == count // 4:
            after = resident()
    growth = resident() - after
    if growth > 20:
        raise AssertionError(f"memory grew by {growth:.1f} MiB in the last three quarters")
    return f"{count} updates, {growth:+.1f} MiB in the last three quarters"


def many_targets(scale: float) -> str:
    """200 targets, added and removed 1,000 times."""
    frames, rng, tracker = clip(), np.random.default_rng(0), MultiTracker("lite", adapt=False)
    turns, most, began = int(1000 * scale), 200, 0.0
    for i in range(turns):
        frame = frames[i % len(frames)]
        while len(tracker.targets) < min(most, 2 + i // 2):
            x, y = rng.uniform(0, 560), rng.uniform(0, 280)
            tracker.add(frame, (x, y, *rng.uniform(20, 80, 2)))
        for target in rng.permutation(len(tracker.targets))[:2]:
            tracker.remove(tracker.targets[int(target) % len(tracker.targets)])
        if i % 10 == 0:
            tracker.update(frame)
        if i == turns // 2:
            began = resident()
    growth = resident() - began
    return f"{turns} turns, up to {len(tracker.targets)} targets at once, {growth:+.1f} MiB in the second half"


def threads(scale: float) -> str:
    """8 threads with trackers of their own on one model: each has the boxes that it has alone."""
    frames, model = clip(), load_model("lite", threads=1)
    count = max(20, int(300 * scale))

    def boxes(start: int) -> list[tuple[float, ...]]:
        tracker = Tracker(model)
        tracker.init(frames[start], BOX)
        return [tuple(tracker.update(frames[(start + i) % len(frames)]).box) for i in range(count)]

    alone = [boxes(start) for start in range(8)]
    together: list[list[tuple[float, ...]]] = [[] for _ in range(8)]

    def work(start: int) -> None:
        together[start] = boxes(start)

    workers = [threading.Thread(target=work, args=(start,)) for start in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if together != alone:
        raise AssertionError("a tracker among others had other boxes than alone")
    return f"8 threads, {count} updates each: the same boxes as alone"


def forks(scale: float) -> str:
    """A process that forks behind init: parent and child go on alike."""
    if not hasattr(os, "fork"):
        return "no fork on this system"
    frames, tracker = clip(), Tracker("lite", threads=1)
    tracker.init(frames[0], BOX)
    tracker.update(frames[1])
    reader, writer = os.pipe()
    child = os.fork()
    found = [tuple(tracker.update(frames[i]).box) for i in range(2, 40)]
    digest = hashlib.sha256(json.dumps(found).encode()).hexdigest()
    if child == 0:
        os.write(writer, digest.encode())
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(reader, 64).decode()
    if theirs != digest:
        raise AssertionError("parent and child differ")
    return "38 updates in either process: the same boxes"


def kills(scale: float) -> str:
    """A run that is killed at any moment leaves a whole table: every line but the last one that was begun."""
    lines = []
    with tempfile.TemporaryDirectory() as name:
        for i in range(max(3, int(20 * scale))):
            table = Path(name) / f"{i}.csv"
            process = subprocess.Popen([*COMMAND, *TRACK, "--boxes", str(table)], stderr=subprocess.DEVNULL)  # noqa: S603 - our own
            while not table.exists() and process.poll() is None:
                time.sleep(0.001)
            time.sleep(0.02 * i)
            process.send_signal(signal.SIGKILL if os.name == "posix" else signal.SIGTERM)
            process.wait()
            lines.append(len(read_boxes(table)) if table.exists() else 0)
        left = sorted(path.name for path in Path(name).iterdir() if path.suffix != ".csv")
    return f"{len(lines)} kills; whole tables of {min(lines)} to {max(lines)} lines; left behind: {', '.join(left) or 'nothing'}"


def kills_of_writers(scale: float) -> str:
    """Exports and trainings that are killed at any moment leave a whole bundle and a whole checkpoint, the old or the new."""
    if os.name != "posix":
        return "no SIGKILL on this system"
    rng, count = np.random.default_rng(0), max(3, int(30 * scale))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for _ in range(count):
            process = subprocess.Popen([sys.executable, "-c", WRITERS, name], stdout=subprocess.PIPE, text=True)  # noqa: S603 - ours
            if process.stdout is None:
                raise RuntimeError("no pipe")
            process.stdout.readline()
            time.sleep(float(rng.uniform(0, 0.5)))
            process.kill()
            process.wait()
            process.stdout.close()
            subprocess.run([sys.executable, "-c", READERS, name], check=True)  # noqa: S603 - ours
        left = sorted(path.name for path in folder.iterdir() if path.name not in ("bundle", "last.pt"))
    return f"{count} kills; left beside bundle and checkpoint: {len(left)} hidden files or folders"


WRITERS = """
import shutil, sys
from importlib.resources import files
from pathlib import Path
import torch
from metatrack.bundling.replacing import replacing_bundle
from metatrack.training.weights import save_atomically
model, folder, step = files("metatrack") / "models" / "lite-no-meta", Path(sys.argv[1]), 0
while True:
    with replacing_bundle(folder / "bundle") as made:
        for each in model.iterdir():
            shutil.copy(str(each), made / each.name)
    save_atomically({"network": {"x": torch.zeros(200_000)}, "config": {}, "step": step}, folder / "last.pt")
    step += 1
    print(step, flush=True)
"""
READERS = """
import sys
from pathlib import Path
from metatrack.bundling.replacing import replacing_bundle
from metatrack.runtime.bundle import open_bundle
from metatrack.training.weights import read_weights
folder = Path(sys.argv[1])
try:
    open_bundle(folder / "bundle")
except ValueError as error:  # between two renames: the next export puts the old one back
    if "interrupted" not in str(error):
        raise
read_weights(folder / "last.pt", "network")
"""


def full_disk(scale: float) -> str:
    """The disk fills up in mid-run: an error that names the file, and a table whole up to there."""
    if not Path("/dev/full").exists():
        return "no /dev/full on this system"
    words = [*TRACK, "--boxes", "-"]
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run([*COMMAND, *words], stdout=full, stderr=subprocess.PIPE, text=True, check=False)  # noqa: S603
    if done.returncode == 0 or "Traceback" in done.stderr:
        raise AssertionError(f"exit code {done.returncode}: {done.stderr[-500:]}")
    with tempfile.TemporaryDirectory() as name:
        for option, file, most in (("--boxes", "boxes.csv", 1), ("--video", "film.mp4", 100)):
            command = f"ulimit -f {most}; exec {shlex.join([*COMMAND, *TRACK, option, str(Path(name) / file)])}"
            short = subprocess.run(["/bin/sh", "-c", command], stderr=subprocess.PIPE, text=True, check=False)  # noqa: S603
            last = short.stderr.strip().splitlines()[-1]
            if short.returncode != 1 or Path(file).stem not in last or "Traceback" in short.stderr:
                raise AssertionError(f"{option}: exit code {short.returncode}: {short.stderr[-500:]}")
        rows = len(read_boxes(Path(name) / "boxes.csv"))
    return f"exit code {done.returncode}: {done.stderr.strip().splitlines()[-1]}; a table cut at 1 block has {rows} whole lines"


def no_temporary_folder(scale: float) -> str:
    """A temporary folder that does not exist: tracking needs none."""
    words = [*TRACK, "--end", "5", "--boxes", "-"]
    environment = {**os.environ, "TMPDIR": "/does/not/exist", "TEMP": "/does/not/exist", "TMP": "/does/not/exist"}
    done = subprocess.run([*COMMAND, *words], capture_output=True, text=True, check=False, env=environment)  # noqa: S603
    if done.returncode != 0:
        raise AssertionError(done.stderr[-500:])
    return "tracks as always"


TRIALS: tuple[Callable[[float], str], ...] = (
    *(many_updates, many_targets, threads, forks, kills, kills_of_writers, full_disk, no_temporary_folder),
)


def main() -> int:
    """Runs all trials; the exit code is 1 if one fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of it")
    parser.add_argument("--trials", default=",".join(each.__name__ for each in TRIALS), help="names, separated by commas")
    options = parser.parse_args()
    failed = 0
    for trial in TRIALS:
        if trial.__name__ not in options.trials.split(","):
            continue
        begin = time.monotonic()
        try:
            said = trial(0.1 if options.quick else 1.0)
        except Exception:  # noqa: BLE001 - the others are to be run all the same
            said, failed = f"FAILED\n{traceback.format_exc()}", failed + 1
        print(f"{trial.__name__:<22}{time.monotonic() - begin:6.0f} s  {said}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
