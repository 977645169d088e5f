"""The torch engine: the answers of onnxruntime's, whatever is padded, batched or shared. What needs a GPU runs on a stand-in."""

from __future__ import annotations

import json
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from threading import Lock
from types import SimpleNamespace

import numpy as np
import pytest

import metatrack
from metatrack import BundleError, Model, MultiTracker, Tracker, open_source, shipped_models
from metatrack.geometry import crop
from metatrack.runtime.bundle import open_bundle, sha256

torch = pytest.importorskip("torch", reason="the torch engine needs the train extra")
onnx = pytest.importorskip("onnx", reason="the torch engine needs the train extra")

from metatrack.runtime.torch_engine import CapturedSlot, Gpu, Place, Session, TorchModel  # noqa: E402

from metatrack.runtime import torch_engine  # noqa: E402

DEMO = Path(metatrack.__file__).parent / "assets" / "demo.mp4"
HEAD, HAND, ROCKS = (185, 120, 69, 87), (80, 125, 50, 50), (395, 137, 177, 75)
MODELS = shipped_models()


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # on a busy machine, further threads would only wait
    yield
    torch.set_num_threads(before)


@lru_cache(maxsize=1)
def clip() -> tuple[np.ndarray, ...]:
    with open_source(DEMO, end=10) as source:
        return tuple(source)


def patches(count: int, size: int) -> np.ndarray:
    """Parts of the demo clip's frames, at several places and scales."""
    sides = (size * 0.8, size * 1.1, size * 0.6)
    return np.stack(
        [crop(clip()[i % 8], 120 + 60 * (i % 5), 150 + 7 * i, sides[i % 3], size, (90.0, 90.0, 90.0)) for i in range(count)]
    )


@lru_cache(maxsize=4)
def models(name: str, precision: str = "float32") -> tuple[Model, TorchModel]:
    return Model(open_bundle(name), 1, "float32"), TorchModel(name, "cpu", precision)


def inputs(model: Model) -> SimpleNamespace:
    """What a tracker would ask, from one engine's features, so that both are asked the same."""
    rng = np.random.default_rng(1)
    size = np.array([[60, 50], [20, 110], [64, 64]], np.float32)
    crops = patches(3, 127)
    template, parts = model.appearance(crops, size) if model.has_boxes else (model.template(crops), None)
    cells = model.response_cells
    return SimpleNamespace(
        size=size,
        template=template,
        parts=parts,
        search=model.search(patches(3, 255)),
        kernels=rng.normal(0, 0.05, (3, 32, model.channels)).astype(np.float32),
        labels=np.where(rng.random((4, cells, cells)) > 0.9, 1, -1).astype(np.float32),
    )


def near(answer: np.ndarray, expected: np.ndarray, share: float = 1e-4) -> None:
    assert answer.shape == expected.shape and answer.dtype == np.float32 and answer.flags.c_contiguous
    assert np.abs(expected).max() > 0
    assert np.abs(answer - expected).max() <= share * np.abs(expected).max()


def answers(model: Model, given: SimpleNamespace) -> dict[str, np.ndarray]:
    """All methods' answers."""
    found = {"template": model.template(patches(3, 127)), "search": model.search(patches(3, 255))}
    for rows in (0, 32):
        kernels = given.kernels[:, :rows]
        if model.has_boxes:
            found["look"], found["parts"] = model.appearance(patches(3, 127), given.size)
            maps = model.locate(given.template, given.parts, given.search, kernels, given.size)
            found.update({f"{name} {rows}": value for name, value in maps._asdict().items()})
            found["near"] = model.search(patches(2, 191))  # a smaller context has fewer cells
        else:
            found[f"match {rows}"] = model.match(given.template, given.search, kernels[0])
    if model.can_adapt:
        for shift in (0, 1):
            support = np.concatenate([given.search[shift:], given.search])[:4]
            found[f"adapt {shift}"] = model.adapt(given.template[:1], support, given.labels)
    return found


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
        near(found[key], value)
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
            near(found[key], value)  # of the same features, the meta-learner stays exact
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


