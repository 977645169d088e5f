"""What an exporter writes into a graph about the machine and the source files that it ran on; none of it is needed to run it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import onnx
from google.protobuf.message import Message  # type: ignore[import-untyped]

from metatrack.files import write_atomically
from metatrack.runtime.bundle import CARD, file_facts

NOTES = ("doc_string", "metadata_props")
"""Fields of ONNX messages for people and tools: torch writes the stack of every operator there, with the paths of its files."""


def strip(model: onnx.ModelProto) -> None:
    """Removes all notes from a graph, in place: of the model, its nodes, values, weights and subgraphs.

    >>> node = onnx.helper.make_node("Relu", ["a"], ["b"], doc_string="/home/someone/model.py")
    >>> model = onnx.helper.make_model(onnx.helper.make_graph([node], "g", [], []))
    >>> strip(model)
    >>> model.graph.node[0].doc_string
    ''
    """
    for message in _messages(model):
        for field in NOTES:
            if field in message.DESCRIPTOR.fields_by_name:
                message.ClearField(field)


def _messages(message: Message) -> Iterator[Message]:
    """A message and all that it is made of."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for each in value if not isinstance(value, Message) else (value,):
                yield from _messages(each)


def strip_bundle(folder: Path) -> int:
    """Strips all graphs of a bundle and writes their new hashes into its card.

    Returns:
        How many bytes shorter the graphs are.
    """
    path = folder / CARD
    card = json.loads(path.read_text(encoding="utf-8"))
    saved = 0
    for name, facts in card["files"].items():
        file = folder / name
        model = onnx.load_from_string(file.read_bytes())
        strip(model)
        before = file.stat().st_size
        write_atomically(file, model.SerializeToString())
        facts |= file_facts(file)
        saved += before - facts["bytes"]
    write_atomically(path, json.dumps(card, indent=2) + "\n")
    return saved
