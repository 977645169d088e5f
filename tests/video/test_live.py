"""Cameras and streams that deliver the newest frame, over sockets of this machine."""

from __future__ import annotations

import functools
import io
import itertools
import os
import re
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import pytest

from metatrack.video import DamagedSourceError, SourceError, open_source
from tests.video.live import PATIENCE, H, N, W, coded, encode, no_thread_is_left, number_of, reader_threads, until

__all__ = ["no_thread_is_left"]  # a fixture


# --- cameras -----------------------------------------------------------------------------------------------------------------


class Camera:
    """A camera that never waits, as OpenCV shows one; its pictures carry their numbers, and it is unplugged after a while."""

    delivers = N
    last: Camera

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
