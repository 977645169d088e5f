"""The same graphs in other engines: what OpenVINO answers, in every precision, and what happens where an engine is missing."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnxruntime as ort
import pytest

from metatrack import Tracker
from metatrack.app import bench
from metatrack.app.problem import Problem
from metatrack.geometry import SEARCH_SIZE, iou
from metatrack.runtime.bundle import open_bundle
from metatrack.runtime.load import build_model
from tests.conftest import Scene


def test_without_the_package_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.delitem(sys.modules, "metatrack.runtime.openvino_graph", raising=False)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'metatrack\[openvino\]'"):
        build_model(open_bundle("lite"), engine="openvino")
    with pytest.raises(Problem, match="metatrack"):
        bench.run(bench.BenchOptions(engine="openvino", frames=2, repeats=1))


def test_unknown_engine_and_a_precision_that_it_has_not():
    with pytest.raises(ValueError, match="unknown engine 'tensorrt'; there are onnxruntime, cuda, openvino, torch"):
        build_model(open_bundle("lite"), engine="tensorrt")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="or engine openvino, torch"):
        build_model(open_bundle("lite"), precision="bfloat16")


def test_a_gpu_that_onnxruntime_cannot_use(monkeypatch):
    if "CUDAExecutionProvider" not in ort.get_available_providers():
        with pytest.raises(ValueError, match="pip install onnxruntime-gpu"):
            build_model(open_bundle("lite"), engine="cuda")
    # Where the provider is there and finds no GPU, onnxruntime falls back to the CPU without a word.
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
    monkeypatch.setattr(ort.InferenceSession, "get_providers", lambda _: ["CPUExecutionProvider"])
    with pytest.raises(ValueError, match="no GPU, no driver or no cuDNN"):
        build_model(open_bundle("lite"), engine="cuda")


class TestAnswers:
    openvino = pytest.importorskip("openvino", reason="an option: the openvino extra")

    @pytest.mark.parametrize("name", ["lite", "mobile", "paper", "lite-no-meta"])
    def test_of_every_graph_are_onnxruntimes(self, name):
        rng = np.random.default_rng(0)
        ours, theirs = (build_model(open_bundle(name), 1, "float32", engine) for engine in ("onnxruntime", "openvino"))
        assert theirs.engine == "openvino"
        frame = Scene(0).frame(0)
        patches = np.stack([frame[20 * i : 20 * i + 127, 30 : 30 + 127] for i in range(2)])
        contexts = rng.integers(0, 256, (3, SEARCH_SIZE, SEARCH_SIZE, 3), dtype=np.uint8)
        contexts[:, :240] = frame[:, :SEARCH_SIZE]
        sizes = np.array([[50, 40], [30, 70]], np.float32)
        template, search = ours.template(patches), ours.search(contexts)
        assert close(theirs.template(patches), template) and close(theirs.search(contexts), search)
        for rows in (0, 32):
            kernels = rng.normal(0, 0.05, (2, rows if ours.can_adapt else 0, ours.channels)).astype(np.float32)
            if ours.has_boxes:
                parts = ours.appearance(patches, sizes)[1]
                for small in (0, 8):
                    side = search.shape[-1] - small
                    own = (template, parts, np.ascontiguousarray(search[:2, :, :side, :side]), kernels, sizes)
                    for a, b in zip(theirs.locate(*own), ours.locate(*own), strict=True):
                        assert close(a, b)
            else:
                assert close(theirs.match(template, search, kernels[0]), ours.match(template, search, kernels[0]))
        if ours.can_adapt:
            support = np.repeat(search[:1], ours.support, axis=0)
            labels = np.where(rng.random((ours.support, ours.response_cells, ours.response_cells)) < 0.1, 1, -1)
            asked = (template[:1], support, labels.astype(np.float32))
            assert close(theirs.adapt(*asked), ours.adapt(*asked), 1e-2)

    @pytest.mark.parametrize("precision", ["auto", "int8", "bfloat16"])
    def test_a_tracker_follows_with_it(self, precision):
        scene = Scene(1)
        try:
            model = build_model(open_bundle("lite"), 1, precision, "openvino")
        except ValueError as error:
            assert precision == "bfloat16"
            pytest.skip(str(error))
        tracker = Tracker(model, settings={"update_interval": 8, "update_accepts": False})
        tracker.init(scene.frame(0), scene.box(0))
        overlaps = [float(iou(tracker.update(scene.frame(i)).box, scene.box(i))) for i in range(1, 24)]
        assert min(overlaps) > 0.5
        assert len(tracker.started.w_target) == 32

    def test_threads_may_share_a_model(self):
        model = build_model(open_bundle("lite"), 1, "float32", "openvino")

        def follow(seed):
            scene, tracker = Scene(seed), Tracker(model)
            tracker.init(scene.frame(0), scene.box(0))
            return [tracker.update(scene.frame(i)).box for i in range(1, 13)]

        alone = [follow(seed) for seed in range(4)]
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(follow, range(4))) == alone


def close(a, b, tolerance=2e-3):
    return a.shape == b.shape and np.abs(a - b).max() <= tolerance * np.abs(b).max()
