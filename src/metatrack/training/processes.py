"""A training in several processes, on one machine or on many, as ``torchrun`` starts them: each has a share of every batch."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Iterable
from datetime import timedelta
from functools import lru_cache
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn

PATIENCE = timedelta(days=1)  # for the others, who wait while the first process validates


class ProcessGroup(NamedTuple):
    """This process among those of a training."""

    rank: int  # from 0; process 0 validates and writes
    size: int

    def sum(self, tensors: Iterable[Tensor]) -> None:
        """Adds up tensors over all processes, in place."""
        if self.size > 1:
            for tensor in tensors:
                dist.all_reduce(tensor)

    def any(self, wish: bool) -> bool:
        """Whether any process says so."""
        told = torch.tensor(float(wish))
        self.sum([told])
        return bool(told > 0)

    def require_same(self, value: int, what: str) -> None:
        """Raises a ``ValueError`` where the processes do not have one value."""
        if self.size == 1:
            return
        told: list[int | None] = [None] * self.size
        dist.all_gather_object(told, value)
        if len(set(told)) > 1:
            raise ValueError(f"{what} is {told} in the {self.size} processes; all need the same --out, on one disk")

    def average_buffers(self, network: nn.Module) -> None:
        """Statistics of batch norms, which each process has of its own share."""
        if self.size > 1:
            found = [buffer for buffer in network.buffers() if buffer.dtype.is_floating_point]
            self.sum(found)
            for buffer in found:
                buffer.div_(self.size)


ALONE = ProcessGroup(0, 1)


@lru_cache(maxsize=1)
def processes() -> ProcessGroup:
    """Joins the others, once, if ``torchrun`` has started this process; else it is alone."""
    if int(os.environ.get("WORLD_SIZE", "1")) <= 1:
        return ALONE
    dist.init_process_group("gloo", timeout=PATIENCE)
    # Gloo's threads must end before the interpreter does, which else aborts every other time.
    atexit.register(dist.destroy_process_group)
    return ProcessGroup(dist.get_rank(), dist.get_world_size())


def leave(code: int) -> int:
    """The exit code of a training that is over; one process of several ends with it here and now.

    Even where the group is destroyed first, threads of gloo's sometimes outlive the interpreter, which is then aborted.
    """
    if processes().size == 1:
        return code
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def split(batch: Any, parts: int) -> list[Any]:
    """A batch, a tuple of tensors or a list, in equal parts."""
    if parts == 1:
        return [batch]
    if isinstance(batch, list):
        size = len(batch) // parts
        return [batch[i * size : (i + 1) * size] for i in range(parts)]
    return [type(batch)(*part) for part in zip(*(tensor.chunk(parts) for tensor in batch), strict=True)]
