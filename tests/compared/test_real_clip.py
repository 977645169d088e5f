"""Each tracker of the paper's comparison on the first frames of the real clip that comes with the package."""

from __future__ import annotations

import csv
from importlib import resources

import pytest

from metatrack.evaluation.run.trackers import tracker_spec
from metatrack.geometry import Box, Image, iou
from metatrack.report.section4 import RIVALS
from metatrack.video.source import open_source

FRAME = 4
"""The last one, whose box was drawn by hand."""


@pytest.fixture(scope="module")
def clip() -> tuple[list[Image], dict[int, Box]]:
    assets = resources.files("metatrack") / "assets"
    with (assets / "demo.csv").open() as file:
        boxes = {int(row["frame"]): Box(*(float(row[side]) for side in "xywh")) for row in csv.DictReader(file)}
    with resources.as_file(assets / "demo.mp4") as path, open_source(path, end=FRAME + 1) as source:
        return list(source), boxes


@pytest.mark.parametrize("name", [rival.tracker for rival in RIVALS] + ["svm-lite0", "ccot-hog"])
def test_follows_a_helicopter(name, clip):
    frames, boxes = clip
    try:
        tracker = tracker_spec(name).make()
    except FileNotFoundError as error:
        pytest.skip(str(error))
    tracker.init(frames[0], boxes[0])
    for frame in frames[1:]:
        found = tracker.update(frame)
    assert iou(found.box, boxes[FRAME]) > 0.6
