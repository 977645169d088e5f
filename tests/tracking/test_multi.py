"""Several targets at once: what each would be told alone, and a list of targets that stays right."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import metatrack
from metatrack import Box, BoxWriter, Model, MultiTracker, Tracker, load_model, open_source, shipped_models
from metatrack.runtime.bundle import open_bundle
from metatrack.video import read_boxes
from metatrack.video.overlay import color_of, draw_targets
from metatrack.video.sink import BoxRow

DEMO = Path(metatrack.__file__).parent / "assets" / "demo.mp4"
HEAD, HAND, ROCKS = Box(185, 120, 69, 87), Box(80, 125, 50, 50), Box(395, 137, 177, 75)
"""Targets of the demo clip's first frame: one that is followed, one that is lost around frame 33, one that stands still."""
ENTRIES: dict[int | str, tuple[int, Box]] = {"head": (0, HEAD), "hand": (0, HAND), 7: (4, ROCKS)}
"""By id: the frame in which each is added, and its box there."""
MODELS = ["lite", *(name for name in shipped_models() if name != "lite" and open_bundle(name).graph("locate"))]
SETTINGS = {"update_interval": 7, "update_span": 1, "update_accepts": False}  # whole contexts alone, so that all are adapted
LITE = load_model("lite", threads=1)  # on a busy machine, further threads would only wait


@lru_cache(maxsize=1)
def clip() -> tuple[np.ndarray, ...]:
    with open_source(DEMO, end=38) as source:
        return tuple(source)


@pytest.fixture(scope="module")
def box_model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A box head with random weights, and its meta-learner."""
    torch = pytest.importorskip("torch", reason="export needs the train extra")
    pytest.importorskip("onnxscript", reason="export needs the train extra")
    from metatrack.bundling.export import CardInfo, export_bundle
    from metatrack.model.box import BoxNetwork
    from metatrack.model.meta import MetaLearner

    torch.manual_seed(3)
    network = BoxNetwork("lite", 8)
    # A random head says noise of the sides; zeros say that every target is a square of 64 pixels.
    torch.nn.init.zeros_(network.box.sides[-1].weight)
    learner = MetaLearner(network.trunk.channels, network.kernels)
    info = CardInfo("random", "random weights", "none", [], {})
    folder = export_bundle(network, learner, info, tmp_path_factory.mktemp("bundle") / "random")
    return load_model(folder, threads=1)


def check_equal_to_separate(model: Model, length: int, **changes: float) -> list[Tracker]:
    """Tracks the demo clip both ways; returns the separate trackers."""
    together = MultiTracker(model, settings={**SETTINGS, **changes})
    alone = {target: Tracker(model, settings={**SETTINGS, **changes}) for target in ENTRIES}
    for i, frame in enumerate(clip()[:length]):
        expected = {target: alone[target].update(frame) for target, (start, _) in ENTRIES.items() if start < i}
        results = together.update(frame)
        assert list(results) == list(expected)
        for target, result in results.items():
            np.testing.assert_allclose(result.box, expected[target].box, rtol=0, atol=1e-4, err_msg=f"{target}, frame {i}")
            assert result.score == pytest.approx(expected[target].score, abs=1e-4)
            assert result.lost == expected[target].lost
        for target, (start, box) in ENTRIES.items():
            if start == i:
                assert together.add(frame, box, target) == target
                alone[target].init(frame, box)
    return list(alone.values())


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_equal_to_separate_trackers(name: str) -> None:
    for tracker in check_equal_to_separate(load_model(name, threads=1), 38):
        assert tracker.state is not None and len(tracker.state.w_target) == 32  # it was adapted


@pytest.mark.slow
def test_equal_to_separate_trackers_with_a_random_box_head(box_model: Model) -> None:
    assert box_model.has_boxes
    # Noise scores low, and looks like noise elsewhere: what is found is taken over, and remembered, all the same.
    all_the_same = dict(unseen_below=0.0, update_threshold=0.0, update_with_distractors=True)
    for tracker in check_equal_to_separate(box_model, 34, **all_the_same):
        assert tracker.state is not None and len(tracker.state.w_target) == 32


def test_more_targets_than_a_batch_holds() -> None:
    """Ten targets are thirty contexts, in batches of eight that cut through the targets' three."""
    first, second = clip()[:2]
    boxes = [(40 + 55 * i, 100 + 10 * i, 50, 60) for i in range(10)]
    together, alone = MultiTracker(LITE), Tracker(LITE)
    ids = [together.add(first, box) for box in boxes]
    assert ids == list(range(1, 11))
    results = together.update(second)
    for target, box in zip(ids, boxes, strict=True):
        alone.init(first, box)
        expected = alone.update(second)
        np.testing.assert_allclose((*results[target].box, results[target].score), (*expected.box, expected.score), atol=1e-4)


def test_one_target_is_told_the_same_bytes() -> None:
    """The command line relies on it: a single target's table is that of a Tracker."""
    together, alone = MultiTracker(LITE, settings={"update_interval": 2}), Tracker(LITE, settings={"update_interval": 2})
    together.add(clip()[0], HEAD)
    alone.init(clip()[0], HEAD)
    for frame in clip()[1:6]:
        assert together.update(frame) == {1: alone.update(frame)}


