"""Faces that are seen in frames that follow each other; a stand-in says what a detector would."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tools.pseudo import make
from tools.pseudo.agree import Own
from tools.pseudo.checks import Held
from tools.pseudo.faces import FACE, Face, YuNet, followed_faces
from tools.pseudo.finish import Trajectory, kept, split_of
from tools.pseudo.material import Scene, Source

from metatrack.geometry import Box, Image

SHAPE = (240, 320, 3)
NOTHING = Held(np.zeros((0, 1024), np.float32))


def face(x: float = 100, y: float = 60, side: float = 40, score: float = 0.9) -> Face:
    return Face(Box(x, y, side * 0.8, side), score)


def source(**more: object) -> Source:
    return Source("o/r", "1", "made", "none", False, ["*"], **more)  # type: ignore[arg-type]


def test_two_faces_that_pass_keep_their_tracks() -> None:
    seen = [[face(x=40 + 6 * i), face(x=160 - 6 * i, y=120)][:: 1 - 2 * (i % 2)] for i in range(20)]
    first, second = followed_faces(seen, SHAPE)
    assert [first[0], second[0]] == [0, 0]
    ways = sorted(float(boxes[-1, 0] - boxes[0, 0]) for _, boxes in (first, second))
    assert ways == pytest.approx([-114, 114], abs=7)  # a median of three holds the ends back by a step
    assert all(np.ptp(boxes[:, 1]) == 0 for _, boxes in (first, second))


def test_a_face_that_is_not_seen_for_two_frames_is_interpolated_and_for_more_is_another() -> None:
    seen = [[face(x=100 + i)] for i in range(20)]
    seen[5] = seen[6] = []
    ((first, boxes),) = followed_faces(seen, SHAPE)
    assert (first, len(boxes)) == (0, 20)
    assert boxes[5:7, 0] == pytest.approx([105, 106])
    seen[7] = seen[8] = []
    ((first, boxes),) = followed_faces(seen, SHAPE)  # five frames before the gap are too few
    assert (first, len(boxes)) == (9, 11)


@pytest.mark.parametrize("faces", [[face(score=0.65)], [face(side=12)], []])
def test_what_is_unsure_or_tiny_is_no_track(faces: list[Face]) -> None:
    assert followed_faces([faces] * 20, SHAPE) == []


def test_from_a_scene_to_trajectories_of_the_longest() -> None:
    rng = np.random.default_rng(0)
    look = rng.integers(0, 255, (60, 80, 3), dtype=np.uint8)
    frames = []
    for i in range(24):
        frame = np.full(SHAPE, 90, np.uint8)
        frame[50:110, 40 + 3 * i : 120 + 3 * i] = look
        frame[150:210, 0:80] = look[::-1]
        frames.append(frame)
    moving, resting = [[face(x=60 + 3 * i, y=60)] for i in range(24)], [face(x=20, y=160)]
    answers = iter([[*each, *resting] for each in moving])
    tools = make.Tools(None, (Own(), Own()), NOTHING)
    (told, crops), (still, none) = make.faces_of(tools, lambda _: next(answers), Scene("c", 3, frames), source())
    assert (told["found"], told["class"], told["why"], told["frames"]) == ("face", FACE, None, len(crops))
    assert len(crops) == 24
    assert (still["why"], none) == ("stands still", [])
    answers = iter([[*each, *resting] for each in moving])
    assert len(list(make.faces_of(tools, lambda _: next(answers), Scene("c", 3, frames), source(faces=1)))) == 1


def test_two_tracks_are_one_target_only_where_they_meet_at_the_same_time() -> None:
    """The box at the end of the first track is where the second begins, a second later."""
    rng = np.random.default_rng(1)
    look = rng.integers(0, 255, SHAPE, dtype=np.uint8)
    looks = [np.roll(look, 2 * i, 1) for i in range(40)]  # what moves with the box
    seen = [[face(x=60 + 2 * i, y=60)] if i < 14 else [] if i < 20 else [face(x=60 + 2 * (i - 20), y=60)] for i in range(36)]
    scene = [looks[i if i < 14 else i - 20] for i in range(36)]
    answers = iter(seen)
    tools = make.Tools(None, (Own(), Own()), NOTHING)
    found = list(make.faces_of(tools, lambda _: next(answers), Scene("c", 0, scene), source()))
    assert [(facts["at"], facts["why"]) for facts, _ in found] == [(20, None), (0, None)]


def test_faces_have_splits_of_their_own() -> None:
    assert split_of(source(), "face") == "faces-train"
    assert split_of(source(faces_held=True), "face") == "faces-val"
    assert split_of(source(faces_held=True), "person") == "train"


def test_faces_have_a_cap_of_their_own() -> None:
    names = {f"a_{i}": Trajectory("a.mp4", 20, FACE if i < 3 else 0) for i in range(6)}
    classes = kept(source(faces_cap=2, people_cap=1, refused={"no face": ["a_0"]}), names)
    assert classes == {"a_1": "face", "a_2": "face", "a_3": "person"}


def test_one_way_of_finding_is_asked_for(tmp_path: Path) -> None:
    np.save(tmp_path / "held.npy", np.zeros((0, 1024), np.float32))
    for chosen in ({}, {"detector": tmp_path / "d.onnx", "faces": tmp_path / "f.onnx"}):
        with pytest.raises(ValueError, match="one of --segmenter, --detector and --faces"):
            make.main(make.PseudoOptions(mirror=tmp_path, held=(), out=tmp_path, **chosen))  # type: ignore[arg-type]


class Rows:
    """A network that sees a face at a fixed place of what it is shown."""

    def __init__(self) -> None:
        self.size: tuple[int, ...] = ()

    def setInputSize(self, size: tuple[int, ...]) -> None:
        self.size = size

    def detect(self, image: Image) -> tuple[int, np.ndarray | None]:
        assert image.shape[1::-1] == self.size
        if image[0, 0, 0] == 0:
            return 0, None
        rows = np.zeros((2, 15), np.float32)
        rows[0, :4], rows[0, -1] = (20, 30, 40, 50), 0.7
        rows[1, :4], rows[1, -1] = (120, 30, 40, 50), 0.8
        return 2, rows


def test_small_frames_are_looked_at_twice_as_large_and_boxes_are_of_the_frame() -> None:
    network = YuNet.__new__(YuNet)
    network._network = Rows()  # type: ignore[assignment]
    small = network(np.full((240, 320, 3), 9, np.uint8))
    assert [each.box for each in small] == [Box(60, 15, 20, 25), Box(10, 15, 20, 25)]
    assert [each.score for each in small] == pytest.approx([0.8, 0.7])
    assert network(np.full((480, 640, 3), 9, np.uint8))[0].box == Box(120, 30, 40, 50)
    assert network(np.zeros((240, 320, 3), np.uint8)) == []
