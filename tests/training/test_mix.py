"""Mixes of training data."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from metatrack.data.sequence import Sequence
from metatrack.training.mix import Source, boxed_frames, load_mix, shares, split_sources


def test_bad_mix_is_explained(data):
    (data / "bad.json").write_text(json.dumps([{"name": "x", "root": ".", "wight": 1}]))
    with pytest.raises(ValueError, match="unknown key 'wight'; did you mean 'weight'"):
        load_mix(data / "bad.json")
    (data / "none.json").write_text(json.dumps([{"name": "x", "root": ".", "split": "train", "weight": 1, "pattern": "car*"}]))
    with pytest.raises(ValueError, match=r"matches 'car\*'"):
        load_mix(data / "none.json")
    (data / "half.json").write_text('[\n  {"name": "x",\n   "root": .}\n]')
    with pytest.raises(ValueError, match=r"half\.json is not a JSON file: .*line 3"):
        load_mix(data / "half.json")
    (data / "latin.json").write_bytes('[{"name": "Käfer"}]'.encode("latin-1"))
    with pytest.raises(ValueError, match=r"latin\.json is not a JSON file: "):
        load_mix(data / "latin.json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "nested too deep"),
        ("1", "must be a list"),
        ("null", "must be a list"),
        ("[]", "holds no entry"),
        ("[1]", r"\[0\] must be an object"),
        ('[{"name": "a", "root": 1, "weight": 1}]', "root must be a text"),
        ('[{"name": "a", "root": ".", "weight": null}]', "weight must be a number"),
        ('[{"name": "a", "root": ".", "weight": []}]', "weight must be a number"),
        ('[{"name": "a", "root": ".", "weight": 0}]', "weight must be a number > 0"),
        ('[{"name": "a", "root": ".", "weight": 1, "pattern": true}]', "pattern must be a text"),
        ('[{"name": "a", "root": ".", "weight": 1, "stills": "no"}]', "stills must be true or false"),
        ('[{"name": "a", "root": ".", "weight": 1, "reframed": 1.5}]', "reframed must be a number"),
        ('[{"name": "a", "root": "\\u0000", "weight": 1}]', "without the character NUL"),
    ],
)
def test_mix_of_wrong_kinds_is_refused(tmp_path, text, message):
    (tmp_path / "mix.json").write_text(text)
    with pytest.raises(ValueError, match=r"mix\.json.*" + message):
        load_mix(tmp_path / "mix.json")


def test_split_keeps_videos_apart():
    sequences = tuple(Sequence(f"s{i}", (), np.zeros((0, 4))) for i in range(10))
    train, val = split_sources([Source("a", sequences, 1.0)], 0.2)
    names = [{s.name for s in part[0].sequences} for part in (train, val)]
    assert len(names[1]) == 2
    assert names[0].isdisjoint(names[1])
    assert len(names[0] | names[1]) == 10


def test_sources_are_drawn_by_weight_and_frames_without_a_target_never():
    boxes = np.array([[0, 0, 9, 9], [np.nan] * 4, [5, 5, 2, 40], [5, 5, 3, 3]])
    sequence = Sequence("s", tuple(Path(f"{i}.jpg") for i in range(4)), boxes)
    assert boxed_frames(sequence).tolist() == [0, 3]  # the third is two pixels wide
    assert shares([Source("a", (sequence,), 3.0), Source("b", (sequence,), 1.0)]).tolist() == [0.75, 0.25]
