"""Both networks: shapes of section 3.2, equations (1) to (7), golden values."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

torch = pytest.importorskip("torch", reason="the networks need the train extra")

from onnx import TensorProto, helper  # noqa: E402
from torch import nn  # noqa: E402

from metatrack.bundling.quantise import embed_graph, read_bytes  # noqa: E402
from metatrack.model import meta  # noqa: E402
from metatrack.model.features import LiteTrunk, MobileTrunk, PaperTrunk, make_trunk  # noqa: E402
from metatrack.model.matching import (  # noqa: E402
    MatchingNetwork,
    Readout,
    correlate,
    label_map,
    logistic_loss,
    position_weights,
    project,
)
from metatrack.model.shifts import correlation, gather, products, scatter  # noqa: E402


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.mark.parametrize(("name", "cells"), [("paper", 8), ("lite", 7), ("mobile", 7)])
def test_shapes(name, cells):
    network = MatchingNetwork(name).eval()
    x, z = torch.rand(2, 3, 127, 127) * 255, torch.rand(2, 3, 255, 255) * 255
    with torch.no_grad():
        assert network.trunk.template(x).shape == (2, 128, cells, cells)
        assert network.trunk.search(z).shape == (2, 128, cells + 16, cells + 16)
        assert network(x, z).shape == (2, 2, 17, 17)


def test_paper_trunk_is_the_papers():
    convolutions = [m for m in PaperTrunk().modules() if isinstance(m, torch.nn.Conv2d)]
    assert [tuple(c.weight.shape) for c in convolutions] == [(96, 3, 11, 11), (192, 96, 5, 5), (256, 192, 3, 3), (128, 256, 3, 3)]
    network = MatchingNetwork("paper")
    assert tuple(network.last.conv.weight.shape) == (96, 128, 1, 1)
    weights = sum(p.numel() for c in [*convolutions, network.last.conv] for p in c.parameters())
    assert weights == 96 * 3 * 121 + 192 * 96 * 25 + 256 * 192 * 9 + 128 * 256 * 9 + 128 * 96  # 1.25 M, as in the notes


@pytest.mark.parametrize("name", ["paper", "lite", "mobile"])
def test_windows_are_centred_on_the_target(name):
    """What changes at the target's centre changes the middle of both windows, and not their rims alone."""
    trunk = make_trunk(name).eval()
    for embed, side in ((trunk.template, 127), (trunk.search, 255)):
        plain = torch.full((1, 3, side, side), 100.0)
        spot = plain.clone()
        middle = side // 2
        spot[..., middle - 2 : middle + 3, middle - 2 : middle + 3] = 250
        with torch.no_grad():
            change = (embed(spot) - embed(plain)).abs().sum((0, 1))
        cells = torch.arange(change.shape[-1]) - (change.shape[-1] - 1) / 2
        weight = change / change.sum()
        assert abs(float((weight.sum(0) * cells).sum())) < 0.6
        assert abs(float((weight.sum(1) * cells).sum())) < 0.6


def test_unknown_trunk():
    with pytest.raises(ValueError, match="there are 'paper', 'lite', 'mobile'"):
        make_trunk("resnet")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["paper", "lite"])
def test_response_follows_the_target(name):
    """The exemplar's own content, moved by whole cells in the context, moves the peak by as many cells."""
    network = MatchingNetwork(name).eval()
    scene = torch.rand(1, 3, 400, 400) * 255
    scene = torch.nn.functional.avg_pool2d(scene, 5, 1, 2)
    x = scene[..., 137:264, 137:264]
    for dx, dy in [(0, 0), (3, -2), (-4, 5)]:
        top, left = 73 - 8 * dy, 73 - 8 * dx
        with torch.no_grad():
            response = network(x, scene[..., top : top + 255, left : left + 255])[0, 0]
        row, column = divmod(int(response.argmax()), 17)
        assert (column - 8, row - 8) == (dx, dy)


