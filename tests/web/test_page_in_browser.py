"""The whole path in a real Chromium: open, scrub, draw, track, correct, undo, reload, kill the server, export."""

from __future__ import annotations

import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from metatrack.convert.formats import FORMATS, read_tracks
from metatrack.convert.tracks import Video
from metatrack.geometry import iou
from metatrack.video import open_source
from tests.conftest import Scene
from tests.web.browser import PATIENCE, Page, Server, chromium
from tests.web.conftest import write_clip

SIZE = (240, 320)
COUNT = 30
DONE = "page.state.job?.state === 'done' || page.state.job?.state === 'failed'"


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    (tmp_path / "downloads").mkdir()
    browser = chromium(tmp_path / "downloads")
    yield Page(browser)
    browser.quit()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path / "projects")
    yield made
    made.kill()


def track(page: Page, button: str) -> None:
    before = page.state("page.state.job?.id ?? null")
    page.press(button)
    page.until(f"page.state.job && page.state.job.id !== {before!r}".replace("None", "null"), "no tracking begins")
    page.until(DONE, "tracking does not end")
    assert page.state("page.state.job.state") == "done", page.state("page.state.job.message")


def box(page: Page, target: int, frame: int) -> list[float]:
    found = page.state(f"page.boxAt({target}, {frame})")
    assert found, f"target {target} has no box in frame {frame}"
    return [found[side] for side in "xywh"]


def test_the_whole_path(page: Page, server: Server, tmp_path: Path) -> None:
    clip, scene = write_clip(tmp_path / "clip.mp4", COUNT, SIZE), Scene(size=SIZE)
    page.browser.get(server.start(clip))
    page.goes_to(0)
    assert "token" not in page.browser.current_url
    scrub(page)
    draw_and_track(page, scene)
    correct_and_undo(page, scene)
    reload_and_kill(page, server)
    exports(page, tmp_path / "downloads", scene)
    assert page.errors() == []


def scrub(page: Page) -> None:
    """By the field, the keys and the slider."""
    page.type("frame", 12)
    page.goes_to(12)
    page.find("stage").send_keys(".")
    page.goes_to(13)
    page.find("scrub").send_keys("\ue012\ue012\ue012")
    page.goes_to(10)


def draw_and_track(page: Page, scene: Scene) -> None:
    """Two targets, one by the pointer and one by numbers, and forwards from there."""
    page.drag(scene.box(10))
    page.until("page.state.targets.length === 1", "no target is drawn")
    assert iou(box(page, 1, 10), scene.box(10)) > 0.85
    page.press("new-target")
    page.drag((8, 8, 40, 40))
    page.until("page.state.targets.length === 2", "no second target is drawn")
    track(page, "track-on")
    page.goes_to(COUNT - 1)
    assert iou(box(page, 1, 25), scene.box(25)) > 0.6
    assert page.state("page.column(1).score.filter(Boolean).length") == COUNT - 10
    drawn = page.browser.execute_script(
        "const c = document.getElementById('timeline'); const d = c.getContext('2d').getImageData(0, 0, c.width, 50).data;"
        "const ink = getComputedStyle(document.documentElement).getPropertyValue('--curve').trim().slice(1).match(/../g)"
        ".map((h) => parseInt(h, 16)); let n = 0; for (let i = 0; i < d.length; i += 4)"
        "if (Math.hypot(d[i] - ink[0], d[i + 1] - ink[1], d[i + 2] - ink[2]) < 60) n++; return n"
    )
    assert drawn > 100, "the curve of scores is drawn"


def correct_and_undo(page: Page, scene: Scene) -> None:
    """Corrects the second target at frame 20, and tracks on from there; then backwards from frame 10."""
    page.type("frame", 20)
    page.goes_to(20)
    page.browser.execute_script("document.querySelectorAll('#targets li')[1].dispatchEvent(new Event('pointerdown'))")
    for name, value in zip("xywh", (12, 9, 41, 42)):
        field = page.find(f"box-{name}")
        field.clear()
        field.send_keys(str(value))
    page.find("box-form").submit()
    page.until("page.kindAt(2, 20) === page.KEY", "the correction is not kept")
    track(page, "track-on")
    assert box(page, 2, 20) == [12, 9, 41, 42]
    page.type("frame", 10)
    page.goes_to(10)
    track(page, "track-back")
    assert iou(box(page, 1, 0), scene.box(0)) > 0.6
    # Undo takes the tracking back, redo brings it again.
    page.press("undo")
    page.until("page.kindAt(1, 5) === 0", "undo takes nothing back")
    page.press("redo")
    page.until("page.kindAt(1, 5) === page.TRACKED", "redo brings nothing back")
    # Not visible, and visible again.
    page.type("frame", 10)
    page.goes_to(10)
    page.find("stage").send_keys("v")
    page.until("page.kindAt(2, 10) === page.ABSENT", "no frame is marked as not visible")
    page.press("undo")
    page.until("page.kindAt(2, 10) === page.KEY", "the mark is not taken back")


def reload_and_kill(page: Page, server: Server) -> None:
    """A reload and a killed server lose nothing."""
    rows = "JSON.stringify([1, 2].map((t) => [...page.column(t).box.subarray(0, 4 * page.state.project.frames)]))"
    before = page.state(rows)
    page.browser.refresh()
    page.until("page.state.targets.length === 2 && page.column(2)", "the project does not come back")
    assert page.state(rows) == before
    server.kill()
    server.start()
    page.browser.refresh()
    page.until("page.state.targets.length === 2 && page.column(2)", "the project does not come back after a kill")
    assert page.state(rows) == before


def exports(page: Page, folder: Path, scene: Scene) -> None:
    """Downloads each export, and reads it back."""
    page.until("document.getElementById('show-export').click() || true", "no exports")
    page.until(f"document.querySelectorAll('#formats a').length === {len(FORMATS)}", "not all formats are offered")
    for name in ("csv", "jsonl", "mot", "coco", "cvat", "labelstudio", "yolo", "fiftyone", "arrow"):
        page.browser.find_element("css selector", f"a[data-format={name}]").click()
        suffix = ".zip" if FORMATS[name].folder or FORMATS[name].single else FORMATS[name].suffixes[0]
        path = arrived(folder, f"clip{suffix}").rename(folder / f"{name}{suffix}")
        if suffix == ".zip":
            zipfile.ZipFile(path).extractall(folder / name)
            path = folder / name / "clip"
        tracks = read_tracks(path, name, Video((320, 240), 25.0, COUNT, "clip"))
        assert len(tracks.targets) == 2, name
        for track in tracks.targets:
            assert len(track.visible) == COUNT, name
        assert max(iou(track.visible[15].box, scene.box(15)) for track in tracks.targets) > 0.6, name
    page.press("film")
    page.until("!document.getElementById('film-link').hidden", "the video is not written")
    page.press("film-link")
    with open_source(arrived(folder, "clip tracked.mp4")) as film:
        assert sum(1 for _ in film) == COUNT


def arrived(folder: Path, name: str) -> Path:
    end = time.monotonic() + PATIENCE
    while not (folder / name).exists() or list(folder.glob("*.crdownload")):
        assert time.monotonic() < end, f"{name} does not arrive; there are {[path.name for path in folder.iterdir()]}"
        time.sleep(0.05)
    return folder / name
