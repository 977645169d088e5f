"""The page in a real Chromium by touch, pen and keys; zoom; both themes; pictures that come late; a killed server."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from metatrack.geometry import iou
from tests.conftest import Scene
from tests.web.browser import PATIENCE, Page, Server, chromium
from tests.web.conftest import write_clip
from tests.web.test_contrast import contrast

SIZE = (240, 320)
COUNT = 60


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Page, Server]]:
    """One browser and one server for all: each test begins with a project of its own."""
    folder = tmp_path_factory.mktemp("interaction")
    browser, server = chromium(folder, (1000, 900)), Server(folder / "projects")
    browser.get(server.start(write_clip(folder / "clip.mp4", COUNT, SIZE)))
    yield Page(browser), server
    browser.quit()
    server.kill()


@pytest.fixture
def page(opened: tuple[Page, Server]) -> Page:
    """The project, without targets, in its first frame."""
    page = opened[0]
    page.until("page.state.project && pictures.shown.bitmap", "no project opens")
    for target in page.state("page.state.targets.map((target) => target.id)"):
        page.browser.execute_async_script(
            f"const done = arguments[0]; fetch(`/api${{'/projects/'}}{page.state('page.state.project.id')}/targets/{target}`,"
            " {method: 'DELETE'}).then(done)"
        )
    page.until("page.state.targets.length === 0", "targets stay")
    page.state("page.emit('go', 0)")
    page.goes_to(0)
    page.press("zoom-fit")
    return page


def command(page: Page, name: str, **words: Any) -> None:
    page.browser.execute_cdp_cmd(name, words)


def place(page: Page, x: float, y: float) -> tuple[float, float]:
    """Where a pixel of the video is in the window."""
    found = page.browser.execute_async_script(
        "const done = arguments[0]; import('/page/stage.js').then((stage) => {"
        f"const at = stage.toScreen({x}, {y}); done(at); }})"
    )
    return found[0], found[1]


def touch(page: Page, kind: str, *points: tuple[float, float]) -> None:
    command(
        page,
        "Input.dispatchTouchEvent",
        type=f"touch{kind}",
        touchPoints=[{"x": x, "y": y, "id": n} for n, (x, y) in enumerate(points)],
    )


def scale(page: Page) -> float:
    (left, _), (right, _) = place(page, 0, 0), place(page, 100, 0)
    return (right - left) / 100


def becomes(measure: Callable[[], Any], right: Callable[[Any], bool]) -> Any:
    """What is measured once it is right: the page answers a little after its input. Its last value, if that takes too long."""
    end = time.monotonic() + PATIENCE
    while not right(found := measure()) and time.monotonic() < end:
        time.sleep(0.05)
    return found


def lies_at(page: Page, x: float, y: float, expected: tuple[float, float]) -> None:
    about = pytest.approx(expected, abs=2)
    assert becomes(lambda: place(page, x, y), lambda found: bool(found == about)) == about


def drawn(page: Page, box: tuple[float, float, float, float]) -> None:
    page.until("page.state.targets.length === 1", "no target is drawn")

    def overlap() -> float:
        found = page.state("page.boxAt(page.state.selected, page.state.frame)")
        return float(iou([found[side] for side in "xywh"], box))

    assert becomes(overlap, lambda found: found > 0.9) > 0.9


def test_touch_draws_pinches_and_pans(page: Page) -> None:
    x, y, w, h = box = Scene(size=SIZE).box(0)
    begin, end = place(page, x, y), place(page, x + w, y + h)
    touch(page, "Start", begin)
    for part in (0.3, 0.7, 1.0):
        touch(page, "Move", (begin[0] + part * (end[0] - begin[0]), begin[1] + part * (end[1] - begin[1])))
    touch(page, "End")
    drawn(page, box)
    # Two fingers: the picture grows with their distance and goes with their middle, and nothing is drawn.
    fitted, (cx, cy) = scale(page), place(page, 160, 120)
    touch(page, "Start", (cx - 40, cy))
    touch(page, "Start", (cx - 40, cy), (cx + 40, cy))
    for far in (50, 80):
        touch(page, "Move", (cx - far, cy), (cx + far, cy))
    twice = pytest.approx(2 * fitted, rel=0.03)
    assert (grown := becomes(lambda: scale(page), lambda found: bool(found == twice))) == twice
    lies_at(page, 160, 120, (cx, cy))
    touch(page, "Move", (cx - 80 + 30, cy + 20), (cx + 80 + 30, cy + 20))
    lies_at(page, 160, 120, (cx + 30, cy + 20))
    assert scale(page) == pytest.approx(grown, rel=0.01)
    touch(page, "End", (cx - 50, cy + 20))
    touch(page, "Move", (cx - 90, cy - 30))  # the finger that stays draws nothing
    touch(page, "End")
    time.sleep(0.3)
    assert page.state("page.state.targets.length") == 1
    drawn(page, box)


def test_a_pen_draws_and_moves(page: Page) -> None:
    x, y, w, h = box = Scene(size=SIZE).box(0)

    def pen(kind: str, at: tuple[float, float]) -> None:
        command(
            page, "Input.dispatchMouseEvent", type=f"mouse{kind}", x=at[0], y=at[1], button="left", clickCount=1,
            buttons=int(kind != "Released"), pointerType="pen", force=0.5,
        )  # fmt: skip

    def drag(*stops: tuple[float, float]) -> None:
        pen("Pressed", stops[0])
        for stop in stops[1:]:
            pen("Moved", stop)
        pen("Released", stops[-1])

    drag(place(page, x, y), place(page, x + w / 2, y + h / 2), place(page, x + w, y + h))
    drawn(page, box)
    drag(place(page, x + w / 2, y + h / 2), place(page, x + w / 2 + 8, y + h / 2), place(page, x + w / 2 + 16, y + h / 2 + 10))
    page.until(f"Math.abs(page.boxAt(page.state.selected).x - {x + 16}) < 1.5", "the box is not moved")
    drawn(page, (x + 16, y + 10, w, h))


def test_a_box_by_keys_and_by_numbers(page: Page) -> None:
    from selenium.webdriver.common.keys import Keys

    stage = page.find("stage")
    stage.send_keys("n")
    width, height = SIZE[1], SIZE[0]
    stage.send_keys(Keys.ARROW_RIGHT * 3 + Keys.ARROW_UP)
    stage.send_keys(Keys.SHIFT + Keys.ARROW_RIGHT * 2 + Keys.ARROW_DOWN + Keys.NULL)
    assert becomes(lambda: page.find("status").get_attribute("textContent"), lambda text: text.startswith("x ")).startswith("x ")
    stage.send_keys(Keys.ENTER)
    step = width / 160
    drawn(page, (0.4 * width + 3 * step, 0.4 * height - step, 0.2 * width + 2 * step, 0.2 * height + step))
    for name, value in zip("xywh", (12, 9, 41, 42)):
        field = page.find(f"box-{name}")
        field.clear()
        field.send_keys(str(value))
    field.send_keys(Keys.ENTER)
    page.until("page.boxAt(page.state.selected)?.x === 12", "numbers set nothing")
    drawn(page, (12, 9, 41, 42))
    field.clear()
    field.send_keys("0", Keys.ENTER)  # refused by the browser or by the server, in a sentence
    time.sleep(0.3)
    drawn(page, (12, 9, 41, 42))
    page.find("stage").send_keys("e" + Keys.ARROW_RIGHT + Keys.ESCAPE)
    drawn(page, (12, 9, 41, 42))


def test_zoom_by_wheel_keys_and_buttons_keeps_boxes_in_place(page: Page) -> None:
    fitted, (x, y) = scale(page), place(page, 100, 60)
    command(page, "Input.dispatchMouseEvent", type="mouseWheel", x=x, y=y, deltaX=0, deltaY=-400)
    assert becomes(lambda: scale(page), lambda found: found > 1.5 * fitted) > 1.5 * fitted
    lies_at(page, 100, 60, (x, y))
    box = (90.0, 50.0, 40.0, 30.0)
    (left, top), (right, bottom) = place(page, 90, 50), place(page, 130, 80)
    for kind, at in (
        ("Pressed", (left, top)),
        ("Moved", (left + 20, top + 20)),
        ("Moved", (right, bottom)),
        ("Released", (right, bottom)),
    ):
        command(page, "Input.dispatchMouseEvent", type=f"mouse{kind}", x=at[0], y=at[1], button="left", buttons=1, clickCount=1)
    drawn(page, box)
    wheeled = scale(page)
    page.press("zoom-out")
    less = becomes(lambda: scale(page), lambda found: found < wheeled)
    assert less < wheeled
    page.find("stage").send_keys("+")
    assert becomes(lambda: scale(page), lambda found: found > less) > less
    page.find("stage").send_keys("0")
    assert becomes(lambda: scale(page), lambda found: bool(found == pytest.approx(fitted))) == pytest.approx(fitted)


def test_a_thumbnail_is_shown_until_the_exact_picture_comes(page: Page) -> None:
    """The server answers late, and has thumbnails: the page shows them at once, each with its own number."""
    page.browser.execute_script(
        "window.kept = window.fetch; window.seen = [];"
        "window.fetch = async (path, options) => {"
        " const thumbnail = String(path).match(/thumbnails.(\\d+)$/);"
        " if (thumbnail) return window.kept(path.replace(/thumbnails.(\\d+)$/, `frames/${thumbnail[1]}?width=320`), options);"
        " if (/frames.\\d+/.test(path)) await new Promise((done) => setTimeout(done, 1500));"
        " return window.kept(path, options); };"
        "import('/page/state.js').then((page) => { page.state.project.thumbnails = page.state.project.frames; });"
        "import('/page/pictures.js').then(({shown}) => import('/page/state.js').then((page) =>"
        " page.on('picture', () => window.seen.push([shown.frame, shown.exact, page.state.frame]))))"
    )
    try:
        for frame in (20, 41, 33):
            page.state(f"page.emit('go', {frame})")
            page.until(f"pictures.shown.frame === {frame} && !pictures.shown.exact", f"no thumbnail of {frame}")
        page.until("pictures.shown.frame === 33 && pictures.shown.exact", "the exact picture does not come")
        time.sleep(2)
        seen = page.browser.execute_script("return window.seen")
        assert seen[-1] == [33, True, 33]
        assert [20, False, 20] in seen and [41, False, 41] in seen
        first = seen.index([33, False, 33])
        assert all(frame == 33 for frame, _, _ in seen[first:]), "what comes late does not replace what is wanted"
    finally:
        page.browser.execute_script("window.fetch = window.kept;")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_text_that_is_shown_has_contrast(page: Page, theme: str) -> None:
    page.drag((20, 20, 50, 50))
    page.until("page.state.targets.length === 1", "no target is drawn")
    if page.browser.execute_script("return document.documentElement.dataset.theme") != theme:
        page.press("theme")
        if page.browser.execute_script("return document.documentElement.dataset.theme") != theme:
            page.press("theme")
    time.sleep(0.4)  # until colours have changed
    low = set()
    for dialog in ("", "help", "export"):
        if dialog:
            page.press(f"show-{dialog}")
            time.sleep(0.3)
        for text, ink, ground, size, weight in page.browser.execute_script(TEXTS):
            least = 3.0 if size >= 24 or (size >= 18.66 and weight >= 700) else 4.5
            if contrast(ink, ground) < least:
                low.add((text, ink, ground))
        if dialog:
            page.browser.execute_script(f"document.getElementById('{dialog}').close()")
    assert low == set()


TEXTS = """
const hex = (rgb) => '#' + rgb.slice(0, 3).map((value) => Math.round(value).toString(16).padStart(2, '0')).join('');
const parse = (text) => { const n = text.match(/[\\d.]+/g).map(Number); return n.length < 4 ? [...n, 1] : n; };
const over = (top, under) => [0, 1, 2].map((i) => top[i] * top[3] + under[i] * (1 - top[3])).concat(1);
const ground = (node) => {
  const layers = [];
  for (let at = node; at; at = at.parentElement) layers.push(parse(getComputedStyle(at).backgroundColor));
  return layers.reverse().reduce((under, top) => over(top, under), [255, 255, 255, 1]);
};
const found = [];
for (const node of document.querySelectorAll('body *')) {
  const style = getComputedStyle(node), at = node.getBoundingClientRect();
  const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim())
    || (node.value && node.type !== 'color' && node.type !== 'range');
  if (!own || node.disabled || !node.checkVisibility({visibilityProperty: true}) || at.width < 2) continue;
  if (node.closest('.sr, .skip')) continue;
  if (document.querySelector('dialog[open]') && !node.closest('dialog[open]')) continue;
  const under = ground(node);
  const text = (node.textContent || node.value).trim().slice(0, 30);
  found.push([text, hex(over(parse(style.color), under)), hex(under), parseFloat(style.fontSize), Number(style.fontWeight)]);
}
return found;
"""


def test_the_camera(tmp_path: Path) -> None:
    """The server's camera, for which a video stands in: drawn on while it runs, recorded, and then a project like any other."""
    clip = write_clip(tmp_path / "camera.mp4", 400, SIZE)
    code = (
        f"from metatrack.web.projects import Studio; Studio.camera.__defaults__ = ({str(clip)!r},);"
        "from metatrack.start import main; raise SystemExit(main())"
    )
    server, browser = Server(tmp_path / "projects", ("-c", code)), chromium(tmp_path, (1000, 900))
    page = Page(browser)
    try:
        browser.get(server.start())
        page.until("document.querySelector('#cameras button')", "no camera is offered")
        browser.find_element("css selector", "#cameras button").click()
        page.until("page.state.project?.live && page.state.project.width && page.state.frame > 3", "the camera shows nothing")
        width = page.state("page.state.project.width")
        assert width == SIZE[1] and place(page, width, 0)[0] - place(page, 0, 0)[0] > 200, "the whole picture is shown"
        page.until("pictures.shown.bitmap", "no picture comes")
        frame = page.state("page.state.frame")
        page.drag(Scene(size=SIZE).box(frame))
        page.until("page.state.targets.length === 1", "nothing can be drawn on it")
        boxes = "page.column(1)?.kind.filter((kind) => kind === page.TRACKED).length"
        page.until(f"{boxes} > 3", "nothing is followed")
        page.press("pause")
        page.until("page.state.project && !page.state.project.live && page.state.project.frames > 5", "it is not recorded")
        count = page.state("page.state.project.frames")
        assert page.state(f"{boxes}") > 3
        page.state("page.emit('go', 2)")
        page.goes_to(2)
        assert 5 < count <= 400 and page.find("scrub").get_attribute("max") == str(count - 1)
    finally:
        browser.quit()
        server.kill()


