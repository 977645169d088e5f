"""What the torch engine reads off a bundle's graphs, and what a bundle that lacks something is told."""

from __future__ import annotations

import json
import shutil

import pytest

from metatrack import BundleError
from metatrack.runtime.bundle import open_bundle, sha256
from tests.runtime.asked import in_torch

pytest.importorskip("torch", reason="the torch engine needs the train extra")
onnx = pytest.importorskip("onnx", reason="the torch engine needs the train extra")

pytestmark = pytest.mark.usefixtures("one_thread")


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
        in_torch(folder)


def test_a_file_that_is_no_graph(copy):
    folder = copy("lite-no-meta", None, lambda card: None)
    (folder / "match.onnx").write_bytes(b"\x80\x04cposix\nsystem\n")  # the start of a pickle
    card = json.loads((folder / "card.json").read_text())
    card["files"]["match.onnx"]["sha256"] = sha256(folder / "match.onnx")
    (folder / "card.json").write_text(json.dumps(card))
    with pytest.raises(BundleError, match=r"match\.onnx.* it is no ONNX file"):
        in_torch(folder)
