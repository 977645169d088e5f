"""The page's server without a browser: a client that has been let in, and a short video."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the page needs the extra app")
pytest.importorskip("httpx2", reason="Starlette's test client needs httpx2")

from fastapi.testclient import TestClient

from metatrack.web.projects import Studio
from metatrack.web.security import Gate
from metatrack.web.server import UPLOAD, make_app
from metatrack.web.settings import Limits
from tests.conftest import Scene

HOST = "127.0.0.1:8765"
SMALL = Limits(upload=2, minutes=1.0, pixels=1 << 20, projects=4, targets=3, memory=1024)


def write_clip(path: Path, count: int = 24, size: tuple[int, int] = (240, 320)) -> Path:
    scene = Scene(size=size)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"g": "10", "bf": "2"})
        stream.width, stream.height, stream.pix_fmt = size[1], size[0], "yuv420p"
        for i in range(count):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(scene.frame(i), format="rgb24")))
        out.mux(stream.encode(None))
    return path


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clips") / "clip.mp4")


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    made = Studio(tmp_path / "projects", SMALL)
    yield made
    made.close()


@pytest.fixture
def stranger(studio: Studio) -> TestClient:
    """A browser that has not opened the printed address."""
    gate = Gate(make_app(studio), studio.store, {HOST}, UPLOAD)
    return TestClient(gate, base_url=f"http://{HOST}", raise_server_exceptions=False, follow_redirects=False)


@pytest.fixture
def client(studio: Studio, stranger: TestClient) -> TestClient:
    """A browser that has."""
    assert stranger.get("/", params={"token": studio.store.give_key("token", 60)}).status_code == 303
    return stranger


@pytest.fixture
def project(studio: Studio, clip: Path) -> str:
    return studio.add_path(clip).id


def pixels(data: bytes) -> np.ndarray:
    from metatrack.images import decode_image

    return decode_image(data, "frame.jpg")
