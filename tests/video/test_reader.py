"""Threads that read beside the tracker: live sources never lag, files lose nothing, and no thread outlives its consumer."""

from __future__ import annotations

import functools
import gc
import itertools
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metatrack.video import DamagedSourceError, Newest, ReadAhead, open_source
from tests.video.live import PATIENCE, N, Numbers, coded, encode, no_thread_is_left, number_of, reader_threads, until

__all__ = ["no_thread_is_left"]  # a fixture


# --- the newest frame --------------------------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 5), max_size=20))
def test_each_frame_is_the_newest_when_it_is_asked_for(schedule: list[int]) -> None:
    source = Numbers()
    with Newest(source) as newest:
        seen: list[int] = []
        for count in schedule:
            source.deliver(count)
            if newest.pending:
                seen.append(next(newest))
                assert seen[-1] == source.stored - 1 == newest.index
            assert newest.dropped + len(seen) + newest.pending == source.stored
        assert seen == sorted(set(seen))
        source.finish()
        assert list(newest) == []


def test_a_source_ten_times_faster_than_the_tracker() -> None:
    stored = 0

    def camera() -> Iterator[int]:
        nonlocal stored
        for number in range(150):
            time.sleep(1 / 200)
            yield number
            stored = number + 1  # we are asked for more, so the last one is in the slot

    seen = []
    with Newest(camera()) as newest:
        while True:
            before = stored
            number = next(newest, None)
            if number is None:
                break
            # Not one frame stale: what was in the slot when we asked, or newer.
            assert number >= before - 1 and number == newest.index
            seen.append(number)
            time.sleep(1 / 20)
        assert seen == sorted(set(seen)) and seen[-1] == 149, "strictly increasing, and the last frame is never lost"
        assert newest.dropped + len(seen) + newest.pending == 150 == stored
        assert newest.dropped > 0, "this consumer is slow"


def test_a_source_slower_than_the_tracker_loses_nothing() -> None:
    source = Numbers()
    with Newest(source) as newest:
        for number in range(20):
            source.deliver()
            assert next(newest) == number
        threading.Timer(0.05, source.deliver).start()  # asked before it is there: waited for
        assert next(newest) == 20
        assert newest.dropped == newest.pending == 0
        source.finish()
        assert next(newest, None) is None
    assert source.closed_by == "metatrack-reader"


# --- both readers ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reader", [Newest, ReadAhead])
def test_an_error_of_the_source_comes_behind_its_last_frame_and_once(reader: Any) -> None:
    source = Numbers(end=ZeroDivisionError("the plug"))
    with reader(source) as frames:
        source.deliver(2)
        source.finish()
        until(lambda: not reader_threads())
        seen = []
        with pytest.raises(ZeroDivisionError, match="the plug"):
            for frame in frames:
                seen.append(frame)
        assert seen == ([1] if reader is Newest else [0, 1])
        assert list(frames) == []


@pytest.mark.parametrize("reader", [Newest, ReadAhead])
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError])
def test_no_kind_of_error_is_swallowed(reader: Any, kind: type[BaseException]) -> None:
    def source() -> Iterator[int]:
        yield 0
        raise kind

    frames = reader(source())
    assert next(frames) == 0
    with pytest.raises(kind):
        next(frames)


@pytest.mark.parametrize("reader", [Newest, ReadAhead])
def test_an_error_of_closing_the_source_is_not_swallowed(reader: Any) -> None:
    class Stuck(Numbers):
        def close(self) -> None:
            raise OSError("device busy")

    source = Stuck()
    source.finish()
    with pytest.raises(OSError, match="device busy"):
        next(reader(source))


@pytest.mark.parametrize("reader", [Newest, ReadAhead])
@pytest.mark.parametrize("taken", [0, 1, 2])
def test_closing_in_the_middle(reader: Any, taken: int) -> None:
    closed = threading.Event()

    def endless() -> Iterator[int]:
        try:
            yield from itertools.count()
        finally:
            closed.set()

    frames = reader(endless())
    for _ in range(taken):
        next(frames)
    frames.close()
    assert closed.is_set() and not reader_threads()
    assert list(frames) == [] and frames.pending == 0
    frames.close()


@pytest.mark.parametrize("reader", [Newest, ReadAhead])
def test_closing_while_another_thread_waits_for_a_frame(reader: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metatrack.video.reader.GRACE", 0.05)  # the source sits in a read that nobody can interrupt
    source = Numbers()
    frames, got = reader(source), []
    waiter = threading.Thread(target=lambda: got.append(next(frames, "end")))
    waiter.start()
    frames.close()
    waiter.join(PATIENCE)
    assert got == ["end"]
    assert not source.closed_by
    source.finish()  # the read returns at last
    until(lambda: source.closed_by == "metatrack-reader")


@pytest.mark.parametrize("reader", [Newest, ReadAhead])
def test_a_forgotten_reader_ends_its_thread(reader: Any) -> None:
    frames = reader(itertools.count())
    assert next(frames) >= 0 and len(reader_threads()) == 1
    del frames
    gc.collect()
    until(lambda: not reader_threads())


@pytest.mark.parametrize("reader", ["Newest", "ReadAhead"])
def test_a_program_that_ends_without_closing_ends(reader: str) -> None:
    code = f"import itertools, metatrack.video as v; frames = v.{reader}(itertools.count()); print(next(frames) >= 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=2 * PATIENCE)
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")


# --- reading ahead -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("room", [1, 2, 4])
def test_reading_ahead_stays_within_its_room(room: int) -> None:
    started = []

    def source() -> Iterator[int]:
        for number in range(30):
            started.append(number)
            yield number

    with ReadAhead(source(), room) as frames:
        for number in range(30):
            most = min(30, number + room + 1)  # a full room, and one in the thread's hand
            until(functools.partial(lambda most: len(started) == most, most))
            assert next(frames) == number == frames.index
        assert list(frames) == [] and frames.dropped == 0
    with pytest.raises(ValueError, match="room 0"):
        ReadAhead([], 0)


def test_files_lose_nothing_however_slow_the_tracker_is(tmp_path: Path) -> None:
    encode(str(tmp_path / "clip.mp4"))
    (tmp_path / "images").mkdir()
    for number in range(12):
        (tmp_path / "images" / f"{number}.png").write_bytes(cv2.imencode(".png", coded(number))[1].tobytes())
    for path, count in ((tmp_path / "clip.mp4", N), (tmp_path / "images", 12)):
        with open_source(path, start=3) as source:
            assert source.index == 2
            for number, frame in enumerate(source, 3):
                time.sleep(0.01 if number < 10 else 0)
                assert number_of(frame) == number == source.index
            assert number == count - 1 and source.dropped == 0


def test_damage_surfaces_behind_the_same_frame_as_without_a_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "clip.mkv"
    encode(str(path))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 7 // 10])

    def read() -> tuple[list[int], int, str]:
        numbers = []
        with open_source(path) as source, pytest.raises(DamagedSourceError) as caught:
            for frame in source:
                numbers.append(number_of(frame))
        return numbers, caught.value.frame, str(caught.value)

    beside = read()
    monkeypatch.setattr("metatrack.video.source.ReadAhead", lambda frames: frames)
    assert read() == beside and beside[0] == list(range(len(beside[0]))) and 10 < len(beside[0]) < N
