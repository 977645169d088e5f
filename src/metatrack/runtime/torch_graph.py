"""Graphs of a bundle with torch: on a GPU with half precision, CUDA graphs and hundreds of targets in one batch.

It needs the extra ``train``. The weights are read off the bundle's float graphs, so that all engines share one file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from threading import Lock
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from metatrack.arrays import Array, Float32
from metatrack.geometry import SEARCH_SIZE
from metatrack.runtime.bundle import Bundle
from metatrack.runtime.model import SIGNATURES, Graph, Model
from metatrack.runtime.processor import Precision, choose

try:
    import torch
    from torch import Tensor

    from metatrack.model.features import center_cells
    from metatrack.model.graphs import AdaptGraph, EmbedGraph, LocateGraph, MatchGraph
    from metatrack.runtime.torch_weights import Networks, read_networks
except ModuleNotFoundError as error:
    remedy = f"engine 'torch' needs {error.name}, which is not installed: pip install 'metatrack[train]'"
    raise ModuleNotFoundError(remedy, name=error.name) from error

Device = Literal["auto", "cuda", "cpu"]
Function: TypeAlias = Callable[..., Any]  # tensors -> one tensor, or a tuple of them
BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
"""Batches on a GPU. Each has a CUDA graph to capture and buffers to hold, so what lies between is padded to the next one."""
WARM_UPS = 3
"""Runs before a capture, in which libraries load, allocate and choose their algorithms; a capture may do none of that."""
CAPTURING = Lock()  # a process can capture one CUDA graph at a time
FEATURES = ("template", "parts", "search", "support")  # of a graph's inputs, what a trunk has made
GPU_BATCH = 4 * BUCKETS[-1]  # contexts that a GPU is best given at once: a graph cuts them to its buckets


def torch_model(bundle: Bundle, threads: int, precision: Precision, device: str) -> Model:
    """A bundle in torch, as :func:`metatrack.runtime.load.build_model` says; float32 convolutions are not done in TF32.

    Args:
        threads: of torch, for the whole process; 0 leaves them as they are.
    """
    if device not in get_args(Device):
        raise ValueError(f"unknown device {device!r}; there are {', '.join(get_args(Device))}")
    gpu = torch.cuda.is_available() and device != "cpu"
    if device == "cuda" and not gpu:
        raise ValueError(f"torch {torch.__version__} sees no GPU: no driver, or a build for CPUs; use device 'cpu' or 'auto'")
    place = Gpu() if gpu else Place()
    choice = choose("torch", precision, False, gpu=gpu)
    if threads:
        torch.set_num_threads(threads)
    dtype: torch.dtype = getattr(torch, choice.precision)
    networks = prepared(read_networks(bundle), place, dtype)
    graphs = torch_graphs(networks, bundle.card["architecture"], place, dtype)
    batch = GPU_BATCH if gpu else Model.batch
    return Model(bundle.card, graphs, "torch", choice.precision, choice.reason, batch, batch_head=True, same_rows=True)


def torch_graphs(networks: Networks, architecture: Mapping[str, Any], place: Place, dtype: torch.dtype) -> dict[str, Graph]:
    """All graphs of a model.

    Args:
        networks: where and in which precision they shall run, see :func:`prepared`.
        dtype: in which patches come to the trunk and features go to the heads.
    """
    trunk, readout, head, learner = networks
    embed = EmbedGraph(trunk, dtype)

    def search(crops: Tensor) -> Tensor:  # only the cells that count leave the GPU
        smaller = (SEARCH_SIZE - crops.shape[1]) // architecture["stride"]
        return center_cells(embed(crops), architecture["search_cells"] - smaller)

    graphs: dict[str, Graph] = {"embed": TorchGraph("embed", embed, place), "search": TorchGraph("search", search, place)}
    if head is None:
        graphs["match"] = TorchGraph("match", _in_float32(MatchGraph(readout)), place, dtype)
    else:
        graphs["locate"] = TorchGraph("locate", _in_float32(LocateGraph(readout, head)), place, dtype)
    if learner is not None:
        graphs["adapt"] = TorchGraph("adapt", AdaptGraph(readout, learner), place)
    return graphs


def _in_float32(graph: Function) -> Function:
    """A graph that may be given features in half precision; see :func:`prepared`."""
    return lambda *inputs: graph(*(each.float() for each in inputs))


class TorchGraph:
    """One graph in torch.

    Args:
        name: of the graph, in :data:`metatrack.runtime.model.SIGNATURES`.
        function: takes tensors in that order, and answers with one or several.
        place: where it runs.
        features: dtype in which features travel there; all else but bytes is float32.
    """

    def __init__(self, name: str, function: Function, place: Place, features: torch.dtype = torch.float32) -> None:
        self.function, self.place = function, place
        self.inputs, _, self.batched = SIGNATURES[name]
        kinds = {"crops": torch.uint8, **dict.fromkeys(FEATURES, features)}
        self.dtypes = [kinds.get(each, torch.float32) for each in self.inputs]
        self.slots: dict[tuple[tuple[int, ...], ...], Slot] = {}

    def run(self, feeds: Mapping[str, Array]) -> list[Float32]:
        arrays = [feeds[name] for name in self.inputs]
        cut = [name in self.batched for name in self.inputs]
        total = len(feeds[self.batched[0]]) if self.batched else 0
        results: list[Float32] = []
        with self.place.lock, torch.no_grad():
            for rows, size in batches(total, self.place.buckets) if self.batched else [(slice(None), 0)]:
                given = [array[rows] if own else array for array, own in zip(arrays, cut)]
                shapes = tuple((size, *array.shape[1:]) if own else array.shape for array, own in zip(given, cut))
                answers = self._slot(shapes).run(given, rows.stop - rows.start if self.batched else None)
                if not results:
                    results = [np.empty((total, *a.shape[1:]) if self.batched else a.shape, np.float32) for a in answers]
                for result, answer in zip(results, answers):
                    torch.from_numpy(result[rows]).copy_(answer)
        return results

    def _slot(self, shapes: tuple[tuple[int, ...], ...]) -> Slot:
        if not self.place.buckets:
            return self.place.slot(self.function, shapes, self.dtypes)
        if shapes not in self.slots:
            self.slots[shapes] = self.place.slot(self.function, shapes, self.dtypes)
        return self.slots[shapes]


def prepared(networks: Networks, place: Place, dtype: torch.dtype) -> Networks:
    """Moves networks to a place and casts trunk and box head; the networks given are changed.

    Their channels lie last in memory, as pixels come and as tensor cores are fastest. Two parts stay in float32, at little cost:
    equation (4), which sums thousands of squares, and the loss gradient with the meta-learner: a gradient is a small difference
    of large sums, and half precision, of three digits, would leave noise.
    """
    moved = networks.to(place.device)
    moved.trunk.to(dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if moved.head is not None:
        moved.head.to(dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        moved.head.register_forward_pre_hook(lambda _, given: (given[0].to(dtype), given[1].to(dtype), given[2]))
    return moved


# -- where a graph runs, and its buffers: on the CPU in the shapes that come, on a GPU captured once for each size of a batch


def batches(total: int, buckets: Sequence[int]) -> Iterator[tuple[slice, int]]:
    """Cuts rows into batches of the largest bucket, and says how many rows each has with padding; without buckets, one batch.

    >>> list(batches(7, (1, 2, 4)))
    [(slice(0, 4, None), 4), (slice(4, 7, None), 4)]
    >>> list(batches(7, ()))
    [(slice(0, 7, None), 7)]
    """
    most = max(buckets, default=max(total, 1))
    for first in range(0, max(total, 1), most):
        last = min(first + most, total)
        yield slice(first, last), min((size for size in buckets if size >= last - first), default=last - first)


class Slot:
    """Buffers for inputs of certain shapes, and a function of them."""

    def __init__(self, function: Function, shapes: Sequence[tuple[int, ...]], dtypes: Sequence[torch.dtype]) -> None:
        self.function = function
        self.inputs = [torch.zeros(shape, dtype=dtype) for shape, dtype in zip(shapes, dtypes)]

    def run(self, arrays: Sequence[Array], count: int | None) -> list[Tensor]:
        """Puts arrays into the buffers' first rows -> the outputs' first rows, on the CPU, valid until the next call.

        The buffers' other rows hold what they held before: no row's answer depends on another.

        Args:
            arrays: one for each buffer.
            count: rows of the outputs; None is all.
        """
        self._fill(arrays)
        return [each[:count] for each in self._compute(self.inputs)]

    def _fill(self, arrays: Sequence[Array]) -> None:
        for buffer, array in zip(self.inputs, arrays):
            buffer[: len(array)].copy_(torch.from_numpy(np.ascontiguousarray(array)))

    def _compute(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        outputs = self.function(*inputs)
        return [each.contiguous() for each in (outputs if isinstance(outputs, tuple) else (outputs,))]


class Place:
    """The CPU: every graph runs in the shapes in which it is asked."""

    device = torch.device("cpu")
    buckets: tuple[int, ...] = ()
    lock: AbstractContextManager[Any] = nullcontext()

    def slot(self, function: Function, shapes: Sequence[tuple[int, ...]], dtypes: Sequence[torch.dtype]) -> Slot:
        return Slot(function, shapes, dtypes)


class Gpu(Place):
    """The current GPU: every graph is captured once for each bucket. Nothing here has a meaning without CUDA.

    The captures share the memory of what lies between inputs and outputs: under the lock, only one of them runs at a time.
    """

    buckets = BUCKETS

    def __init__(self) -> None:
        self.device = torch.device("cuda", torch.cuda.current_device())
        self.lock = Lock()
        self.stream = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        self.pool = torch.cuda.graph_pool_handle()

    def slot(self, function: Function, shapes: Sequence[tuple[int, ...]], dtypes: Sequence[torch.dtype]) -> Slot:
        return CapturedSlot(function, shapes, dtypes, self)


class CapturedSlot(Slot):
    """Pinned buffers on the CPU, fixed ones on the GPU, and the CUDA graph that leads from inputs to outputs."""

    def __init__(self, function: Function, shapes: Sequence[tuple[int, ...]], dtypes: Sequence[torch.dtype], gpu: Gpu) -> None:
        super().__init__(function, shapes, dtypes)
        self.device = gpu.device
        self.inputs = [buffer.pin_memory() for buffer in self.inputs]
        self.placed = [buffer.to(self.device) for buffer in self.inputs]
        self.graph = torch.cuda.CUDAGraph()
        # Algorithms are chosen now and kept in the graph, so these settings are needed nowhere else.
        exact = torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=False)
        with CAPTURING, torch.cuda.device(self.device), exact:
            gpu.stream.wait_stream(torch.cuda.current_stream())  # the buffers are being filled there
            with torch.cuda.stream(gpu.stream):
                for _ in range(WARM_UPS):
                    self._compute(self.placed)
            gpu.stream.synchronize()
            with torch.cuda.graph(self.graph, pool=gpu.pool, stream=gpu.stream, capture_error_mode="thread_local"):
                self.outputs = self._compute(self.placed)
            self.answers = [torch.empty(each.shape, dtype=each.dtype, pin_memory=True) for each in self.outputs]

    def run(self, arrays: Sequence[Array], count: int | None) -> list[Tensor]:
        self._fill(arrays)
        answers = [each[:count] for each in self.answers]
        with torch.cuda.device(self.device):
            for buffer, placed, array in zip(self.inputs, self.placed, arrays):
                placed[: len(array)].copy_(buffer[: len(array)], non_blocking=True)
            self.graph.replay()
            for answer, output in zip(answers, self.outputs):
                answer.copy_(output[:count], non_blocking=True)
            torch.cuda.current_stream().synchronize()
        return answers
