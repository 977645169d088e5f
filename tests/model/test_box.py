"""The box head: its geometry, and its answers in the engines."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metatrack.arrays import Array
from metatrack.geometry import EXEMPLAR_SIZE, SEARCH_SIZE, Box, context_side, crop, to_center

CELLS, STRIDE = 23, 8

offsets = st.floats(-70, 70)
lengths = st.floats(25, 120)

torch = pytest.importorskip("torch", reason="the rest needs the train extra")

from metatrack.model.box import BoxNetwork, locate, parts, unit_cells  # noqa: E402
from metatrack.model.meta import adapted_response  # noqa: E402


class TestGeometry:
    def test_unit_cells_have_length_one(self):
        assert torch.allclose(unit_cells(torch.randn(2, 6, 4, 4)).norm(dim=1), torch.ones(2, 4, 4), atol=1e-3)

    @given(st.floats(20, 120), st.floats(20, 120))
    def test_parts_span_the_box_from_edge_to_edge(self, w, h):
        axis = torch.arange(15.0) * STRIDE  # the pixel of every cell
        image = torch.stack([axis[None, :].expand(15, 15), axis[:, None].expand(15, 15)])[None]
        seen = parts(image, torch.tensor([[w, h]]))
        line = torch.linspace(-0.5, 0.5, 7)
        assert torch.allclose(seen[0, 0, 3], (63 + w * line).clamp(0, 112), atol=1e-2)
        assert torch.allclose(seen[0, 1, :, 3], (63 + h * line).clamp(0, 112), atol=1e-2)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(3)
    network = BoxNetwork("lite").eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return network


def random_inputs(network, n=2):
    generator = torch.Generator().manual_seed(1)
    c, k = network.trunk.channels, network.trunk.template_cells
    s = k + network.response_cells - 1
    shapes = ((n, c, k, k), (n, c, 7, 7), (n, c, s, s))
    return [torch.randn(shape, generator=generator) for shape in shapes], torch.tensor([[60.0, 50.0]] * n)


def test_locate_answers_with_equation_4_and_kernels_of_zeros_change_nothing(network):
    (template, target, search), size = random_inputs(network)
    readout = network.readout()
    kernels = torch.randn(2, 32, network.trunk.channels) * 0.1
    with torch.no_grad():
        run = lambda w: locate(network.box, template, target, search, readout, w, size)  # noqa: E731
        for added in (kernels, kernels[:, :0]):
            response, _, sides = run(added)
            for i in range(2):
                expected = adapted_response(template[i : i + 1], search[i : i + 1], readout, added[i])[0, 0]
                assert torch.allclose(response[i], expected, atol=1e-3)
            assert (sides > 0).all()
        for padded, bare in zip(run(torch.zeros_like(kernels)), run(kernels[:, :0]), strict=True):
            assert torch.allclose(padded, bare, atol=1e-4)
        plain, adapted = run(kernels[:, :0]), run(kernels)
        # The head's correction does not depend on the kernels: the score moves by as much as the response.
        assert torch.allclose(adapted[1] - adapted[0], plain[1] - plain[0], atol=1e-4)


def test_a_trunk_of_another_window_has_no_box_head():
    with pytest.raises(ValueError, match="7 cells"):
        BoxNetwork("paper")


def noise_pairs(count):
    from metatrack.training.sampling import BoxPair

    rng = np.random.default_rng(0)
    pairs: list[BoxPair[Array]] = [
        BoxPair(
            rng.integers(0, 256, (127, 127, 3), dtype=np.uint8),
            rng.integers(0, 256, (SEARCH_SIZE, SEARCH_SIZE, 3), dtype=np.uint8),
            np.zeros(2, np.float32),
            rng.uniform(20, 100, 2).astype(np.float32),
            rng.uniform(20, 100, 2).astype(np.float32),
        )
        for _ in range(count)
    ]
    return pairs


@pytest.fixture(scope="module")
def bundle(network, tmp_path_factory):
    from metatrack.bundling.export import CardInfo, export_bundle
    from tests.bundling.rounding import round_to_half

    round_to_half(network)
    folder = tmp_path_factory.mktemp("bundle") / "box"
    return export_bundle(network, None, CardInfo("box", "random weights", "none", [], {}), folder, noise_pairs(4))


def test_of_a_mobile_network_the_head_alone_is_in_8_bits(tmp_path):
    from metatrack.bundling.export import CardInfo, export_bundle
    from metatrack.runtime.bundle import open_bundle
    from metatrack.runtime.load import build_model

    info = CardInfo("small", "random weights", "none", [], {})
    folder = export_bundle(BoxNetwork("mobile", 16).eval(), None, info, tmp_path / "small", noise_pairs(2))
    bundle = open_bundle(folder)
    assert set(bundle.card["files"]) == {"embed.onnx", "locate.onnx", "locate-int8.onnx"}
    assert "float_layers" not in bundle.card["architecture"]
    plain, small = (build_model(bundle, 1, precision) for precision in ("float32", "int8"))
    crops = noise_pairs(1)[0].search[None]
    assert np.array_equal(plain.search(crops), small.search(crops))


def test_the_bundle_answers_as_torch_does(network, bundle):
    from metatrack.runtime.bundle import open_bundle
    from metatrack.runtime.load import build_model
    from metatrack.training.precision import choose_precision
    from metatrack.training.validation import model_of

    own, theirs = build_model(open_bundle(bundle), precision="float32"), model_of(network, None, choose_precision("float32"))
    assert own.has_boxes and theirs.has_boxes
    rng = np.random.default_rng(2)
    crops = rng.integers(0, 256, (2, SEARCH_SIZE, SEARCH_SIZE, 3), dtype=np.uint8)
    patches = rng.integers(0, 256, (2, 127, 127, 3), dtype=np.uint8)
    size = np.array([[60, 50], [20, 110]], np.float32)
    (template, target), search = own.appearance(patches, size), own.search(crops)
    for a, b in zip(own.appearance(patches, size), theirs.appearance(patches, size), strict=True):
        assert np.abs(a - b).max() < 1e-3
    whole = network.trunk.embed(torch.from_numpy(patches).permute(0, 3, 1, 2).float())
    assert np.abs(target - parts(whole, torch.from_numpy(size)).detach().numpy()).max() < 1e-3
    assert np.array_equal(template, own.template(patches))
    for rows in (0, 32):
        kernels = rng.normal(size=(2, rows, own.channels)).astype(np.float32) * 0.05
        answers = [model.locate(template, target, search, kernels, size) for model in (own, theirs)]
        for a, b in zip(*answers, strict=True):
            assert a.shape == b.shape
            assert np.abs(a - b).max() < 0.05 * max(1.0, np.abs(b).max() / 10)


def test_in_8_bits_trunk_and_head_say_nearly_the_same(bundle):
    from metatrack.runtime.bundle import BundleError, open_bundle
    from metatrack.runtime.load import build_model
    from metatrack.runtime.processor import choose

    crops = np.random.default_rng(5).integers(0, 256, (2, SEARCH_SIZE, SEARCH_SIZE, 3), dtype=np.uint8)
    assert open_bundle(bundle).card["architecture"]["float_layers"] == 6
    plain, small = (build_model(open_bundle(bundle), precision=p) for p in ("float32", "int8"))
    a, b = plain.search(crops), small.search(crops)
    assert (a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b) > 0.9
    assert (small.precision, plain.precision) == ("int8", "float32")
    assert build_model(open_bundle(bundle)).precision == choose("onnxruntime", "auto", True).precision
    with pytest.raises(ValueError, match="float16"):
        build_model(open_bundle(bundle), precision="float16")
    bare = open_bundle(bundle)
    del bare.card["files"]["embed-int8.onnx"]
    small_head = build_model(bare, precision="int8")  # a trunk may have no version in 8 bits
    assert np.array_equal(small_head.search(crops), a)
    del bare.card["files"]["locate-int8.onnx"]
    with pytest.raises(BundleError, match="has nothing in 8 bits"):
        build_model(bare, precision="int8")


def test_the_shipped_head_in_8_bits_gives_the_same_boxes():
    from metatrack.runtime.bundle import open_bundle
    from metatrack.runtime.load import build_model
    from tests.conftest import Scene

    scene = Scene(0)
    plain, small = (build_model(open_bundle("lite"), precision=p) for p in ("float32", "int8"))
    center = to_center(Box(*scene.box(0)))
    side = context_side(center.w, center.h)
    patch = crop(scene.frame(0), center.cx, center.cy, side, EXEMPLAR_SIZE)[None]
    context = crop(scene.frame(1), center.cx, center.cy, side * SEARCH_SIZE / EXEMPLAR_SIZE, SEARCH_SIZE)[None]
    size = np.array([[center.w, center.h]], np.float32) * EXEMPLAR_SIZE / side
    own = (*plain.appearance(patch, size), plain.search(context), plain.no_kernels[None], size)
    first, second = plain.locate(*own), small.locate(*own)
    assert np.abs(first.response - second.response).max() < 1e-4  # equation (4) is not rounded
    place = np.unravel_index(first.logits[0].argmax(), first.logits[0].shape)
    assert 0 < abs(first.logits[0][place] - second.logits[0][place]) < 0.1
    assert np.abs(second.sides[0, :, place[0], place[1]] / first.sides[0, :, place[0], place[1]] - 1).max() < 0.03
