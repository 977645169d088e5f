"""Opening a bundle: whatever is wrong with its card ends in one BundleError, and what was hashed is what runs."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import metatrack
from metatrack import BundleError, Tracker
from metatrack.runtime.bundle import GRAPHS, open_bundle, parse_card, shipped_models
from metatrack.runtime.load import build_model, check_model, load_model

PACKAGE = Path(metatrack.__file__).parent
MODELS = PACKAGE / "models"
SMALL, BOXES = "lite-no-meta", "lite"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A copy of a shipped bundle."""
    return Path(shutil.copytree(MODELS / SMALL, tmp_path / "bundle"))


def card_of(folder: Path) -> dict[str, Any]:
    card: dict[str, Any] = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    return card


def change_card(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    card = card_of(folder)
    change(card)
    (folder / "card.json").write_text(json.dumps(card), encoding="utf-8")


def put(folder: Path, name: str, data: bytes) -> None:
    """Another graph, with its hash in the card."""
    (folder / name).write_bytes(data)
    change_card(folder, lambda card: card["files"][name].update(sha256=hashlib.sha256(data).hexdigest()))


WRONG: list[tuple[str, Any, str]] = [
    ("architecture.stride", "8", r"architecture\.stride must be a whole number, not a text"),
    ("architecture.stride", 0, r"architecture\.stride must be a whole number >= 1"),
    ("architecture.channels", [128], "must be a whole number, not a list"),
    ("architecture.channels", -1, ">= 1"),
    ("architecture.search_cells", {}, "must be a whole number, not an object"),
    ("architecture.response_cells", 10**6, "<= 256"),
    ("architecture.response_cells", 16, r"search_cells 23 must be template_cells \+ response_cells - 1"),
    ("architecture.template_cells", 6.5, "must be a whole number"),
    ("architecture.support", 10**12, "<= 64"),
    ("architecture.support", 10**400, "json"),
    ("architecture.trunk", None, "must be a text"),
    ("architecture", ["stride"], "architecture must be an object"),
    ("calibration", None, "calibration must be an object"),
    ("calibration.slope", "x", r"calibration\.slope must be a number"),
    ("calibration.offset", None, "must be a number"),
    ("calibration.offset", 1e300, "<= 1000000"),
    ("tracking", 5, "tracking must be an object"),
    ("name", None, "name must be a text"),
    ("name", "", "name"),
    ("files", {}, "files"),
    ("files", ["embed.onnx"], "files must be an object"),
    ("format", [1], "format must be 1"),
    ("format", 2, "upgrade metatrack"),
    ("format", True, "not a model card"),
]


@pytest.mark.parametrize(("place", "value", "message"), WRONG, ids=[f"{place}={str(value)[:12]}" for place, value, _ in WRONG])
def test_a_wrong_value_is_named_with_the_file(bundle: Path, place: str, value: Any, message: str) -> None:
    *parts, key = place.split(".")

    def change(card: dict[str, Any]) -> None:
        for part in parts:
            card = card[part]
        card[key] = value

    change_card(bundle, change)
    with pytest.raises(BundleError, match=message) as caught:
        open_bundle(bundle)
    assert str(bundle / "card.json") in str(caught.value)


@pytest.mark.parametrize(
    "place", ["name", "architecture", "tracking", "calibration", "files", "architecture.channels", "files.embed\\.onnx.sha256"]
)
def test_what_a_card_lacks_is_named(bundle: Path, place: str) -> None:
    *parts, key = place.replace("\\.", "\0").split(".")

    def change(card: dict[str, Any]) -> None:
        for part in parts:
            card = card[part.replace("\0", ".")]
        del card[key]

    change_card(bundle, change)
    with pytest.raises(
        BundleError, match=rf"{parts[0].split(chr(0))[0] if parts else 'it'}.* lacks {key}; export the model again"
    ):
        open_bundle(bundle)


@pytest.mark.parametrize(
    "text", [b"[" * 100_000, b'{"a":' * 100_000, b"[]", b"\xff", b"", b"{", b"\xff\xfe{\x00", b'{"format": 1, "format": 1}']
)
def test_a_card_that_is_no_card(bundle: Path, text: bytes) -> None:
    (bundle / "card.json").write_bytes(text)
    with pytest.raises(BundleError, match=r"card\.json"):
        open_bundle(bundle)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
PLACES = [(part, key) for part in ("architecture", "calibration", "files") for key in ("", *card_of(MODELS / BOXES)[part])]


@given(place=st.sampled_from([*PLACES, ("name", ""), ("tracking", ""), ("format", "")]), value=JSON)
def test_any_value_is_taken_or_refused_in_a_sentence(place: tuple[str, str], value: Any) -> None:
    card = card_of(MODELS / BOXES)
    (card[place[0]] if place[1] else card)[place[1] or place[0]] = value
    try:
        parse_card(json.dumps(card).encode(), "card.json")
    except ValueError as error:
        assert "card.json" in str(error)  # noqa: PT017 - most values are refused, some are right


@pytest.mark.parametrize("values", [{"window": []}, {"near_size": "191"}, {"size_limits": ["a", "b"]}, {"nonsense": 1}])
def test_settings_in_a_card_are_checked_when_a_tracker_is_made(bundle: Path, values: dict[str, Any]) -> None:
    change_card(bundle, lambda card: card["tracking"].update(values))
    with pytest.raises(BundleError, match=f"the card's tracking: .*{next(iter(values))}"):
        Tracker(bundle)


def test_a_replaced_bundle_is_the_one_that_is_loaded_next(bundle: Path) -> None:
    first = load_model(bundle, 1)
    assert load_model(bundle, 1) is first
    shutil.rmtree(bundle)
    shutil.copytree(MODELS / BOXES, bundle)
    assert load_model(bundle, 1).name == BOXES


def test_a_changed_card_is_another_model(bundle: Path) -> None:
    first = load_model(bundle, 1)
    change_card(bundle, lambda card: card["calibration"].update(slope=0.125))
    assert load_model(bundle, 1) is not first
    assert load_model(bundle, 1).card["calibration"]["slope"] == 0.125


def test_a_graph_that_is_exchanged_after_the_check_is_refused(bundle: Path) -> None:
    opened = open_bundle(bundle)
    shutil.copy(MODELS / "paper" / "match.onnx", bundle / "match.onnx")
    with pytest.raises(BundleError, match=r"match\.onnx is damaged or was changed"):
        build_model(opened)


def test_every_file_is_checked_also_those_that_are_not_loaded(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(MODELS / BOXES, tmp_path / "bundle"))
    with (folder / "embed-int8.onnx").open("r+b") as file:
        file.write(b"\0\0\0\0")
    with pytest.raises(BundleError, match=r"embed-int8\.onnx is damaged"):
        load_model(folder, 1, "float32")


def test_a_bundle_without_trunk_or_head(bundle: Path) -> None:
    for file in ("embed.onnx", "match.onnx"):
        folder = Path(shutil.copytree(bundle, bundle.with_name(file)))

        def without(card: Any, file: str = file) -> None:
            card["files"].pop(file)

        change_card(folder, without)
        with pytest.raises(BundleError, match="incomplete"):
            load_model(folder, 1)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(bundle: Path) -> None:
    (bundle / "embed.onnx").chmod(0)
    with pytest.raises(BundleError, match=r"embed\.onnx cannot be read"):
        open_bundle(bundle)


class TestDryRun:
    @pytest.mark.parametrize("name", shipped_models())
    def test_shipped_models_answer_as_their_cards_say(self, name: str) -> None:
        check_model(load_model(name, 1), MODELS / name)

    def test_a_graph_of_another_model(self, bundle: Path) -> None:
        put(bundle, "match.onnx", (MODELS / "paper" / "match.onnx").read_bytes())
        with pytest.raises(BundleError, match="its graphs do not fit its card"):
            load_model(bundle, 1)

    @pytest.mark.parametrize(
        "changes",
        [
            {"channels": 64},
            {"stride": 4},
            {"template_cells": 9, "search_cells": 25},
            {"response_cells": 40, "search_cells": 46},
            {"response_cells": 90, "search_cells": 96},
        ],
    )
    def test_a_card_of_other_sizes(self, bundle: Path, changes: dict[str, int]) -> None:
        change_card(bundle, lambda card: card["architecture"].update(changes))
        if "response_cells" in changes or "template_cells" in changes:
            with pytest.raises(BundleError, match="export the model again"):
                load_model(bundle, 1)
        else:
            with pytest.raises(BundleError, match="graph embed answers"):
                load_model(bundle, 1)

    def test_a_card_of_other_support(self, tmp_path: Path) -> None:
        folder = Path(shutil.copytree(MODELS / "paper", tmp_path / "bundle"))
        for support in (0, 5):

            def other(card: Any, support: int = support) -> None:
                card["architecture"].update(support=support)

            change_card(folder, other)
            with pytest.raises(BundleError, match="support|do not fit"):
                load_model(folder, 1)


def test_cards_are_typed_and_open_for_people() -> None:
    card = card_of(MODELS / SMALL)
    changed = copy.deepcopy(card) | {"data": 5, "training": None, "anything": [1]}
    assert parse_card(json.dumps(changed).encode(), "card.json") == changed


def test_every_graph_of_a_shipped_model_can_be_read() -> None:
    for name in shipped_models():
        opened = open_bundle(name)
        assert opened.shipped
        assert all(opened.content(graph) for graph in GRAPHS if opened.graph(graph))


def test_a_model_is_asked_for_by_a_name_that_is_no_path() -> None:
    for name in ("nonsense", "a\0b", "x" * 5000):
        with pytest.raises(BundleError, match="shipped are"):
            load_model(name)


def test_no_shipped_file_holds_a_path_of_the_machine_that_made_it() -> None:
    marks = [name.encode() for name in ("/root/", "/work/", "/home/", "site-packages", "\\Users\\", "/Users/")]
    checked = 0
    for path in PACKAGE.rglob("*"):
        if path.is_file() and path.suffix not in (".py", ".pyc", ".pyi"):
            data = path.read_bytes()
            found = [mark for mark in marks if mark in data]
            assert not found, f"{path} holds {found}; metatrack export strips what it writes"
            checked += path.suffix == ".onnx"
    assert checked >= 11


def test_a_blank_frame_is_followed_by_a_bundle_of_ones_own(bundle: Path) -> None:
    tracker = Tracker(bundle, threads=1)
    frame = np.zeros((120, 160, 3), np.uint8)
    tracker.init(frame, (60, 40, 30, 30))
    assert np.isfinite(tracker.update(frame).box).all()
