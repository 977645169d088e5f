"""Training data that is made, not recorded."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from tests.conftest import Scene, torch_threads


def write_split(root, split, count, length=8):
    for k in range(count):
        scene = Scene(seed=k, length=length)
        folder = root / split / f"scene-{k}"
        folder.mkdir(parents=True)
        rows = []
        for i in range(length):
            Image.fromarray(scene.frame(i)).save(folder / f"{i + 1:08d}.jpg", quality=95)
            rows.append(",".join(f"{v:.4f}" for v in scene.box(i)))
        (folder / "groundtruth.txt").write_text("\n".join(rows) + "\n")


@pytest.fixture(autouse=True)
def one_count_of_threads():
    """A test that sets how many threads torch uses would change the sums of those after it, which compare bits."""
    with torch_threads(1):
        yield


@pytest.fixture(scope="session", autouse=True)
def one_count_of_threads_for_shared_runs():
    """The same for the fixtures of the session, made before any of a test's own."""
    with torch_threads(1):
        yield


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    write_split(root, "train", 4)
    write_split(root, "val", 5)
    for split in ("train", "val"):
        (root / f"{split}.json").write_text(json.dumps([{"name": "scenes", "root": ".", "split": split, "weight": 1}]))
    return root
