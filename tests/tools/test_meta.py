"""Features of targets, and a meta-learner trained on them, from pictures made here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="training needs the train extra")

from tools.meta import carry, features, held, learn  # noqa: E402

from metatrack.bundling.learner import replace_learner  # noqa: E402
from metatrack.data.got10k import read_stills  # noqa: E402
from metatrack.model.learners import make_learner  # noqa: E402
from metatrack.model.matching import Readout  # noqa: E402
from metatrack.model.meta import MetaLearner  # noqa: E402
from metatrack.model.mixing import MixingLearner  # noqa: E402
from metatrack.model.polynomial import PolynomialLearner  # noqa: E402
from metatrack.runtime.bundle import open_bundle  # noqa: E402
from metatrack.runtime.load import load_model  # noqa: E402
from metatrack.runtime.torch_weights import read_networks  # noqa: E402
from tests.conftest import Scene  # noqa: E402


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Features of three kinds of targets: videos, cut-outs, and regions of photographs."""
    root = tmp_path_factory.mktemp("targets")
    rng = np.random.default_rng(0)
    for k in range(4):
        scene, folder = Scene(seed=k, length=8), root / "videos" / f"scene-{k}"
        folder.mkdir(parents=True)
        for i in range(8):
            Image.fromarray(scene.frame(i)).save(folder / f"{i + 1:08d}.jpg", quality=95)
        (folder / "groundtruth.txt").write_text("".join(",".join(map(str, scene.box(i))) + "\n" for i in range(8)))
    for name in ("photos", "cutouts"):
        (root / name).mkdir()
    for k in range(3):
        Image.fromarray(rng.integers(0, 255, (300, 320, 3), dtype=np.uint8)).save(root / "photos" / f"{k}.jpg")
        cutout = rng.integers(0, 255, (60, 50, 4), dtype=np.uint8)
        cutout[..., 3] = 255
        Image.fromarray(cutout, "RGBA").save(root / "cutouts" / f"{k}.png")
    entries = [{"name": "video", "kind": "video", "path": "videos"}, {"name": "cutout", "kind": "cutout", "path": "cutouts"}]
    (root / "list.json").write_text(json.dumps([*entries, {"name": "region", "kind": "region", "path": "photos", "most": 2}]))
    options = features.Options(list=root / "list.json", photographs=(root / "photos",), out=root / "features")
    features.main(options)
    (root / "val.json").write_text(json.dumps([{"name": "scenes", "root": "videos", "weight": 1}]))
    return root


def test_targets_of_every_kind_have_features(made):
    counts = {path.name: len(np.load(path)["template"]) for path in (made / "features").glob("train-*.npz")}
    assert counts == {"train-video-0000.npz": 4, "train-cutout-0000.npz": 3, "train-region-0000.npz": 2}


def test_processes_share_the_files_of_a_folder(made):
    """Two processes make together what one makes, each its own half."""
    given = {"list": made / "list.json", "photographs": (made / "photos",), "out": made / "halves", "parts": 2}
    features.main(features.Options(**given, part=0))
    assert len(list((made / "halves").glob("train-*.npz"))) == 1
    features.main(features.Options(**given, part=1))
    for path in (made / "features").glob("train-*.npz"):
        assert (made / "halves" / path.name).read_bytes() == path.read_bytes()


def test_what_is_kept_is_what_the_tracker_sees(made):
    """The kept sums of equation (1) and the 8-bit features give the model's response."""
    readout = read_networks(open_bundle("lite")).readout
    kept = learn.Features(made / "features", readout)
    batch = kept.batch(np.arange(len(kept.places)), np.random.default_rng(0))
    plain = learn.response(batch, readout, None)[:, :, 0]
    model = load_model("lite", 1, "float32")
    n, q = plain.shape[:2]
    again = [
        model.locate(
            np.repeat(batch.template[i].numpy(), q, 0),
            np.zeros((q, 128, 7, 7), np.float32),
            batch.search[i].numpy(),
            np.zeros((q, 0, 128), np.float32),
            np.full((q, 2), 60, np.float32),
        ).response
        for i in range(n)
    ]
    assert np.abs(np.stack(again) - plain.numpy()).max() < 0.3  # 8 bits
    none = learn.response(batch, readout, torch.zeros(n, 32, 128))[:, :, 0]
    assert torch.allclose(plain, none, atol=1e-5)


