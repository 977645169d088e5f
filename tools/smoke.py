"""What a new user does first, with the metatrack that is installed beside the Python that runs this file.

Run by ``make test-all-pythons`` and tests/install; by hand: ``some/python tools/smoke.py``. Every command is a process of its
own. With matplotlib a report is made, too. The environment is the caller's, so encodings and threads can be forced on it.
"""

from __future__ import annotations

import csv
import importlib.util
import os
import subprocess
import sys
import tempfile
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path

SHOWN = ("numpy", "onnxruntime", "av", "tyro", "rich")
FRAMES = 12
BOX = "185,120,69,87"


def metatrack(folder: Path, *words: str | Path, status: int = 0) -> str:
    """Runs a command in ``folder``; returns what it printed.

    Raises:
        SystemExit: its exit code is not ``status``, or it shows a traceback.
    """
    command = [sys.executable, "-m", "metatrack", *map(str, words)]
    done = subprocess.run(command, cwd=folder, capture_output=True, check=False)  # noqa: S603 - our own package
    printed, errors = (text.decode("utf-8", "replace") for text in (done.stdout, done.stderr))
    if done.returncode != status or "Traceback" in errors:
        raise SystemExit(f"{' '.join(command)}: exit code {done.returncode}, expected {status}\n{printed}\n{errors}")
    return printed


def rows_of(table: Path) -> list[list[str]]:
    """The rows of a table of boxes, without its header."""
    with table.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))[1:]


def expect(truth: bool, what: str) -> None:
    """Ends the run unless it is true.

    Raises:
        SystemExit: it is not.
    """
    if not truth:
        raise SystemExit(f"not so: {what}")


def write_sequence(clip: Path, folder: Path) -> None:
    """The first frames of a clip as a folder of images with a box for each."""
    import av

    folder.mkdir(parents=True)
    with av.open(str(clip)) as source:
        for number, frame in zip(range(1, FRAMES + 1), source.decode(video=0)):
            encoder = av.CodecContext.create("png", "w")
            encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = frame.width, frame.height, "rgb24", Fraction(1)
            picture = frame.reformat(format="rgb24")
            picture.pts, picture.time_base = 0, Fraction(1)
            data = b"".join(bytes(packet) for packet in [*encoder.encode(picture), *encoder.encode(None)])
            (folder / f"{number:04d}.png").write_bytes(data)
    (folder / "groundtruth.txt").write_text(f"{BOX}\n" * FRAMES, encoding="utf-8")


def smoke(work: Path) -> None:
    """All of it, in an empty folder.

    Raises:
        SystemExit: something fails.
    """
    import metatrack as package

    clip = Path(package.__file__).parent / "assets" / "demo.mp4"
    expect("lite" in metatrack(work, "models"), "`metatrack models` lists lite")
    metatrack(work, "demo")
    results = work / "metatrack-demo"
    expect(all((results / name).stat().st_size for name in ("tracked.mp4", "boxes.csv")), "the demo writes its results")
    demo = rows_of(results / "boxes.csv")
    write_sequence(clip, work / "data" / "bunny")
    metatrack(work, "track", work / "data" / "bunny", "--box", BOX, "--boxes", "folder.csv")
    metatrack(work, "track", clip, "--box", BOX, "--end", str(FRAMES), "--boxes", "clip.csv", "--video", "clip.mp4")
    clip_rows, folder_rows = rows_of(work / "clip.csv"), rows_of(work / "folder.csv")
    expect(len(clip_rows) == FRAMES and clip_rows == folder_rows, "a clip and the folder of its frames give the same boxes")
    apart = max(abs(float(a) - float(b)) for one, two in zip(clip_rows[1:], demo[1:]) for a, b in zip(one[1:5], two[1:5]))
    expect(apart < 0.02, f"track and demo agree (they are {apart} px apart)")
    damaged = work / "damaged.mp4"
    damaged.write_bytes(clip.read_bytes()[: clip.stat().st_size * 2 // 3])
    metatrack(work, "track", damaged, "--box", BOX, "--boxes", "damaged.csv", status=1)
    expect(len(rows_of(work / "damaged.csv")) > FRAMES, "the frames before the damage are kept")
    metatrack(work, "track", work / "nothing.mp4", "--box", BOX, status=2)
    data = ("--dataset", "plain", "--root", work / "data")
    metatrack(work, "evaluate", *data, "--trackers", "mlt", "--out", "results", "--jobs", "2")
    if importlib.util.find_spec("matplotlib"):
        metatrack(work, "report", "results", "--root", work / "data")
        expect((work / "results" / "report" / "index.html").stat().st_size > 0, "the report has a page")


def main() -> None:
    """Runs in a folder that is removed afterwards, and says with what it ran."""
    os.environ.pop("PYTHONPATH", None)  # what is installed is meant, not what lies about
    with tempfile.TemporaryDirectory(prefix="metatrack-smoke-") as folder:
        smoke(Path(folder))
    versions = ", ".join(f"{name} {version(name)}" for name in SHOWN)
    print(f"works: Python {sys.version.split()[0]}, {versions}")


if __name__ == "__main__":
    main()
