"""Memory of the page's server and its processes over a long video: ``pytest -m long tests/web/test_page_memory.py``."""

from __future__ import annotations

from pathlib import Path

import pytest

from metatrack.web.frames import MOST_CACHED

pytest.importorskip("httpx2", reason="stands in for the browser")


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="memory is read in /proc")
def test_memory_is_flat(tmp_path: Path) -> None:
    """Twenty minutes of video, tracked and scrubbed: behind the cache of pictures, which has a size, nothing grows."""
    from benchmarks.hour import SIZE, watch
    from benchmarks.scrubbing import write_long

    video = write_long(tmp_path / "long.mp4", 20, 250, SIZE)
    samples = list(watch(video, tmp_path / "projects", 3000, 10))
    begun = next(each for each in samples if each.frames > 100)
    half = [each for each in samples if each.frames >= samples[-1].frames / 2]
    assert len(half) > 5 and samples[-1].scrubbed > 50
    assert max(each.server for each in samples) < begun.server + MOST_CACHED + (64 << 20)
    assert max(each.children for each in half) < 1.1 * half[0].children