def test_training_goes_on_and_its_bundle_differs_in_the_meta_learner_alone(made, capsys):
    def options(name, **changes):
        common = {"features": made / "features", "val_mix": made / "val.json", "iterations": 3, "batch": 3}
        return learn.Options(out=made / name, **{**common, **changes})

    learn.main(options("first"))
    assert "own kernels better" in capsys.readouterr().out
    learn.main(options("first"))  # from the checkpoint after the last batch
    assert "batch 3 of" not in capsys.readouterr().out
    old, new = open_bundle("lite"), open_bundle(made / "first")
    for name in old.card["files"]:
        same = (old.folder / name).read_bytes() == (new.folder / name).read_bytes()
        assert same == (name != "adapt.onnx")
    learner = read_networks(new).learner
    assert isinstance(learner, MixingLearner)
    assert new.card["adaptation"]["targets"] == 4
    assert new.card["training"]["matching"] == old.card["training"]["matching"]


def test_a_search_over_scales_has_templates_at_three(made):
    """What is kept of each of them gives the response that the tracker has with it."""
    entries = [{"name": "video", "kind": "video", "path": "videos", "most": 2}]
    (made / "paper.json").write_text(json.dumps([*entries, {**entries[0], "name": "held", "held_out": True}]))
    out = made / "features-paper"
    features.main(features.Options(list=made / "paper.json", photographs=(made / "photos",), out=out, model="paper"))
    readout = read_networks(open_bundle("paper")).readout
    kept = learn.Features(out, readout)
    batch = kept.batch(np.arange(2), np.random.default_rng(0))
    assert batch.template.shape[:2] == (2, 3)
    plain, model = learn.response(batch, readout, None), load_model("paper", 1, "float32")
    for i in range(2):
        again = model.match(batch.template[i].numpy(), batch.search[i].numpy(), model.no_kernels)
        assert np.abs(again - plain[i].numpy()).max() < 0.3  # 8 bits
    options = learn.Options(features=out, val_mix=made / "val.json", out=made / "unused")
    alike = batch._replace(dots=batch.dots[:, :, :1].expand(-1, -1, 3, -1, -1), energy_x=batch.energy_x[:, :1].expand(-1, 3))
    right, wrong = (learn.losses(learn.response(each, readout, None), each, options, True).mean() for each in (batch, alike))
    assert right < wrong  # templates that are all alike tell no scales apart
    learner = learn.new_learner(kept, "polynomial")
    loss = learn.objective(learner, batch, readout, learn.Options(**{**vars(options), "failing": 3.0, "level": 1.0}), 1)
    loss.backward()
    assert all(torch.isfinite(each.grad).all() for each in learner.parameters())
    found = learn.measured(learner.eval(), learn.Features(out, readout, "held"), options)
    assert found["targets"] == 2
    assert 0 <= found["fails_without"][0] <= 1


def test_the_printed_form_is_trained_with_delta_at_its_measured_size_and_a_bound_on_its_energy(made):
    options = learn.Options(
        features=made / "features",
        val_mix=made / "val.json",
        out=made / "printed",
        form="printed",
        energy=0.1,
        iterations=2,
        batch=3,
        probe=0,
    )
    learn.main(options)
    learner = read_networks(open_bundle(made / "printed")).learner
    assert isinstance(learner, MetaLearner) and learner.energy == 0.1
    kept = learn.Features(made / "features", read_networks(open_bundle("lite")).readout)
    deltas = torch.cat([torch.from_numpy(np.array(shard["delta"])).flatten() for shard in kept.shards])
    assert float(learner.delta_scale) == pytest.approx(float(deltas.square().mean().sqrt()), rel=0.3)  # the mean of means
    old, card = open_bundle("lite").card, open_bundle(made / "printed").card
    assert card["architecture"]["meta_learner"] == "printed" != old["architecture"]["meta_learner"]


