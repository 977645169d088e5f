"""A real Chromium, and a server of its own, for the page's test."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.app.test_cli import ENVIRONMENT

PATIENCE = 120.0
"""Seconds: so many that a busy machine does not matter."""
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync --disable-dev-shm-usage"
).split()


def chromium(downloads: Path, size: tuple[int, int] = (1280, 900)) -> Any:
    """Debian's Chromium by its own driver; skips where there is none."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="drives the browser")
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not binary or not driver:
        pytest.skip("needs a Chromium and its driver: apt-get install chromium chromium-driver")
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in (*FLAGS, f"--window-size={size[0]},{size[1]}"):
        options.add_argument(flag)
    downloading = {"download.default_directory": str(downloads), "profile.default_content_setting_values.automatic_downloads": 1}
    options.add_experimental_option("prefs", downloading)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options=options, service=Service(driver))


class Server:
    """``metatrack app``, to be killed and started again; ``python`` is what Python is given for it."""

    def __init__(self, folder: Path, python: tuple[str, ...] = ("-m", "metatrack")) -> None:
        self.folder, self.port, self.python = folder, 0, python
        self.process: subprocess.Popen[str] | None = None

    def start(self, *videos: Path) -> str:
        """Starts it; the address that it prints."""
        words = ["app", *map(str, videos), "--folder", str(self.folder), "--port", str(self.port), "--no-browser"]
        self.process = subprocess.Popen(
            [sys.executable, *self.python, *words],
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        first = self.process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)/\?token=\S+", first)
        assert found, first + self.process.stdout.read()
        self.port = int(found[1])
        return found[0]

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()


class Page:
    """The page, as a person uses it."""

    def __init__(self, browser: Any) -> None:
        self.browser = browser

    def find(self, name: str) -> Any:
        return self.browser.find_element("id", name)

    def press(self, name: str) -> None:
        self.find(name).click()

    def state(self, what: str) -> Any:
        """An expression over ``state.js``."""
        script = "const done = arguments[0]; Promise.all([import('/page/state.js'), import('/page/pictures.js')])"
        return self.browser.execute_async_script(f"{script}.then(([page, pictures]) => done({what}))")

    def until(self, what: str, why: str) -> Any:
        """Waits for an expression to be true."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            try:
                if found := self.state(what):
                    return found
            except Exception as error:  # the page is loading
                last: object = error
            else:
                last = found
            time.sleep(0.05)
        raise AssertionError(f"{why}: {last}; the page says {self.find('alert-text').text!r}")

    def goes_to(self, frame: int) -> None:
        self.until(f"page.state.frame === {frame} && pictures.shown.frame === {frame}", f"frame {frame} is not shown")

    def type(self, name: str, text: object) -> None:
        from selenium.webdriver.common.keys import Keys

        field = self.find(name)
        field.send_keys(Keys.CONTROL, "a")
        field.send_keys(str(text), Keys.ENTER)

    def drag(self, box: tuple[float, float, float, float], begin: tuple[float, float] | None = None) -> None:
        """Draws a box, in pixels of the video; or drags from ``begin`` to the box's corner."""
        from selenium.webdriver.common.action_chains import ActionChains

        left, top, wide, high = self.browser.execute_script(
            "const p = document.getElementById('stage').getBoundingClientRect(); return [p.left, p.top, p.width, p.height]"
        )
        width, height = self.state("[page.state.project.width, page.state.project.height]")
        scale = min(wide / width, high / height)

        def at(x: float, y: float) -> tuple[int, int]:
            return round(left + (wide - width * scale) / 2 + x * scale), round(top + (high - height * scale) / 2 + y * scale)

        x, y, w, h = box
        actions = ActionChains(self.browser, duration=50)
        pointer = actions.w3c_actions.pointer_action
        pointer.move_to_location(*at(*(begin or (x, y))))
        pointer.pointer_down()
        pointer.move_to_location(*at(x + w / 2, y + h / 2))
        pointer.move_to_location(*at(x + w, y + h))
        pointer.pointer_up()
        actions.perform()

    def errors(self) -> list[str]:
        """What the browser complains of, but for the answers that a killed server did not give."""
        lines = [entry["message"] for entry in self.browser.get_log("browser") if entry["level"] == "SEVERE"]
        return [line for line in lines if "ERR_CONNECTION" not in line and "ERR_INCOMPLETE" not in line]
