"""The torch engine: onnxruntime's answers, alone and in a batch, and what it refuses."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest

from metatrack import BundleError, MultiTracker, Result, Tracker, shipped_models
from metatrack.arrays import Floats
from metatrack.runtime.bundle import open_bundle
from metatrack.runtime.load import build_model, load_model
from metatrack.runtime.model import Graph, with_rows
from tests.runtime.asked import HAND, HEAD, ROCKS, agree, answers, clip, inputs, models

torch = pytest.importorskip("torch", reason="the torch engine needs the train extra")
pytest.importorskip("onnx", reason="the torch engine needs the train extra")

pytestmark = pytest.mark.usefixtures("one_thread")
MODELS = shipped_models()


@pytest.mark.parametrize("name", MODELS)
def test_every_method_answers_as_onnxruntime_does(name):
    theirs, own = models(name)
    assert (own.has_boxes, own.can_adapt) == (theirs.has_boxes, theirs.can_adapt)
    for key in ("name", "channels", "template_cells", "search_cells", "response_cells", "stride", "support", "card"):
        assert getattr(own, key) == getattr(theirs, key)
    given = inputs(theirs)
    expected, found = answers(theirs, given), answers(own, given)
    assert list(found) == list(expected)
    for key, value in expected.items():
        agree(found[key], value)
    if own.can_adapt:  # it is the contexts that say what comes out, by more than the engines differ
        change = np.abs(expected["adapt 0"] - expected["adapt 1"]).max()
        assert change > 50 * np.abs(found["adapt 0"] - expected["adapt 0"]).max()


@pytest.mark.parametrize("name", [name for name in MODELS if name != "lite-no-meta"])
@pytest.mark.parametrize(("precision", "least"), [("bfloat16", 0.99), ("float16", 0.9999)])
def test_half_precision_says_nearly_the_same(name, precision, least):
    theirs, own = models(name, precision)
    assert own.precision == precision
    given = inputs(theirs)
    expected, found = answers(theirs, given), answers(own, given)
    for key, value in expected.items():
        assert found[key].dtype == np.float32 and found[key].shape == value.shape
        cosine = (found[key] * value).sum() / np.linalg.norm(found[key]) / np.linalg.norm(value)
        assert cosine > least, key
        if key.startswith("adapt"):
            agree(found[key], value)  # of the same features, the meta-learner stays exact
    assert np.abs(found["search"] - expected["search"]).max() > 1e-4 * np.abs(expected["search"]).max()  # half it was


def test_what_a_model_has_not_is_explained():
    (_, boxes), (_, plain) = models("lite"), models("lite-no-meta")
    given = inputs(boxes)
    with pytest.raises(BundleError, match=r"use locate\(\)"):
        boxes.match(given.template, given.search, given.kernels[0])
    with pytest.raises(BundleError, match=r"use match\(\)"):
        plain.locate(given.template, given.parts, given.search, given.kernels, given.size)
    with pytest.raises(BundleError, match="adapt=False"):
        plain.adapt(given.template[:1], given.search, given.labels)


@pytest.mark.parametrize("name", ["lite", "lite-no-meta"])
def test_kernels_of_zeros_change_nothing(name):
    _, own = models(name)
    own, given = replace(own, same_rows=False), inputs(own)
    assert own.no_kernels.shape == (0, own.channels)
    none = np.repeat(own.no_kernels[None], 3, axis=0)
    asked: list[tuple[Floats, ...]] = []
    for w_target in (none, with_rows(none, 32)):
        if own.has_boxes:
            asked.append(own.locate(given.template, given.parts, given.search, w_target, given.size))
        else:
            asked.append((own.match(given.template, given.search, w_target[0]),))
    for some, expected in zip(*asked, strict=True):
        agree(some, expected, 1e-5)


def follow_the_same(own: Tracker, other: Tracker) -> None:
    """Lets both go on from the same place.

    Patches are rounded to bytes: places 1e-6 pixels apart give some other bytes, and fed back, 0.1 pixels after eight frames.
    """
    own.started.center = other.started.center


@pytest.mark.parametrize("name", ["lite", "lite-no-meta"])
def test_a_tracker_follows_as_with_onnxruntime(name):
    forced, free, theirs = (Tracker(models(name)[i], settings={"update_interval": 3, "update_accepts": False}) for i in (1, 1, 0))
    for tracker in (forced, free, theirs):
        tracker.init(clip()[0], HEAD)
    for frame in clip()[1:9]:
        expected, found, loose = theirs.update(frame), forced.update(frame), free.update(frame)
        np.testing.assert_allclose(found.box, expected.box, rtol=0, atol=1e-3)
        np.testing.assert_allclose(loose.box, expected.box, rtol=0, atol=0.5)
        assert found.score == pytest.approx(expected.score, abs=1e-4)
        follow_the_same(forced, theirs)
    assert np.abs(np.subtract(found.box, HEAD)).max() > 5  # the target does not stand still
    assert forced.started.w_target.any() == forced.adapt == (name == "lite")


class Counted:
    """Notes how many rows a graph is asked for at once."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.rows: list[int] = []

    def run(self, feeds):
        self.rows.append(len(next(iter(feeds.values()))))
        return self.graph.run(feeds)


