"""Strangers, other sites, and hostile videos: refused with a sentence, and nothing is left behind."""

from __future__ import annotations

import io
import os
import signal
import zlib
from pathlib import Path

import av
import pytest
from fastapi.testclient import TestClient

from metatrack.web.frames import FrameReader
from metatrack.web.projects import Studio, clean_name
from metatrack.web.settings import Limits
from tests.web.conftest import HOST

PATHS = ("/api/projects", "/page/main.js", "/api/openapi.json", "/")


@pytest.mark.parametrize("path", PATHS)
def test_strangers_are_told_how_to_come_in(path: str, stranger: TestClient) -> None:
    answer = stranger.get(path)
    assert answer.status_code == 401 and "address that metatrack app printed" in answer.text


def test_an_address_opens_one_browser_once(studio: Studio, stranger: TestClient) -> None:
    token = studio.store.give_key("token", 60)
    assert stranger.get("/", params={"token": token[:-1]}).status_code == 401
    answer = stranger.get("/", params={"token": token, "project": "0123456789abcdef"})
    assert answer.status_code == 303 and answer.headers["location"] == "/?project=0123456789abcdef"
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
    assert stranger.get("/api/projects").status_code == 200
    assert stranger.get("/", params={"token": token}).status_code == 303, "the same browser may come again"
    stranger.cookies.clear()
    assert stranger.get("/", params={"token": token}).status_code == 401, "another may not"
    assert b"".join(path.read_bytes() for path in studio.store.folder.glob("*.sqlite*")).find(token.encode()) < 0


def test_the_page_may_load_nothing_from_elsewhere(client: TestClient) -> None:
    page = client.get("/")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
    assert "style=" not in page.text and "onclick" not in page.text and "<script>" not in page.text
    assert client.get("/page/../server.py").status_code in (401, 404)
    assert client.get("/page/%2e%2e/server.py").status_code == 404


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example"}, 421),
        ({"host": "127.0.0.1:9999"}, 421),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"origin": f"http://{HOST}", "sec-fetch-site": "same-origin"}, 200),
    ],
)
def test_host_and_origin(headers: dict[str, str], status: int, client: TestClient) -> None:
    answer = client.get("/api/projects", headers=headers)
    assert answer.status_code == status
    assert status == 200 or "metatrack app" in answer.json()["detail"]


def test_long_requests_are_cut_off(client: TestClient, project: str) -> None:
    answer = client.post(f"/api/projects/{project}/targets", content=b" " * (2 << 20))
    assert answer.status_code == 413 and "longer than" in answer.json()["detail"]
    answer = client.post(f"/api/projects/{project}/targets", content=(b" " * (1 << 18) for _ in range(8)))
    assert answer.status_code in (400, 413, 422)


def bomb_gif() -> bytes:
    """A few bytes that claim 65,535 x 65,535 pixels."""
    return b"GIF89a\xff\xff\xff\xff\x80\x00\x00" + bytes(6) + b",\x00\x00\x00\x00\xff\xff\xff\xff\x00\x02\x02L\x01\x00;"


def bomb_png() -> bytes:
    import struct

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1 << 20))) + chunk(b"IEND", b"")