def test_no_kernels_are_zeros_and_change_nothing():
    _, own = models("lite")
    given = inputs(own)
    assert own.no_kernels.shape == (32, own.channels) and not own.no_kernels.any()
    zeros = np.repeat(own.no_kernels[None], 3, axis=0)
    for some, none in zip(
        own.locate(given.template, given.parts, given.search, zeros, given.size),
        own.locate(given.template, given.parts, given.search, zeros[:, :0], given.size),
        strict=True,
    ):
        near(some, none, 1e-5)


def follow_the_same(own: Tracker, other: Tracker) -> None:
    """Lets both go on from the same place.

    Patches are rounded to bytes: places 1e-6 pixels apart give some other bytes, and fed back, 0.1 pixels after eight frames.
    """
    own.started.center = other.started.center


@pytest.mark.parametrize("name", ["lite", "lite-no-meta"])
def test_a_tracker_follows_as_with_onnxruntime(name):
    forced, free, theirs = (Tracker(models(name)[i], settings={"update_interval": 3}) for i in (1, 1, 0))
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


class Counting(TorchModel):
    """Notes how many targets it is asked about at once."""

    def __init__(self, *arguments) -> None:
        super().__init__(*arguments)
        self.searched: list[int] = []
        self.located: list[int] = []

    def search(self, crops):
        self.searched.append(len(crops))
        return super().search(crops)

    def locate(self, template, target, search, w_target, size):
        self.located.append(len(template))
        return super().locate(template, target, search, w_target, size)


@pytest.mark.parametrize("rows", [0, 32])
def test_targets_in_one_batch_are_told_what_each_is_told_alone(rows):
    """Whether unadapted targets have no kernels or such of zeros; one is adapted before the other is added."""
    model = Counting("lite", "cpu", "float32")
    model.no_kernels = np.zeros((rows, model.channels), np.float32)
    settings = {"update_interval": 3, "search_wider": False}
    entries = {"head": (0, HEAD), "hand": (0, HAND), "rocks": (4, ROCKS)}
    together = MultiTracker(model, settings=settings)
    alone = {target: Tracker(models("lite")[1], settings=settings) for target in entries}
    most = 0
    for i, frame in enumerate(clip()):
        expected = {target: alone[target].update(frame) for target, (start, _) in entries.items() if start < i}
        model.searched, model.located = [], []
        results = together.update(frame)
        assert model.located == model.searched and sum(model.searched) == len(expected)  # contexts of each size at once
        most = max([most, *model.located])
        for target, result in results.items():
            np.testing.assert_allclose(result.box, expected[target].box, rtol=0, atol=1e-3, err_msg=f"{target}, frame {i}")
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


# --- padding -------------------------------------------------------------------------------------------------------------------


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

    session = Session("embed", double, Padded())
    rng = np.random.default_rng(0)
    for count, sizes in ((1, [1]), (2, [2]), (3, [4]), (4, [4]), (7, [4, 4]), (9, [4, 4, 1]), (3, [4]), (5, [4, 1])):
        crops = rng.integers(0, 256, (count, 2, 2, 3), dtype=np.uint8)
        seen.clear()
        flat, sums = session.run(None, {"crops": crops})
        assert seen == [(size, 2, 2, 3) for size in sizes]
        np.testing.assert_array_equal(flat, 2.0 * crops.reshape(count, -1))
        np.testing.assert_array_equal(sums, crops.sum((1, 2, 3)))
    assert len(session.slots) == 3


def test_inputs_that_are_no_batch_are_passed_whole():
    session = Session("match", lambda template, search, w_target: search * template.sum() + w_target.sum(), Padded())
    search = np.arange(6, dtype=np.float32).reshape(3, 2)
    (found,) = session.run(
        None, {"w_target": np.ones((5, 2), np.float32), "search": search, "template": np.ones((7, 1), np.float32)}
    )
    np.testing.assert_array_equal(found, search * 7 + 10)
    assert list(session.slots) == [((7, 1), (4, 2), (5, 2))]
    assert session.run(None, {"w_target": search[:, :1], "search": search, "template": search})[0].shape == (3, 2)


