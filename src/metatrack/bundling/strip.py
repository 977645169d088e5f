"""What an exporter writes into a graph about the machine and the source files that it ran on; none of it is needed to run it."""

from __future__ import annotations

from collections.abc import Iterator

import onnx
from google.protobuf.message import Message  # type: ignore[import-untyped]

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