def test_targets_come_go_and_are_corrected_at_any_frame() -> None:
    frames = clip()
    tracker = MultiTracker(LITE)
    assert tracker.targets == () and tracker.update(frames[0]) == {}
    assert tracker.add(frames[0], HEAD) == 1
    assert list(tracker.update(frames[1])) == [1]
    assert tracker.add(frames[1], ROCKS, "rocks") == "rocks"
    assert tracker.add(frames[1], HAND) == 2
    assert list(tracker.update(frames[2])) == [1, "rocks", 2]
    tracker.correct(1, frames[2], ROCKS)  # keeps its id and its place, and starts anew
    results = tracker.update(frames[3])
    assert list(results) == [1, "rocks", 2] == list(tracker.targets)
    np.testing.assert_allclose(results[1].box[:2], ROCKS[:2], atol=6)
    tracker.remove("rocks")
    tracker.remove(2)
    assert list(tracker.update(frames[4])) == [1]
    assert tracker.add(frames[4], HAND) == 3  # 2 was somebody else
    assert tracker.add(frames[4], ROCKS, "rocks") == "rocks"
    tracker.remove(1)
    assert list(tracker.update(frames[5])) == [3, "rocks"]


def test_a_corrected_target_is_as_new() -> None:
    frames = clip()
    corrected, fresh = (MultiTracker(LITE, settings={"update_interval": 2}) for _ in range(2))
    corrected.add(frames[0], ROCKS)
    for frame in frames[1:4]:
        corrected.update(frame)
    corrected.correct(1, frames[3], HEAD)
    fresh.add(frames[3], HEAD)
    assert [corrected.update(frame) for frame in frames[4:7]] == [fresh.update(frame) for frame in frames[4:7]]


def test_one_target_does_not_disturb_another() -> None:
    """Removing or correcting one leaves the others' answers as they are, but for rounding."""
    frames = clip()
    disturbed, calm = MultiTracker(LITE), MultiTracker(LITE)
    for tracker in (disturbed, calm):
        tracker.add(frames[0], HEAD)
    disturbed.add(frames[0], HAND)
    for i in range(1, 5):
        if i == 2:
            disturbed.correct(2, frames[1], ROCKS)
        if i == 4:
            disturbed.remove(2)
        np.testing.assert_allclose(disturbed.update(frames[i])[1].box, calm.update(frames[i])[1].box, rtol=0, atol=1e-4)


@pytest.mark.parametrize("box", [(0, 0, 0, 5), (float("nan"), 0, 5, 5), (700, 0, 5, 5), (1, 2, 3)])
def test_a_bad_box_changes_nothing(box: tuple[float, ...]) -> None:
    frames = clip()
    tracker, calm = MultiTracker(LITE), MultiTracker(LITE)
    for some in (tracker, calm):
        some.add(frames[0], HEAD)
    with pytest.raises(ValueError, match="box"):
        tracker.add(frames[0], box)
    with pytest.raises(ValueError, match="box"):
        tracker.correct(1, frames[0], box)
    assert tracker.targets == (1,)
    assert tracker.update(frames[1]) == calm.update(frames[1])
    assert tracker.add(frames[1], HAND) == 2  # no number was used up


def test_wrong_ids_are_explained() -> None:
    frame = clip()[0]
    tracker = MultiTracker(LITE)
    with pytest.raises(KeyError, match="no target 1; there are none"):
        tracker.remove(1)
    tracker.add(frame, HEAD)
    tracker.add(frame, HAND, "hand")
    for target in (1, "hand"):
        with pytest.raises(ValueError, match=rf"{target!r} is followed already; use correct\(\)"):
            tracker.add(frame, ROCKS, target)
    for act in (lambda: tracker.remove("2"), lambda: tracker.correct("2", frame, ROCKS)):
        with pytest.raises(KeyError, match="no target '2'; there are 1, 'hand'"):
            act()
    assert tracker.targets == (1, "hand")


def test_unknown_settings_and_models_are_explained_before_any_target() -> None:
    with pytest.raises(ValueError, match="did you mean 'update_interval'"):
        MultiTracker(LITE, settings={"update_intervall": 7})
    with pytest.raises(ValueError, match="shipped are"):
        MultiTracker("nonsense")


def test_what_is_no_frame_is_refused_also_without_targets() -> None:
    with pytest.raises(TypeError):
        MultiTracker(LITE).update(np.zeros((50, 50, 3)))


def test_adaptation_can_be_switched_off() -> None:
    assert MultiTracker(LITE).adapt and not MultiTracker(LITE, adapt=False).adapt
    assert not MultiTracker("lite-no-meta").adapt  # it has no meta-learner


# --- what becomes of the ids: tables and pictures -------------------------------------------------------------------------------