@pytest.mark.parametrize("name", ["lite", "mobile"])
def test_training_leaves_frozen_layers_alone(name):
    trunk: Any = make_trunk(name)
    assert not any(p.requires_grad for p in trunk.stem.parameters())
    assert any(p.requires_grad for p in trunk.blocks[5].parameters())
    necks = [trunk.neck] if name == "lite" else [trunk.low, trunk.high]
    assert all(p.requires_grad for neck in necks for p in neck.parameters())
    filters = [block.depthwise for block in trunk.blocks if block.depthwise.weight.shape[-1] == 5]
    assert filters
    assert not any(p.requires_grad for layer in filters for p in layer.parameters())


@pytest.mark.parametrize("name", ["lite", "mobile"])
def test_fused_forward_equals_plain(name):
    """Without gradients the frozen layers run fused in oneDNN; the numbers must be those of the plain layers."""
    trunk = make_trunk(name).eval()
    images = torch.rand(1, 3, 127, 127) * 255
    with torch.no_grad():
        fused = trunk.embed(images)
    trunk.requires_grad_(True)
    plain = trunk.embed(images)
    assert torch.allclose(fused, plain, atol=1e-4)


class Backbone(nn.Module):
    """A mobile trunk as NanoTrack has it: of the last level alone."""

    def __init__(self, trunk):
        super().__init__()
        self.trunk = trunk

    def forward(self, images):
        return self.trunk.levels(images)[1]


def write_backbone(trunk, path):
    """A trunk's levels as an ONNX file, like NanoTrack's."""
    images = torch.rand(1, 3, 64, 64) * 255
    torch.onnx.export(Backbone(trunk).eval(), (images,), path, dynamo=True, verbose=False, optimize=False)


def test_a_mobile_trunk_takes_a_backbone_that_reads_bgr(tmp_path):
    given, images = MobileTrunk().eval(), torch.rand(1, 3, 64, 64) * 255
    path = tmp_path / "backbone.onnx"
    for name, parameter in given.blocks.named_parameters():
        if name.endswith("bias"):  # in squeeze and excitation so large that some channels count, and some do not
            torch.nn.init.normal_(parameter, std=2.0 if "excite" in name else 0.1)
    write_backbone(given, path)
    trunk = MobileTrunk().eval()
    with torch.no_grad():
        answer = given.levels(images)[1]
        assert not torch.allclose(trunk.levels(images.flip(1))[1], answer, atol=1e-3)
        trunk.load_nanotrack(path)
        assert torch.allclose(trunk.levels(images.flip(1))[1], answer, atol=1e-3)


def test_another_backbone_is_refused(tmp_path):
    path = tmp_path / "other.onnx"
    torch.onnx.export(torch.nn.Conv2d(3, 4, 3), (torch.rand(1, 3, 9, 9),), path, dynamo=True, verbose=False)
    with pytest.raises(ValueError, match=r"other\.onnx is not NanoTrack v3's backbone"):
        MobileTrunk().load_nanotrack(path)
    path.write_bytes(b"no graph at all")
    with pytest.raises(ValueError, match=r"other\.onnx is no ONNX file"):
        MobileTrunk().load_nanotrack(path)


def test_cosine_of_a_template_with_itself_is_one():
    phi = torch.randn(1, 16, 6, 6)
    assert correlate(phi, phi).item() == pytest.approx(1, abs=1e-5)
    assert correlate(phi, -3 * phi).item() == pytest.approx(-1, abs=1e-5)


def test_folded_last_layer():
    network = MatchingNetwork("paper")
    network.last.norm.running_mean.normal_()
    network.last.norm.running_var.uniform_(0.5, 2)
    network.eval()
    a = torch.randn(2, 128, 5, 5)
    assert torch.allclose(network.last(a), project(a, *network.last.folded()), atol=1e-4)


def test_labels():
    y = label_map(torch.tensor([[0.0, 0.0], [2.0, -3.0]]))
    assert y.shape == (2, 17, 17)
    assert int((y[0] > 0).sum()) == 13  # cells within 2 of the centre
    assert y[1, 8 - 3, 8 + 2] == 1  # row is y, column is x
    assert y[1, 8, 8] == -1
    assert set(y.unique().tolist()) == {-1.0, 1.0}


