"""The loop of both trainings: batches in; log, checkpoint and best weights out. A run that is resumed is the uninterrupted one.

A training brings its networks, batches and losses (:class:`Training`); the folder, the schedule and the files are the loop's.
"""

from __future__ import annotations

import ctypes
import json
import math
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, closing, suppress
from dataclasses import MISSING, asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from metatrack.claims import alone
from metatrack.training.loading import moved
from metatrack.training.precision import DeviceName, Precision, PrecisionName, choose_device, choose_precision
from metatrack.training.processes import ALONE, ProcessGroup, processes, split
from metatrack.training.weights import read_content, save_atomically
from metatrack.version import code_version

MACHINE = ("out", "until", "device", "workers", "threads", "tensorboard")
"""Settings that say where a run is, how far it goes and how it is watched; it may be resumed with others."""
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # malloc.h
LOCK = ".lock"  # file of a run's folder that is locked while a training has it
MAX_GRADIENT = 5.0  # norm to which longer gradients are cut


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Settings of every training."""

    out: Path
    """Folder of the run: checkpoint, best weights, log."""
    iterations: int
    """Batches."""
    batch: int
    """Samples per batch."""
    until: int = 0
    """Batch behind which the run ends, in the middle of its schedule: it is validated, and its weights are last.pt. 0 is the end
    of the schedule; with a later one the same command goes on."""
    weight_decay: float = 1e-4
    """Decoupled weight decay (AdamW)."""
    scale_weight: float
    """Weight of the contrast between right and wrong scales."""
    position_weight: float = 0.25
    """Weight of the softmax over positions."""
    stranger_weight: float = 0.25
    """Weight of other targets as negatives."""
    validate_every: int = 250
    """Batches between validations (and checkpoints)."""
    parts: int = 1
    """Parts of a batch whose gradients are averaged; with torchrun, at least one for each process. One process and several come
    to the same weights if the parts are as many."""
    val_clips: int = 60
    """Simulated clips that every validation tracks."""
    seed: int = 1
    """Seed of weights and samples."""
    device: DeviceName = "cpu"
    """Where the networks are trained; 'auto' is a graphics card where torch has one through CUDA."""
    precision: PrecisionName = "auto"
    """Of the products in the networks; 'auto' is bfloat16 where the processor has instructions for it, or on a graphics card,
    else float32."""
    workers: int = 2
    """Processes that prepare samples."""
    threads: int = 0
    """Threads of the training process; 0 leaves torch's choice."""
    tensorboard: bool = False
    """Also write TensorBoard events (needs the tensorboard package)."""


C = TypeVar("C", bound=RunConfig)
Stop = Callable[[], bool]  # whether the run is to end after the batch in hand


def never() -> bool:
    """The wish of somebody who waits until the end."""
    return False


class Training(ABC):
    """What one training brings to the loop."""

    unit: ClassVar[str]  # what a batch counts, for the log: 'pairs'
    report_every: ClassVar[int]  # batches between two rows of the log
    warmup: int  # batches over which the learning rate rises
    trained: nn.Module  # whose weights change
    kept: Mapping[str, nn.Module]  # whose weights a checkpoint holds, by the names that they have there
    optimizer: torch.optim.Optimizer  # the learning rates of its groups are the highest of the schedule
    precision: Precision  # of the networks, and the device where they are and every batch goes

    @abstractmethod
    def batches(self, start: int) -> Generator[Any, None, None]:
        """The batches ``start ..`` of the run, whatever happened before."""

    @abstractmethod
    def losses(self, batch: Any) -> dict[str, Tensor]:
        """All terms of the loss for one batch, unweighted."""

    @abstractmethod
    def validate(self) -> dict[str, float]:
        """What validation measures; ``overlap`` chooses the best weights."""

    @abstractmethod
    def weights(self) -> dict[str, Any]:
        """What best.pt and last.pt hold beside the settings."""

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds beside the optimizer."""
        return {name: network.state_dict() for name, network in self.kept.items()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Takes :meth:`state` back."""
        for name, network in self.kept.items():
            network.load_state_dict(state[name])

    def stepped(self, step: int) -> None:  # noqa: B027 - most have nothing to do
        """Called after the optimizer's step."""


class Outcome(NamedTuple):
    """How a call of :meth:`Run.train` ended."""

    best: Path  # the file of the best weights on validation; not there before the first validation
    step: int  # batches that the run has done
    finished: bool  # False after a stop; the same settings go on


