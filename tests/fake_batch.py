"""A batch whose runs meet and are slow, in a module of its own because the machines of a cluster import it by name."""

from __future__ import annotations

import os
import time
from pathlib import Path

from metatrack.app.videos import Videos


class SlowVideos(Videos):
    """Tracks as :class:`Videos`, after a second; notes its process as ``fake_trackers.Slow`` does, and meets as that does."""

    def attempt(self, unit, item, send):
        path = Path(os.environ["FAKE_LOG"])
        with path.open("a") as log:
            log.write(f"{os.getpid()}\n")
        end = time.monotonic() + 600
        while len(set(path.read_text().split())) < int(os.environ["FAKE_MEET"]) and time.monotonic() < end:
            time.sleep(0.01)
        time.sleep(1)
        return super().attempt(unit, item, send)
