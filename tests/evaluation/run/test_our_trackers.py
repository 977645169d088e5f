"""Our tracker in an evaluation: with a bundle's folder, and with other settings."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from metatrack.evaluation.run.trackers import TrackerSpec, tracker_spec, tracker_specs
from metatrack.geometry import Box
from metatrack.runtime.bundle import open_bundle
from metatrack.tracking.settings import TrackerSettings
from metatrack.tracking.tracker import Tracker
from tests.app.test_cli import MODEL


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    shutil.copytree(open_bundle(MODEL).folder, folder)
    return folder


def settings_of(spec: TrackerSpec) -> TrackerSettings:
    made = spec.make()
    assert isinstance(made, Tracker)
    return made.settings


def test_a_bundle_is_a_tracker(bundle: Path) -> None:
    spec = tracker_spec(str(bundle))
    assert spec.name == "mine"
    assert tracker_spec(f"other={bundle}").name == "other"
    identity = spec.identity()
    assert identity["model"] == "mine"
    assert identity["sha256"] == tracker_spec(f"x={bundle}").identity()["sha256"]
    tracker = spec.make()
    frame = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)
    tracker.init(frame, Box(60, 40, 30, 30))
    assert len(tracker.update(frame).box) == 4


def test_a_folder_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"is a folder but no bundle, which holds card\.json"):
        tracker_spec(str(tmp_path))


def test_settings_are_for_ours(bundle: Path) -> None:
    ours, other, theirs = tracker_specs(["mlt-paper", str(bundle), "csk"], {"adaptation.interval": 30})
    assert settings_of(ours).adaptation.interval == settings_of(other).adaptation.interval == 30
    assert theirs.settings == ()
    plain = tracker_spec("mlt-paper")
    assert ours.identity() != plain.identity()  # results of one are not mixed with the other's
    assert json.loads(json.dumps(ours.identity())) == ours.identity()


def test_settings_keep_those_that_the_tracker_has() -> None:
    (spec,) = tracker_specs(["siamfc"], {"adaptation.interval": 30})
    (plain,) = tracker_specs(["siamfc"])
    changed, before = settings_of(spec), settings_of(plain)
    assert changed.adaptation.interval == 30
    assert changed.search == before.search


def test_settings_without_ours_are_told() -> None:
    with pytest.raises(ValueError, match="--set is for our tracker, and csk is not"):
        tracker_specs(["csk"], {"adaptation.interval": 30})
