"""Buffers for a function of tensors: on the CPU in the shapes that come, on a GPU captured once for each size of a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from threading import Lock
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from metatrack.arrays import Array

Function: TypeAlias = Callable[..., Any]
"""Tensors -> one tensor, or a tuple of them."""
BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
"""Batches on a GPU. Each has a CUDA graph to capture and buffers to hold, so what lies between is padded to the next one."""
WARM_UPS = 3
"""Runs before a capture, in which libraries load, allocate and choose their algorithms; a capture may do none of that."""
CAPTURING = Lock()
"""A process can capture one CUDA graph at a time."""


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
        """Buffers for a function."""
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
