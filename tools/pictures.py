"""The pictures of the page in docs/images, taken by Chromium while the demo clip is tracked: ``python -m tools.pictures``.

It needs the packages of the tests, and Debian's chromium and chromium-driver.
"""

from __future__ import annotations

import io
import shutil
import tempfile
import time
from importlib.resources import files
from pathlib import Path

import PIL.Image
from tests.web.browser import Page, Server, chromium

OUT = Path(__file__).parents[1] / "docs" / "images"
RABBIT, FLOWER = (185, 120, 69, 87), (370, 205, 55, 60)


def shoot(page: Page, name: str, size: tuple[int, int], theme: str = "light") -> None:
    """Takes the page as it is, in a window of that size."""
    words = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size[0] < 600}
    page.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", words)
    page.browser.execute_script(
        f"document.documentElement.dataset.theme = {theme!r}; import('/page/state.js').then((page) => page.emit('theme'))"
    )
    time.sleep(1.5)
    picture = PIL.Image.open(io.BytesIO(page.browser.get_screenshot_as_png())).convert("RGB")
    picture.save(OUT / f"{name}.jpg", quality=82, optimize=True)


def ended(page: Page) -> None:
    """Waits for the tracking to end."""
    page.until("page.state.job && page.state.job.state !== 'running'", "the tracking does not end")


def main() -> None:
    """Draws, tracks, corrects and exports, with a picture of each."""
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "rabbit.mp4"
        shutil.copy(str(files("metatrack") / "assets" / "demo.mp4"), clip)
        server, browser = Server(Path(folder) / "projects"), chromium(Path(folder), (1280, 860))
        page = Page(browser)
        try:
            browser.get(server.start(clip))
            page.until("page.state.project && pictures.shown.bitmap", "no project opens")
            page.drag(RABBIT)
            page.until("page.state.targets.length === 1", "no target is drawn")
            shoot(page, "tutorial-draw", (1280, 860))
            page.press("track-on")
            page.until("page.state.job?.done > 20", "nothing is tracked")
            progress = "document.getElementById('progress-text').style.visibility"
            browser.execute_script(f"{progress} = 'hidden'")  # how fast this machine was says nothing of others
            shoot(page, "tutorial-track", (1280, 860))
            browser.execute_script(f"{progress} = ''")
            ended(page)
            page.state("page.emit('go', 30)")
            page.goes_to(30)
            x, y, w, h = page.state("['x', 'y', 'w', 'h'].map((side) => page.boxAt(1, 30)[side])")
            page.drag((x + w / 2, y + h / 2, 6, 9), begin=(x + w / 2, y + h / 2))  # moves the box by hand
            page.until("page.kindAt(1, 30) === page.KEY", "no key frame is set")
            shoot(page, "tutorial-correct", (1280, 860))
            page.press("undo")
            page.until("page.kindAt(1, 30) === page.TRACKED", "the correction is not taken back")
            page.state("page.emit('go', 0)")
            page.goes_to(0)
            page.press("new-target")
            page.drag(FLOWER)
            page.until("page.state.targets.length === 2", "no second target is drawn")
            page.press("track-on")
            ended(page)
            page.state("page.emit('go', 40)")
            page.goes_to(40)
            shoot(page, "app", (1440, 900))
            shoot(page, "app-narrow", (390, 844), "dark")
            page.press("show-export")
            page.until("document.querySelectorAll('#formats a').length > 5", "no formats are offered")
            shoot(page, "tutorial-export", (1280, 860))
        finally:
            browser.quit()
            server.kill()


if __name__ == "__main__":
    main()
