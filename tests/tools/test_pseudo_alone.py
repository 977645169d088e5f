"""Made scenes of people who are alone; a stand-in says what a detector would."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from tools.pseudo.alone import faults, lone, people_alone, runs, smoothed
from tools.pseudo.checks import Held
from tools.pseudo.detector import PERSON, Detection
from tools.pseudo.material import thumbnail

from metatrack.arrays import Float64
from metatrack.geometry import Box, Image, iou

SHAPE = (240, 320, 3)
NOTHING = Held(np.zeros((0, 1024), np.float32))


def person(x: float = 100, y: float = 60, w: float = 40, h: float = 100, score: float = 0.9) -> Detection:
    return Detection(Box(x, y, w, h), score, PERSON)


def scene(count: int = 16) -> list[Image]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 255, SHAPE, dtype=np.uint8) for _ in range(count)]


def says(per_frame: list[list[Detection]]) -> Callable[[Image], list[Detection]]:
    answers = iter(per_frame)
    return lambda _: next(answers)


@pytest.mark.parametrize(
    ("found", "there"),
    [
        ([person()], True),
        ([person(), person(x=200, w=20, h=50)], True),  # somebody far behind
        ([person(), person(x=200, w=38)], False),
        ([person(score=0.5)], False),
        ([person(h=30)], False),
        ([Detection(Box(100, 60, 40, 100), 0.9, 16)], False),  # a dog
        ([], False),
    ],
)
def test_who_is_alone(found: list[Detection], there: bool) -> None:
    assert (lone(found) is not None) is there


def test_a_gap_is_bridged_and_a_jump_is_another_person() -> None:
    people = [person(), person(x=104), None, None, person(x=108), person(x=250), None, None, None, None, person(x=250)]
    assert runs(people) == [[0, 1, 4], [5], [10]]


def test_boxes_are_interpolated_freed_of_a_single_slip_and_within_the_frame() -> None:
    boxes = np.array([[100, 60, 40, 100], [104, 60, 40, 100], [112, 20, 40, 140], [116, 60, 40, 100], [300, 60, 40, 100]], float)
    made = smoothed([0, 1, 3, 4, 5], boxes, SHAPE)
    assert made.shape == (6, 4)
    assert made[1] == pytest.approx([104, 60, 40, 100])
    assert made[3, 1] > 20  # the slip upwards is gone
    assert made[5] == pytest.approx([300, 60, 20, 100])


def moved(n: int = 12, growth: float = 1.0, step: float = 4.0) -> Float64:
    return np.array([[60 + step * i, 50, 40 * growth**i, 100 * growth**i] for i in range(n)])


@pytest.mark.parametrize(
    ("boxes", "score", "why"),
    [
        (moved(), 0.9, None),
        (moved(5), 0.9, "too short"),
        (moved(growth=1.5), 0.9, "size jumps"),
        (moved(), 0.6, "unsure"),
        (moved(step=0.5), 0.9, "stands still"),
        (np.tile([0.0, 0, 320, 100], (12, 1)), 0.9, "fills the frame"),
    ],
)
def test_which_are_trajectories(boxes: Float64, score: float, why: str | None) -> None:
    assert faults(boxes, [score] * len(boxes), SHAPE) == why


def test_somebody_who_bends_is_a_trajectory_without_going_anywhere() -> None:
    boxes = np.array([[100 - 3 * i, 60 + 3 * i, 40 + 6 * i, 100 - 3 * i] for i in range(12)], float)
    assert faults(boxes, [0.9] * 12, SHAPE) is None


def test_from_frames_to_crops() -> None:
    frames = scene()
    answers = [[person(x=60 + 5 * i)] for i in range(len(frames))]
    answers[7] = []
    ((facts, crops),) = people_alone(says(answers), NOTHING, frames)
    assert facts["why"] is None and facts["frames"] == len(crops) == len(frames)
    patch, box = crops[7]
    assert patch.shape == (330, 330, 3)
    assert iou(box, crops[6][1]) > 0.95  # crops are around their target


def test_what_is_held_out_is_not_written() -> None:
    frames = scene()
    held = Held(np.asarray([thumbnail(frames[3])], np.float32))
    ((facts, crops),) = people_alone(says([[person(x=60 + 5 * i)] for i in range(len(frames))]), held, frames)
    assert (facts["why"], crops) == ("held out", [])
