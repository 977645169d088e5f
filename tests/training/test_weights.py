"""Files of weights: averages, and what is said of a file that holds something else."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="training needs the train extra")

from metatrack.app.export import training_facts  # noqa: E402
from metatrack.model.box import make_network  # noqa: E402
from metatrack.model.meta import MetaLearner  # noqa: E402
from metatrack.runtime.bundle import open_bundle  # noqa: E402
from metatrack.training.weights import (  # noqa: E402
    average_weights,
    load_matching,
    load_meta,
    new_network,
    provenance,
    update_average,
)


def write(path, seed, kernels=16):
    torch.manual_seed(seed)
    network = make_network("paper", kernels, boxes=False)
    config = {"trunk": "paper", "kernels": kernels}
    torch.save({"network": network.state_dict(), "config": config, "step": seed, "commit": "abc"}, path)
    return path


def test_the_mean_of_two_runs(tmp_path):
    a, b = write(tmp_path / "a.pt", 1), write(tmp_path / "b.pt", 2)
    out = average_weights((a, b), tmp_path / "new" / "mean.pt")
    first, second, mean = (load_matching(path) for path in (a, b, out))
    assert not mean.training
    assert torch.allclose(mean.last.conv.weight, (first.last.conv.weight + second.last.conv.weight) / 2)
    assert [run["step"] for run in torch.load(out, weights_only=True)["averaged"]] == [1, 2]


def test_the_mean_of_a_run_and_of_the_bundle_that_it_began_with(tmp_path):
    network = load_matching(Path("paper"))
    with torch.no_grad():
        network.last.conv.weight += 3
    config = {"trunk": "paper", "kernels": len(network.last.conv.weight), "iterations": 7}
    torch.save({"network": network.state_dict(), "config": config, "step": 7, "commit": "abc"}, tmp_path / "a.pt")
    out = average_weights((tmp_path / "a.pt", tmp_path / "a.pt", Path("paper")), tmp_path / "mean.pt")  # twice: two thirds
    shift = load_matching(out).last.conv.weight - load_matching(Path("paper")).last.conv.weight
    assert torch.allclose(shift, torch.full_like(shift, 2), atol=1e-5)
    content = torch.load(out, weights_only=True)
    assert content["config"]["iterations"] == 7
    assert content["averaged"][2]["config"] == {"trunk": "paper", "kernels": config["kernels"], "boxes": False}
    recorded = training_facts(tmp_path / "mean.pt", None)["matching"]["mean of"]
    assert recorded[0]["settings"]["iterations"] == 7
    assert recorded[2]["settings"] == open_bundle("paper").card["training"]["matching"]["settings"]


def test_what_a_run_began_with_travels_into_the_card(tmp_path):
    """A run from a mean of a bundle and a run, whose paths stay at home."""
    a = write(tmp_path / "a.pt", 1)
    assert provenance(a)["step"] == 1
    assert "network" not in provenance(a)
    shipped = provenance(Path("lite"))
    assert shipped["model"] == "lite" and shipped["commit"]
    mean = average_weights((a, a), tmp_path / "mean.pt")
    config = {"trunk": "paper", "kernels": 96, "mix": str(tmp_path / "mix.json"), "init": str(mean), "out": str(tmp_path)}
    torch.save({"network": {}, "config": config, "step": 9, "commit": "def", "began with": provenance(mean)}, tmp_path / "b.pt")
    found = training_facts(tmp_path / "b.pt", None)["matching"]
    assert found["settings"] == {"trunk": "paper", "kernels": 96, "mix": "mix.json"}
    assert [run["step"] for run in found["began with"]["mean of"]] == [1, 1]
    assert str(tmp_path) not in str(found)


def test_what_cannot_be_averaged(tmp_path):
    a, b = write(tmp_path / "a.pt", 1), write(tmp_path / "b.pt", 2, kernels=8)
    with pytest.raises(ValueError, match="two runs at least"):
        average_weights((a,), tmp_path / "mean.pt")
    with pytest.raises(ValueError, match=r"b\.pt holds a network of another form than .*a\.pt"):
        average_weights((a, b), tmp_path / "mean.pt")
    assert not (tmp_path / "mean.pt").exists()


@pytest.mark.parametrize("content", [b"", b"no weights", b"PK\x03\x04 nor a zip"])
def test_a_file_of_something_else_is_named_with_the_remedy(tmp_path, content):
    path = tmp_path / "x.pt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.pt is not a file of trained weights; give best\.pt .* train matching"):
        load_matching(path)


def test_weights_of_the_other_network_are_named(tmp_path):
    network = make_network("paper", 16, boxes=False)
    with pytest.raises(ValueError, match=r"a\.pt holds no learner; .* train meta"):
        load_meta(write(tmp_path / "a.pt", 1), network)
    learner = MetaLearner(network.trunk.channels, 8)
    torch.save({"learner": learner.state_dict(), "config": {}}, tmp_path / "meta.pt")
    with pytest.raises(ValueError, match=r"meta\.pt is not a meta-learner of this matching network"):
        load_meta(tmp_path / "meta.pt", network)


def test_a_network_starts_from_another_ones_weights(tmp_path):
    path = write(tmp_path / "a.pt", 1)
    start = load_matching(path)
    same, wider = (new_network("paper", kernels, False, None, path) for kernels in (16, 24))
    assert torch.equal(same.last.conv.weight, start.last.conv.weight)
    first = "trunk.layers.0.weight"
    assert torch.equal(wider.get_parameter(first), start.get_parameter(first))  # its last layer starts afresh
    with pytest.raises(ValueError, match=r"a\.pt holds the trunk 'paper', not 'lite'"):
        new_network("lite", 16, False, None, path)


def test_a_mobile_trunk_asks_for_its_weights():
    with pytest.raises(FileNotFoundError, match="give --nanotrack nanotrackv3/nanotrack_backbone.onnx .*, or --init"):
        new_network("mobile", 16, True, None, None)


def test_a_file_that_a_network_does_not_start_from_is_refused():
    other = Path("other")
    with pytest.raises(ValueError, match="--nanotrack is what trunk 'mobile' starts from where there is no --init; leave it out"):
        new_network("lite", 16, True, None, None, nanotrack=other)
    with pytest.raises(ValueError, match="--imagenet is what trunk 'lite' starts from"):
        new_network("mobile", 16, True, other, None)
    with pytest.raises(ValueError, match="--nanotrack is what trunk 'mobile' starts from"):
        new_network("mobile", 96, True, None, Path("mobile"), nanotrack=other)


def test_the_average_follows_and_forgets_its_start_first():
    average, network = torch.nn.BatchNorm2d(2), torch.nn.BatchNorm2d(2)
    average.weight.data.fill_(0.0)
    network.num_batches_tracked += 3
    update_average(average, network, 0.998, step=0)
    assert torch.allclose(average.weight, torch.full((2,), 0.9))  # a decay of 1/10 at the first step
    update_average(average, network, 0.5, step=1000)
    assert torch.allclose(average.weight, torch.full((2,), 0.95))
    assert average.num_batches_tracked == 3
