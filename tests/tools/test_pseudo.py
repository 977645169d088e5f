"""Labels by agreement, on clips that are made here: a patch that moves, a cut, trackers that disagree or drift."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import av
import cv2
import numpy as np
import pytest
from tools.collect.sources import Repository, read_sources
from tools.pseudo import finish, make, material, propose
from tools.pseudo.agree import Own, followed, one_way, together
from tools.pseudo.checks import SAME, Held, faults, trajectory

from metatrack.geometry import Box, iou

from ..conftest import Scene
from .test_collect import Mirror, texture, with_table

PATCH = (60, 44)
"""Width and height of the target."""


def place(i: int) -> Box:
    """Where the target is in frame ``i``."""
    return Box(40.0 + 5 * i, 60.0 + 2 * i, *map(float, PATCH))


def clip(length: int = 30, seed: int = 0, pan: int = 2) -> list[np.ndarray]:
    """A bright patch that moves over a texture, which moves too."""
    background = texture(seed, 240, 320 + 8 * (length * pan // 8 + 8)) // 2
    patch = texture(seed + 1, 48, 64)[: PATCH[1], : PATCH[0]] // 3 + 160
    frames = []
    for i in range(length):
        frame = background[:, pan * i : pan * i + 320].copy()
        x, y = round(place(i).x), round(place(i).y)
        frame[y : y + PATCH[1], x : x + PATCH[0]] = patch
        frames.append(frame)
    return frames


class Guided:
    """A tracker that knows where the target is, and says something else from some frame on.

    Frames are told apart by their upper left pixel, which holds their number.
    """

    def __init__(self, leaves: float = np.inf, drift: float = 0.0) -> None:
        self.leaves, self.drift = leaves, drift

    def init(self, frame: np.ndarray, box: Sequence[float]) -> None:
        self.offset, self.steps = np.array(box) - np.array(place(int(frame[0, 0, 0]))), 0

    def update(self, frame: np.ndarray) -> SimpleNamespace:
        i, self.steps = int(frame[0, 0, 0]), self.steps + 1
        off = np.array([200.0, 0, 0, 0]) if i >= self.leaves else np.array([self.drift * self.steps, 0, 0, 0])
        return SimpleNamespace(box=Box(*(np.array(place(i)) + self.offset + off).tolist()))


def numbered(length: int) -> list[np.ndarray]:
    return [np.full((400, 600, 3), i, np.uint8) for i in range(length)]


def test_trackers_that_agree_label_the_whole_scene() -> None:
    first, boxes = followed((Guided(), Guided()), numbered(20), 8, place(8))
    assert first == 0
    np.testing.assert_allclose(boxes, [place(i) for i in range(20)])


def test_where_one_tracker_leaves_the_labels_end() -> None:
    first, boxes = followed((Guided(), Guided(leaves=14)), numbered(20), 8, place(8))
    assert (first, len(boxes)) == (0, 14)
    assert together((Guided(), Guided(leaves=3)), numbered(9), place(0)).shape == (2, 3, 4)


def test_trackers_that_drift_together_do_not_come_back() -> None:
    """Both lose 3 px a frame, there and back: after 20 frames the way back ends 120 px beside the first box, which is 60 wide."""
    pair = Guided(drift=3), Guided(drift=3)
    assert together(pair, numbered(20), place(0)).shape[1] == 20
    assert len(one_way(pair, numbered(20), place(0))) <= 5
    assert len(one_way((Guided(), Guided()), numbered(20), place(0))) == 20


def test_a_tracker_that_gives_up_agrees_with_none() -> None:
    class Gone(Guided):
        def update(self, frame: np.ndarray) -> SimpleNamespace:
            return SimpleNamespace(box=Box(*(float("nan"),) * 4))

    assert followed((Guided(), Gone()), numbered(20), 8, place(8))[1].tolist() == [list(place(8))]


def test_what_moves_is_found_under_a_camera_that_moves() -> None:
    frames = clip()
    (box,) = propose.movers(frames, 15, [], 3)
    assert iou(box, place(15)) > 0.8
    assert propose.movers(frames, 15, [place(15)], 3) == []
    assert propose.movers([frames[15]] * 7, 3, [], 3) == []


def test_salient_targets_are_whole_and_of_a_usual_shape() -> None:
    mask = np.zeros((240, 320), np.float32)
    mask[50:100, 60:140] = 1
    mask[150:200, 290:] = 1  # cut by the frame's edge
    mask[5:9, 100:300] = 1  # a line
    assert propose.salient(lambda _: mask, np.zeros((240, 320, 3), np.uint8), 5) == [Box(60, 50, 80, 50)]


def test_a_clip_is_divided_at_its_cut_and_no_scene_is_too_long() -> None:
    one, far = clip(20), clip(20, seed=5)
    other = (far + far[::-1]) * 2 + far
    assert [len(run) for run in material.between_cuts(one + other)] == [20, 50, 50]
    assert material.between_cuts(one[:5] + other[:12])[0][0] is other[0]  # five frames are no scene


def test_frames_that_are_held_out_are_known_again(tmp_path: Path) -> None:
    frames = clip()
    folder = tmp_path / "held" / "a"
    folder.mkdir(parents=True)
    for i, frame in enumerate(frames[:3]):
        cv2.imwrite(str(folder / f"{i}.jpg"), frame[..., ::-1])
    held = Held.of([tmp_path / "held"], tmp_path / "kept.npy")
    smaller = np.asarray(cv2.resize(frames[1], (160, 120), interpolation=cv2.INTER_AREA), np.uint8)
    assert held.likest(smaller) > SAME > held.likest(clip(seed=9)[1])
    assert Held.of([], tmp_path / "kept.npy").likest(frames[2]) > SAME
    with pytest.raises(FileNotFoundError, match="none"):
        Held.of([tmp_path / "none"])


@pytest.mark.parametrize(
    ("sizes", "why"),
    [
        (np.linspace(40, 40, 12), None),
        (np.linspace(40, 40, 5), "too short"),
        (np.linspace(20, 70, 12), "size changes too much"),
        ([40] * 6 + [64] * 6, "size jumps"),
    ],
)
def test_sizes_that_no_target_has(sizes: Sequence[float], why: str | None) -> None:
    boxes = np.array([[10.0, 10, size, size] for size in sizes])
    assert faults(boxes) == why


def test_a_target_that_stands_still_teaches_nothing() -> None:
    frames = clip(12)
    assert trajectory([frames[0]] * 12, np.array([place(0)] * 12)) == ([], "stands still")
    crops, why = trajectory(frames, np.array([place(i) for i in range(12)]))
    assert why is None
    assert len(crops) == 12
    assert all(patch.shape == (330, 330, 3) for patch, _ in crops)
    swapped = frames[:6] + [255 - frame for frame in frames[6:]]
    assert trajectory(swapped, np.array([place(i) for i in range(12)]))[1] == "look jumps"


def video_file(frames: Sequence[np.ndarray]) -> bytes:
    data = io.BytesIO()
    with av.open(data, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.height, stream.width, stream.bit_rate = *frames[0].shape[:2], 8_000_000
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    return data.getvalue()


TABLE = """[made]
repository = "o/r"
commit = "{commit}"
what = "a patch"
licence = "CC0"
clean = true
clips = ["clips/*.mp4"]
without = ["*/dull.mp4"]
people_cap = 0
"""


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_from_a_repository_to_the_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One clip beside an excluded one: labelled by our tracker and a second one, kept, then refused, then capped as a person."""
    mirror = Mirror(tmp_path / "mirror")
    scene = Scene(seed=3, length=24)
    data = video_file([scene.frame(i) for i in range(24)])
    commit = mirror.commit("o/r", {"clips/a patch.mp4": data, "clips/dull.mp4": data, "other.mp4": data})
    table = tmp_path / "sources.toml"
    with_table(monkeypatch, finish, table, TABLE.format(commit=commit))
    (name, source), *_ = read_sources(table, material.Source).items()
    repository = Repository(mirror.folder, source.repository, source.commit)
    (path,) = material.clips(source, repository)

    x, y, w, h = scene.box(12)
    mask = np.zeros((240, 320), np.float32)
    mask[y : y + h, x : x + w] = 1
    tools = make.Tools(lambda _: mask, (Own(), Own("lite-no-meta")), Held(np.zeros((0, 1024), np.float32)))
    targets = make.label_clip(tools, name, source, repository, path, tmp_path)
    assert [(each["found"], each["why"]) for each in targets] == [("salient", None)]
    boxes = np.loadtxt(tmp_path / "all" / "made_clips-a-patch_0" / "groundtruth.txt", delimiter=",")
    assert len(boxes) == targets[0]["frames"] >= 20
    assert np.ptp(boxes[:, 2]) < 15  # the target keeps its size, and the crops' scale follows it

    (tmp_path / "records" / "made").mkdir(parents=True)
    (tmp_path / "records" / "made" / "a.json").write_text(json.dumps({"path": path, "seconds": 1.0, "targets": targets}))
    finish.main(finish.FinishOptions(tmp_path))
    (row,) = csv.DictReader((tmp_path / "meta.csv").open())
    assert (row["trajectory"], row["class"], row["clean"]) == ("made_clips-a-patch_0", "object", "1")
    assert (tmp_path / "train" / row["trajectory"] / "00000001.jpg").is_file()
    assert (tmp_path / "sheets" / "made-0.png").is_file()

    for line in ('people = ["made_clips-a-patch_0"]\n', 'refused = { "loose" = ["made_clips-a-patch_0"] }\n'):
        table.write_text(TABLE.format(commit=commit) + line)
        finish.main(finish.FinishOptions(tmp_path))
        assert list(csv.DictReader((tmp_path / "meta.csv").open())) == []
        assert list((tmp_path / "train").iterdir()) == []


def test_no_source_names_what_the_validation_holds_out() -> None:
    """Names of its clips are in no path that is taken from pages on which the same clips are shown."""
    sources = read_sources(material.TABLE, material.Source)
    assert all(source.repository != "omnimatte/omnimatte.github.io" for source in sources.values())
    assert all(not source.clean or source.licence.startswith(("CC0", "CC BY", "Apache")) for source in sources.values())
