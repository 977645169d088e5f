"""Files of an evaluation's folder that somebody has changed: each is named, whatever it holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from metatrack.data.sequence import Sequence
from metatrack.evaluation.run.store import Store
from metatrack.evaluation.score.summary import tracker_order

DEEP = "[" * 100_000


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path, "plain", "ope")
    store.note_sequences([Sequence("a", (Path("1"), Path("2")), np.array([[1, 2, 3, 4], [np.nan] * 4]))])
    store.pin_tracker("x", {"kind": 1})
    return store


@pytest.mark.parametrize("text", ["", "1", "[]", "{}", DEEP, '{"format": 1, "data_set": 3, "protocol": "ope"}', "\udcff"])
def test_evaluation_json(store: Store, text: str) -> None:
    file = store.root / "evaluation.json"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ValueError, match=r"evaluation\.json.* is damaged; evaluate into another folder"):
        Store.open(store.root)
    with pytest.raises(ValueError, match=r"evaluation"):
        Store(store.root, "plain", "ope")


@pytest.mark.parametrize("text", ["", "1", "[]", DEEP, "null"])
def test_trackers(store: Store, text: str) -> None:
    (store.root / "trackers" / "x.json").write_text(text)
    with pytest.raises(ValueError, match=r"x\.json.* is damaged"):
        store.trackers()
    with pytest.raises(ValueError, match=r"x\.json"):
        store.pin_tracker("x", {"kind": 1})


@pytest.mark.parametrize(
    "boxes", ["3", "[3]", "[[1, 2, 3]]", "[[1, 2, 3, 4], [1, 2]]", '[["a", 1, 2, 3]]', "[[1, 2, 3, 1e999]]", "{}"]
)
def test_sequences(store: Store, boxes: str) -> None:
    text = f'{{"start_frame": 1, "frame_size": null, "attributes": [], "boxes": {boxes}}}'
    (store.root / "sequences" / "a.json").write_text(text)
    with pytest.raises(ValueError, match=r"a\.json.* is damaged; repeat the evaluation"):
        store.sequences()


@pytest.mark.parametrize("size", ["[1]", "[0, 5]", '"5x5"', "[1, 2, 3]", "[1.5, 2]"])
def test_sizes(store: Store, size: str) -> None:
    text = f'{{"start_frame": 1, "frame_size": {size}, "attributes": [], "boxes": []}}'
    (store.root / "sequences" / "a.json").write_text(text)
    with pytest.raises(ValueError, match=r"a\.json.* is damaged"):
        store.sequences()


@pytest.mark.parametrize("text", ["", "1", "{}", DEEP, '{"trackers": []}'])
def test_a_summary_is_no_more_than_an_order(store: Store, text: str) -> None:
    (store.root / "summary.json").write_text(text)
    assert tracker_order(store) == ["x"]


def test_what_is_written_is_read(store: Store) -> None:
    (read,) = store.sequences()
    assert np.array_equal(read.boxes, np.array([[1, 2, 3, 4], [np.nan] * 4]), equal_nan=True)
    assert Store.open(store.root).trackers() == {"x": {"kind": 1}}
