"""Bundles: torch and onnxruntime agree, hashes are checked, damage is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from metatrack.runtime.bundle import Bundle, BundleError, open_bundle, shipped_models
from metatrack.runtime.load import build_model, load_model

torch = pytest.importorskip("torch", reason="export needs the train extra")

from metatrack.bundling.export import CardInfo, export_bundle  # noqa: E402
from metatrack.model.matching import MatchingNetwork  # noqa: E402
from metatrack.model.meta import MetaLearner, Support, adapted_response, loss_gradient  # noqa: E402
from tests.bundling.rounding import round_to_half  # noqa: E402

INFO = CardInfo("test", "random weights", "none", [], {})


@pytest.fixture(scope="module", params=["lite", "paper"])
def exported(request, tmp_path_factory):
    """A network with random weights and statistics, its meta-learner, and their bundle."""
    torch.manual_seed(3)
    network = MatchingNetwork(request.param).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    learner = MetaLearner().eval()
    round_to_half(network)
    round_to_half(learner)
    folder = export_bundle(network, learner, INFO, tmp_path_factory.mktemp("bundle") / request.param)
    return network, learner, folder


def test_torch_and_onnxruntime_agree(exported):
    network, learner, folder = exported
    model = build_model(open_bundle(folder))
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (2, 127, 127, 3), dtype=np.uint8)
    z = rng.integers(0, 256, (3, 255, 255, 3), dtype=np.uint8)
    template, search = model.template(x), model.search(z)
    readout = network.readout()
    with torch.no_grad():
        tx = network.trunk.template(torch.from_numpy(x).permute(0, 3, 1, 2).float())
        tz = network.trunk.search(torch.from_numpy(z).permute(0, 3, 1, 2).float())
        y = torch.where(torch.rand(4, 17, 17) > 0.9, 1.0, -1.0)
        support = torch.cat([tz, tz[:1]])
        w_target = learner(loss_gradient(tx[:1], Support(support[None], y[None]), readout))[0]
        kernels = model.adapt(template[:1], np.concatenate([search, search[:1]]), y.numpy())
        assert np.abs(kernels - w_target.numpy()).max() <= 1e-4
        for added in (kernels * 20, kernels[:0]):  # equations (4) and (1)
            expected = adapted_response(tx, tz, readout, torch.from_numpy(added)).numpy()
            response = model.match(template, search, added)
            assert response.shape == (3, 2, 17, 17)
            assert np.abs(response - expected).max() <= 1e-3


def test_a_bundle_describes_itself(exported):
    network, _, folder = exported
    card = json.loads((folder / "card.json").read_text())
    assert card["architecture"]["trunk"] == network.trunk_name
    assert card["architecture"]["stride"] == 8
    assert set(card["files"]) == {"embed.onnx", "match.onnx", "adapt.onnx"}
    assert "float_layers" not in card["architecture"]  # it says how the 8-bit trunk is made, and there is none
    assert not list(folder.parent.glob("tmp*"))  # nothing is left beside it


def test_damage_is_named(exported, tmp_path):
    folder = shutil.copytree(exported[2], tmp_path / "copy")
    content = bytearray((folder / "match.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "match.onnx").write_bytes(content)
    with pytest.raises(BundleError, match=r"match\.onnx is damaged"):
        open_bundle(folder)
    (folder / "match.onnx").unlink()
    with pytest.raises(BundleError, match=r"match\.onnx is missing"):
        open_bundle(folder)


def test_a_card_cannot_point_elsewhere(exported, tmp_path):
    """A hostile card that names a file outside its folder is refused, whatever the hash."""
    folder = shutil.copytree(exported[2], tmp_path / "copy")
    card = json.loads((folder / "card.json").read_text())
    card["files"]["../../outside.onnx"] = card["files"]["match.onnx"]
    (folder / "card.json").write_text(json.dumps(card))
    with pytest.raises(BundleError, match="incomplete"):
        open_bundle(folder)


def test_without_learner_there_is_no_adapt_graph(tmp_path):
    folder = export_bundle(MatchingNetwork("lite", kernels=128), None, INFO, tmp_path / "plain")
    model = build_model(open_bundle(folder))
    assert not model.can_adapt
    with pytest.raises(BundleError, match="adapt=False"):
        model.adapt(
            np.zeros((1, 128, 7, 7), np.float32), np.zeros((4, 128, 23, 23), np.float32), np.zeros((4, 17, 17), np.float32)
        )


def test_unknown_model_names_the_shipped():
    with pytest.raises(BundleError, match="shipped are .*lite"):
        load_model("nonsense")


@pytest.mark.parametrize(
    ("trunk", "stated", "expected"), [("lite", None, 1), ("paper", None, 0), ("lite", 0, 0), ("paper", 6, 6)]
)
def test_layers_in_float_of_older_cards(trunk, stated, expected):
    architecture = {"trunk": trunk} | ({} if stated is None else {"float_layers": stated})
    assert Bundle(Path(), "", {"architecture": architecture}).float_layers == expected


@pytest.mark.parametrize("name", shipped_models())
def test_shipped_models_are_whole(name):
    bundle = open_bundle(name)
    for key in ("licence", "data", "training", "calibration", "description"):
        assert bundle.card[key], f"the card of {name} lacks {key}"
    assert load_model(name) is load_model(name)  # loaded once, shared


def test_wheel_stays_under_60_mb():
    total = sum(f["bytes"] for name in shipped_models() for f in open_bundle(name).card["files"].values())
    assert 0 < total < 60e6
