"""Notes of the exporter go, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

import metatrack

onnx = pytest.importorskip("onnx", reason="export needs the train extra")

from metatrack.bundling.strip import strip  # noqa: E402

MODELS = Path(metatrack.__file__).parent / "models"
MARK = "/home/someone/model.py"


def noted(name: str):
    """A graph of a shipped bundle, with notes everywhere."""
    model = onnx.load(MODELS / "lite-no-meta" / name)
    for message in (model, model.graph, *model.graph.node, *model.graph.value_info, *model.graph.initializer):
        message.doc_string = MARK
        message.metadata_props.add(key="stack", value=MARK)
    model.graph.node[0].attribute.add(name="note", type=onnx.AttributeProto.INT, i=1).doc_string = MARK
    assert MARK.encode() in model.SerializeToString()
    return model


@pytest.mark.parametrize("name", ["embed.onnx", "match.onnx"])
def test_notes_go_and_nothing_else(name: str) -> None:
    """Shipped graphs are stripped: with notes and without them again they are what they were."""
    model = noted(name)
    strip(model)
    assert MARK.encode() not in model.SerializeToString()
    model.graph.node[0].attribute.pop()
    assert model == onnx.load(MODELS / "lite-no-meta" / name)
