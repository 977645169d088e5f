"""What several modules of tests of sources share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.video.clips import KINDS, write_video


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for name, options in KINDS.items():
        write_video(folder / name, **options)
    return folder