@pytest.mark.parametrize("same_rows", [False, True])
def test_targets_in_one_batch_are_told_what_each_is_told_alone(same_rows):
    """Whether unadapted targets have no kernels or such of zeros; one is adapted before the other is added."""
    model = replace(models("lite")[1], same_rows=same_rows).wrapped(lambda _, graph: Counted(graph))
    searched, located = model.graphs["search"], model.graphs["locate"]
    assert isinstance(searched, Counted) and isinstance(located, Counted)
    settings = {"update_interval": 3, "search_wider": False, "update_accepts": False}
    entries = {"head": (0, HEAD), "hand": (0, HAND), "rocks": (4, ROCKS)}
    together = MultiTracker(model, settings=settings)
    alone: dict[int | str, Tracker] = {target: Tracker(models("lite")[1], settings=settings) for target in entries}
    most = 0
    for i, frame in enumerate(clip()):
        there = [target for target, (start, _) in entries.items() if start < i]
        expected: dict[int | str, Result] = {target: alone[target].update(frame) for target in there}
        searched.rows, located.rows = [], []
        results = together.update(frame)
        assert located.rows == searched.rows and sum(searched.rows) == len(expected)  # contexts of each size at once
        most = max([most, *located.rows])
        for target, result in results.items():
            assert result.box == pytest.approx(expected[target].box, rel=0, abs=1e-3), f"{target}, frame {i}"
            assert result.score == pytest.approx(expected[target].score, abs=1e-4)
            follow_the_same(together._trackers[target], alone[target])
        for target, (start, box) in entries.items():
            if start == i:
                together.add(frame, box, target)
                alone[target].init(frame, box)
    assert most >= 2
    assert all(tracker.started.w_target.any() for tracker in alone.values())


def test_a_model_of_responses_alone_goes_without_batches_of_its_head():
    _, model = models("lite-no-meta")
    together, alone = MultiTracker(model), Tracker(model)
    for box in (HEAD, ROCKS):
        together.add(clip()[0], box)
    alone.init(clip()[0], ROCKS)
    np.testing.assert_allclose(together.update(clip()[1])[2].box, alone.update(clip()[1]).box, rtol=0, atol=1e-3)


def test_arguments_are_checked():
    bundle = open_bundle("lite-no-meta")
    with pytest.raises(ValueError, match="unknown device 'gpu'; there are auto, cuda, cpu"):
        build_model(bundle, engine="torch", device="gpu")
    with pytest.raises(ValueError, match="engine 'torch' has no precision 'int8': use float32, float16, bfloat16 or auto"):
        build_model(bundle, precision="int8", engine="torch")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="sees no GPU.*use device 'cpu'"):
            build_model(bundle, engine="torch", device="cuda")
        assert load_model("lite-no-meta", 1, engine="torch").precision == "float32"  # 'auto'


@pytest.mark.parametrize("package", ["torch", "onnx"])
def test_without_the_extra_it_says_what_to_install(monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    for module in ("torch_graph", "torch_weights"):
        monkeypatch.delitem(sys.modules, f"metatrack.runtime.{module}", raising=False)
    with pytest.raises(ModuleNotFoundError, match=rf"needs {package}, .*pip install 'metatrack\[train\]'") as caught:
        build_model(open_bundle("lite"), engine="torch")
    assert caught.value.name == package


def test_the_benchmark_has_rows_for_it(monkeypatch):
    """Its lines and their shares, with a CPU in the place of the card."""
    from benchmarks import gpu
    from benchmarks.options import Options
    from benchmarks.page import Table

    peak = gpu.card_peak
    monkeypatch.setattr(gpu, "engines", lambda name, threads: ({gpu.TORCH_GPU: models("lite")[1]}, ["no provider"]))
    monkeypatch.setattr(gpu, "card_peak", lambda: peak("cpu", 256))
    monkeypatch.setattr(gpu, "TARGETS", (1, 2))
    monkeypatch.setattr(gpu, "FRAMES", 2)
    monkeypatch.setattr(gpu, "WARM", 2)
    monkeypatch.setattr("benchmarks.peaks.SECONDS", 0.0)
    note, _, table = gpu.measure(Options(models="lite", frames=3, rounds=1, target_frames=1, threads=1)).body
    assert note == "Not measured: no provider" and isinstance(table, Table)
    assert [row[0] for row in table.rows] == [
        "one target, onnxruntime, CPU",
        "one target, torch, GPU",
        "2 targets, onnxruntime, CPU",
        "2 targets, torch, GPU",
        "one target, torch, GPU, networks alone",
        "2 targets, torch, GPU, networks alone",
    ]
    assert {len(row) for row in table.rows} == {len(table.columns)}
    for row in table.rows:
        rate, milliseconds = (float(row[i].replace(",", "")) for i in (1, 3))
        count = 1 if row[0].startswith("one") else 2
        assert milliseconds == pytest.approx(1000 * count / rate, rel=0.02)
        assert row[-1].endswith("%") == ("torch" in row[0])
