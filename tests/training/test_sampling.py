"""Samples are pure functions of seed and index, and what they say is what their pixels show."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from metatrack.data.got10k import read_got10k
from metatrack.geometry import SEARCH_SIZE
from metatrack.training import augment, sampling
from metatrack.training.augment import Framing, View
from metatrack.training.mix import Source, load_mix
from metatrack.training.sampling import BoxPair, PairSampler

STRIDE = 8


def test_pairs_depend_on_seed_and_index_alone(data):
    first, second = (PairSampler(load_mix(data / "train.json"), 5) for _ in range(2))
    second.pair(3)  # another history
    for a, b in zip(first.pair(11), second.pair(11), strict=True):
        assert np.array_equal(a, b)
    assert not np.array_equal(first.pair(11).search, first.pair(12).search)


def test_the_target_is_where_the_pair_says(data):
    """The bright disc of the scene lies at the displacement and fills its share of the context patch."""
    sampler = PairSampler(load_mix(data / "train.json"), 2)
    radius = 127 / 4 * 0.7  # a square target of side s has a context of 2 s, which is 127 px
    for i in range(8):
        pair = sampler.pair(i)
        disc = np.hypot(*(np.indices((255, 255))[::-1] - (127 + pair.displacement * 8)[:, None, None])) <= radius
        # the object's texture is 120..255, the background's 60..110
        assert pair.search[disc].mean() > pair.search[~disc].mean() + 30


def test_wrong_template_differs_in_scale_alone(data):
    pair = PairSampler(load_mix(data / "train.json"), 0).pair(4)
    assert pair.template.shape == pair.wrong.shape == (127, 127, 3)
    assert pair.search.shape == (255, 255, 3)
    assert np.abs(pair.displacement).max() <= 44 / 8
    assert not np.array_equal(pair.template, pair.wrong)
    # The centre shows the same part of the object in the same colours: a tenth of the patch around it hardly changes.
    middle = slice(61, 66)
    assert np.abs(pair.template[middle, middle].mean((0, 1)) - pair.wrong[middle, middle].mean((0, 1))).max() < 40


@pytest.fixture(scope="module")
def sampler(tmp_path_factory):
    root = tmp_path_factory.mktemp("got10k")
    rng = np.random.default_rng(0)
    for n in range(3):
        folder = root / f"clip{n}"
        folder.mkdir()
        rows = []
        for i in range(4):
            w, h = rng.integers(30, 80, 2)
            image = np.full((330, 330, 3), 90, np.uint8)
            y, x = np.indices((330, 330)) - 165
            image[(x / w) ** 2 + (y / h) ** 2 <= 1] = (250, 40, 40)
            Image.fromarray(image).save(folder / f"{i + 1:08d}.jpg", quality=98)
            rows.append((165.5 - w, 165.5 - h, 2 * w, 2 * h))
        np.savetxt(folder / "groundtruth.txt", rows, delimiter=",")
    return PairSampler([Source("made", tuple(read_got10k(root, None)), 1.0)], seed=1)


class TestPairs:
    """Pairs of an ellipse of one colour on gray: where it is can be read off the patch."""

    @staticmethod
    def red(patch: np.ndarray) -> tuple[float, float, float, float]:
        """Centre and size of what is red."""
        plain = patch.astype(int)
        ys, xs = np.nonzero(plain[..., 0] - plain[..., 1:].max(-1) > 90)  # 210 inside; the border's reddish mean stays below
        x0, x1, y0, y1 = xs.min(), xs.max() + 1, ys.min(), ys.max() + 1
        return (x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0

    def shown(self, sampler: PairSampler, monkeypatch: pytest.MonkeyPatch) -> list[BoxPair[np.ndarray]]:
        """Pairs whose ellipse can be read off the context, after a look at where and how large it is there."""
        monkeypatch.setattr(sampling, "COVERED", 0.0)
        monkeypatch.setattr(sampling, "FOREIGN_BORDER", 0.0)
        checked = []
        for index in range(60):
            pair = sampler.box_pair(index)
            if np.ptp(pair.search.astype(int), axis=-1).max() < 90 or abs(pair.displacement).max() > 7:
                continue  # gray, or cut off by the border
            x, y, w, h = self.red(pair.search)
            cx, cy = pair.displacement * STRIDE + SEARCH_SIZE / 2
            if max(abs(cx - 127), abs(cy - 127)) + max(w, h) / 2 > 120:
                continue
            assert (x, y) == pytest.approx((cx, cy), abs=4)
            assert (w, h) == pytest.approx(pair.size, abs=9)  # low resolution and motion blur spread the colour
            checked.append(pair)
        assert len(checked) > 20
        return checked

    def test_place_and_size_are_what_the_patch_shows(self, sampler, monkeypatch):
        for pair in self.shown(sampler, monkeypatch):
            assert self.red(pair.template)[2:] == pytest.approx(pair.template_size, abs=9)

    def test_another_rectangle_that_is_fixed_to_the_target_is_where_the_pair_says(self, sampler, monkeypatch):
        """The data's box is twice as wide as the ellipse, which fills its right half; the framing is that half."""
        (source,) = sampler.sources
        boxes = [s.boxes + np.array([-1, 0, 1, 0]) * s.boxes[:, 2:3] for s in source.sequences]
        wide = tuple(replace(s, boxes=b) for s, b in zip(source.sequences, boxes, strict=True))
        monkeypatch.setattr(Framing, "draw", classmethod(lambda cls, rng: cls(0.25, 0.0, 0.5, 1.0)))
        self.shown(PairSampler([replace(source, sequences=wide, reframed=1.0)], seed=1), monkeypatch)

    def test_framings_stay_within_their_bounds(self):
        rng = np.random.default_rng(0)
        drawn = np.array([Framing.draw(rng) for _ in range(200)])
        assert np.abs(drawn[:, :2]).max() <= augment.FRAMED_SHIFT
        assert augment.FRAMED_SIDES[0] <= drawn[:, 2:].min() < 0.7
        assert 1.2 < drawn[:, 2:].max() <= augment.FRAMED_SIDES[1]

    def test_clips_are_framed_alike(self, sampler, monkeypatch):
        (source,) = sampler.sources
        monkeypatch.setattr(Framing, "draw", classmethod(lambda cls, rng: cls(0.0, 0.0, 1.0, 1.0)))
        seen: list[Framing | None] = []

        def note(view: View, framing: Framing | None) -> View:
            seen.append(framing)
            return view

        monkeypatch.setattr(View, "framed", note)
        PairSampler([replace(source, reframed=1.0)], seed=1).clip(3, 3, boxes=True)
        assert seen == [(0.0, 0.0, 1.0, 1.0)] * 4
        PairSampler([source], seed=1).clip(3, 3, boxes=True)
        assert seen[4:] == [None] * 4

    def test_the_same_index_gives_the_same_pair(self, sampler):
        for a, b in zip(sampler.box_pair(7), sampler.box_pair(7), strict=True):
            assert np.array_equal(a, b)
        assert not np.array_equal(sampler.box_pair(7).search, sampler.box_pair(8).search)
