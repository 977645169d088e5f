"""The search with a box head: boxes from hand-made answers, small contexts, and the template update."""

from __future__ import annotations

import json
import math
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metatrack import Tracker
from metatrack.geometry import iou
from metatrack.runtime.bundle import open_bundle
from metatrack.runtime.model import Maps
from metatrack.tracking.appearance import Appearance, BoxAppearance, TemplateUpdateSettings
from metatrack.tracking.box_search import BoxSearch
from metatrack.tracking.choice import BoxSearchSettings, ContextView, Prior, choose_box
from metatrack.tracking.distractors import Distractor
from metatrack.tracking.patches import Patches
from metatrack.tracking.search import cosine_window
from metatrack.tracking.settings import TrackerSettings
from tests.conftest import Scene

CELLS, STRIDE, WINDOW = 23, 8, 0.176


def answer(logits: np.ndarray, sides: np.ndarray) -> Maps:
    """A head's for one context, whose scores are the response."""
    return Maps(*(each[None].astype(np.float32) for each in (logits, logits, sides)))


def view(bias: tuple[float, float] = (1, 1), whole: int = CELLS) -> ContextView:
    return ContextView((60, 60), bias, STRIDE, whole)


def maps(x: float, y: float, w: float, h: float, height: float = 3.0) -> Maps:
    """What a perfect head says of a target at an offset from the context's centre, in pixels."""
    axis = (np.arange(CELLS) - CELLS // 2) * float(STRIDE)
    dx, dy = np.meshgrid(axis - x, axis - y)
    logits = height - (dx**2 + dy**2) / 100
    sides = np.stack([w / 2 + dx, h / 2 + dy, w / 2 - dx, h / 2 - dy]).clip(0.1, None)
    return answer(logits, sides)


def stronger(one: Maps, other: Maps) -> Maps:
    """At each position the answer of higher score."""
    return answer(np.maximum(one.logits, other.logits)[0], np.where(one.logits >= other.logits, one.sides, other.sides)[0])


offsets = st.floats(-70, 70)
lengths = st.floats(25, 120)


class TestChoice:
    @given(offsets, offsets, lengths, lengths)
    def test_reads_the_box_off_wherever_it_is(self, x, y, w, h):
        found = choose_box(maps(x, y, w, h), view(), BoxSearchSettings(shape_penalty=0.0, size_rate=0.5), window=0.0)
        assert found.displacement == pytest.approx((x / STRIDE, y / STRIDE), abs=0.02)
        assert found.growth == pytest.approx((w / 60, h / 60), rel=0.01)
        assert 0.4 < found.rate <= 0.5
        assert found.peak == pytest.approx(maps(x, y, w, h).logits.max())

    def test_of_two_equal_peaks_the_window_takes_the_near_one_and_the_penalty_the_one_of_the_same_shape(self):
        near, far = maps(8, 0, 60, 60), maps(-64, -64, 60, 60)
        found = choose_box(stronger(near, far), view(), BoxSearchSettings(), window=0.3)
        assert found.displacement == pytest.approx((1, 0), abs=0.1)
        same, other = maps(40, 40, 60, 60), maps(-40, -40, 100, 30)
        found = choose_box(stronger(same, other), view(), BoxSearchSettings(shape_penalty=0.2), window=0.0)
        assert found.displacement == pytest.approx((5, 5), abs=0.1)

    def test_a_known_bias_is_taken_back(self):
        found = choose_box(maps(0, 0, 90, 66), view((1.5, 1.1)), BoxSearchSettings(), WINDOW)
        assert found.growth == pytest.approx((1, 1), rel=0.02)

    def test_an_unsure_head_changes_the_size_little(self):
        sure = choose_box(maps(0, 0, 90, 90, height=4), view(), BoxSearchSettings(), WINDOW)
        unsure = choose_box(maps(0, 0, 90, 90, height=-2), view(), BoxSearchSettings(), WINDOW)
        assert unsure.rate < sure.rate / 4

    def test_not_a_number_does_no_harm(self):
        broken = answer(np.full((CELLS, CELLS), np.nan), np.full((4, CELLS, CELLS), np.nan))
        found = choose_box(broken, view(), BoxSearchSettings(), WINDOW)
        assert all(map(math.isfinite, (*found.displacement, *found.growth, found.rate, found.peak)))
        assert np.isfinite(found.response).all()

    def test_what_is_nearer_to_a_distractor_than_to_the_last_place_is_taken_for_it(self):
        both = stronger(maps(-24, 0, 60, 60, height=2.0), maps(40, 0, 60, 60, height=3.0))
        free = choose_box(both, view(), BoxSearchSettings(), 0.0)
        assert free.displacement == pytest.approx((5, 0), abs=0.1)
        assert free.distractors == (pytest.approx((-3, 0), abs=0.1),)
        known = choose_box(both, view(), BoxSearchSettings(), 0.0, Prior(distractors=[(5.0, 0.0)], factor=0.1))
        assert known.displacement == pytest.approx((-3, 0), abs=0.1)
        ignored = choose_box(both, view(), BoxSearchSettings(), 0.0, Prior(distractors=[(5.0, 0.0)], factor=1.0))
        assert ignored.displacement == free.displacement
        # One that is out of reach takes nothing away.
        assert choose_box(both, view(), BoxSearchSettings(), 0.0, Prior(distractors=[(4.0, 9.0)], factor=0.1)).displacement[0] > 4


class TestSmallContexts:
    def sides(self, scene, **settings):
        tracker = Tracker("lite", settings={"near_interval": 4, **settings})
        tracker.init(scene.frame(0), scene.box(0))
        found = []
        for i in range(1, 13):
            found.append(tracker.contexts(Patches(scene.frame(i))).shape[1])
            tracker.update(scene.frame(i))
        return found

    def test_for_a_slow_and_sure_target_but_for_every_fourth_frame(self):
        sides = self.sides(Scene(3), near_motion=1.0, near_above=0.1)
        assert sides[0::4] == [255] * 3
        assert sides.count(191) == 9

    @pytest.mark.parametrize("settings", [{"near_size": 255}, {"near_above": 1.0}, {"near_motion": 0.0}])
    def test_never_for_an_unsure_or_a_fast_one(self, settings):
        assert set(self.sides(Scene(3), **settings)) == {255}

    def test_say_the_same(self):
        scene = Scene(3)
        boxes = []
        for size in (191, 255):
            tracker = Tracker("lite", settings={"near_size": size, "near_motion": 1.0, "near_above": 0.1})
            tracker.init(scene.frame(0), scene.box(0))
            boxes.append(np.array([tracker.update(scene.frame(i)).box for i in range(1, 16)]))
        assert iou(boxes[0], boxes[1]).min() > 0.85
        assert not np.array_equal(boxes[0], boxes[1])

    def test_of_a_side_that_fits_no_cells_are_refused(self):
        with pytest.raises(ValueError, match="near_size 200 must be one of 127, 143"):
            TrackerSettings(near_size=200)

    def test_want_a_sure_slow_target_without_distractors(self, scene):
        tracker = Tracker("lite", adapt=False, settings={"near_motion": 0.5})
        tracker.init(scene.frame(0), scene.box(0))
        assert isinstance(tracker.searcher, BoxSearch)
        target, will_do = tracker.started, tracker.searcher.small_will_do
        target.frame, target.sighting.score, target.sighting.motion = 1, 0.6, 3.7
        assert will_do(target)  # the small context's edge is 7.5 cells away
        changes = ((target.sighting, "score", 0.59), (target.sighting, "motion", 3.8), (target, "frame", 5))
        for owner, name, value in (*changes, (target, "distractors", [Distractor(0, 0, 0)])):
            before = getattr(owner, name)
            setattr(owner, name, value)
            assert not will_do(target), name
            setattr(owner, name, before)
        assert will_do(target)

    def test_leave_the_meta_learner_enough_whole_ones(self, scene):
        for interval, small in ((19, False), (20, True)):
            tracker = Tracker("lite", settings={"update_interval": interval, "update_span": 1})
            tracker.init(scene.frame(0), scene.box(0))
            tracker.started.frame, tracker.started.sighting.score = 1, 1.0
            assert isinstance(tracker.searcher, BoxSearch) and tracker.searcher.small_will_do(tracker.started) is small

    def test_have_the_middle_of_a_whole_ones_window(self):
        assert np.array_equal(cosine_window(15, 23), cosine_window(23)[4:-4, 4:-4])
        logits, sides = np.full((15, 15), -3.0), np.full((4, 15, 15), 30)
        logits[0, 7] = 3.0  # far from the centre: a whole context's window, which is wider, costs it less
        small, large = (choose_box(answer(logits, sides), view(whole=n), BoxSearchSettings(), 0.5) for n in (15, 63))
        assert small.displacement == pytest.approx((0, 0), abs=0.1)
        assert large.displacement == pytest.approx((0, -7), abs=0.1)


class TestTemplateUpdate:
    def test_follows_every_fifth_frame_of_a_target_that_is_surely_seen(self, scene):
        tracker = Tracker("lite", adapt=False, settings={"template_threshold": 0.5})
        tracker.init(scene.frame(0), scene.box(0))
        target, patches = tracker.started, Patches(scene.frame(1))
        first = target.appearance.first
        for frame, score in ((4, 1.0), (5, 0.49)):
            target.frame = frame
            tracker.searcher.follow(target, patches, score)
            assert target.appearance.now is first
        target.frame = 5
        tracker.searcher.follow(target, patches, 0.5)
        assert target.appearance.first is first and not np.array_equal(target.appearance.now.template, first.template)

    def test_takes_its_share_of_what_is_seen(self):
        def flat(value):
            return Appearance(np.full((1, 2, 3, 3), value, np.float32), np.full((1, 2, 7, 7), value, np.float32))

        own = BoxAppearance(flat(0), flat(0), flat(0), np.ones((1, 2), np.float32))
        own.follow(flat(1), TemplateUpdateSettings(share=0.5, rate=0.3))
        assert (own.recent.parts == np.float32(0.3)).all() and np.allclose(own.now.template, 0.15)
        own.follow(flat(1), TemplateUpdateSettings(share=0.5, rate=0.3))  # 0.7 * 0.3 + 0.3 = 0.51
        assert np.allclose(own.recent.template, 0.51) and np.allclose(own.now.parts, 0.255) and (own.first.template == 0).all()


def test_a_bundle_whose_card_does_not_speak_of_small_contexts_gets_none(tmp_path):
    shutil.copytree(open_bundle("lite").folder, tmp_path / "old")
    card = json.loads((tmp_path / "old" / "card.json").read_text())
    del card["tracking"]["box_search.small_size"]
    (tmp_path / "old" / "card.json").write_text(json.dumps(card))
    assert Tracker(tmp_path / "old").settings.near_size == 255
    assert Tracker("lite").settings.near_size == 191
