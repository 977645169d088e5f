"""Training: samples are pure functions of seed and index; a resumed run is the uninterrupted one, bit for bit."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the train extra")

from metatrack.data.sequence import Sequence  # noqa: E402
from metatrack.model.matching import label_map  # noqa: E402
from metatrack.training.matching import MatchingConfig, learning_rate, load_matching, train_matching  # noqa: E402
from metatrack.training.meta import MetaConfig, split_sources, train_meta  # noqa: E402
from metatrack.training.sampling import PairSampler, Source, load_mix  # noqa: E402
from metatrack.training.validation import simulate  # noqa: E402

from .conftest import Scene  # noqa: E402


def write_split(root, split, count, length=8):
    for k in range(count):
        scene = Scene(seed=k, length=length)
        folder = root / split / f"scene-{k}"
        folder.mkdir(parents=True)
        rows = []
        for i in range(length):
            cv2.imwrite(str(folder / f"{i + 1:08d}.jpg"), scene.frame(i)[..., ::-1])
            rows.append(",".join(f"{v:.4f}" for v in scene.box(i)))
        (folder / "groundtruth.txt").write_text("\n".join(rows) + "\n")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    write_split(root, "train", 4)
    write_split(root, "val", 5)
    for split in ("train", "val"):
        (root / f"{split}.json").write_text(json.dumps([{"name": "scenes", "root": ".", "split": split, "weight": 1}]))
    return root


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
        disc = np.zeros((255, 255), np.uint8)
        center = 127 + pair.displacement * 8
        cv2.circle(disc, (round(float(center[0])), round(float(center[1]))), int(radius), 1, -1)
        assert (
            pair.search[disc > 0].mean() > pair.search[disc == 0].mean() + 30
        )  # the object's texture is 120..255, the background's 60..110


def test_wrong_template_differs_in_scale_alone(data):
    pair = PairSampler(load_mix(data / "train.json"), 0).pair(4)
    assert pair.template.shape == pair.wrong.shape == (127, 127, 3)
    assert pair.search.shape == (255, 255, 3)
    assert np.abs(pair.displacement).max() <= 44 / 8
    assert not np.array_equal(pair.template, pair.wrong)
    # The centre shows the same part of the object in the same colours: a tenth of the patch around it hardly changes.
    middle = slice(61, 66)
    assert np.abs(pair.template[middle, middle].mean((0, 1)) - pair.wrong[middle, middle].mean((0, 1))).max() < 40


def test_simulated_boxes_hold_the_target(data):
    """The brightest thing in every view is the scene's disc, and its box says where."""
    clips = simulate(load_mix(data / "val.json"), 3, length=12)
    for clip in clips:
        assert np.ptp(clip.boxes[:, 2]) > 0  # the camera zooms
        for frame, (x, y, w, h) in zip(clip.frames, clip.boxes, strict=True):
            assert frame.shape == (384, 384, 3)
            assert min(x, y) >= -1e-6 and max(x + w, y + h) <= 384 + 1e-6
            rows, columns = np.nonzero(frame.max(2) > 150)
            assert np.abs(np.median(columns) - (x + w / 2)) < 0.2 * w
            assert np.abs(np.median(rows) - (y + h / 2)) < 0.2 * h


def test_learning_rate():
    assert learning_rate(0, 100, 1000) == pytest.approx(0.01)
    assert learning_rate(99, 100, 1000) == 1
    assert learning_rate(1000, 100, 1000) == pytest.approx(0.02)


