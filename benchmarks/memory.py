"""Resident memory over many frames, in a process of its own: it must stay flat."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from benchmarks.clip import read_clip
from benchmarks.options import Options
from benchmarks.page import Section, Table, number
from benchmarks.processes import child, resident
from metatrack.tracking.tracker import Tracker

POINTS = 10
"""Readings, besides the one before the first frame."""


def measure(options: Options) -> Section:
    """The first model, adapting where it can."""
    name = options.model_names[0]
    words = [name, str(options.memory_frames), str(options.thread_count), str(options.frames)]
    found = child(["-m", "benchmarks.memory", *words])
    frames, values = found["frames"], found["resident"]
    grown = values[-1] - values[1]
    slope = float(np.polyfit(frames[1:], values[1:], 1)[0]) * 1000
    rows = [(f"{frame:,}", number(value), f"{value - values[1]:+.2f}") for frame, value in zip(frames, values)]
    says = (
        f"{options.memory_frames:,} frames of the clip, forwards and backwards, with {Path(name).name}, {found['learnt']} updates"
        f" by the meta-learner. From frame {frames[1]:,} to the last the memory grew by {grown:+.2f} MiB; the line through the"
        f" readings rises by {slope:+.3f} MiB in 1,000 frames."
    )
    columns = ("frames", "resident, MiB", f"against frame {frames[1]:,}, MiB")
    return Section("Constant memory", [says, Table(columns, rows)])


def main() -> None:
    """Runs, and prints the readings."""
    name, count, threads, clip_frames = sys.argv[1], *map(int, sys.argv[2:5])
    clip, tracker = read_clip(clip_frames), Tracker(name, threads=threads)
    tracker.init(clip.frame(0), clip.box)
    step = count // POINTS
    frames, values, learnt = [0], [resident()], 0
    kernels = tracker.started.w_target
    for i in range(1, step * POINTS + 1):
        tracker.update(clip.frame(i))
        learnt += kernels is not tracker.started.w_target
        kernels = tracker.started.w_target
        if i % step == 0:
            frames.append(i)
            values.append(resident())
    print(json.dumps({"frames": frames, "resident": values, "learnt": learnt}))


if __name__ == "__main__":
    main()
