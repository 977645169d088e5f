"""A tracker has one thread at a time inside it."""

from __future__ import annotations

import copy
import pickle
import threading

import numpy as np
import pytest

from metatrack import MultiTracker, Tracker
from metatrack.tracking.turns import Turns

FRAME = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)


def test_a_second_thread_is_told_so() -> None:
    tracker, several = Tracker("lite-no-meta", threads=1), MultiTracker("lite-no-meta", threads=1)
    for each in (tracker, several):
        inside, told = threading.Event(), threading.Event()

        def hold(turns: Turns = each._turns, inside: threading.Event = inside, told: threading.Event = told) -> None:
            with turns.lock:
                inside.set()
                told.wait()

        other = threading.Thread(target=hold)
        other.start()
        inside.wait()
        try:
            with pytest.raises(RuntimeError, match="at work in another thread; give each thread a tracker of its own"):
                each.update(FRAME)
            with pytest.raises(RuntimeError, match="at work in another thread"):
                tracker.init(FRAME, (1, 2, 30, 40)) if each is tracker else several.add(FRAME, (1, 2, 30, 40))
        finally:
            told.set()
            other.join()
    tracker.init(FRAME, (60, 40, 30, 30))
    assert tracker.update(FRAME).score >= 0


def test_an_error_ends_the_turn() -> None:
    tracker = Tracker("lite-no-meta", threads=1)
    for _ in range(2):
        with pytest.raises(ValueError, match="no area"):
            tracker.init(FRAME, (1, 2, 0, 4))


def test_copies_have_turns_of_their_own() -> None:
    turns = Turns()
    with turns.lock, copy.deepcopy(turns).lock, pickle.loads(pickle.dumps(turns)).lock:  # noqa: S301 - made here
        pass