def test_what_kernels_repair_and_break_is_counted(monkeypatch):
    """Of four contexts, the plain response fails in the first two; kernels repair one of them, and break one of the others."""
    grid, k = torch.zeros(1, 4, 23, 23), 2
    here, there = (11, 11), (3, 3)

    class Kept:
        places = [0]
        readout = Readout(torch.zeros(1, 1), torch.zeros(1), torch.tensor(1.0), torch.tensor(0.0))

        def batch(self, chosen, rng):
            empty = torch.zeros
            plain = self.scores(first=(there, there, here, here))
            place = empty(1, 4, 2)
            return learn.Batch(
                empty(1, 1, 1, k, k),
                empty(1, 1, 1),
                empty(1, 4, 1, 24, 24),
                empty(1, 4, 1, 23, 23),
                empty(1, 1),
                empty(1, 4, 23, 23),
                plain,
                place,
            )

        def scores(self, first):
            maps = grid.clone()
            for i, (row, column) in enumerate(first):
                maps[0, i, row, column] = 5
            return maps

    def told(batch, readout, w_target):
        found = torch.zeros(1, 4, 1, 23, 23)
        if w_target is not None:
            found[0, 0, 0, here[0], here[1]] = 9
            found[0, 2, 0, there[0], there[1]] = 9
        return found

    def bank(delta):
        return torch.ones(1, 32, 1)

    double: Any = bank
    double.balanced, double.energy = True, 0.24
    kept: Any = Kept()
    monkeypatch.setattr(learn, "response", told)
    result = learn.measured(double, kept, learn.Options(Path(), Path(), Path()))
    assert (result["fails_without"][0], result["fails_with"][0]) == (0.5, 0.5)
    assert (result["repaired"][0], result["broken"][0]) == (0.5, 0.5)
    assert result["level"][0] == pytest.approx((9 + 0 + 0 + 0) / 4)


def test_the_largest_segment_that_could_be_a_target_is_held_out(tmp_path):
    savemat = pytest.importorskip("scipy.io").savemat
    labels = np.zeros((200, 300), np.uint16)
    labels[20:60, 30:80] = 1
    labels[100:160, 100:170] = 2  # larger
    labels[0:190, 200:300] = 3  # touches the border
    labels[150:152, 20:90] = 4  # a line
    assert held.target_box(labels) == (100, 100, 70, 60)
    assert held.target_box(np.zeros((50, 50), int)) is None
    for part in ("images", "groundTruth"):
        (tmp_path / part / "val").mkdir(parents=True)
    drawn = np.empty((1, 1), object)
    drawn[0, 0] = {"Segmentation": labels}
    savemat(tmp_path / "groundTruth" / "val" / "a.mat", {"groundTruth": drawn})
    Image.fromarray(np.zeros((200, 300, 3), np.uint8)).save(tmp_path / "images" / "val" / "a.jpg")
    held.main(held.HeldOptions(segments=tmp_path, out=tmp_path / "held"))
    (still,) = read_stills(tmp_path / "held")
    assert still.boxes.tolist() == [[100, 100, 70, 60]]


@pytest.mark.parametrize("form", ["mixing", "polynomial"])
def test_a_bundle_gives_the_meta_learner_back(form, tmp_path):
    torch.manual_seed(0)
    bundle, learner = open_bundle("lite"), make_learner(form, 128, 96)
    for parameter in learner.parameters():
        parameter.data += 0.01 * torch.randn_like(parameter)
    replace_learner(bundle, learner.eval(), {"training": {}, "adaptation": {"sentence": ""}}, tmp_path / "made")
    again = read_networks(open_bundle(tmp_path / "made")).learner.state_dict()
    for name, value in learner.state_dict().items():
        assert torch.allclose(again[name], value, rtol=1e-3, atol=1e-3), name  # matrices are kept in half precision


def test_a_meta_learner_is_carried_over_to_another_matching_network(made):
    """The learnt weights are the other bundle's, W⁺ is of the network at hand; a learner of another form is refused."""
    torch.manual_seed(0)
    network = read_networks(open_bundle("lite")).readout.weight
    learner = PolynomialLearner(128, 96, network + 0.1 * torch.randn_like(network))
    other = made / "other"
    replace_learner(open_bundle("lite"), learner.eval(), {"training": {}, "adaptation": {"sentence": ""}}, other)
    given = {"model": "lite", "val_mix": made / "val.json", "out": made / "carried", "probe": 2}
    carry.main(carry.CarryOptions(init=str(other), **given))
    bundle = open_bundle(made / "carried")
    found = read_networks(bundle).learner
    assert torch.allclose(found.out, learner.out, atol=1e-3)
    assert torch.allclose(found.inverse, PolynomialLearner(128, 96, network).inverse, atol=1e-2)
    assert bundle.card["adaptation"]["targets"] == 2
    with pytest.raises(ValueError, match="no PolynomialLearner"):
        learn.begin_with(learner, "paper")
