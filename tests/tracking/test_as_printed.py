"""The paper's tracker as printed: every value is read from the tracker that is made."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from metatrack import Tracker, TrackerSettings
from metatrack.app.problem import user_input
from metatrack.app.track import TrackOptions, make_tracker
from metatrack.evaluation.run.trackers import tracker_spec
from metatrack.tracking.patches import Patches
from metatrack.tracking.search import ScaleSearch, ScaleSearchSettings, choose_scale, cosine_window, sigmoid, upsampled


@pytest.mark.parametrize(
    "make",
    [
        lambda: make_tracker(TrackOptions("0", as_printed=True, threads=1)),
        lambda: tracker_spec("mlt-as-printed").make(),
        lambda: Tracker("paper", settings=TrackerSettings.preset("paper.v1"), threads=1),
    ],
    ids=["track --as-printed", "evaluate --trackers mlt-as-printed", "preset"],
)
def test_values(make):
    tracker = make()
    settings, architecture = tracker.settings, tracker.model.card["architecture"]
    assert (tracker.model.name, architecture["trunk"], architecture["kernels"]) == ("paper", "paper", 96)
    assert architecture["target_kernels"] == 32
    assert architecture.get("meta_learner", "printed") == "printed"
    assert tracker.adapt
    scales = settings.scale_search
    assert (scales.pyramid, scales.interval, scales.step, scales.penalty, scales.damping) == ("search", 1, 1.05, 0.95, 0.60)
    assert (settings.search.window_form, settings.search.window) == ("product", 1.0)
    adaptation = settings.adaptation
    assert (adaptation.interval, adaptation.count_from, adaptation.delay) == (90, 1, 0)
    assert (adaptation.choice, adaptation.min_score, adaptation.keep_first, adaptation.accept) == ("sigmoid", 0, False, False)
    assert (settings.template_update.share, settings.distractors.factor, settings.box_search.small_size) == (0, 1, 255)
    assert (settings.redetection.enabled, settings.redetection.below) == (False, 0)


def test_what_it_does(scene):
    """Three contexts in every frame, one template for ever, and the first update in the T-th frame of the sequence."""
    settings = replace(TrackerSettings.preset("paper.v1"), update_interval=4)  # type: ignore[call-arg]  # an old flat name
    tracker = Tracker("paper", settings=settings, threads=1)
    assert isinstance(tracker.searcher, ScaleSearch)
    tracker.init(scene.frame(0), scene.box(0))
    template, rows = tracker.started.appearance.copy(), []
    for i in range(1, 8):
        frame = scene.frame(i)
        assert tracker.contexts(Patches(frame)).shape == (3, 255, 255, 3)
        tracker.update(frame)
        rows.append(len(tracker.started.w_target))
    assert rows == [0, 0, 32, 32, 32, 32, 32]  # frames t = 2, 3, 4 ...
    assert (tracker.started.appearance == template).all()
    assert tracker.started.distractors == []


def test_a_model_with_a_box_head_cannot_be_as_printed():
    with pytest.raises(Exception, match="use --as-printed with model paper"), user_input():
        make_tracker(TrackOptions("0", as_printed=True, model="lite"))
    assert make_tracker(TrackOptions("0", threads=1)).model.name == "lite"


def test_an_unknown_preset_is_explained():
    with pytest.raises(ValueError, match=r"no preset 'paper.v2'; did you mean 'paper.v1'"):
        TrackerSettings.preset("paper.v2")


def test_the_product_with_the_window_decides_alone():
    rng = np.random.default_rng(0)
    responses = rng.normal(-2, 1, (3, 17, 17)).astype(np.float32)
    settings = ScaleSearchSettings()
    found, scale = choose_scale(responses, settings, 1.0, "product")
    large = sigmoid(upsampled(responses[scale], settings.upsample))
    product = large * cosine_window(17 * settings.upsample)
    row, column = np.unravel_index(np.argmax(product), product.shape)
    middle = 17 * settings.upsample / 2 - 0.5
    assert found.displacement == ((column - middle) / settings.upsample, (row - middle) / settings.upsample)
    plain, _ = choose_scale(responses, settings, 0.0, "product")
    row, column = np.unravel_index(np.argmax(large), large.shape)
    assert plain.displacement == ((column - middle) / settings.upsample, (row - middle) / settings.upsample)