class Run(Generic[C]):
    """A run's folder: what an earlier call left there, and what this one writes.

    Opening it says, in a line, which precision is taken and why; ``config`` is then the settings with that precision. The folder
    is claimed from here to the end of :meth:`train`: no two trainings write into one.

    Raises:
        BlockingIOError: another training has the folder.
        ValueError: it holds a checkpoint of other settings, or the precision cannot be had.
    """

    def __init__(self, config: C) -> None:
        self.processes = processes()
        check_parts(config, self.processes.size)
        config.out.mkdir(parents=True, exist_ok=True)
        with ExitStack() as claim:
            if self.processes.rank == 0:
                claim.enter_context(alone(config.out / LOCK, config.out))
            self._open(config)
            self._claim = claim.pop_all()

    def _open(self, config: C) -> None:
        self.checkpoint, self.best_file = config.out / "checkpoint.pt", config.out / "best.pt"
        damaged = "is damaged, or no checkpoint of this training; delete it to start anew"
        found = read_content(self.checkpoint, damaged) if self.checkpoint.exists() else None
        if found is None and (there := [name for name in ("best.pt", "last.pt") if (config.out / name).exists()]):
            raise ValueError(
                f"{config.out} holds {' and '.join(there)} and no checkpoint to go on from: training would replace them; "
                "give another --out, or move them away"
            )
        self.found: dict[str, Any] | None = found
        self.step: int = 0 if found is None else found["step"]
        self.best: float = -1.0 if found is None else found["best"]
        began = None if found is None else as_today(found["config"])
        device = choose_device(config.device)
        self.precision = choose_precision(config.precision, None if began is None else began["precision"], device)
        self.processes.require_same(self.step, f"the step of {self.checkpoint}")
        if self.processes.rank == 0:
            print(f"precision {self.precision}", flush=True)
        self.config = replace(config, precision=self.precision.name)
        self.last = min(config.until or config.iterations, config.iterations)
        if began is not None:
            refuse_other_settings(self.checkpoint, began, self.config)
        keep_freed_memory()
        if config.threads:
            torch.set_num_threads(config.threads)

    def train(self, training: Training, stop: Stop = never) -> Outcome:
        """Trains until ``config.until`` or the end of the schedule, from the checkpoint if there is one.

        Args:
            training: what is trained.
            stop: asked after every batch; True ends the call with a checkpoint, from which the next one goes on.
        """
        config = self.config
        rates = [group["lr"] for group in training.optimizer.param_groups]
        with self._claim, closing(Log(config)) as log, closing(training.batches(self.step)) as batches:
            if self.found is not None:
                training.load(self.found)
                training.optimizer.load_state_dict(self.found["optimizer"])
                self.found = None  # as large as the networks and the optimizer together
            meter, stopped = Meter(training.unit, config.batch), False
            while self.step < self.last and not stopped:
                factor = learning_rate(self.step, training.warmup, config.iterations)
                highest = [factor * rate for rate in rates]
                meter.add(take_step(training, next(batches), config, highest, self.processes))
                training.stepped(self.step)
                self.step += 1
                stopped = self.processes.any(stop())
                validated = self.step == self.last or self.step % config.validate_every == 0
                if self.processes.rank > 0 or not (validated or stopped or self.step % training.report_every == 0):
                    continue
                row = {"step": self.step, **meter.read()}
                if validated:
                    row |= self._validate(training)
                if validated or stopped:
                    facts = {"step": self.step, "best": self.best, "config": description(config)}
                    save_atomically({**training.state(), "optimizer": training.optimizer.state_dict(), **facts}, self.checkpoint)
                log.write(row)
                meter = Meter(training.unit, config.batch)
        return Outcome(self.best_file, self.step, self.step >= self.last)

    def _validate(self, training: Training) -> dict[str, float]:
        """Measures, and keeps the weights if they are the best or the last."""
        measured = {name: round(value, 4) for name, value in training.validate().items()}
        facts = {"config": description(self.config), "step": self.step, "overlap": measured["overlap"], "commit": code_version()}
        if measured["overlap"] > self.best:
            self.best = measured["overlap"]
            save_atomically({**training.weights(), **facts}, self.best_file)
        if self.step == self.last:
            save_atomically({**training.weights(), **facts}, self.config.out / "last.pt")
        return measured


def total_loss(losses: Mapping[str, Tensor], config: RunConfig) -> Tensor:
    """Equation (6) and the further terms, weighted by the configuration's ``<term>_weight``; 'iou' is no loss, only measured."""
    terms = [losses["logistic"]]
    terms += [getattr(config, f"{term}_weight") * value for term, value in losses.items() if term not in ("logistic", "iou")]
    return torch.stack(terms).sum()


