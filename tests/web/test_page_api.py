"""The routes as a page uses them: open, draw, track, correct, undo, export."""

from __future__ import annotations

import time
import zipfile
from pathlib import Path

import numpy as np
from fastapi.testclient import TestClient

from metatrack.convert.formats import FORMATS, read_tracks
from metatrack.convert.tracks import Video
from metatrack.geometry import iou
from metatrack.video import open_source
from metatrack.web.projects import Studio
from metatrack.web.store import ABSENT, KEY, TRACKED, StoredBox
from tests.conftest import Scene
from tests.web.conftest import pixels

BOX = dict(zip("xywh", Scene().box(0)))


def wait(client: TestClient, project: str) -> dict:
    for _ in range(4000):
        jobs = client.get(f"/api/projects/{project}").json()["jobs"]
        if all(job["state"] != "running" for job in jobs):
            return jobs[-1]
        time.sleep(0.05)
    raise AssertionError("the job does not end")


def rows(client: TestClient, project: str) -> dict[tuple[int, int], list]:
    return {(row[0], row[1]): row for row in client.get(f"/api/projects/{project}/boxes").json()["rows"]}


def draw(client: TestClient, project: str, frame: int = 0, **more: object) -> dict:
    box = dict(zip("xywh", Scene().box(frame)))
    answer = client.post(f"/api/projects/{project}/targets", json={"frame": frame, "box": box, **more})
    assert answer.status_code == 201, answer.text
    return answer.json()


def test_frames_are_exact(client: TestClient, project: str, clip: Path) -> None:
    facts = client.get(f"/api/projects/{project}").json()
    assert (facts["frames"], facts["width"], facts["height"], facts["fps"]) == (24, 320, 240, 25)
    with open_source(clip) as source:
        frames = list(source)
    for number in (17, 3, 23, 0, 16):
        answer = client.get(f"/api/projects/{project}/frames/{number}")
        assert answer.headers["content-type"] == "image/jpeg"
        seen = pixels(answer.content).astype(int)
        errors = [float(np.abs(seen - frame).mean()) for frame in frames]
        assert int(np.argmin(errors)) == number and errors[number] < 3
    assert pixels(client.get(f"/api/projects/{project}/frames/3?width=320").content).shape == (240, 320, 3)
    answer = client.get(f"/api/projects/{project}/frames/24")
    assert answer.status_code == 409 and answer.json()["detail"] == "there is no frame 24; this video has frames 0 to 23"


def test_the_whole_path(client: TestClient, project: str, tmp_path: Path) -> None:
    made = draw(client, project, frame=8)
    assert made["target"] == 1 and made["undo"] == "draw target 1"
    job = client.post(f"/api/projects/{project}/jobs", json={"frame": 8, "direction": "forwards"}).json()
    assert job["state"] == "running" and job["total"] == 15
    assert wait(client, project)["state"] == "done"
    client.post(f"/api/projects/{project}/jobs", json={"frame": 8, "direction": "backwards"})
    assert wait(client, project)["state"] == "done"
    found = rows(client, project)
    assert sorted(found) == [(1, frame) for frame in range(24)]
    assert [found[1, frame][2] for frame in range(24)] == [TRACKED] * 8 + [KEY] + [TRACKED] * 15
    for frame in range(24):
        assert iou(found[1, frame][3:7], Scene().box(frame)) > 0.6, f"frame {frame}"
    # A correction stays when its neighbours are tracked again, and so does what is marked as absent.
    other = {"x": 10, "y": 10, "w": 20, "h": 20}
    target = f"/api/projects/{project}/targets/1"
    assert client.put(f"{target}/boxes/20", json=other).json()["rows"] == [[1, 20, KEY, 10, 10, 20, 20, 1, 0]]
    assert client.post(f"{target}/spans", json={"first": 12, "last": 11, "mark": "absent"}).status_code == 200
    client.post(f"/api/projects/{project}/jobs", json={"frame": 8, "direction": "forwards"})
    assert wait(client, project)["state"] == "done"
    again = rows(client, project)
    assert [again[1, frame][2] for frame in (11, 12, 13, 20)] == [ABSENT, ABSENT, TRACKED, KEY]
    assert again[1, 20][3:7] == [10, 10, 20, 20]
    assert iou(again[1, 21][3:7], found[1, 21][3:7]) < 0.5, "tracking went on from the correction"
    # All of it can be taken back, and done again.
    labels = []
    while (undo := client.get(f"/api/projects/{project}").json()["undo"]) is not None:
        labels.append(undo)
        assert client.post(f"/api/projects/{project}/undo").status_code == 200
    assert labels[0] == "track forwards from frame 8" and labels[-1] == "draw target 1" and len(labels) == 6
    assert rows(client, project) == {} and client.get(f"/api/projects/{project}").json()["targets"] == []
    assert client.post(f"/api/projects/{project}/undo").json()["detail"] == "there is nothing to undo"
    for _ in labels:
        assert client.post(f"/api/projects/{project}/redo").status_code == 200
    assert rows(client, project) == again


