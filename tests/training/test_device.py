"""Where a run's networks are. What needs a graphics card is checked where there is one."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="training needs the train extra")

from metatrack.model.box import BoxNetwork  # noqa: E402
from metatrack.training.loading import SampleSet, moved  # noqa: E402
from metatrack.training.matching import MatchingConfig, MatchingTraining, box_head_losses, train_matching  # noqa: E402
from metatrack.training.meta import Episode, MetaConfig, train_meta  # noqa: E402
from metatrack.training.mix import load_mix  # noqa: E402
from metatrack.training.precision import Precision, choose_device, choose_precision  # noqa: E402
from metatrack.training.sampling import BoxPair, PairSampler  # noqa: E402
from metatrack.training.weights import new_network, read_content  # noqa: E402

card = pytest.mark.skipif(not torch.cuda.is_available(), reason="no graphics card that CUDA knows")
META = "meta"  # torch's device without memory: tensors on it show that they were moved


def config(data, out, **settings):
    mixes = {"mix": data / "train.json", "val_mix": data / "val.json"}
    common = dict(boxes=True, init=Path("lite"), iterations=4, batch=4, validate_every=2, val_clips=1, workers=0)
    return MatchingConfig(**{"out": out, **mixes, **common, **settings})


def test_a_batch_moves_whole_and_keeps_its_form():
    pair = BoxPair(*(torch.ones(2) for _ in BoxPair._fields))
    assert all(there is part for there, part in zip(moved(pair, "cpu"), pair, strict=True))
    found = moved(pair, META)
    assert type(found) is BoxPair and all(part.device.type == META for part in found)
    (episode,) = moved([Episode(3, *(torch.ones(2) for _ in range(3)))], META)
    assert episode.clip == 3 and episode.noise.device.type == META


def test_the_device_is_what_was_asked_for(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == choose_device("cpu") == "cpu"
    with pytest.raises(ValueError, match="no graphics card through CUDA here; use --device cpu"):
        choose_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto") == choose_device("cuda") == "cuda"
    assert choose_device("cpu") == "cpu"


@pytest.mark.parametrize(
    ("asked", "began", "name"),
    [
        ("auto", None, "bfloat16"),
        ("float32", None, "float32"),
        ("auto", "float32", "float32"),
        ("bfloat16", "float32", "bfloat16"),
    ],
)
def test_a_card_takes_bfloat16_unless_told_otherwise(asked, began, name):
    chosen = choose_precision(asked, began, "cuda")
    assert (chosen.name, chosen.device) == (name, "cuda")
    assert (chosen.on_cpu().name, chosen.on_cpu().device) == ("float32", "cpu")


def test_the_whole_trunk_is_trained_where_asked(data, tmp_path):
    float32 = Precision("float32", "as asked")
    usual = MatchingTraining(config(data, tmp_path), float32)
    whole = MatchingTraining(config(data, tmp_path, whole_trunk=True), float32)
    assert not usual.network.get_parameter("trunk.stem.weight").requires_grad
    assert all(p.requires_grad for p in whole.network.parameters())
    held = {id(p) for group in whole.optimizer.param_groups for p in group["params"]}
    assert held == {id(p) for p in whole.network.parameters()}
    assert id(whole.network.get_parameter("trunk.stem.weight")) in {id(p) for p in whole.optimizer.param_groups[1]["params"]}
    with pytest.raises(ValueError, match="set one of them"):
        MatchingTraining(config(data, tmp_path, whole_trunk=True, freeze_trunk=True), float32)


@card
def test_a_card_finds_the_processors_losses(data):
    sampler = PairSampler(load_mix(data / "train.json"), 1)
    batch = torch.utils.data.default_collate([SampleSet(sampler.box_pair, 0, 8)[i] for i in range(8)])
    settings = config(data, data)
    found = []
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    for device in ("cpu", "cuda"):
        network = new_network("lite", 96, True, None, Path("lite")).eval().to(device)
        assert isinstance(network, BoxNetwork)
        losses = box_head_losses(network, moved(batch, device), settings, Precision("float32", "", device))
        found.append({name: value.item() for name, value in losses.items()})
    assert all(math.isclose(found[1][name], value, rel_tol=2e-3) for name, value in found[0].items()), found


@card
def test_both_trainings_run_on_a_card_and_leave_files_for_any_machine(data, tmp_path):
    two = config(data, tmp_path / "matching", device="cuda", whole_trunk=True)
    assert not train_matching(two, lambda: True).finished
    assert train_matching(two).finished
    few = dict(iterations=4, batch=2, validate_every=2, val_clips=1, workers=0, clips=4, contexts=6, device="cuda")
    meta = MetaConfig(matching=tmp_path / "matching" / "last.pt", mix=data / "val.json", out=tmp_path / "meta", **few)  # type: ignore[arg-type]
    assert train_meta(meta).finished
    for run, part in (("matching", "network"), ("meta", "learner")):
        content = torch.load(tmp_path / run / "last.pt", weights_only=True)
        assert {value.device.type for value in content[part].values()} == {"cpu"}
        assert read_content(tmp_path / run / "checkpoint.pt", "is damaged")["step"] == 4