def take_step(
    training: Training, batch: Any, config: RunConfig, rates: list[float], group: ProcessGroup = ALONE
) -> dict[str, float]:
    """One step of the optimizer at the given learning rates; returns the terms of the loss.

    The gradient is the mean of those of the parts of the batch, of which this process has its share.
    """
    for each, rate in zip(training.optimizer.param_groups, rates, strict=True):
        each["lr"] = rate
    training.optimizer.zero_grad(set_to_none=True)
    terms: dict[str, Tensor] = {}
    for part in split(moved(batch, training.precision.device), config.parts // group.size):
        losses = training.losses(part)
        (total_loss(losses, config) / config.parts).backward()
        for name, value in losses.items():
            terms[name] = terms.get(name, torch.zeros(())) + value.detach().float() / config.parts
    group.sum(p.grad for p in training.trained.parameters() if p.grad is not None)
    group.sum(terms.values())
    group.average_buffers(training.trained)
    nn.utils.clip_grad_norm_(training.trained.parameters(), MAX_GRADIENT)
    training.optimizer.step()
    return {name: value.item() for name, value in terms.items()}


def check_parts(config: RunConfig, size: int) -> None:
    """Raises a ``ValueError`` where a batch cannot be divided among so many processes."""
    if config.parts < 1 or config.parts % size or config.batch % config.parts:
        raise ValueError(
            f"a batch of {config.batch} in {config.parts} parts cannot be shared by {size} processes: --parts must be a multiple"
            " of their number, and --batch one of --parts"
        )


def learning_rate(step: int, warmup: int, iterations: int) -> float:
    """Factor of the learning rate: a linear rise, then half a cosine down to 0.02."""
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(1, iterations - warmup)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def description(config: RunConfig) -> dict[str, Any]:
    """A configuration as JSON."""
    return {key: str(value) if isinstance(value, Path) else value for key, value in asdict(config).items()}


def as_today(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings in a checkpoint under today's names: ``precision`` was ``bf16`` once, and unsaid for the meta-learner.

    >>> as_today({"lr": 0.1, "bf16": False})
    {'lr': 0.1, 'precision': 'float32'}
    """
    today = dict(settings)
    before = today.pop("bf16", True)
    today.setdefault("precision", "bfloat16" if before else "float32")
    return today


def refuse_other_settings(checkpoint: Path, began: Mapping[str, Any], config: RunConfig) -> None:
    """Raises a ValueError where a run would go on with other settings than it began with."""
    defaults = {field.name: field.default for field in fields(config)}
    now = description(config)
    names = [name for name in now.keys() | began.keys() if name not in MACHINE]
    other = [name for name in sorted(names) if now.get(name, MISSING) != began.get(name, defaults.get(name, MISSING))]
    if other:
        what = ", ".join(f"{name} {began.get(name)}, not {now.get(name)}" for name in other)
        raise ValueError(f"{checkpoint} was trained with other settings ({what}); give another --out, or delete it")


def keep_freed_memory() -> None:
    """Keeps glibc from giving freed blocks back to the kernel: page faults are a fifth of a training step otherwise."""
    if sys.platform.startswith("linux"):
        with suppress(OSError, AttributeError):  # another C library
            mallopt = ctypes.CDLL(None).mallopt
            for option, value in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1), (M_TOP_PAD, 2**28)):
                mallopt(option, value)


class Meter:
    """Means of the terms of the loss, and speed, since it was made."""

    def __init__(self, unit: str, batch: int) -> None:
        self.unit, self.batch = unit, batch
        self.sums: dict[str, float] = {}
        self.count, self.clock = 0, time.perf_counter()

    def add(self, terms: Mapping[str, float]) -> None:
        self.count += 1
        for name, value in terms.items():
            self.sums[name] = self.sums.get(name, 0.0) + value

    def read(self) -> dict[str, float]:
        """Mean of each term, and samples a second."""
        rate = self.count * self.batch / (time.perf_counter() - self.clock)
        means = {name: round(value / self.count, 4) for name, value in self.sums.items()}
        return {**means, f"{self.unit}_per_second": round(rate, 1)}


class Log:
    """Where a run's rows go: log.jsonl, standard output, TensorBoard if asked for."""

    def __init__(self, config: RunConfig) -> None:
        self.file = config.out / "log.jsonl"
        self.writer: Any = None
        if config.tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self.writer = SummaryWriter(str(config.out))

    def close(self) -> None:
        """Writes what TensorBoard's writer still holds."""
        if self.writer is not None:
            self.writer.close()

    def write(self, row: Mapping[str, float]) -> None:
        with self.file.open("a", encoding="utf-8") as log:
            log.write(json.dumps(row) + "\n")
        print("  ".join(f"{name} {value:g}" for name, value in row.items()), flush=True)
        if self.writer is not None:
            for name, value in row.items():
                self.writer.add_scalar(name, value, row["step"])
