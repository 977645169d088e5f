"""A long video takes no more memory than a short one."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pytest

from metatrack import Tracker

FRAMES = 10_000
SETTLED = 2_000  # by then every buffer has its size, and the tracker has adapted more than twenty times
LIMIT = 4.0  # MiB between the two; a single frame kept every ten frames would be 176
WIDTH, HEIGHT, SIDE = 320, 240, 48

STATUS = Path("/proc/self/status")


def resident() -> float:
    """Resident memory of this process in MiB."""
    gc.collect()  # what waits for the collector is no leak
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024  # given in KiB


class Wanderer:
    """A textured square that wanders over noise, which is new in every frame."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)
        self.texture = self.rng.integers(0, 256, (SIDE // 8, SIDE // 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)

    def box(self, i: int) -> tuple[int, int, int, int]:
        x = WIDTH / 2 - SIDE / 2 + 80 * np.sin(i / 40)
        y = HEIGHT / 2 - SIDE / 2 + 60 * np.sin(i / 27)
        return round(x), round(y), SIDE, SIDE

    def frame(self, i: int) -> np.ndarray:
        frame = self.rng.integers(60, 140, (HEIGHT, WIDTH, 3), np.uint8)
        x, y, w, h = self.box(i)
        frame[y : y + h, x : x + w] = self.texture
        return frame


@pytest.mark.long
@pytest.mark.skipif(not STATUS.is_file(), reason="reads the resident memory where Linux shows it")
def test_ten_thousand_frames_take_no_more_memory_than_two_thousand() -> None:
    wanderer = Wanderer()
    tracker = Tracker("lite")
    tracker.init(wanderer.frame(0), wanderer.box(0))
    settled, lost = 0.0, 0
    for i in range(1, FRAMES):
        lost += tracker.update(wanderer.frame(i)).lost
        if i == SETTLED:
            settled = resident()
    growth = resident() - settled
    print(f"{settled:.1f} MiB after {SETTLED} frames, {growth:+.2f} MiB by frame {FRAMES}; lost in {lost}")
    assert settled > 0
    assert growth < LIMIT
    assert lost < FRAMES / 10, "the target is to be tracked, not to be missed"
