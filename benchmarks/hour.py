"""Memory of the page's server and of its processes while an hour's video is tracked and scrubbed.

    python -m benchmarks.hour [--minutes 60] [--seconds 3600] [--every 30]

A client that has been let in draws a box, tracks forwards, listens to the events and asks for random frames, as a page does.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import numpy as np
from tests.web.browser import Server

from benchmarks.scrubbing import write_long

SIZE = (320, 180)


class MemorySample(NamedTuple):
    """One look at the processes."""

    seconds: float
    frames: int
    """Tracked so far."""
    scrubbed: int
    server: int
    """Resident bytes of the server."""
    children: int
    """And of all its processes together."""


def resident(process: int) -> int:
    """Resident bytes; 0 of a process that is gone."""
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def children(process: int) -> list[int]:
    """Its processes."""
    found = Path(f"/proc/{process}/task").glob("*/children")
    return [int(each) for path in found for each in path.read_text().split()]


@contextmanager
def let_in(address: str) -> Iterator[httpx2.Client]:
    """A client that has opened the printed address."""
    with httpx2.Client(base_url=address.partition("/?")[0], follow_redirects=True, timeout=120) as client:
        client.get(address).raise_for_status()
        yield client


def listen(client: httpx2.Client, project: str) -> None:
    """Reads the events, as a page does, until the server ends."""
    try:
        with client.stream("GET", f"/api/projects/{project}/events", timeout=None) as answer:
            for _ in answer.iter_bytes():
                pass
    except httpx2.HTTPError:
        pass


def watch(video: Path, folder: Path, seconds: float, every: float) -> Iterator[MemorySample]:
    """Tracks and scrubs a video, and looks at the memory every so often, until the tracking is done or the time is over."""
    server, rng = Server(folder), np.random.default_rng(1)
    begin = time.monotonic()
    try:
        with let_in(server.start(video)) as client:
            process: Any = server.process
            (found,) = client.get("/api/projects").json()["projects"]
            path = f"/api/projects/{found['id']}"
            threading.Thread(target=listen, args=(client, found["id"]), daemon=True).start()
            box = {"x": 0.29 * SIZE[0], "y": 0.33 * SIZE[1], "w": 0.11 * SIZE[0], "h": 0.24 * SIZE[1]}
            client.post(f"{path}/targets", json={"frame": 0, "box": box}).raise_for_status()
            client.post(f"{path}/jobs", json={"frame": 0, "direction": "forwards"}).raise_for_status()
            scrubbed, due, state = 0, 0.0, "running"
            while state == "running" and time.monotonic() < begin + seconds:
                client.get(f"{path}/frames/{rng.integers(found['frames'])}?width=960").raise_for_status()
                scrubbed += 1
                time.sleep(0.2)
                if time.monotonic() - begin >= due:
                    due += every
                    (job,) = client.get(path).json()["jobs"]
                    state = job["state"]
                    parts = sum(map(resident, children(process.pid)))
                    yield MemorySample(time.monotonic() - begin, job["done"], scrubbed, resident(process.pid), parts)
    finally:
        server.kill()


def main() -> None:
    """Measures, and prints Markdown."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seconds", type=float, default=3600.0, help="end after so many, whatever was tracked")
    parser.add_argument("--every", type=float, default=30.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        video = write_long(Path(folder) / "long.mp4", options.minutes, 250, SIZE)
        print(
            "| seconds | frames tracked | frames shown | server, MB | its processes, MB |\n|---:|---:|---:|---:|---:|", flush=True
        )
        for each in watch(video, Path(folder) / "projects", options.seconds, options.every):
            numbers = (each.seconds, each.frames, each.scrubbed, each.server / 1e6, each.children / 1e6)
            print("| " + " | ".join(f"{value:,.0f}" for value in numbers) + " |", flush=True)


if __name__ == "__main__":
    main()
