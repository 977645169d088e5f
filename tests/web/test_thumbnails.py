"""Thumbnails: every frame's own, kept over a kill, within their room, and made only when nothing else is to be done."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient

from metatrack.images import resize
from metatrack.video import open_source
from metatrack.web import thumbnails
from metatrack.web.projects import Studio
from metatrack.web.thumbnails import ThumbnailFile
from tests.web.conftest import pixels


def made(client: TestClient, project: str, count: int) -> None:
    """Opens a project as a page does, and waits for so many thumbnails."""
    end = time.monotonic() + 900  # whoever makes them has the lowest priority: on a busy machine that takes its time
    while time.monotonic() < end:
        if client.get(f"/api/projects/{project}").json()["thumbnails"] >= count:
            return
        time.sleep(0.02)
    raise AssertionError(f"there are not {count} thumbnails")


@pytest.fixture(autouse=True)
def small_videos_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thumbnails, "WORTH", 0)
    monkeypatch.setattr(thumbnails, "WIDTHS", (160,))


def test_each_frame_has_its_own(client: TestClient, project: str, clip: Path) -> None:
    path = f"/api/projects/{project}/thumbnails"
    made(client, project, 24)
    with open_source(clip) as source:
        frames = [resize(frame, (160, 120)).astype(int) for frame in source]
    for number in range(24):
        seen = pixels(client.get(f"{path}/{number}").content)
        errors = [float(np.abs(seen - frame).mean()) for frame in frames]
        assert seen.shape == (120, 160, 3) and int(np.argmin(errors)) == number and errors[number] < 12
    answer = client.get(f"{path}/24")
    assert answer.status_code == 404 and "no thumbnail of frame 24" in answer.json()["detail"]


def test_a_video_whose_frames_are_quickly_found_has_none(
    client: TestClient, studio: Studio, project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thumbnails, "WORTH", 320 * 240 * 11)  # its key frames are 10 apart
    client.get(f"/api/projects/{project}")
    assert studio.thumbnails._thread is None and client.get(f"/api/projects/{project}/thumbnails/0").status_code == 404


def test_they_go_with_their_project(client: TestClient, studio: Studio, project: str) -> None:
    made(client, project, 24)
    folder = studio.store.folder / "thumbnails"
    assert len(list(folder.iterdir())) == 2
    client.delete(f"/api/projects/{project}")
    assert list(folder.iterdir()) == []


def test_nothing_is_made_while_something_runs(client: TestClient, studio: Studio, project: str) -> None:
    busy = [True]
    studio.thumbnails._busy = lambda: busy[0]
    client.get(f"/api/projects/{project}")
    time.sleep(1.0)
    assert studio.thumbnails.count(project) == 0
    busy[0] = False
    made(client, project, 24)


def test_their_room_is_kept(client: TestClient, studio: Studio, project: str, clip: Path, tmp_path: Path) -> None:
    made(client, project, 24)
    size = (studio.store.folder / "thumbnails" / f"{project}.jpegs").stat().st_size
    other = studio.add_path(copy(clip, tmp_path / "other.mp4")).id
    studio.thumbnails._limits = type(studio.limits)(**{**vars(studio.limits), "thumbnails": 1})
    room = (1 << 20) // thumbnails.SHARE
    assert size < room
    ThumbnailFile(studio.store.folder / "thumbnails" / project).append(bytes(900 << 10))  # there is no room for both
    made(client, other, 24)
    assert [path.stem for path in (studio.store.folder / "thumbnails").glob("*.jpegs")] == [other]


def copy(path: Path, to: Path) -> Path:
    to.write_bytes(path.read_bytes())
    return to


def test_a_kill_loses_at_most_the_last_one(tmp_path: Path) -> None:
    file = ThumbnailFile(tmp_path / "video")
    for word in (b"one", b"three", b"seventeen"):
        file.append(word)
    with file.path.open("ab") as end:
        end.write(b"half of a pict")  # no size is written of it
    again = ThumbnailFile(tmp_path / "video")
    assert len(again) == 3 and again.read(2) == b"seventeen" and again.read(3) is None
    again.append(b"four")
    assert ThumbnailFile(tmp_path / "video").read(3) == b"four"
    file.path.write_bytes(b"onethr")  # the disk lost its end
    assert len(ThumbnailFile(tmp_path / "video")) == 1
    assert len(ThumbnailFile(tmp_path / "video")) == 1, "and the sizes that were wrong are gone"


def test_a_damaged_video_has_those_before_the_damage(client: TestClient, studio: Studio, clip: Path, tmp_path: Path) -> None:
    path = copy(clip, tmp_path / "cut.mp4")
    project = studio.add_path(path).id
    data = bytearray(path.read_bytes())
    path.write_bytes(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))  # damaged after it was opened
    end = time.monotonic() + 900
    while time.monotonic() < end:
        client.get(f"/api/projects/{project}")
        if project in studio.thumbnails._given_up or studio.thumbnails.count(project) == 24:
            break
        time.sleep(0.02)
    while studio.thumbnails._making is not None and time.monotonic() < end:
        time.sleep(0.02)
    assert studio.thumbnails._making is None
    assert client.get(f"/api/projects/{project}").status_code == 200
