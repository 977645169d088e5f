"""Threads that read beside the tracker: live sources never lag, files lose nothing, and no thread outlives its consumer."""

from __future__ import annotations

import functools
import gc
import io
import itertools
import os
import re
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metatrack.video import DamagedSourceError, Newest, ReadAhead, SourceError, open_source

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
            until(lambda number=number: len(started) == min(30, number + room + 1))  # a full room, and one in the thread's hand
            assert next(frames) == number == frames.index
        assert list(frames) == [] and frames.dropped == 0
    with pytest.raises(ValueError, match="room 0"):
        ReadAhead([], 0)


def encode(target: Any, count: int = N, codec: str = "libx264", pixels: str = "yuv420p", **options: Any) -> None:
    with av.open(target, "w", **options) as container:
        stream = container.add_stream(codec, rate=25, options={"tune": "zerolatency"} if codec == "libx264" else {})
        stream.width, stream.height, stream.pix_fmt = W, H, pixels
        for number in range(count):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(coded(number))))
        container.mux(stream.encode(None))


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


# --- cameras -----------------------------------------------------------------------------------------------------------------


class Camera:
    """A camera that never waits, as OpenCV shows one; its pictures carry their numbers, and it is unplugged after a while."""

    delivers = N

    def __init__(self, index: int) -> None:
        self.number, self.released = -1, False
        Camera.last = self

    def isOpened(self) -> bool:  # noqa: N802 -- OpenCV's name
        return True

    def get(self, _: int) -> float:
        return 200.0

    def read(self) -> tuple[bool, Any]:
        assert not self.released, "read after release"
        self.number += 1
        time.sleep(0.001)
        return (True, coded(self.number)) if self.number < self.delivers else (False, None)

    def release(self) -> None:
        self.released = True


def test_a_camera_that_is_faster_than_the_tracker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    seen = []
    with open_source(0, start=5) as source, pytest.raises(DamagedSourceError, match=f"stopped after {N} frames") as caught:
        for frame in source:
            seen.append(source.index)
            assert number_of(frame) == source.index
            time.sleep(0.01)
    assert caught.value.frame == N
    assert seen == sorted(set(seen)) and 5 <= seen[0] and seen[-1] == N - 1
    assert len(seen) + source.dropped == N - 5 and source.dropped > 0
    assert Camera.last.released


def test_every_frame_of_a_camera_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    with open_source(0, end=30, drop=False) as source:
        for number, frame in enumerate(source):
            time.sleep(0.003)
            assert number_of(frame) == number == source.index
    assert number == 29 and source.dropped == 0 and Camera.last.released


def test_a_range_of_a_camera_ends_with_its_last_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    with open_source(0, start=3, end=20) as source:
        until(lambda: source.dropped == 16)
        assert [(source.index, number_of(frame)) for frame in source] == [(19, 19)]


# --- streams, over sockets of this machine ------------------------------------------------------------------------------------


@functools.cache
def transport(count: int = N) -> bytes:
    """A clip as an MPEG transport stream."""
    file = io.BytesIO()
    encode(file, count, format="mpegts")
    return file.getvalue()


