"""A new trunk under a trained box head: the head's batch norms get statistics again, and answer as before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from tools.graft import GraftOptions, main, measured, refresh  # noqa: E402

from metatrack.model.box import BoxHead  # noqa: E402
from metatrack.model.features import MobileTrunk  # noqa: E402
from metatrack.training.weights import load_matching, neutral  # noqa: E402
from tests.model.test_equations import write_backbone  # noqa: E402
from tests.training.conftest import write_split  # noqa: E402


def folded_head():
    torch.manual_seed(0)
    head = BoxHead(16).eval()
    for layer in head.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.load_state_dict(neutral(layer, torch.randn(layer.num_features)))
    return head


def inputs(n=4):
    return torch.randn(n, 49, 13, 13), torch.randn(n, 16, 13, 13), torch.rand(n, 2) * 60 + 30


def made_inputs(folder):
    """A mix of scenes, and a backbone with random weights."""
    write_split(folder, "train", 2, length=4)
    mix, backbone = folder / "mix.json", folder / "backbone.onnx"
    mix.write_text(json.dumps([{"name": "scenes", "root": ".", "split": "train", "weight": 1}]))
    write_backbone(MobileTrunk(), backbone)
    return mix, backbone


def test_batch_norms_get_statistics_and_answer_as_before():
    head, given = folded_head(), inputs()
    with torch.no_grad():
        before = head(*given)
        refresh(head, measured(head, lambda: head(*given)))
        after, training = head(*given), head.train()(*given)
    for a, b, c in zip(before, after, training, strict=True):
        assert torch.allclose(a, b, rtol=1e-3, atol=1e-3)
        assert torch.allclose(a, c, rtol=1e-2, atol=1e-2)  # with a batch's own statistics, too: now it may be trained
    neutral_again = folded_head().train()
    with torch.no_grad():
        assert not torch.allclose(neutral_again(*given)[0], before[0], rtol=1e-2, atol=1e-2)


def test_a_model_without_box_head_is_refused(tmp_path):
    mix, backbone = made_inputs(tmp_path)
    with pytest.raises(SystemExit, match="lite-no-meta has no box head"):
        main(GraftOptions(nanotrack=backbone, mix=mix, out=tmp_path / "x.pt", head=Path("lite-no-meta")))


def test_a_missing_file_is_named_in_one_line(tmp_path):
    mix, backbone = made_inputs(tmp_path)
    for changed in ({"nanotrack": tmp_path / "no.onnx"}, {"mix": tmp_path / "no.json"}, {"head": Path("nonsense")}):
        given = {"nanotrack": backbone, "mix": mix, "out": tmp_path / "x.pt"} | changed
        with pytest.raises(SystemExit, match=next(iter(changed.values())).name):
            main(GraftOptions(**given))


def test_the_new_network_has_the_old_head(tmp_path):
    (mix, backbone), out = made_inputs(tmp_path), tmp_path / "start.pt"
    main(GraftOptions(nanotrack=backbone, mix=mix, out=out, batches=1))
    made: Any = load_matching(out)
    lite: Any = load_matching(Path("lite"))
    assert made.trunk_name == "mobile"
    assert torch.equal(made.box.score[2].weight, lite.box.score[2].weight)
    assert not torch.equal(made.box.join[1].running_var, lite.box.join[1].running_var)
