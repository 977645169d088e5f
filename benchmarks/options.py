"""What can be asked for on the command line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from metatrack.app.problem import Problem
from metatrack.hints import hint
from metatrack.runtime.bundle import shipped_models
from metatrack.runtime.processor import usable_cores

PARTS = {
    "fps": "frames per second, end to end",
    "stages": "milliseconds per stage",
    "targets": "several targets at once",
    "start": "import time, time to the first box, memory",
    "size": "installed size",
    "memory": "resident memory over many frames",
    "roofline": "operations and bytes a frame, and the share of the machine's peak",
    "gpu": "onnxruntime's CUDA provider, and torch",
}
"""The parts of a run: modules of this folder, in the order of the page."""

List = Annotated[str, tyro.conf.arg(metavar="A,B,...")]


@dataclass(frozen=True)
class Options:
    """Measures this project's tracker and its peers in one run, interleaved, and writes a page and a plot.

    Leave the machine alone meanwhile: everything else that runs is measured too.
    """

    out: Path = Path("benchmarks/results")
    """Folder for DATE-TIME-COMMIT.md and its .png; it is made if it does not exist."""
    only: List = ""
    """Parts to run, by default all: fps, stages, targets, start, size, memory, roofline, gpu."""
    models: List = ""
    """Shipped models, or folders of bundles; by default all that are shipped. The first is the one of targets, memory and gpu."""
    rounds: int = 7
    """Rounds; each of them runs everything once, and the median counts."""
    frames: int = 100
    """Frames of a run, at most those of the demo clip; the first one is init's."""
    threads: int = 0
    """Threads of every engine; 0 is one for each core that this process may use."""
    targets: List = "1,4,16,64"
    """Numbers of targets."""
    target_frames: int = 128
    """Frames times targets of a run of several targets; each has at least two frames."""
    memory_frames: int = 10_000
    """Frames of the run that watches the resident memory."""
    nano: Path | None = None
    """Folder with OpenCV's NanoTrack files: nanotrack_backbone_sim.onnx and nanotrack_head_sim.onnx (version 2)."""
    vit: Path | None = None
    """OpenCV's VitTrack: object_tracking_vittrack_2023sep.onnx, or its folder."""
    siamfc: Path | None = None
    """Weights (last.pt of metatrack train matching) for SiamFC in torch; without them its boxes mean nothing, its time does."""

    @property
    def parts(self) -> list[str]:
        """Names of the parts to run, in the page's order.

        Raises:
            Problem: one does not exist.
        """
        asked = words(self.only) or list(PARTS)
        for name in asked:
            if name not in PARTS:
                raise Problem(f"--only: no part {name!r}; {hint(name, PARTS)}")
        return [name for name in PARTS if name in asked]

    @property
    def model_names(self) -> list[str]:
        """The models, the default one first."""
        return words(self.models) or sorted(shipped_models(), key=lambda name: name != "lite")

    @property
    def target_counts(self) -> list[int]:
        """Numbers of targets, from the least.

        Raises:
            Problem: one is no whole number above 0.
        """
        counts = words(self.targets)
        if not counts or not all(count.isdigit() and int(count) for count in counts):
            raise Problem(f"--targets {self.targets}: give whole numbers from 1, as in 1,4,16")
        return sorted({int(count) for count in counts})

    @property
    def thread_count(self) -> int:
        """Threads: what was asked for, or one for each core. More than the cores at hand would wait for each other."""
        return self.threads or usable_cores()

    def check(self) -> None:
        """Refuses what cannot be run.

        Raises:
            Problem: a number is too small, or a name does not exist.
        """
        if self.frames < 2 or self.rounds < 1 or self.memory_frames < 10 or self.target_frames < 1 or self.threads < 0:
            raise Problem(
                "at least 2 --frames, 1 of --rounds, 10 --memory-frames, 1 of --target-frames and 0 --threads are needed"
            )
        _ = self.parts, self.target_counts


def words(text: str) -> list[str]:
    """The parts of a text between commas.

    >>> words("fps, stages,")
    ['fps', 'stages']
    """
    return [word.strip() for word in text.split(",") if word.strip()]
