"""A batch whose runs meet and are slow, in a module of its own because the machines of a cluster import it by name."""

from __future__ import annotations

import time

from metatrack.app.batch_job import Videos
from tests.fake_trackers import meet


class SlowVideos(Videos):
    """Tracks as :class:`Videos`, after a second; notes its process as ``fake_trackers.Slow`` does, and meets as that does."""

    def attempt(self, unit, item, send):
        meet()
        time.sleep(1)
        return super().attempt(unit, item, send)