def test_exports_are_read_back(client: TestClient, studio: Studio, project: str, tmp_path: Path) -> None:
    draw(client, project)
    studio.store.set_rows(
        project, "track", [StoredBox(1, frame, TRACKED, 30 + frame, 40, 50, 60, 0.75, 0) for frame in range(1, 24)]
    )
    offered = {each["name"]: each["suffix"] for each in client.get("/api/projects").json()["formats"]}
    assert list(offered) == list(FORMATS)
    for name, suffix in offered.items():
        answer = client.get(f"/api/projects/{project}/exports/{name}")
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-disposition"] == f'attachment; filename="clip{suffix}"'
        path = tmp_path / name / f"clip{suffix}"
        path.parent.mkdir()
        path.write_bytes(answer.content)
        if suffix == ".zip":
            zipfile.ZipFile(path).extractall(path.parent)
            path = path.with_suffix("")
        (track,) = read_tracks(path, name, Video((320, 240), 25.0, 24, "clip")).targets
        boxes = {mark.frame: mark.box for mark in track.visible}
        assert set(boxes) >= set(range(1, 24)), name  # VOT's results say nothing of the first frame
        assert iou(boxes[9], (39, 40, 50, 60)) > 0.9, name
    assert (
        client.get(f"/api/projects/{project}/exports/exe").json()["detail"].startswith("there is no format 'exe'; there are csv")
    )


def test_video_with_boxes(client: TestClient, studio: Studio, project: str, tmp_path: Path) -> None:
    assert client.get(f"/api/projects/{project}/video").status_code == 404
    draw(client, project, name="disc", color="#ff0000")
    assert client.post(f"/api/projects/{project}/video").status_code == 201
    assert wait(client, project)["state"] == "done"
    path = tmp_path / "film.mp4"
    path.write_bytes(client.get(f"/api/projects/{project}/video").content)
    with open_source(path) as source:
        frames = list(source)
    x, y, w, _ = map(round, Scene().box(0))
    assert len(frames) == 24
    red = frames[0][y, x : x + w].astype(int)
    assert (red[:, 0] - red[:, 1]).mean() > 100, "the box is drawn in its colour"


def test_targets_change(client: TestClient, project: str) -> None:
    draw(client, project)
    path = f"/api/projects/{project}/targets/1"
    assert client.patch(path, json={"name": "the disc", "color": "#123456"}).json()["targets"] == [
        {"id": 1, "name": "the disc", "color": "#123456", "hidden": False}
    ]
    assert client.patch(path, json={"hidden": True}).json()["undo"] == "hide the disc"
    gone = client.delete(path).json()
    assert gone["targets"] == [] and gone["rows"] == [[1, 0, 0, 0, 0, 0, 0, 0, 0]]
    back = client.post(f"/api/projects/{project}/undo").json()
    assert back["targets"][0]["name"] == "the disc" and back["rows"][0][2] == KEY
    assert client.post(f"{path}/spans", json={"first": 0, "last": 5, "mark": "delete"}).json()["rows"][0][2] == 0
    assert rows(client, project) == {}
    assert draw(client, project)["target"] == 2, "no id is given twice"


def test_pause_keeps_what_was_tracked_and_tracking_goes_on(client: TestClient, studio: Studio, project: str) -> None:
    draw(client, project)
    job = client.post(f"/api/projects/{project}/jobs", json={"frame": 0, "direction": "forwards"}).json()
    assert client.post(f"/api/projects/{project}/undo").status_code == 409, "not while it runs"
    while not rows(client, project).get((1, 2)):
        time.sleep(0.01)
    client.delete(f"/api/projects/{project}/jobs/{job['id']}")
    ended = wait(client, project)
    last = max(frame for _, frame in rows(client, project))
    assert ended["state"] in ("paused", "done") and last == ended["frame"] >= 2
    if last < 23:
        client.post(f"/api/projects/{project}/jobs", json={"frame": last, "direction": "forwards"})
        assert wait(client, project)["state"] == "done"
    assert iou(rows(client, project)[1, 23][3:7], Scene().box(23)) > 0.6


def test_projects_and_their_video(client: TestClient, studio: Studio, project: str, clip: Path) -> None:
    assert [each["id"] for each in client.get("/api/projects").json()["projects"]] == [project]
    assert client.patch(f"/api/projects/{project}", json={"name": "holiday"}).json()["name"] == "holiday"
    assert studio.add_path(clip).id == project, "the same video is the same project"
    uploaded = client.post("/api/projects?name=..%2F..%2Fetc%2Fpasswd", content=clip.read_bytes())
    assert uploaded.status_code == 201 and uploaded.json()["name"] == "passwd" and uploaded.json()["frames"] == 24
    file = Path(studio.store.project(uploaded.json()["id"]).source)
    assert file.parent == studio.store.uploads and file.exists()
    assert client.delete(f"/api/projects/{uploaded.json()['id']}").status_code == 204
    assert not file.exists()
    assert client.delete(f"/api/projects/{project}").status_code == 204
    assert clip.exists(), "a video of the user's stays"
    assert client.get(f"/api/projects/{project}").status_code == 404


def test_a_camera_is_recorded_with_its_boxes(client: TestClient, studio: Studio, clip: Path) -> None:
    """A video stands in for the camera: what is recorded is then a project like any other."""
    project = studio.camera(0, str(clip)).id
    while not studio.store.project(project).width and studio.jobs.running(project):
        time.sleep(0.01)
    wait(client, project)
    while not studio.store.project(project).frames:
        time.sleep(0.01)
    facts = client.get(f"/api/projects/{project}").json()
    assert (facts["frames"], facts["width"], facts["live"]) == (24, 320, False)
    assert client.get(f"/api/projects/{project}/frames/5").status_code == 200
    assert client.post("/api/camera", json={"camera": 7}).json()["detail"].startswith("camera 7 was not allowed")
