"""A detector of named classes as proposer, on rows and frames that are made here."""

from __future__ import annotations

import numpy as np
import pytest
from tools.collect.pictures import covered
from tools.pseudo import detector as d
from tools.pseudo import make, material
from tools.pseudo.agree import Own
from tools.pseudo.checks import Held

from metatrack.geometry import Box, iou

from ..conftest import Scene

SIDE = 64
CELLS = sum((SIDE // step) ** 2 for step in (8, 16, 32))
EMPTY = np.zeros((240, 320, 3), np.uint8)
CAR, DOG = 2, 16


def rows(*found: tuple[int, float, float, int, float]) -> np.ndarray:
    """The network's output: for a cell, its box's width and height in pixels, class and score."""
    made = np.zeros((CELLS, 85), np.float32)
    for cell, w, h, class_, score in found:
        made[cell, :4] = 0.5, 0.5, np.log(w / 8), np.log(h / 8)
        made[cell, 4], made[cell, 5 + class_] = 1.0, score
    return made


def finds(*boxes: tuple[Box, int]) -> d.Detector:
    """A detector that knows what is in a frame, whose pixels hold their places: red and green are x and y."""

    def detector(image: np.ndarray) -> list[d.Detection]:
        left, top = float(image[0, 0, 0]), float(image[0, 0, 1])
        whole = Box(left, top, float(image.shape[1]), float(image.shape[0]))
        inside = [(box, class_) for box, class_ in boxes if covered(box, whole) > 0.99]
        return [d.Detection(Box(box.x - left, box.y - top, *box[2:]), 0.9, class_) for box, class_ in inside]

    return detector


def places() -> np.ndarray:
    """A frame for :func:`finds`."""
    y, x = np.mgrid[:200, :240]
    return np.stack([x, y, x], axis=2).astype(np.uint8)


def test_an_image_is_laid_at_the_upper_left_and_its_scale_told() -> None:
    planes, scale = d.letterbox(np.full((120, 160, 3), (10, 20, 30), np.uint8), SIDE)
    assert planes.shape == (1, 3, SIDE, SIDE)
    assert scale == 0.4
    assert planes[0, :, 0, 0].tolist() == [30, 20, 10]  # blue first
    assert planes[0, :, -1, -1].tolist() == [d.PAD] * 3


def test_rows_become_boxes_and_doubles_one() -> None:
    """The tenth cell is the second of the second row: its middle at 12, 12 of the network's pixels."""
    found = d.detections(rows((9, 16, 8, CAR, 0.9), (11, 16, 8, DOG, 0.3), (1, 8, 8, CAR, 0.1)), SIDE, 0.5)
    assert [each.class_ for each in found] == [CAR, DOG]
    assert found[0].box == pytest.approx((8, 16, 32, 16), abs=1e-3)
    assert found[0].score == pytest.approx(0.9)
    assert len(d.detections(rows((9, 40, 40, CAR, 0.9), (10, 40, 40, CAR, 0.6)), SIDE, 1.0)) == 1


def test_targets_are_whole_large_enough_and_people_come_last() -> None:
    frame = places()
    car, man, woman, third = Box(20, 20, 40, 30), Box(100, 20, 20, 50), Box(160, 20, 20, 50), Box(200, 100, 20, 50)
    found = finds(
        (man, d.PERSON), (woman, d.PERSON), (third, d.PERSON), (car, CAR), (Box(0, 150, 40, 30), CAR), (Box(90, 150, 9, 9), CAR)
    )
    targets = d.found_in(found, frame, 6)
    assert [(each.box, each.class_) for each, _ in targets] == [(car, CAR), (man, d.PERSON), (woman, d.PERSON)]
    assert len(d.found_in(found, frame, 2)) == 2
    in_parts = d.found_in(found, frame, 6, parts=2)
    assert [each.box for each, _ in in_parts][0] == car


def test_a_target_beside_its_like_is_not_alone() -> None:
    near, far = Box(100, 20, 20, 50), Box(140, 20, 20, 50)
    assert [alone for _, alone in d.found_in(finds((near, DOG), (far, DOG)), places(), 6)] == [False, False]
    assert [alone for _, alone in d.found_in(finds((near, DOG), (far, CAR)), places(), 6)] == [True, True]


def test_a_followed_box_is_confirmed_and_corrected_halfway() -> None:
    box = Box(60.0, 60.0, 40.0, 40.0)
    followed = np.array([[64.0, 60, 40, 40]] * 14)
    first, boxes = d.confirmed(finds((box, CAR)), [places()] * 14, followed, 7)
    assert (first, len(boxes)) == (0, 14)
    np.testing.assert_allclose(boxes, [[62, 60, 40, 40]] * 14, atol=1e-6)
    assert len(d.confirmed(finds((Box(10, 10, 40, 40), CAR)), [places()] * 14, followed, 7)[1]) == 0


def test_labels_end_where_the_detector_loses_the_target() -> None:
    box = Box(60.0, 60.0, 40.0, 40.0)
    followed = np.array([[60.0 + max(0, i - 20) * 4, 60, 40, 40] for i in range(50)])  # the trackers drift away from it
    first, boxes = d.confirmed(finds((box, CAR)), [places()] * 50, followed, 6)
    assert first == 0
    assert 19 <= len(boxes) <= 22


def test_what_does_not_move_under_a_still_camera_is_known() -> None:
    scene = Scene(seed=3, length=24)
    frames = [scene.frame(i) for i in range(24)]
    box = Box(*map(float, scene.box(12)))
    assert d.still([frames[12]] * 24, 12, box)
    assert not d.still(frames, 12, box)


def test_from_a_scene_to_trajectories() -> None:
    scene = Scene(seed=3, length=24)
    frames = [scene.frame(i) for i in range(24)]

    def detector(image: np.ndarray) -> list[d.Detection]:
        """Knows the whole frame; in a window, the target is in the middle."""
        if image.shape == frames[0].shape:
            return [d.Detection(Box(*map(float, scene.box(12))), 0.8, DOG)]
        h, w = image.shape[:2]
        _, _, bw, bh = scene.box(12)
        return [d.Detection(Box(w / 2 - bw / 2, h / 2 - bh / 2, bw, bh), 0.8, DOG)]

    tools = make.Tools(None, (Own(), Own("lite-no-meta")), Held(np.zeros((0, 1024), np.float32)))
    source = material.Source("o/r", "0", "a patch", "CC0", clean=True, clips=[], parts=1)
    ((facts, crops),) = make.detected(tools, detector, material.Scene("a", 0, frames), source)
    assert (facts["found"], facts["class"], facts["alone"], facts["why"]) == ("detected", DOG, True, None)
    assert len(crops) == facts["frames"] >= 20
    assert iou(crops[0][1], Box(165 - 32, 165 - 32, 64, 64)) > 0.4
    assert [each for each in make.detected(tools, detector, material.Scene("a", 0, [frames[12]] * 24), source)][0][0][
        "why"
    ] == "stands still"