def test_bad_mix_is_explained(data):
    (data / "bad.json").write_text(json.dumps([{"name": "x", "root": ".", "wight": 1}]))
    with pytest.raises(ValueError, match="needs name, root, weight"):
        load_mix(data / "bad.json")
    (data / "none.json").write_text(json.dumps([{"name": "x", "root": ".", "split": "train", "weight": 1, "pattern": "car*"}]))
    with pytest.raises(ValueError, match=r"matches 'car\*'"):
        load_mix(data / "none.json")
    (data / "half.json").write_text('[\n  {"name": "x",\n   "root": .}\n]')
    with pytest.raises(ValueError, match=r"half\.json is not a JSON file: .*line 3 column 12"):
        load_mix(data / "half.json")
    (data / "latin.json").write_bytes('[{"name": "Käfer"}]'.encode("latin-1"))
    with pytest.raises(ValueError, match=r"latin\.json is not a JSON file: .*utf-8"):
        load_mix(data / "latin.json")


def test_split_keeps_videos_apart():
    sequences = tuple(Sequence(f"s{i}", (), np.zeros((0, 4))) for i in range(10))
    train, val = split_sources([Source("a", sequences, 1.0)], 0.2)
    names = [{s.name for s in part[0].sequences} for part in (train, val)]
    assert len(names[1]) == 2
    assert names[0].isdisjoint(names[1])
    assert len(names[0] | names[1]) == 10


def state_of(path):
    content = torch.load(path, weights_only=True)
    return {k: v for k, v in content.items() if k not in ("config", "best")}


def equal(a, b):
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(equal, a, b))
    return a == b


@pytest.fixture(scope="module")
def matching_runs(data):
    """One run of four batches, and the same in two parts."""
    common = dict(
        mix=data / "train.json",
        val_mix=data / "val.json",
        trunk="paper",
        iterations=4,
        batch=2,
        validate_every=2,
        val_clips=1,
        workers=0,
    )
    whole, parts = MatchingConfig(out=data / "whole", **common), MatchingConfig(out=data / "parts", **common)
    train_matching(whole)
    train_matching(parts, stop_after=2)
    train_matching(parts)
    return whole, parts


def test_matching_resumes_bit_for_bit(matching_runs):
    whole, parts = matching_runs
    a, b = state_of(whole.out / "checkpoint.pt"), state_of(parts.out / "checkpoint.pt")
    assert a["step"] == 4
    assert equal(a, b)


def test_other_settings_do_not_resume(matching_runs, data):
    whole, _ = matching_runs
    other = MatchingConfig(**{**whole.__dict__, "lr": 0.5})
    with pytest.raises(ValueError, match="other settings"):
        train_matching(other)


def test_training_learns(data):
    """Forty batches on four scenes must lower the loss; a loop that does not step cannot pass."""
    config = MatchingConfig(
        mix=data / "train.json", val_mix=data / "val.json", out=data / "learn", trunk="paper", iterations=40, batch=4, warmup=2,
        validate_every=40, val_clips=1, workers=0,
    )  # fmt: skip
    train_matching(config)
    rows = [json.loads(line) for line in (config.out / "log.jsonl").read_text().splitlines()]
    assert rows[-1]["logistic"] < 0.9 * rows[0]["logistic"]
    assert 0 <= rows[-1]["overlap"] <= 1


def test_meta_resumes_bit_for_bit(matching_runs, data):
    whole, _ = matching_runs
    common = dict(
        matching=whole.out / "best.pt",
        mix=data / "val.json",
        iterations=4,
        batch=2,
        clips=3,
        contexts=6,
        val_clips=1,
        validate_every=2,
        workers=0,
    )
    train_meta(MetaConfig(out=data / "meta", **common))
    train_meta(MetaConfig(out=data / "meta-parts", **common), stop_after=2)
    train_meta(MetaConfig(out=data / "meta-parts", **common))
    a, b = state_of(data / "meta" / "checkpoint.pt"), state_of(data / "meta-parts" / "checkpoint.pt")
    assert equal(a, b)
    network = load_matching(whole.out / "best.pt")
    assert not network.training


def test_labels_are_inside_the_response():
    """Every displacement that sampling draws has positive positions on the map."""
    y = label_map(torch.tensor([[5.5, 5.5], [-5.5, -5.5]]))
    assert ((y > 0).sum((1, 2)) >= 9).all()