def test_a_page_that_does_not_read_slows_no_tracking(page: Page, opened: tuple[Page, Server]) -> None:
    """A listener that never reads its events, with the smallest buffer there is: the tracking comes to its end all the same."""
    server = opened[1]
    cookie = page.browser.get_cookie("metatrack")["value"]
    page.drag(Scene(size=SIZE).box(0))
    page.until("page.state.targets.length === 1", "no target is drawn")
    deaf = socket.socket()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
    deaf.connect(("127.0.0.1", server.port))
    project = page.state("page.state.project.id")
    request = (
        f"GET /api/projects/{project}/events HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nCookie: metatrack={cookie}\r\n\r\n"
    )
    deaf.sendall(request.encode())
    page.press("track-on")
    page.until("page.state.job?.state === 'done'", "the tracking does not end")
    assert page.state("page.state.job.done") == COUNT - 1
    deaf.close()


def test_a_server_killed_while_it_tracks_loses_nothing_that_was_shown(page: Page, opened: tuple[Page, Server]) -> None:
    server = opened[1]
    page.drag(Scene(size=SIZE).box(0))
    page.until("page.state.targets.length === 1", "no target is drawn")
    target = page.state("page.state.selected")
    page.press("track-on")
    shown = (
        f"JSON.stringify([...page.column({target}).kind].map((kind, n) =>"
        f" kind ? [n, ...page.column({target}).box.subarray(4 * n, 4 * n + 4)] : 0).filter(Boolean))"
    )
    page.until(f"page.column({target}).kind.filter(Boolean).length > 4", "nothing is tracked")
    server.kill()
    before = page.state(f"JSON.parse({shown})")
    server.start()
    page.browser.refresh()
    page.until(f"page.column({target})?.kind.filter(Boolean).length >= {len(before)}", "boxes are lost")
    after = page.state(f"JSON.parse({shown})")
    assert after[: len(before)] == before
    page.state(f"page.emit('go', {after[-1][0]})")
    page.goes_to(after[-1][0])
    if after[-1][0] < COUNT - 1:  # and tracking goes on from there
        page.press("track-on")
        page.until("page.state.job?.state === 'done'", "tracking does not go on")
    assert page.state(f"page.kindAt({target}, {COUNT - 1})") == 1
