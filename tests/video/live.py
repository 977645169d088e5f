"""What tests of live sources and of the threads that read beside the tracker share."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import av
import numpy as np
import pytest

N = 80
W, H = 160, 120
PATIENCE = 1200.0  # seconds after which a test says that something hangs; no assertion depends on how long anything took


def coded(number: int) -> np.ndarray[Any, Any]:
    """Gray under a row of eight blocks, black or white: the bits of the number."""
    frame = np.full((H, W, 3), 90, np.uint8)
    frame[:32] = [[[255 * (number >> (x // 20) & 1)] * 3 for x in range(W)]]
    return frame


def number_of(frame: np.ndarray[Any, Any]) -> int:
    return sum(int(frame[4:28, 20 * b + 4 : 20 * b + 16].mean() > 128) << b for b in range(8))


def until(condition: Callable[[], bool]) -> None:
    """Waits for what another thread will bring about."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "hangs"
        time.sleep(0.002)


def reader_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "metatrack-reader"]


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    gc.collect()
    assert not reader_threads(), "left by an earlier test"
    yield
    gc.collect()
    until(lambda: not reader_threads())


class Numbers:
    """0, 1, 2 ... on command. When it is asked for the next number, the reader has stored the one before: ``stored`` counts."""

    def __init__(self, count: int | None = None, end: BaseException | None = None) -> None:
        self.count, self.end = count, end
        self.allowed = self.given = self.stored = 0
        self.closed_by = ""
        self.change = threading.Condition()
        self.shut = False

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        with self.change:
            self.stored = self.given
            self.change.notify_all()
            assert self.change.wait_for(lambda: self.allowed > self.given or self.shut, PATIENCE), "hangs"
            if self.shut:
                raise self.end or StopIteration
            self.given += 1
            return self.given - 1

    def deliver(self, count: int = 1) -> None:
        """Returns when the reader has stored them all."""
        with self.change:
            self.allowed += count
            self.change.notify_all()
            assert self.change.wait_for(lambda: self.stored == self.allowed, PATIENCE), "hangs"

    def finish(self) -> None:
        with self.change:
            self.shut = True
            self.change.notify_all()

    def close(self) -> None:
        self.closed_by = threading.current_thread().name


def encode(target: Any, count: int = N, codec: str = "libx264", pixels: str = "yuv420p", **options: Any) -> None:
    with av.open(target, "w", **options) as container:
        stream = container.add_stream(codec, rate=25, options={"tune": "zerolatency"} if codec == "libx264" else {})
        stream.width, stream.height, stream.pix_fmt = W, H, pixels
        for number in range(count):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(coded(number))))
        container.mux(stream.encode(None))
