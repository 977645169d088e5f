"""How long the page takes to show a random frame of a long video, and the first box of a tracking, in a real Chromium.

    python -m benchmarks.scrubbing [--minutes 10] [--key 250] [--wait 600] [--video FILE]

It needs the packages of the tests and Debian's chromium and chromium-driver. A video of 1920x1080 pixels is made of the demo
clip: 20 seconds are encoded, and their packets repeated.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from fractions import Fraction
from importlib.resources import files
from pathlib import Path
from typing import Any

import av
import numpy as np
from tests.web.browser import Page, Server, chromium

from metatrack.images import encode_image
from metatrack.video.seek import open_seekable
from metatrack.web.settings import Limits
from metatrack.web.store import ProjectStore
from metatrack.web.thumbnails import SHARE, ThumbnailFile, thumbnail_width
from metatrack.web.worker import THUMBNAIL_QUALITY

LOOP = 500
"""Frames that are encoded; the video repeats them."""
FPS = 25


def write_long(path: Path, minutes: float, key: int, size: tuple[int, int] = (1920, 1080)) -> Path:
    """A long video of the demo clip, forwards and backwards, with a key frame every ``key`` frames."""
    clip = open_seekable(str(files("metatrack") / "assets" / "demo.mp4"))
    loop = path.with_suffix(".loop.mp4")
    with av.open(str(loop), "w") as out:
        options = {"g": str(key), "preset": "veryfast", "bf": "2", "sc_threshold": "0"}
        stream: Any = out.add_stream("libx264", rate=FPS, options=options)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        for i in range(LOOP):
            at = i % (2 * clip.count - 2)
            picture = clip.read(at if at < clip.count else 2 * clip.count - 2 - at)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(*size, format="yuv420p")
            frame.pts, frame.time_base = i, Fraction(1, FPS)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    with av.open(str(loop)) as source, av.open(str(path), "w") as out:
        video: Any = source.streams.video[0]
        stream = out.add_stream_from_template(video)
        packets: list[Any] = [(p.pts, p.dts, bytes(p), p.is_keyframe) for p in source.demux(video) if p.size]
        turn = round(LOOP / FPS / video.time_base)
        for i in range(round(minutes * 60 * FPS / LOOP)):
            for pts, dts, data, is_key in packets:
                packet = av.Packet(data)
                packet.pts, packet.dts, packet.time_base = pts + i * turn, dts + i * turn, video.time_base
                packet.stream, packet.is_keyframe = stream, is_key
                out.mux(packet)
    loop.unlink()
    return path


def scrub(page: Page, count: int, frames: int, rng: np.random.Generator) -> list[tuple[float, float]]:
    """Milliseconds until random ones of so many frames are shown: the first picture of each, and the exact one."""
    found = []
    for frame in rng.integers(0, frames, count).tolist():
        page.state(f"page.emit('go', {frame})")
        page.until(f"pictures.shown.frame === {frame} && pictures.shown.exact", f"frame {frame} is not shown")
        first, exact = page.state("[pictures.shown.first, pictures.shown.milliseconds]")
        found.append((first, exact))
    return found


def fill(folder: Path, video: Path, count: int) -> None:
    """Makes the first thumbnails of the one project here: on a machine that is never idle, the server would wait for long."""
    store = ProjectStore(folder)
    (project,) = store.projects()
    store.close()
    room = (Limits().thumbnails << 20) // SHARE
    file = ThumbnailFile(folder / "thumbnails" / project.id)
    for _, image in open_seekable(video).walk(len(file), count - 1, thumbnail_width(project, room)):
        file.append(encode_image(image, ".jpg", quality=THUMBNAIL_QUALITY))


def first_box(page: Page) -> tuple[float, float]:
    """Milliseconds from the request of a tracking to the first box behind the drawn one, and frames shown a second."""
    page.state("page.emit('go', 0)")
    page.until("pictures.shown.frame === 0 && pictures.shown.exact", "frame 0 is not shown")
    w, h = page.state("[page.state.project.width, page.state.project.height]")
    page.drag((0.29 * w, 0.33 * h, 0.11 * w, 0.24 * h))
    page.until("page.state.targets.length > 0", "no target is drawn")
    page.browser.execute_script(
        "window.seen = 0; window.begun = performance.now(); window.first = null; window.shows = [];"
        "import('/page/state.js').then((page) => { page.on('boxes', () => {"
        " if (window.first === null && page.kindAt(1, 1) === 1) window.first = performance.now() - window.begun; });"
        " page.on('picture', () => window.shows.push(performance.now())); document.getElementById('track-on').click(); })"
    )
    page.until("window.first !== null && window.shows.length > 40", "nothing is tracked")
    first, shows = page.state("[window.first, window.shows]")
    page.press("pause")
    page.until("page.state.job.state !== 'running'", "it does not pause")
    return first, 1000 * (len(shows) - 1) / (shows[-1] - shows[0])


def main() -> None:
    """Measures, and prints Markdown."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--key", type=int, default=250, help="frames between two key frames")
    parser.add_argument("--video", type=Path, help="in place of one that is made")
    parser.add_argument("--wait", type=float, default=600.0, help="seconds for thumbnails; then those that are there are taken")
    parser.add_argument("--fill", type=int, default=0, help="thumbnails to make at once, for a machine that is never idle")
    parser.add_argument("--count", type=int, default=40)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        video = options.video or write_long(Path(folder) / "long.mp4", options.minutes, options.key)
        server, browser = Server(Path(folder) / "projects"), chromium(Path(folder), (1440, 900))
        page, rng = Page(browser), np.random.default_rng(1)
        try:
            begin = time.monotonic()
            browser.get(server.start(video))
            page.until("pictures.shown.frame === 0 && pictures.shown.exact", "it does not open")
            opened = time.monotonic() - begin
            total = int(page.state("page.state.project.frames"))
            before = scrub(page, options.count, total, rng)
            if options.fill:
                server.kill()
                fill(server.folder, video, options.fill)
                browser.get(server.start(video))
                page.until("page.state.project && pictures.shown.bitmap", "it does not open again")
            while (ready := int(page.state("page.state.project.thumbnails"))) < total and time.monotonic() < begin + options.wait:
                time.sleep(1.0)
            made = time.monotonic() - begin
            after = scrub(page, options.count, ready, rng)
            waited, rate = first_box(page)
        finally:
            browser.quit()
            server.kill()
        for name, times in (("just opened", before), ("with thumbnails", after)):
            for kind, values in (("first picture", [a for a, _ in times]), ("exact picture", [b for _, b in times])):
                ninth = np.percentile(values, 90)
                print(f"{name}, {kind}: median {np.median(values):.0f} ms, 90 % {ninth:.0f}, longest {max(values):.0f}")
        print(f"opened in {opened:.1f} s; {ready} thumbnails of {total} frames after {made:.0f} s")
        print(f"first tracked box after {waited:.0f} ms; {rate:.0f} pictures a second")


if __name__ == "__main__":
    main()
