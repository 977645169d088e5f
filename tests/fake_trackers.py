"""Trackers for tests of the evaluation, in a module of their own because worker processes import them by name.

They track the sequences of :func:`make_sequence`, in which frame k is k everywhere and the target is at x = 2 k: so a tracker can
know the truth from a frame. What a run shall do is told by the environment, which worker processes inherit.
"""

import ctypes
import os
import threading
import time
from pathlib import Path

import cv2
import numpy as np

from metatrack.data.sequence import Sequence
from metatrack.geometry import Box


class Found:
    """A tracker's answer with nothing but a box."""

    def __init__(self, box):
        self.box = Box(*box)


class Still:
    """Says the first box for ever."""

    def init(self, frame, box):
        self.box = box

    def update(self, frame):
        return Found(self.box)


class Perfect(Still):
    """Reads x from the frame's brightness."""

    def update(self, frame):
        return Found((2 * float(frame[0, 0, 0]), *self.box[1:]))


class Offset(Perfect):
    """A third of a pixel off, so that its boxes have many digits."""

    def update(self, frame):
        x, y, w, h = super().update(frame).box
        return Found((x + 1 / 3, y, w, h))


class Broken(Perfect):
    """Fails in the fourth frame: shorter sequences go well."""

    def update(self, frame):
        if frame[0, 0, 0] == 3:
            raise KeyError("no such state")
        return super().update(frame)


class Crashing(Perfect):
    """Takes its whole process down in the fourth frame, as a fault in native code does."""

    def update(self, frame):
        if frame[0, 0, 0] == 3:
            ctypes.string_at(0)
        return super().update(frame)


class Lingering(Still):
    """Leaves something running that takes its process down once the run is over."""

    def init(self, frame, box):
        super().init(frame, box)
        threading.Timer(0.7, os._exit, [3]).start()


def meet():
    """Appends this process to FAKE_LOG, and waits until FAKE_MEET of them are there."""
    path = Path(os.environ["FAKE_LOG"])
    with path.open("a") as log:
        log.write(f"{os.getpid()}\n")
    end = time.monotonic() + 600
    while len(set(path.read_text().split())) < int(os.environ["FAKE_MEET"]) and time.monotonic() < end:
        time.sleep(0.01)


class Slow(Offset):
    """Takes FAKE_SLOW seconds a frame, and appends its process to FAKE_LOG for each run that begins.

    The first run waits until FAKE_MEET processes are there.
    """

    def init(self, frame, box):
        super().init(frame, box)
        meet()

    def update(self, frame):
        time.sleep(float(os.environ["FAKE_SLOW"]))
        return super().update(frame)


def make_sequence(folder, name, frames=5):
    """A target of 10 x 10 px that moves 2 px a frame; frame k is filled with k (as PNG, so exactly). In the plain layout."""
    folder = folder / name
    folder.mkdir(parents=True)
    paths = [folder / f"{k:04d}.png" for k in range(frames)]
    for k, path in enumerate(paths):
        cv2.imwrite(str(path), np.full((40, 60, 3), k, np.uint8))
    boxes = np.array([(2.0 * k, 5, 10, 10) for k in range(frames)])
    np.savetxt(folder / "groundtruth.txt", boxes, "%g", ",")
    return Sequence(name=name, frame_paths=tuple(paths), boxes=boxes, attributes=frozenset({"FM"}))


def make_two_sequences(folder: Path) -> Path:
    """Two sequences in the plain layout, of 5 and 6 frames; returns the folder."""
    for name, frames in (("a", 5), ("b_1", 6)):
        make_sequence(folder, name, frames)
    return folder
