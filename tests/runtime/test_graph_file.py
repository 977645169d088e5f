"""What an ONNX file may hold: our own reader of the wire format against the package onnx, and what it refuses."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import metatrack
from metatrack import BundleError
from metatrack.runtime.graph_file import OPERATORS, check_graph
from metatrack.runtime.load import load_model

onnx = pytest.importorskip("onnx", reason="makes graphs")
from onnx import TensorProto, helper  # noqa: E402

MODELS = Path(metatrack.__file__).parent / "models"
SHIPPED = sorted(MODELS.glob("*/*.onnx"))
VALUE = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])


def model(*nodes: Any, **parts: Any) -> Any:
    return helper.make_model(
        helper.make_graph(list(nodes) or [helper.make_node("Relu", ["x"], ["y"])], "g", [VALUE], [], **parts)
    )


def external() -> Any:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="weights.bin")
    return model(initializer=[tensor])


def half_external() -> Any:
    """The location is named, and the flag is not set."""
    made = external()
    made.graph.initializer[0].ClearField("data_location")
    return made


def in_an_attribute() -> Any:
    node = helper.make_node("Constant", [], ["y"], value=external().graph.initializer[0])
    return model(node)


def subgraph() -> Any:
    branch = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "b", [], [VALUE])
    return model(helper.make_node("Relu", ["x"], ["y"], then_branch=branch))


def function() -> Any:
    made = model()
    opsets = [helper.make_opsetid("", 18)]
    made.functions.append(helper.make_function("own", "F", ["x"], ["y"], [helper.make_node("Relu", ["x"], ["y"])], opsets))
    return made


def shape(*values: int) -> Any:
    return model(initializer=[helper.make_tensor("s", TensorProto.INT64, [len(values)], values)])


def raw_shape() -> Any:
    values = b"".join(value.to_bytes(8, "little") for value in (1 << 20, 1 << 20))
    return model(initializer=[helper.make_tensor("s", TensorProto.INT64, [2], values, raw=True)])


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "weights beside the file": (external, "weights in another file"),
    "a location alone": (half_external, "weights in another file"),
    "weights beside the file, in an attribute": (in_an_attribute, "weights in another file"),
    "an operator": (lambda: model(helper.make_node("StringNormalizer", ["x"], ["y"])), "'StringNormalizer' is none of those"),
    "a loop": (lambda: model(helper.make_node("Loop", ["x"], ["y"])), "'Loop'"),
    "a domain": (lambda: model(helper.make_node("Relu", ["x"], ["y"], domain="com.evil")), r"operators of 'com\.evil'"),
    "a subgraph": (subgraph, "subgraph"),
    "functions": (function, "functions"),
    "a huge tensor": (
        lambda: model(initializer=[TensorProto(name="w", data_type=1, dims=[1 << 20, 1 << 20])]),
        "1048576 x 1048576 elements is larger",
    ),
    "a negative size": (lambda: model(initializer=[TensorProto(name="w", data_type=1, dims=[-5])]), "larger"),
    "a shape": (lambda: shape(1 << 20, 1 << 20), "makes a tensor"),
    "a shape in raw bytes": (raw_shape, "makes a tensor"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_refused(what: str) -> None:
    make, message = REFUSED[what]
    with pytest.raises(ValueError, match=message):
        check_graph(make().SerializeToString())


def test_what_is_accepted() -> None:
    for made in (model(), shape(1, -1, (1 << 63) - 1), shape(8, 128, 23, 23)):
        check_graph(made.SerializeToString())


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_shipped_graphs(path: Path) -> None:
    data = path.read_bytes()
    check_graph(data)
    assert {node.op_type for node in onnx.load_from_string(data).graph.node} <= OPERATORS


@pytest.mark.parametrize("data", [b"", b"\x80\x04cposix\nsystem\n", b"buy milk\n", b"\xff" * 30, b"\x3a\xff\xff\xff\xff\x0f"])
def test_what_is_no_graph(data: bytes) -> None:
    with pytest.raises(ValueError, match="no ONNX file|damaged"):
        check_graph(data)


SMALL = (MODELS / "lite-no-meta" / "match.onnx").read_bytes()


@settings(max_examples=200)
@given(st.integers(0, len(SMALL) - 1), st.binary(min_size=1, max_size=4), st.booleans())
def test_damage_ends_in_a_sentence_or_is_no_matter_here(place: int, put: bytes, cut: bool) -> None:
    try:
        check_graph(SMALL[:place] + put + (b"" if cut else SMALL[place + len(put) :]))
    except ValueError as error:
        assert str(error)  # noqa: PT017 - a changed weight is still a graph


def test_a_bundle_names_the_file(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(MODELS / "lite-no-meta", tmp_path / "bundle"))
    made = onnx.load(folder / "match.onnx")
    weight = max(made.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    (folder / "weights.bin").write_bytes(weight.raw_data)
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="weights.bin")
    (folder / "match.onnx").write_bytes(made.SerializeToString())
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    card["files"]["match.onnx"]["sha256"] = hashlib.sha256((folder / "match.onnx").read_bytes()).hexdigest()
    (folder / "card.json").write_text(json.dumps(card), encoding="utf-8")
    with pytest.raises(BundleError, match=r"match\.onnx cannot be used: it keeps weights in another file"):
        load_model(folder, 1)
