"""From a sampler to batches: samples keep their names through torch's loader, whose processes make them beside the training."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from metatrack.opencv import single_threaded


class Share(NamedTuple):
    """The share of each batch that one of several processes has."""

    batch: int  # samples of a whole batch
    rank: int = 0
    size: int = 1

    def number(self, index: int) -> int:
        """The number among all samples of this process' sample number ``index``.

        >>> [Share(4, rank=1, size=2).number(index) for index in range(4)]
        [2, 3, 6, 7]
        """
        own = self.batch // self.size
        return index // own * self.batch + self.rank * own + index % own


class SampleSet(Dataset[Any]):
    """Samples ``first .. last`` of a sampler, as tensors that keep their names and share the arrays' memory.

    Args:
        draw: gives the sample of a number, a named tuple of arrays; a sampler's method.
        first, last: numbers of the first sample and of the one behind the last.
        share: of one of several processes; None: everything.
    """

    def __init__(self, draw: Callable[[int], Any], first: int, last: int, share: Share | None = None) -> None:
        self.draw, self.first, self.last, self.share = draw, first, last, share or Share(1)

    def __len__(self) -> int:
        return (self.last - self.first) // self.share.size

    def __getitem__(self, index: int) -> Any:
        sample = self.draw(self.first + self.share.number(index))
        return type(sample)(*map(torch.from_numpy, sample))


def load_batches(samples: SampleSet, batch: int, workers: int) -> Iterator[Any]:
    """The samples in their order, ``batch`` at a time, made by ``workers`` processes (0: here)."""
    # Spawned, because a fork of a process whose OpenMP threads have run can hang.
    how: dict[str, Any] = {"prefetch_factor": 4, "multiprocessing_context": "spawn"} if workers else {}
    return iter(DataLoader(samples, batch, num_workers=workers, worker_init_fn=prepare_worker, **how))


def moved(content: Any, device: str) -> Any:
    """A batch, or what a file is to hold, with its tensors on a device; those that are there are not copied."""
    if isinstance(content, Tensor):
        return content.to(device, non_blocking=device != "cpu")
    if isinstance(content, dict):
        return {key: moved(value, device) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        make = getattr(type(content), "_make", type(content))  # of a named tuple
        return make(moved(part, device) for part in content)
    return content


def prepare_worker(_: int) -> None:
    """A worker process uses one core, and leaves signals to the training process.

    A terminal, ``timeout`` or a service sends them to the whole group, and the batch in hand still wants its samples.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "setpgrp"):
        os.setpgrp()
    torch.set_num_threads(1)
    single_threaded()


def to_network(images: Tensor) -> Tensor:
    """uint8 ``(n, h, w, 3)`` -> float ``(n, 3, h, w)``, channels last in memory."""
    return images.permute(0, 3, 1, 2).float()