def test_a_table_with_ids(tmp_path: Path) -> None:
    path = tmp_path / "boxes.csv"
    with BoxWriter(path, ids=True) as table:
        table.write(0, (1, 2, 3, 4), 1.0, target=1)
        table.write(0, (5, 6, 7, 8), 0.25, True, "Möwe 2")
        for wrong in (None, "", "a,b", 'a"b', "a\nb"):
            with pytest.raises(ValueError, match="frame 1.*target"):
                table.write(1, (1, 2, 3, 4), 1.0, target=wrong)
    assert path.read_text(encoding="utf-8") == (
        "frame,id,x,y,w,h,score,lost\n0,1,1.000,2.000,3.000,4.000,1.0000,0\n0,Möwe 2,5.000,6.000,7.000,8.000,0.2500,1\n"
    )
    assert read_boxes(path) == [
        BoxRow(0, Box(1, 2, 3, 4), 1.0, False, 1),
        BoxRow(0, Box(5, 6, 7, 8), 0.25, True, "Möwe 2"),
    ]
    path.write_text("frame,id,x,y,w,h,score,lost\n0,1,2,3,4,0.5,0\n")  # a line without its id
    with pytest.raises(ValueError, match="line 2.*is not frame,id,x"):
        read_boxes(path)


def test_a_table_without_ids_takes_none(tmp_path: Path) -> None:
    with BoxWriter(tmp_path / "boxes.csv") as table, pytest.raises(ValueError, match="ids=True"):
        table.write(0, (1, 2, 3, 4), 1.0, target=1)


def test_each_target_keeps_its_colour() -> None:
    frame = np.full((180, 240, 3), 128, np.uint8)
    dog = (Box(150, 60, 60, 60), 0.1, True)
    targets: dict[int | str, tuple[Box, float, bool]] = {1: (Box(20, 60, 60, 60), 0.9, False), "dog": dog}
    both, one = draw_targets(frame, targets), draw_targets(frame, {"dog": targets["dog"]})
    assert (frame == 128).all()
    assert (both[:, 130:] == one[:, 130:]).all()  # whoever else is there
    assert (both[90, 20] == color_of(1)).all() and (one[60, 152] == color_of("dog")).all()
    assert (draw_targets(frame, targets, number=3)[:30, :30] != both[:30, :30]).any()
    assert len({color_of(target) for target in range(1, 9)}) == 8
    with pytest.raises(ValueError, match="target 1 .*not finite"):
        draw_targets(frame, {1: ((0, 0, float("inf"), 1), None, False)})


PLACES = st.tuples(st.integers(0, 30), st.integers(0, 20), st.integers(4, 20), st.integers(4, 20))
IDS = st.none() | st.integers(1, 6) | st.sampled_from(["cat", "dog"])


@settings(max_examples=12, stateful_step_count=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
class Targets(RuleBasedStateMachine):
    """Any order of additions, corrections, removals and updates, beside a plain list of ids."""

    @initialize(seed=st.integers(0, 99))
    def begin(self, seed: int) -> None:
        self.frame = np.random.default_rng(seed).integers(0, 256, (40, 50, 3), dtype=np.uint8)
        self.tracker = MultiTracker(LITE, settings={"update_interval": 2, "search_wider": False})
        self.ids: list[int | str] = []
        self.used: set[int | str] = set()

    @rule(target_id=IDS, box=PLACES)
    def add(self, target_id: int | str | None, box: tuple[int, ...]) -> None:
        if target_id in self.ids:
            with pytest.raises(ValueError, match="followed already"):
                self.tracker.add(self.frame, box, target_id)
            return
        given = self.tracker.add(self.frame, box, target_id)
        assert given == target_id if target_id is not None else isinstance(given, int) and given not in self.used
        self.ids.append(given)
        self.used.add(given)

    @precondition(lambda self: self.ids)
    @rule(data=st.data(), box=PLACES)
    def correct(self, data: st.DataObject, box: tuple[int, ...]) -> None:
        self.tracker.correct(data.draw(st.sampled_from(self.ids)), self.frame, box)

    @precondition(lambda self: self.ids)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        gone = data.draw(st.sampled_from(self.ids))
        self.tracker.remove(gone)
        self.ids.remove(gone)

    @rule(unknown=st.sampled_from([0, "1", "mouse"]))
    def ask_for_one_that_is_not_there(self, unknown: int | str) -> None:
        with pytest.raises(KeyError, match="no target"):
            self.tracker.remove(unknown)

    @rule()
    def update(self) -> None:
        results = self.tracker.update(self.frame)
        assert list(results) == self.ids
        for box, score, _ in results.values():
            assert np.isfinite(box).all() and box.w > 0 and box.h > 0 and 0 <= score <= 1

    @invariant()
    def the_targets_are_right(self) -> None:
        if hasattr(self, "tracker"):
            assert self.tracker.targets == tuple(self.ids)


TestTargets = Targets.TestCase


@pytest.mark.parametrize("target", [float("nan"), "", "a,b", "a\nb", b"x", (1, 2), True])
def test_ids_that_no_table_could_hold(scene, target):
    with pytest.raises(ValueError, match="cannot be an id"):
        MultiTracker("lite").add(scene.frame(0), scene.box(0), target)
