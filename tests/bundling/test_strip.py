"""Notes of the exporter go, and nothing else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import metatrack
from metatrack.runtime.bundle import open_bundle
from metatrack.runtime.load import build_model

onnx = pytest.importorskip("onnx", reason="export needs the train extra")

from metatrack.bundling.strip import strip_bundle  # noqa: E402

MODELS = Path(metatrack.__file__).parent / "models"
MARK = "/home/someone/model.py"


def test_notes_everywhere_are_removed_and_the_card_follows(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(MODELS / "lite-no-meta", tmp_path / "bundle"))
    for path in folder.glob("*.onnx"):
        model = onnx.load(path)
        for message in (model, model.graph, *model.graph.node, *model.graph.value_info, *model.graph.initializer):
            message.doc_string = MARK
            message.metadata_props.add(key="stack", value=MARK)
        model.graph.node[0].attribute.add(name="note", type=onnx.AttributeProto.INT, i=1).doc_string = MARK
        path.write_bytes(model.SerializeToString())
        assert MARK.encode() in path.read_bytes()
    assert strip_bundle(folder) > 0
    for path in folder.glob("*.onnx"):
        assert MARK.encode() not in path.read_bytes()
    assert open_bundle(folder).card["files"].keys() == open_bundle("lite-no-meta").card["files"].keys()  # hashes fit


def test_a_stripped_bundle_stays_as_it_is(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(MODELS / "lite-no-meta", tmp_path / "bundle"))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert strip_bundle(folder) == 0
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert json.loads(before["card.json"])["name"] == "lite-no-meta"


def test_answers_are_the_same(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(MODELS / "lite-no-meta", tmp_path / "bundle"))
    path = folder / "embed.onnx"
    model = onnx.load(path)
    for node in model.graph.node:
        node.doc_string = MARK
    path.write_bytes(model.SerializeToString())
    strip_bundle(folder)
    crops = np.random.default_rng(0).integers(0, 256, (1, 255, 255, 3), np.uint8)
    answers = [build_model(open_bundle(each), 1).search(crops) for each in (folder, "lite-no-meta")]
    assert answers[0].tobytes() == answers[1].tobytes()