@contextmanager
def serve(talk: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server on this machine that says ``talk`` to whoever connects; yields its port."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            try:
                talk(self.request)
            except (BrokenPipeError, ConnectionError):  # the client has seen enough
                pass

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def chunks(data: bytes, size: int = 7 * 188) -> Iterator[bytes]:
    for offset in range(0, len(data), size):
        time.sleep(0.001)
        yield data[offset : offset + size]


def tcp(line: socket.socket) -> None:
    for chunk in chunks(transport()):
        line.sendall(chunk)


def http(line: socket.socket, kind: str, parts: Iterable[bytes]) -> None:
    """An answer of unknown length: only the mark behind its last part tells its end from a line that broke."""
    line.recv(4096)
    line.sendall(f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
    for part in parts:
        line.sendall(b"%x\r\n%b\r\n" % (len(part), part))
    line.sendall(b"0\r\n\r\n")


def http_transport(line: socket.socket) -> None:
    http(line, "video/mp2t", chunks(transport()))


def http_mjpeg(line: socket.socket) -> None:
    """What most network cameras offer to a browser."""

    def pictures() -> Iterator[bytes]:
        for number in range(N):
            time.sleep(0.002)
            picture = cv2.imencode(".jpg", coded(number))[1].tobytes()
            yield b"--cut\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%b\r\n" % (len(picture), picture)

    http(line, "multipart/x-mixed-replace; boundary=cut", pictures())


def rtsp(line: socket.socket) -> None:
    """As little of RTSP (RFC 2326) as a client needs: a transport stream in RTP packets inside of the connection."""
    words = b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=clip\r\nt=0 0\r\nm=video 0 RTP/AVP 33\r\na=control:one\r\n"
    answers = {
        b"OPTIONS": b"Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n\r\n",
        b"DESCRIBE": b"Content-Type: application/sdp\r\nContent-Length: %d\r\n\r\n%b" % (len(words), words),
        b"SETUP": b"Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n\r\n",
        b"PLAY": b"Session: 1\r\n\r\n",
    }
    with line.makefile("rb") as requests:
        for verb in iter(lambda: requests.readline().split(b" ")[0], b""):
            head = b"".join(iter(requests.readline, b"\r\n"))
            number = re.search(rb"CSeq: (\d+)", head)
            assert number is not None
            line.sendall(b"RTSP/1.0 200 OK\r\nCSeq: %b\r\n%b" % (number[1], answers[verb]))
            if verb == b"PLAY":
                break
    # FFmpeg takes a picture for complete when the next one begins, so the last one of such a stream never arrives.
    for count, chunk in enumerate(chunks(transport(N + 1))):
        head = bytes([0x80, 33]) + count.to_bytes(2, "big") + (count * 90).to_bytes(4, "big") + bytes(4)
        line.sendall(b"$\0" + (len(head) + len(chunk)).to_bytes(2, "big") + head + chunk)


STREAMS = {
    "tcp": (tcp, "tcp://127.0.0.1:{}"),
    "http, transport stream": (http_transport, "http://127.0.0.1:{}/live"),
    "http, MJPEG": (http_mjpeg, "http://127.0.0.1:{}/live"),
    "rtsp": (rtsp, "rtsp://127.0.0.1:{}/live"),
}


@pytest.mark.parametrize("kind", STREAMS)
def test_a_stream_is_never_behind(kind: str) -> None:
    talk, address = STREAMS[kind]
    with serve(talk) as port, open_source(address.format(port)) as source:
        assert source.size == (W, H) and source.frame_count is None
        seen = []
        for frame in itertools.islice(source, 3):
            seen.append(source.index)
            assert number_of(frame) == source.index
        # A tracker that takes a nap until all has come: it goes on with the newest frame, the others are not queued.
        until(lambda: source.dropped + len(seen) == N - 1)
        assert [(source.index, number_of(frame)) for frame in source] == [(N - 1, N - 1)]
        assert seen == sorted(set(seen)) and source.dropped + len(seen) + 1 == N


@pytest.mark.parametrize("kind", STREAMS)
def test_every_frame_of_a_stream_on_request(kind: str) -> None:
    talk, address = STREAMS[kind]
    with serve(talk) as port, open_source(address.format(port), drop=False) as source:
        assert [number_of(frame) for frame in source] == list(range(N))
        assert (source.index, source.dropped) == (N - 1, 0)


def test_a_stream_that_says_nothing_more_can_be_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metatrack.video.reader.GRACE", 0.05)
    done = threading.Event()

    def half(line: socket.socket) -> None:
        line.sendall(transport()[: len(transport()) // 2])
        done.wait(PATIENCE)

    with serve(half) as port:
        with open_source(f"tcp://127.0.0.1:{port}") as source:
            assert number_of(next(source)) == source.index
        assert list(source) == []
        done.set()
        until(lambda: not reader_threads())


def test_a_line_that_breaks_is_no_end() -> None:
    def broken(line: socket.socket) -> None:
        line.recv(4096)
        line.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: video/mp2t\r\n\r\n")
        tcp(line)

    with serve(broken) as port, open_source(f"http://127.0.0.1:{port}/live") as source:
        seen = []
        with pytest.raises(DamagedSourceError, match="check the camera and the network"):
            for _ in source:
                seen.append(source.index)
        assert seen == sorted(set(seen)) and len(seen) + source.dropped == source.index + 1 >= N - 1


def test_a_file_behind_an_address_loses_nothing(tmp_path: Path) -> None:
    encode(str(tmp_path / "clip.mp4"), container_options={"movflags": "faststart"})
    data = (tmp_path / "clip.mp4").read_bytes()

    # The answer has no length, but the container knows its duration.
    with serve(lambda line: http(line, "video/mp4", [data])) as port, open_source(f"http://127.0.0.1:{port}/clip.mp4") as source:
        assert source.frame_count == N
        time.sleep(0.05)
        assert [number_of(frame) for frame in source] == list(range(N))


def test_no_server(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with pytest.raises(SourceError, match="cannot be opened"):
            open_source(f"tcp://127.0.0.1:{free.getsockname()[1]}")


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts open files where the system shows them")
def test_a_stream_leaves_no_socket_behind() -> None:
    with serve(tcp) as port:
        before = len(os.listdir("/proc/self/fd"))
        with open_source(f"tcp://127.0.0.1:{port}") as source:
            next(source)
        until(lambda: len(os.listdir("/proc/self/fd")) <= before)
