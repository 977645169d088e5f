"""A model: a card, and graphs in some engine. It is immutable and may be shared by any number of trackers.

A graph is one method, and names of what goes in and comes out.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol

import numpy as np

from metatrack.arrays import Array, Float32, UInt8
from metatrack.geometry import EXEMPLAR_SIZE, PARTS, SEARCH_SIZE, window_start
from metatrack.runtime.bundle import BundleError


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
LACKS = {
    "match": "has a box head; use locate()",
    "locate": "has no box head; use match()",
    "adapt": "has no meta-learner; use adapt=False",
}
"""What is said of a model without a graph."""


def feeds(graph: str, *inputs: Array) -> dict[str, Array]:
    """A graph's inputs, in the order of :data:`SIGNATURES`, by their names."""
    return dict(zip(SIGNATURES[graph].inputs, inputs, strict=True))


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


class Maps(NamedTuple):
    """What a box head says of every position of n contexts."""

    response: Float32  # (n, r, r) logits of equation (4)
    logits: Float32  # (n, r, r) scores: the response, corrected
    sides: Float32  # (n, 4, r, r) distances to the left, top, right and bottom side, in pixels of the context patch


class Background:
    """A thread that takes one call after another. It begins when it is first used, and anew in a forked process."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._thread, self._process = ThreadPoolExecutor(1, "metatrack-adapt"), os.getpid()

    def submit(self, work: Callable[[], Float32]) -> Future[Float32] | Float32:
        """Begins a call, and says where its answer will be; the answer itself where no thread can begin."""
        if self._process != os.getpid():  # threads do not come along where a process forks
            self._begin()
        try:
            return self._thread.submit(work)
        except RuntimeError:  # the main thread has ended, so Python begins no work in threads; this thread may still track
            return work()


@dataclass(frozen=True, eq=False)
class Model:
    """The graphs of a bundle behind the questions that a tracker asks; made by :func:`metatrack.runtime.load.load_model`."""

    card: Mapping[str, Any]
    """What the model is, see :mod:`metatrack.runtime.bundle`."""
    graphs: Mapping[str, Graph]
    """By the names of :data:`SIGNATURES`."""
    engine: str = "onnxruntime"
    """What runs the graphs."""
    precision: str = "float32"
    """Of trunk and box head."""
    reason: str = ""
    """Why that precision."""
    batch: int = 8
    """How many contexts :meth:`search` is best given at once. On a CPU, more of them fill the caches and gain nothing."""
    batch_head: bool = False
    """Whether :meth:`locate` is best asked for many targets at once."""
    same_rows: bool = False
    """Whether the engine compiles for shapes: then :meth:`kernels` gives every target as many, so that few shapes occur."""
    name: str = field(init=False)
    """Of the card."""
    channels: int = field(init=False)
    """C of the penultimate features."""
    template_cells: int = field(init=False)
    """k, cells per side of a template."""
    search_cells: int = field(init=False)
    """Cells per side of a whole context: k + r - 1."""
    response_cells: int = field(init=False)
    """r, positions per side of the response."""
    stride: int = field(init=False)
    """Pixels per cell."""
    support: int = field(init=False)
    """M, contexts that the meta-learner is given."""
    background: Background = field(default_factory=Background, init=False, repr=False)
    """For calls with :meth:`adapt` in them: the next frames need not wait."""
    origin: tuple[Callable[..., Model], tuple[Any, ...]] | None = field(default=None, init=False, repr=False)
    """A function of a module, and its arguments, by which another process loads it again; None if it was put together or changed
    in this process, by :meth:`wrapped` for example."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.card["name"])
        for size in ("channels", "template_cells", "search_cells", "response_cells", "stride", "support"):
            object.__setattr__(self, size, self.card["architecture"][size])

    def __copy__(self) -> Model:
        """The model itself: it never changes."""
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Model:
        """The model itself, so that copies of trackers share it."""
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """A pickle says where the model was loaded from, with the hash of its card; it is loaded again from there.

        Raises:
            TypeError: the model does not lie in a bundle.
        """
        if self.origin is None:
            raise TypeError(
                f"model {self.name!r} was put together in this process and lies in no bundle, so it cannot be pickled:"
                " export it, or make it anew in the other process"
            )
        return self.origin

    def wrapped(self, wrap: Callable[[str, Graph], Graph]) -> Model:
        """The same model with every graph wrapped in another: to time it, to record it, to slow it down.

        Args:
            wrap: a graph's name and the graph -> what stands in its place.
        """
        return replace(self, graphs={name: wrap(name, graph) for name, graph in self.graphs.items()})

    @property
    def no_kernels(self) -> Float32:
        """w_target ``(0, C)`` of a target before its first update."""
        return np.zeros((0, self.channels), np.float32)

    @property
    def has_boxes(self) -> bool:
        """Whether the model has a box head: then :meth:`locate` answers, else :meth:`match`."""
        return "locate" in self.graphs

    @property
    def can_adapt(self) -> bool:
        """Whether the model has a meta-learner."""
        return "adapt" in self.graphs

    def template(self, crops: UInt8) -> Float32:
        """Target patches ``(m, 127, 127, 3)`` -> features ``(m, C, k, k)``."""
        return _center(self._ask("embed", crops)[0], self.template_cells)

    def search(self, crops: UInt8) -> Float32:
        """Context patches ``(n, 255, 255, 3)`` -> features ``(n, C, k + r - 1, k + r - 1)``, r = ``response_cells``.

        With a box head, patches may be smaller by a multiple of 16, and r with them by 2 cells.
        """
        features = self._ask("search" if "search" in self.graphs else "embed", crops)[0]
        return _center(features, self.search_cells - (SEARCH_SIZE - crops.shape[1]) // self.stride)

    def appearance(self, crops: UInt8, size: Float32) -> tuple[Float32, Float32]:
        """Target patches ``(m, 127, 127, 3)`` and the targets' sizes in them ``(m, 2)``, in pixels -> what a box head compares.

        Returns:
            :meth:`template` ``(m, C, k, k)``, and 7x7 parts of each target ``(m, C, 7, 7)``.
        """
        features = self._ask("embed", crops)[0]
        return _center(features, self.template_cells), _parts(features, size, self.stride)

    def match(self, template: Float32, search: Float32, w_target: Float32) -> Float32:
        """Equation (4), or (1) where ``w_target`` has no rows.

        ``(m, C, k, k)``, ``(n, C, h, w)``, ``(32, C)`` -> logits ``(n, m, r, r)``.

        Raises:
            BundleError: the model has a box head.
        """
        return self._ask("match", template, search, self.kernels(w_target))[0]

    def locate(self, template: Float32, target: Float32, search: Float32, w_target: Float32, size: Float32) -> Maps:
        """A box head's answer for n targets at once, template i in context i; or for one target in n contexts.

        Args:
            template: ``(n, C, k, k)``.
            target: ``(n, C, 7, 7)``, the parts of :meth:`appearance`.
            search: ``(n, C, h, w)``.
            w_target: ``(n, 32, C)``, or ``(n, 0, C)`` before the first update.
            size: ``(n, 2)`` width and height of the target in the template's patch, in pixels.

        Raises:
            BundleError: the model has no box head.
        """
        own = template, target, self.kernels(w_target), size
        template, target, w_target, size = (a if len(a) == len(search) else np.repeat(a, len(search), axis=0) for a in own)
        return Maps(*self._ask("locate", template, target, search, w_target, size))

    def adapt(self, template: Float32, support: Float32, labels: Float32) -> Float32:
        """Equations (2) and (3): template ``(1, C, k, k)``, M contexts, labels ``(M, r, r)`` -> w_target ``(32, C)``.

        Raises:
            BundleError: the model has no meta-learner.
        """
        return self._ask("adapt", template, support, labels)[0]

    def kernels(self, w_target: Float32) -> Float32:
        """Kernels ``(..., k, C)`` as the engine takes them: with ``same_rows``, zeros stand for those that a target lacks."""
        return with_rows(w_target, self.card["architecture"].get("target_kernels", 0)) if self.same_rows else w_target

    def _ask(self, graph: str, *inputs: Array) -> Sequence[Float32]:
        if graph not in self.graphs:
            raise BundleError(f"model {self.name!r} {LACKS[graph]}")
        return self.graphs[graph].run(feeds(graph, *inputs))


def _center(features: Float32, cells: int) -> Float32:
    first = window_start(features.shape[-1], cells)
    return np.ascontiguousarray(features[..., first : first + cells, first : first + cells])


def _parts(features: Float32, size: Float32, stride: int) -> Float32:
    """As ``metatrack.model.box.parts``: points from edge to edge of the box, read bilinearly off whole patches' features."""
    line = np.linspace(-0.5, 0.5, PARTS, dtype=np.float32)
    places = (EXEMPLAR_SIZE - 1) / 2 / stride + size[:, :, None] * line / stride  # (m, 2, 7): x and y, in cells
    last = features.shape[-1] - 1
    places = places.clip(0, last)
    first = np.floor(places).astype(int).clip(0, last - 1)
    share = (places - first).astype(np.float32)
    result = np.empty((*features.shape[:2], PARTS, PARTS), np.float32)
    for i, image in enumerate(features):
        (x, y), (u, v) = first[i], share[i]
        rows = image[:, y] * (1 - v)[:, None] + image[:, y + 1] * v[:, None]  # (C, 7, w)
        result[i] = rows[:, :, x] * (1 - u) + rows[:, :, x + 1] * u
    return result
