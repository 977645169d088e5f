"""Features of targets, and a meta-learner trained on them, from pictures made here."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="training needs the train extra")

from tools.meta import features, learn  # noqa: E402

from metatrack.model.mixing import MixingLearner  # noqa: E402
from metatrack.runtime.bundle import open_bundle  # noqa: E402
from metatrack.runtime.load import load_model  # noqa: E402
from metatrack.runtime.torch_weights import read_networks  # noqa: E402

from .conftest import Scene  # noqa: E402


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


def test_what_is_kept_is_what_the_tracker_sees(made):
    """The kept sums of equation (1) and the 8-bit features give the model's response."""
    readout = read_networks(open_bundle("lite")).readout
    kept = learn.Features(made / "features", readout)
    batch = kept.batch(np.arange(len(kept.places)), np.random.default_rng(0))
    plain = learn.response(batch, readout, None)
    model = load_model("lite", 1, "float32")
    n, q = plain.shape[:2]
    again = [
        model.locate(
            np.repeat(batch.template[i : i + 1].numpy(), q, 0),
            np.zeros((q, 128, 7, 7), np.float32),
            batch.search[i].numpy(),
            np.zeros((q, 0, 128), np.float32),
            np.full((q, 2), 60, np.float32),
        ).response
        for i in range(n)
    ]
    assert np.abs(np.stack(again) - plain.numpy()).max() < 0.3  # 8 bits
    none = learn.response(batch, readout, torch.zeros(n, 32, 128))
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
