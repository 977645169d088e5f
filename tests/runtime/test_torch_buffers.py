"""Buffers of the torch engine: padding and sharing change no answer. What needs a GPU runs on a stand-in."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from threading import Lock
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from metatrack.runtime.bundle import open_bundle
from metatrack.runtime.model import Model
from tests.runtime.asked import agree, answers, in_torch, inputs, models, patches

torch = pytest.importorskip("torch", reason="the torch engine needs the train extra")
pytest.importorskip("onnx", reason="the torch engine needs the train extra")

from metatrack.runtime import torch_graph  # noqa: E402
from metatrack.runtime.torch_graph import CapturedSlot, Gpu, Place, TorchGraph, prepared, torch_graphs  # noqa: E402  # noqa: E402
from metatrack.runtime.torch_weights import read_networks  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")


class Padded(Place):
    """The CPU, with buffers that are kept and padded as on a GPU."""

    buckets = (1, 2, 4)

    def __init__(self) -> None:
        self.lock = Lock()


def test_rows_are_cut_padded_and_put_together():
    seen = []

    def double(crops):
        seen.append(tuple(crops.shape))
        return 2.0 * crops.flatten(1), crops.sum((1, 2, 3)).float()

    graph = TorchGraph("embed", double, Padded())
    rng = np.random.default_rng(0)
    for count, sizes in ((1, [1]), (2, [2]), (3, [4]), (4, [4]), (7, [4, 4]), (9, [4, 4, 1]), (3, [4]), (5, [4, 1])):
        crops = rng.integers(0, 256, (count, 2, 2, 3), dtype=np.uint8)
        seen.clear()
        flat, sums = graph.run({"crops": crops})
        assert seen == [(size, 2, 2, 3) for size in sizes]
        np.testing.assert_array_equal(flat, 2.0 * crops.reshape(count, -1))
        np.testing.assert_array_equal(sums, crops.sum((1, 2, 3)))
    assert len(graph.slots) == 3


def test_inputs_that_are_no_batch_are_passed_whole():
    graph = TorchGraph("match", lambda template, search, w_target: search * template.sum() + w_target.sum(), Padded())
    search = np.arange(6, dtype=np.float32).reshape(3, 2)
    (found,) = graph.run({"w_target": np.ones((5, 2), np.float32), "search": search, "template": np.ones((7, 1), np.float32)})
    np.testing.assert_array_equal(found, search * 7 + 10)
    assert list(graph.slots) == [((7, 1), (4, 2), (5, 2))]
    assert graph.run({"w_target": search[:, :1], "search": search, "template": search})[0].shape == (3, 2)


@pytest.mark.parametrize("name", ["lite", "lite-no-meta"])
def test_padding_changes_no_answer(name):
    _, plain = models(name)
    padded = in_torch(name)
    place = Padded()
    assert list(padded.graphs) == (["embed", "search", "locate", "adapt"] if name == "lite" else ["embed", "search", "match"])
    for graph in padded.graphs.values():
        graph.place = place  # type: ignore[attr-defined]
    given = inputs(plain)
    expected = answers(plain, given)
    for _ in range(2):  # the second time, the rows behind hold old values
        for key, value in answers(padded, given).items():
            agree(value, expected[key], 1e-5)
    agree(padded.search(patches(7, 255)), plain.search(patches(7, 255)), 1e-5)


def test_threads_may_share_a_model():
    """Buffers that all threads use: without the lock, they would overwrite each other's rows."""

    def slow(crops):
        first = crops.float()
        for _ in range(50):
            first = first.sin().asin()  # lets other threads in
        return crops.float() + 0 * first

    graph = TorchGraph("embed", slow, Padded())
    given = [np.full((1 + i % 4, 64, 64, 3), i, np.uint8) for i in range(64)]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda crops: graph.run({"crops": crops})[0], given))
    for crops, result in zip(given, results, strict=True):
        np.testing.assert_array_equal(result, crops)


class Recorded:
    """Stands in for a CUDA graph: replays a slot's function on its fixed buffers."""

    slot: CapturedSlot

    def replay(self) -> None:
        for output, value in zip(self.slot.outputs, self.slot._compute(self.slot.placed), strict=True):
            output.copy_(value)


class OnCpu(Gpu):
    """The GPU's place without one."""

    buckets: Any = (1, 2, 4)
    captures = 0

    def __init__(self) -> None:
        self.device, self.lock, self.pool = torch.device("cpu"), Lock(), None
        self.stream: Any = SimpleNamespace(wait_stream=lambda other: None, synchronize=lambda: None)

    def slot(self, function, shapes, dtypes):
        made = super().slot(function, shapes, dtypes)
        made.graph.slot = made  # type: ignore[attr-defined]
        self.captures += 1
        return made


@pytest.fixture
def no_cuda(monkeypatch):
    """What a capture asks of CUDA, as no-ops, and pages that are not pinned."""

    @contextmanager
    def graph(recorded, pool, stream, capture_error_mode):
        assert torch_graph.CAPTURING.locked()
        yield

    def empty(*shape, pin_memory=False, **options):
        return original(*shape, **options)

    original = torch.empty
    stream = SimpleNamespace(synchronize=lambda: None)
    cuda = SimpleNamespace(CUDAGraph=Recorded, graph=graph, device=nullcontext, stream=nullcontext, current_stream=lambda: stream)
    monkeypatch.setattr(torch, "cuda", cuda)
    monkeypatch.setattr(torch, "empty", empty)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: self.clone())
    # On one device, .to() would hand out the pinned buffer itself.
    monkeypatch.setattr(torch.Tensor, "to", lambda self, *a, **o: original_to(self, *a, **o).clone())


original_to = torch.Tensor.to


def test_captured_graphs_get_their_inputs_and_give_their_outputs(no_cuda):
    bundle, place = open_bundle("lite"), OnCpu()
    networks = prepared(read_networks(bundle), place, torch.float32)
    graphs = torch_graphs(networks, bundle.card["architecture"], place, torch.float32)
    model = Model(bundle.card, graphs, same_rows=True)
    theirs, _ = models("lite")
    given = inputs(theirs)
    expected = answers(theirs, given)
    for _ in range(2):
        for key, value in answers(model, given).items():
            agree(value, expected[key])
    # whole patches of the target; contexts of two sizes; the head, kernels or not; the meta-learner
    assert place.captures == 5
    agree(model.search(patches(6, 255)), theirs.search(patches(6, 255)))
    searched = graphs["search"]
    assert isinstance(searched, TorchGraph) and {shapes[0][0] for shapes in searched.slots} == {2, 4}
    assert place.captures == 6