@pytest.mark.parametrize("name", ["lite", "lite-no-meta"])
def test_padding_changes_no_answer(name):
    _, plain = models(name)
    padded = TorchModel(name, "cpu", "float32")
    place = Padded()
    sessions = [each for each in vars(padded).values() if isinstance(each, Session)]
    assert len(sessions) == (4 if name == "lite" else 3)
    for session in sessions:
        session.place = place
    given = inputs(plain)
    expected = answers(plain, given)
    for _ in range(2):  # the second time, the rows behind hold old values
        for key, value in answers(padded, given).items():
            near(value, expected[key], 1e-5)
    near(padded.search(patches(7, 255)), plain.search(patches(7, 255)), 1e-5)


def test_threads_may_share_a_model():
    """Buffers that all threads use: without the lock, they would overwrite each other's rows."""

    def slow(crops):
        first = crops.float()
        for _ in range(50):
            first = first.sin().asin()  # lets other threads in
        return crops.float() + 0 * first

    session = Session("embed", slow, Padded())
    given = [np.full((1 + i % 4, 64, 64, 3), i, np.uint8) for i in range(64)]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda crops: session.run(None, {"crops": crops})[0], given))
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

    buckets = (1, 2, 4)
    captures = 0

    def __init__(self) -> None:
        self.device, self.lock, self.pool = torch.device("cpu"), Lock(), None
        self.stream = SimpleNamespace(wait_stream=lambda other: None, synchronize=lambda: None)

    def slot(self, function, shapes, dtypes):
        made = super().slot(function, shapes, dtypes)
        made.graph.slot = made
        self.captures += 1
        return made


@pytest.fixture
def no_cuda(monkeypatch):
    """What a capture asks of CUDA, as no-ops, and pages that are not pinned."""

    @contextmanager
    def graph(recorded, pool, stream, capture_error_mode):
        assert torch_engine.CAPTURING.locked()
        yield

    def empty(*shape, pin_memory=False, **options):
        return original(*shape, **options)

    original = torch.empty
    stream = SimpleNamespace(synchronize=lambda: None)
    cuda = SimpleNamespace(CUDAGraph=Recorded, graph=graph, device=nullcontext, stream=nullcontext, current_stream=lambda: stream)
    monkeypatch.setattr(torch_engine.torch, "cuda", cuda)
    monkeypatch.setattr(torch_engine.torch, "empty", empty)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: self.clone())
    # On one device, .to() would hand out the pinned buffer itself.
    monkeypatch.setattr(torch.Tensor, "to", lambda self, *a, **o: original_to(self, *a, **o).clone())


original_to = torch.Tensor.to


def test_captured_graphs_get_their_inputs_and_give_their_outputs(no_cuda):
    model = TorchModel.__new__(TorchModel)
    bundle = open_bundle("lite")
    model._describe(bundle.card)
    place = OnCpu()
    model._take(torch_engine.read_networks(bundle), place, torch.float32)
    theirs, _ = models("lite")
    given = inputs(theirs)
    expected = answers(theirs, given)
    for _ in range(2):
        for key, value in answers(model, given).items():
            near(value, expected[key])
    # whole patches of the target; contexts of two sizes; the head without and with kernels; the meta-learner
    assert place.captures == 6
    near(model.search(patches(6, 255)), theirs.search(patches(6, 255)))
    assert place.captures == 7 and {shapes[0][0] for shapes in model._search.slots} == {2, 4}


