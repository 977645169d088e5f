"""Weights of a bundle as the start of a training: the network is the bundle's, and it learns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch needs the train extra")

from metatrack.model.polynomial import PolynomialLearner  # noqa: E402
from metatrack.runtime.bundle import open_bundle  # noqa: E402
from metatrack.runtime.torch_weights import networks_of, read_networks  # noqa: E402
from metatrack.training.weights import bundle_at, freeze_norms, load_matching, load_meta, new_network  # noqa: E402
from tests.conftest import torch_threads  # noqa: E402


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    with torch_threads(1):
        yield


@pytest.mark.parametrize("name", ["lite", "paper"])
def test_the_network_is_the_bundles(name) -> None:
    network: Any = load_matching(Path(name))  # with a box head or without
    folded = read_networks(open_bundle(name))
    assert torch.allclose(networks_of(network, None).readout.weight, folded.readout.weight, atol=1e-6)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(network.readout(), folded.readout, strict=True))
    patch = torch.from_numpy(np.random.default_rng(0).uniform(0, 255, (1, 3, 127, 127)).astype(np.float32))
    with torch.no_grad():
        assert torch.allclose(network.trunk.embed(patch), folded.trunk.embed(patch), atol=1e-3, rtol=1e-3)
        if folded.head is not None:
            draw = torch.Generator().manual_seed(1)
            agreement, search = torch.rand(1, 49, 29, 29, generator=draw), torch.rand(1, 128, 29, 29, generator=draw)
            size = torch.tensor([[40.0, 60.0]])
            for ours, theirs in zip(network.box(agreement, search, size), folded.head(agreement, search, size), strict=True):
                assert torch.allclose(ours, theirs, atol=1e-3, rtol=1e-3)


def test_frozen_norms_keep_the_network_what_it_is_in_training() -> None:
    network = new_network("lite", 96, True, None, Path("lite")).train()
    freeze_norms(network)
    patch = torch.rand(2, 3, 127, 127) * 255
    with torch.no_grad():
        training, before = network.last(network.trunk.embed(patch)), network.last.norm.running_mean.clone()
        assert torch.allclose(training, network.eval().last(network.trunk.embed(patch)), atol=1e-4)
    assert torch.equal(network.last.norm.running_mean, before)


def test_the_meta_learner_of_a_model_fits_its_network() -> None:
    network = load_matching(Path("lite"))
    learner = load_meta(Path("lite"), network)
    assert sum(p.numel() for p in learner.parameters()) > 0
    with pytest.raises(ValueError, match="has no meta-learner"):
        load_meta(Path("lite-no-meta"), load_matching(Path("lite-no-meta")))


def test_a_meta_learner_takes_the_kernels_of_a_network_that_was_trained_on() -> None:
    """A polynomial sees its matching network through W⁺; with that of the network as it was, its kernels answer to another."""
    network = load_matching(Path("lite"))
    shipped = load_meta(Path("lite"), network)
    noise = torch.randn(network.last.conv.weight.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        network.last.conv.weight.add_(0.05 * noise)
    learner, weight = load_meta(Path("lite"), network), network.readout().weight
    assert isinstance(shipped, PolynomialLearner) and isinstance(learner, PolynomialLearner)
    assert not torch.allclose(learner.inverse, shipped.inverse, atol=1e-3)
    assert torch.allclose(weight @ learner.inverse @ weight, weight, atol=0.05 * float(weight.abs().max()))


def test_what_cannot_be_a_start(tmp_path) -> None:
    with pytest.raises(ValueError, match="model lite has a box head, which would be dropped: add --boxes"):
        new_network("lite", 96, False, None, Path("lite"))
    with pytest.raises(ValueError, match="holds the trunk 'paper', not 'lite'"):
        new_network("lite", 96, True, None, Path("paper"))
    assert bundle_at(tmp_path) is None and bundle_at(tmp_path / "best.pt") is None
