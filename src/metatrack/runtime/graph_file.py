"""What an ONNX file holds, looked at before an engine is given it: operators, sizes, and whether all of it is in the file.

The wire format is read here because the package ``onnx`` is not there at run time: of https://protobuf.dev/programming-guides/encoding
what is needed, with the field numbers of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import TypeAlias

Field: TypeAlias = "int | memoryview"
MOST_BYTES = 1 << 29  # a larger file is no tracker's graph
MOST_ELEMENTS = 1 << 28  # elements of a tensor that a file states, or whose shape it states: 1 GB in float32
OPERATORS = frozenset(
    # What export and the quantiser write.
    "Add AveragePool BatchNormalization Cast Clip Concat Constant Conv DequantizeLinear Div Exp Expand Gather Gemm Greater Log"
    " MatMul Max MaxPool Mul Neg Pad Pow QuantizeLinear Reciprocal ReduceSum Relu Reshape Resize Shape Sigmoid Slice Sqrt"
    " Squeeze Sub Sum Transpose Unsqueeze"
    # What they would write of another network of this kind.
    " Abs And ArgMax CastLike Ceil ConstantOfShape ConvInteger ConvTranspose CumSum DynamicQuantizeLinear Einsum Elu Equal Erf"
    " Flatten Floor GatherElements GatherND Gelu GlobalAveragePool GlobalMaxPool GreaterOrEqual GridSample GroupNormalization"
    " HardSigmoid HardSwish Identity InstanceNormalization LayerNormalization LeakyRelu Less LessOrEqual LogSoftmax MatMulInteger"
    " Mean Min Mod Not Or PRelu QLinearConv QLinearMatMul Range ReduceL1 ReduceL2 ReduceMax ReduceMean ReduceMin ReduceProd"
    " ReduceSumSquare Round ScatterElements ScatterND Sign Size Softmax Softplus Split Tanh Tile TopK Trilu Where Xor".split()
)
"""Of the standard domain; there are no others in our graphs, and none that calls a subgraph."""
STANDARD = ("", "ai.onnx")
INT64 = 7  # a tensor's data type
LARGEST_SIZE = 1 << 31  # a whole number from here on is no size but an end, as slices have it


def check_graph(data: bytes) -> None:
    """Refuses an ONNX file that is none of a tracker's.

    Raises:
        ValueError: it is damaged, keeps weights in another file, has an operator or a part that no graph of ours has, or states
            a tensor of more than :data:`MOST_ELEMENTS`.
    """
    graphs = 0
    for number, value in _fields(memoryview(data)):
        if number == 7 and isinstance(value, memoryview):
            graphs += 1
            _check_nodes(value)
        elif number in (20, 25):
            raise ValueError("it holds functions or a training, which no graph of ours has")
    if graphs != 1:
        raise ValueError("it is no ONNX file")


def _check_nodes(graph: memoryview) -> None:
    for number, value in _messages(graph):
        if number == 1:
            _check_node(value)
        elif number == 5:
            _check_tensor(value)
        elif number == 15:
            raise ValueError("it has sparse weights, which no graph of ours has")


def _check_node(node: memoryview) -> None:
    for number, value in _messages(node):
        if number == 4 and _text(value) not in OPERATORS:
            raise ValueError(f"operator {_text(value)[:100]!r} is none of those that our graphs have")
        if number == 7 and _text(value) not in STANDARD:
            raise ValueError(f"it has operators of {_text(value)[:100]!r}, which no graph of ours has")
        if number == 5:
            for part, content in _messages(value):
                if part in (5, 10):
                    _check_tensor(content)
                elif part in (6, 11, 22, 23):
                    raise ValueError("an operator has a subgraph or sparse values, which no graph of ours has")


def _check_tensor(tensor: memoryview) -> None:
    dims: list[int] = []
    values: list[int] = []
    kind, raw = 0, memoryview(b"")
    for number, value in _fields(tensor):
        if number == 13 or (number == 14 and value == 1):
            raise ValueError("it keeps weights in another file, which the card has no hash of")
        if number == 1:
            dims += _numbers(value)
        elif number == 2 and isinstance(value, int):
            kind = value
        elif number == 7:
            values += _numbers(value)
        elif number == 9 and isinstance(value, memoryview):
            raw = value
    if any(not 0 <= dim <= MOST_ELEMENTS for dim in dims) or prod(dims) > MOST_ELEMENTS:
        raise ValueError(f"a tensor of {_list(dims)} elements is larger than any of ours")
    if kind == INT64 and prod(dims) <= 8:  # may be a shape
        values += [int.from_bytes(raw[i : i + 8], "little") for i in range(0, len(raw), 8)]
        if prod(value for value in values if 1 < value < LARGEST_SIZE) > MOST_ELEMENTS:
            raise ValueError(f"it makes a tensor of the shape {_list(values)}, larger than any of ours")


def _list(numbers: list[int]) -> str:
    return " x ".join(map(str, numbers[:8]))


def _messages(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """The fields that are messages, texts or bytes."""
    for number, value in _fields(data):
        if isinstance(value, memoryview):
            yield number, value


def _text(value: memoryview) -> str:
    return bytes(value).decode("utf-8", "replace")


def _numbers(value: Field) -> Iterator[int]:
    """A repeated number, one field each or packed."""
    if isinstance(value, int):
        yield value
        return
    place = 0
    while place < len(value):
        number, place = _varint(value, place)
        yield number


def _fields(data: memoryview) -> Iterator[tuple[int, Field]]:
    """Number and value of each field of a message: a number, or what lies in it.

    >>> list(_fields(memoryview(bytes([0x08, 0x96, 0x01]))))
    [(1, 150)]
    """
    place = 0
    while place < len(data):
        tag, place = _varint(data, place)
        number, kind = tag >> 3, tag & 7
        value: Field
        if kind == 0:
            value, place = _varint(data, place)
        elif kind in (1, 2, 5):
            size, place = _varint(data, place) if kind == 2 else ({1: 8, 5: 4}[kind], place)
            if size > len(data) - place:
                raise ValueError("it is damaged: it ends too early")
            value, place = data[place : place + size], place + size
        else:
            raise ValueError("it is no ONNX file, or damaged")
        if not 0 < number < 1 << 29:
            raise ValueError("it is no ONNX file, or damaged")
        yield number, value


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if place == len(data):
            raise ValueError("it is damaged: it ends too early")
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, place
    raise ValueError("it is no ONNX file, or damaged")