HOSTILE = {
    "nothing": (b"", "the file is empty"),
    "a text": (b"buy milk\n", "cannot be opened as a video"),
    "a page": (b"<html><script>alert(1)</script></html>", "cannot be opened as a video"),
    "a playlist": (b"#EXTM3U\n#EXTINF:4,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n", "cannot be opened as a video"),
    "a list of files": (b"ffconcat version 1.0\nfile /etc/passwd\n", "cannot be opened as a video"),
    "a bomb of a picture": (bomb_png(), "no frame that can be decoded"),
    "a bomb of a gif": (bomb_gif(), "no frame that can be decoded"),
    "too large": (bytes(3 << 20), "at most 2 are taken"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_uploads(name: str, client: TestClient, studio: Studio) -> None:
    data, says = HOSTILE[name]
    answer = client.post("/api/projects?name=..%2F..%2F..%2Fx.mp4", content=data)
    assert answer.status_code in (400, 409), answer.text
    assert says in answer.json()["detail"]
    assert str(studio.store.folder) not in answer.json()["detail"], "where it lies here is nobody's business"
    assert list(studio.store.uploads.iterdir()) == [] and studio.store.projects() == []


def test_an_upload_that_does_not_say_its_size_is_counted(client: TestClient, studio: Studio) -> None:
    answer = client.post("/api/projects", content=(bytes(1 << 18) for _ in range(12)))
    assert answer.status_code == 409 and "more than 2 megabytes" in answer.json()["detail"]
    assert list(studio.store.uploads.iterdir()) == []


def test_too_long_too_many(client: TestClient, clip: Path, tmp_path: Path) -> None:
    with av.open(str(tmp_path / "long.mkv"), "w") as out:
        stream = out.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for i in range(4):
            frame = av.VideoFrame(64, 64, "yuv420p")
            frame.pts = 1000 * i  # 40 s
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    answer = client.post("/api/projects", content=(tmp_path / "long.mkv").read_bytes())
    assert answer.status_code == 400 and "at most 1 are taken" in answer.json()["detail"]
    for _ in range(4):
        assert client.post("/api/projects", content=clip.read_bytes()).status_code == 201
    answer = client.post("/api/projects", content=clip.read_bytes())
    assert answer.status_code == 409 and answer.json()["detail"].startswith("there are 4 projects already; delete one")


def test_cut_and_changed_videos(client: TestClient, clip: Path) -> None:
    data = bytearray(clip.read_bytes())
    for place in range(200, len(data), 97):
        data[place] ^= 0x55
    for content in (bytes(data), clip.read_bytes()[:-600], clip.read_bytes()[:700]):
        answer = client.post("/api/projects", content=content)
        assert answer.status_code in (201, 400), answer.text
        if answer.status_code == 201:
            path = f"/api/projects/{answer.json()['id']}"
            for frame in range(0, answer.json()["frames"], 5):
                assert client.get(f"{path}/frames/{frame}").status_code in (200, 400)
            client.delete(path)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no such signal")
def test_a_reader_that_dies_is_told_and_replaced(client: TestClient, studio: Studio, project: str) -> None:
    reader = studio.frames._readers[project]
    os.kill(reader._child.process.pid, signal.SIGKILL)
    reader._child.process.wait()
    assert client.get(f"/api/projects/{project}/frames/3").status_code == 200


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="limits are read in /proc")
def test_the_reader_has_its_limits(clip: Path) -> None:
    reader = FrameReader(clip, Limits(memory=700))
    text = Path(f"/proc/{reader._child.process.pid}/limits").read_text()
    limits = {line[:25].strip(): line[25:].split()[0] for line in text.splitlines()}
    reader.close()
    assert 700 << 20 <= int(limits["Max address space"]) < 8 << 30
    assert int(limits["Max file size"]) == 0 and int(limits["Max core file size"]) == 0
    assert int(limits["Max cpu time"]) < 1000


def test_names() -> None:
    assert clean_name("C:\\videos\\a\x00b.mp4") == "a b.mp4"
    assert clean_name("../..") == ".." and clean_name("") == "video"
    assert len(clean_name("x" * 10_000)) == 100


def test_a_box_that_is_none(client: TestClient, project: str) -> None:
    path = f"/api/projects/{project}/targets"
    for box, says in (
        ({"x": 10, "y": 10, "w": 0, "h": 5}, "has no area"),
        ({"x": 900, "y": 10, "w": 5, "h": 5}, "lies outside the frame of 320x240 pixels"),
        ({"x": 1e9, "y": 10, "w": 5, "h": 5}, "box.x: "),
    ):
        answer = client.post(path, json={"frame": 0, "box": box})
        assert answer.status_code in (409, 422) and says in answer.json()["detail"]
    body = io.BytesIO(b'{"frame": 0, "box": {"x": NaN, "y": 1, "w": 2, "h": 2}}').getvalue()
    assert client.post(path, content=body, headers={"content-type": "application/json"}).status_code == 422
    answer = client.post(f"/api/projects/{project}/jobs", json={"frame": 5, "direction": "forwards"})
    assert answer.json()["detail"].startswith("no target has a box in frame 5: draw one there first")