# --- what is refused -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def copy(tmp_path):
    """A bundle's copy, whose files and card can be changed: graph file or None, change -> the folder."""

    def change(name, file, edit):
        folder = shutil.copytree(open_bundle(name).folder, tmp_path / "copy", dirs_exist_ok=True)
        card = json.loads((folder / "card.json").read_text())
        if file is None:
            edit(card)
        else:
            model = onnx.load(folder / file)
            edit(model.graph)
            (folder / file).write_bytes(model.SerializeToString())
            card["files"][file]["sha256"] = sha256(folder / file)
        (folder / "card.json").write_text(json.dumps(card))
        return folder

    return change


def without(*names):
    def edit(graph):
        kept = [tensor for tensor in graph.initializer if tensor.name.removesuffix("_half") not in names]
        assert len(graph.initializer) - len(kept) == len(names)
        del graph.initializer[:]
        graph.initializer.extend(kept)

    return edit


def scaled(name):
    def edit(graph):
        (tensor,) = (tensor for tensor in graph.initializer if tensor.name.removesuffix("_half") == name)
        tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor) * 2, tensor.name))

    return edit


CASES = {
    "a parameter": ("lite-no-meta", "embed.onnx", without("trunk.stem.bias"), r"embed\.onnx lacks trunk\.stem\.bias \[32\]:"),
    "many": (
        "lite-no-meta",
        "embed.onnx",
        without(*(f"trunk.blocks.{i}.project.bias" for i in range(5))),
        r"lacks trunk.blocks.0.project.bias .*, trunk.blocks.2.project.bias \[24\] and 2 more",
    ),
    "a folded bias": ("paper", "embed.onnx", without("trunk.layers.4.weight_bias"), r"lacks trunk\.layers\.4\.bias \[192\]"),
    "a scalar": ("lite-no-meta", "match.onnx", without("gain"), r"match\.onnx lacks gain \[\]"),
    "kernels": ("lite-no-meta", None, lambda card: card["architecture"].update(kernels=96), r"lacks weight \[96, 128\]"),
    "the card's trunk": ("lite-no-meta", None, lambda card: card["architecture"].pop("trunk"), "architecture lacks trunk"),
    "a graph": ("lite-no-meta", None, lambda card: card["files"].pop("embed.onnx"), "no graph 'embed' in float"),
    "another's learner": ("paper", "adapt.onnx", scaled("weight"), r"adapt\.onnx belongs to another network than .*match\.onnx"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_a_bundle_lacks_is_named(case, copy):
    name, file, edit, message = CASES[case]
    folder = copy(name, file, edit)
    with pytest.raises(BundleError, match=message):
        TorchModel(folder, "cpu")


def test_a_file_that_is_no_graph(copy):
    folder = copy("lite-no-meta", None, lambda card: None)
    (folder / "match.onnx").write_bytes(b"\x80\x04cposix\nsystem\n")  # the start of a pickle
    card = json.loads((folder / "card.json").read_text())
    card["files"]["match.onnx"]["sha256"] = sha256(folder / "match.onnx")
    (folder / "card.json").write_text(json.dumps(card))
    with pytest.raises(BundleError, match=r"match\.onnx.* cannot read the graph"):
        TorchModel(folder, "cpu")


def test_arguments_are_checked():
    with pytest.raises(ValueError, match="unknown device 'gpu'; there are auto, cuda, cpu"):
        TorchModel("lite", "gpu")
    with pytest.raises(ValueError, match="unknown precision 'int8'; there are auto, float32"):
        TorchModel("lite", "cpu", "int8")
    with pytest.raises(BundleError, match="shipped are"):
        TorchModel("nonsense", "cpu")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="sees no GPU.*use device 'cpu'"):
            TorchModel("lite", "cuda")
        assert TorchModel(open_bundle("lite-no-meta")).precision == "float32"  # an opened bundle, and 'auto'


@pytest.mark.parametrize("package", ["torch", "onnx"])
def test_without_the_extra_it_says_what_to_install(monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, "metatrack.runtime.torch_engine")
    with pytest.raises(ModuleNotFoundError, match=rf"needs {package}, .*pip install 'metatrack\[train\]'") as caught:
        import_module("metatrack.runtime.torch_engine")
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