def test_logistic_loss_values():
    y = label_map(torch.zeros(1, 2))
    zero = torch.zeros(1, 17, 17)
    assert logistic_loss(zero, y, balanced=False).item() == pytest.approx(math.log(2), abs=1e-6)  # log(1 + e^0) everywhere
    assert logistic_loss(zero, y, balanced=True).item() == pytest.approx(math.log(2), abs=1e-6)
    all_on = torch.full((1, 17, 17), 3.0)
    wrong, right = math.log1p(math.exp(3)), math.log1p(math.exp(-3))
    assert logistic_loss(all_on, y, balanced=False).item() == pytest.approx((276 * wrong + 13 * right) / 289, rel=1e-5)
    assert logistic_loss(all_on, y, balanced=True).item() == pytest.approx((wrong + right) / 2, rel=1e-5)


def test_weights_sum_to_one():
    y = label_map(torch.tensor([[0.0, 0.0], [30.0, 0.0]]))  # the second target is outside: no positive position
    for balanced in (True, False):
        weights = position_weights(y, balanced)
        assert weights[0].sum().item() == pytest.approx(1)
        assert torch.isfinite(weights).all()


@pytest.mark.parametrize("k", [6, 8])
def test_gradient_in_closed_form_is_autograds(k):
    """Equation (2), for three targets with four contexts each, against automatic differentiation."""
    double = {"dtype": torch.float64}
    template, support = torch.randn(3, 128, k, k, **double), torch.randn(3, 4, 128, k + 16, k + 16, **double)
    weight, bias = torch.randn(96, 128, **double), torch.randn(96, **double)
    readout = Readout(weight, bias, torch.tensor(8.0, **double), torch.tensor(-3.0, **double))
    y = torch.stack([label_map(torch.rand(4, 2, **double) * 6 - 3) for _ in range(3)]).double()
    delta = meta.loss_gradient(template, meta.Support(support, y), readout)
    expected = meta.loss_gradient_by_autograd(template, meta.Support(support, y), readout)
    assert delta.shape == expected.shape == (3, 96, 128)
    for found, right in zip(delta, expected, strict=True):
        assert (found - right).abs().max() <= 1e-5 * right.abs().max()


def test_a_step_along_delta_lowers_the_loss():
    """It is the negative gradient, of the mean over the M contexts."""
    template, support = torch.randn(1, 128, 6, 6), torch.randn(1, 4, 128, 22, 22)
    readout = Readout(torch.randn(96, 128), torch.randn(96), torch.tensor(8.0), torch.tensor(-3.0))
    y = label_map(torch.rand(4, 2) * 6 - 3)

    def loss(weight):
        moved = readout._replace(weight=weight)
        response = meta.adapted_response(template, support[0], moved, torch.zeros(0, 128))[:, 0]
        return meta.adapted_loss(response, y)

    delta = meta.loss_gradient(template, meta.Support(support, y[None]), readout)[0]
    step = 1e-2 / delta.norm() ** 2
    assert loss(readout.weight) - loss(readout.weight + step * delta) == pytest.approx(1e-2, rel=0.1)


def test_meta_learner_is_the_papers():
    learner = meta.MetaLearner()
    linear = [m for m in learner.modules() if isinstance(m, torch.nn.Linear)]
    assert [(m.in_features, m.out_features) for m in linear] == [(128 * 96, 512), (512, 512), (512, 4096)]
    assert [m.p for m in learner.modules() if isinstance(m, torch.nn.Dropout)] == [0.3, 0.3]  # keep probability 0.7
    assert learner.eval()(torch.randn(2, 96, 128)).shape == (2, 32, 128)
    assert sum(p.numel() for p in learner.parameters()) == pytest.approx(8.66e6, rel=0.01)


