"""What a graph is: one method, and the names of what goes in and comes out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

import numpy as np

from metatrack.arrays import Array, Float32


class Graph(Protocol):
    """One network of a model in some engine. A graph holds nothing of a target; threads may share it."""

    def run(self, feeds: Mapping[str, Array]) -> Sequence[Float32]:
        """Inputs by name -> the outputs in the order of :data:`SIGNATURES`."""
        ...


class Within:
    """A graph that runs inside a context, made anew for each call: to be timed, or in another precision."""

    def __init__(self, graph: Graph, context: Callable[[], AbstractContextManager[Any]]) -> None:
        self._graph, self._context = graph, context

    def run(self, feeds: Mapping[str, Array]) -> Sequence[Float32]:
        with self._context():
            return self._graph.run(feeds)


class Signature(NamedTuple):
    """Names of a graph's inputs and outputs, in order."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    batched: tuple[str, ...]  # inputs whose first axis is the batch, which is then the first of all outputs


_LOCATE = ("template", "parts", "search", "w_target", "size")
SIGNATURES = {
    "embed": Signature(("crops",), ("features",), ("crops",)),
    "search": Signature(("crops",), ("features",), ("crops",)),
    "match": Signature(("template", "search", "w_target"), ("response",), ("search",)),
    "locate": Signature(_LOCATE, ("response", "logits", "sides"), _LOCATE),
    "adapt": Signature(("template", "support", "labels"), ("w_target",), ()),
}
"""The graphs of a model by name. Of ``match`` and ``locate`` it has one; ``adapt`` may be missing; ``search`` is ``embed`` for
contexts, where an engine can leave out the cells that do not count, and otherwise not there."""


def with_rows(w_target: Float32, rows: int) -> Float32:
    """Kernels, filled up to ``rows`` of them with zeros, which add nothing to equation (4).

    Args:
        w_target: ``(..., k, C)``; if k is ``rows`` or more, it is returned as it is.
        rows: how many kernels there shall be.

    >>> with_rows(np.ones((1, 2), np.float32), 3)
    array([[1., 1.],
           [0., 0.],
           [0., 0.]], dtype=float32)
    """
    missing = rows - w_target.shape[-2]
    if missing <= 0:
        return w_target
    zeros = np.zeros((*w_target.shape[:-2], missing, w_target.shape[-1]), w_target.dtype)
    return np.concatenate([w_target, zeros], axis=-2)