def test_no_kernels_is_equation_one():
    network = MatchingNetwork("lite").eval()
    x, z = torch.rand(1, 3, 127, 127) * 255, torch.rand(1, 3, 255, 255) * 255
    with torch.no_grad():
        a, b = network.trunk.template(x), network.trunk.search(z)
        none = torch.zeros(0, 128)
        adapted = meta.adapted_response(a, b, network.readout(), none)
        assert torch.allclose(adapted, network(x, z), atol=1e-4)


def test_concatenation_is_equation_four():
    """96 + 32 kernels answer as one last layer of 128 kernels."""
    a, b = torch.randn(1, 128, 6, 6), torch.randn(2, 128, 22, 22)
    weight, bias, extra = torch.randn(96, 128), torch.randn(96), torch.randn(32, 128)
    gain, offset = torch.tensor(5.0), torch.tensor(-1.0)
    response = meta.adapted_response(a, b, Readout(weight, bias, gain, offset), extra)[:, 0]
    whole, biases = torch.cat([weight, extra]), torch.cat([bias, torch.zeros(32)])
    expected = gain * correlate(project(a, whole, biases), project(b, whole, biases))[:, 0] + offset
    assert torch.allclose(response, expected, atol=1e-5)


class TestShifts:
    def test_gathered_products_are_the_correlation(self):
        x, z = torch.randn(3, 5, 7, 7), torch.randn(3, 5, 29, 31)
        expected = torch.cat([torch.nn.functional.conv2d(z[i : i + 1], x[i : i + 1])[0] for i in range(3)])
        assert torch.allclose(gather(products(x, z)), expected, atol=1e-4)

    def test_correlation_of_few_is_the_convolution(self):
        x, z = torch.randn(3, 5, 8, 8), torch.randn(2, 5, 24, 24)
        assert torch.allclose(correlation(x, z), torch.nn.functional.conv2d(z, x), atol=1e-4)

    @pytest.mark.parametrize(("k", "r", "s"), [(7, 23, 23), (8, 17, 17), (3, 5, 9), (1, 4, 4)])
    def test_scatter_is_the_transpose_of_gather(self, k, r, s):
        dots, values = torch.randn(2, k * k, r + k - 1, s + k - 1), torch.randn(2, r, s)
        spread = scatter(values, k)
        assert torch.allclose((gather(dots) * values).sum(), (dots * spread).sum(), atol=1e-3)
        for u in (0, k - 1, k * k - 1):  # the map of cell u holds the values, moved by u, and nothing else
            y, x = divmod(u, k)
            assert torch.equal(spread[:, u, y : y + r, x : x + s], values)
            assert spread[:, u].count_nonzero() == values.count_nonzero()


def test_the_graph_that_is_quantised_says_what_the_trunk_says():
    trunk = LiteTrunk().eval()
    trunk.join_norm.running_mean.normal_()
    trunk.join_norm.running_var.uniform_(0.5, 2)
    crops = torch.randint(0, 256, (2, 127, 127, 3), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.allclose(embed_graph(trunk)(crops), trunk.embed(crops.permute(0, 3, 1, 2).float()), atol=1e-3)


def test_pixels_are_read_by_one_operator_exactly(tmp_path):
    ops = [
        helper.make_node("Transpose", ["crops"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["planes"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["floats", "mean"], ["centred"]),
        helper.make_node("Div", ["centred", "scale"], ["images"]),
    ]
    constants = [helper.make_tensor(name, TensorProto.FLOAT, [], [value]) for name, value in (("mean", 127), ("scale", 128))]
    ends = [
        helper.make_tensor_value_info("crops", TensorProto.UINT8, [1, 16, 16, 3]),
        helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 16, 16]),
    ]
    graph = helper.make_graph(ops, "pixels", ends[:1], ends[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    before = model.SerializeToString()
    read_bytes(model)
    assert [node.op_type for node in model.graph.node] == ["Transpose", "DequantizeLinear"]
    crops = np.arange(768, dtype=np.uint16).astype(np.uint8).reshape(1, 16, 16, 3)
    plain, read = (ort.InferenceSession(m).run(None, {"crops": crops})[0] for m in (before, model.SerializeToString()))
    assert np.array_equal(plain, read)
