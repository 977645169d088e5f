"""Training of the meta-learner (section 3.2.2): episodes of one target each, equations (2), (3), (4) and (7).

The matching network is frozen, so every context is embedded once, before training; an episode is then a choice among features.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from collections.abc import Sequence as Seq
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from metatrack.model.box import BoxNetwork
from metatrack.model.matching import MatchingNetwork, label_map, logistic_loss, position_contrast, scale_contrast, stranger_loss
from metatrack.model.meta import SUPPORT, MetaLearner, adapted_response, loss_gradient
from metatrack.training.matching import (
    channels_last,
    code_version,
    description,
    learning_rate,
    load_matching,
    save_atomically,
    single_thread,
    to_network,
    total_loss,
)
from metatrack.training.memory import keep_freed_memory
from metatrack.training.sampling import PairSampler, Source, load_mix
from metatrack.training.validation import TorchModel, simulate, track_clips


@dataclass(frozen=True)
class MetaConfig:
    """Settings of ``metatrack train meta``."""

    matching: Path
    """Weights of the trained matching network (best.pt of its run)."""
    mix: Path
    """JSON file that names videos which the matching network did not see."""
    out: Path
    """Folder of the run: checkpoint, best weights, log."""
    iterations: int = 5000
    """Batches, as in the paper."""
    batch: int = 6
    """Episodes per batch, as in the paper."""
    support: int = SUPPORT
    """M: contexts that give the gradient, as in the paper."""
    patches: int = 6
    """T: contexts that the loss (7) is taken over, the M among them, as in the paper."""
    lr: float = 1e-4
    """Adam's learning rate, as in the paper; a cosine lowers it to 2 %."""
    weight_decay: float = 1e-4
    """Decoupled weight decay (AdamW)."""
    support_noise: float = 0.3
    """Standard deviation in cells of the place that a support context is labelled with, as tracking is at run time."""
    mistakes: float = 0.2
    """Share of the support contexts that are labelled up to 4 cells wrong, as where a tracker has slipped off its target."""
    clips: int = 1200
    """Clips that are embedded before training."""
    contexts: int = 10
    """Contexts per clip."""
    held_out: float = 0.2
    """Share of the trajectories that only validation sees."""
    val_clips: int = 60
    """Simulated clips that every validation tracks."""
    scale_weight: float = 0.5
    """Weight of the contrast between right and wrong scales."""
    position_weight: float = 0.25
    """Weight of the softmax over positions."""
    stranger_weight: float = 0.25
    """Weight of contexts of other targets as negatives."""
    validate_every: int = 250
    """Batches between validations (and checkpoints)."""
    seed: int = 1
    """Seed of weights and samples."""
    workers: int = 2
    """Processes that prepare clips."""


@dataclass(frozen=True)
class Features:
    """Embedded clips."""

    templates: Tensor  # (clips, 3, C, k, k) float16; (clips, 1, ...) for a box head
    searches: Tensor  # (clips, n, C, h, w) float16
    displacements: Tensor  # (clips, n, 2)


class Episode(NamedTuple):
    """One target: its T contexts in random order, and a context of another target."""

    clip: int
    chosen: Tensor  # (T,)
    stranger: Tensor  # (C, h, w)
    noise: Tensor  # (M, 2), cells by which the support is labelled wrongly


class Clips(Dataset[tuple[Tensor, ...]]):
    """Clips ``0 .. count`` of a sampler as tensors."""

    def __init__(self, sampler: PairSampler, count: int, contexts: int, boxes: bool) -> None:
        self.sampler, self.count, self.contexts, self.boxes = sampler, count, contexts, boxes

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        return tuple(torch.from_numpy(part) for part in self.sampler.clip(index, self.contexts, self.boxes))


def embed_clips(network: MatchingNetwork, clips: Clips, workers: int) -> Features:
    """Embeds every clip with the frozen trunk, in bfloat16; kept as float16."""
    loader: DataLoader[Any] = DataLoader(
        clips, 2, num_workers=workers, worker_init_fn=single_thread, multiprocessing_context="spawn" if workers else None
    )
    parts: list[tuple[Tensor, ...]] = []
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        for templates, searches, displacements in loader:
            n = len(templates)
            x = network.trunk.template(to_network(templates.flatten(0, 1))).half().contiguous()
            z = network.trunk.search(to_network(searches.flatten(0, 1)), network.response_cells).half().contiguous()
            parts.append((x.unflatten(0, (n, -1)), z.unflatten(0, (n, -1)), displacements))
    return Features(*(torch.cat([part[i] for part in parts]) for i in range(3)))


def split_sources(sources: list[Source], held_out: float) -> tuple[list[Source], list[Source]]:
    """Divides every source's trajectories, evenly spaced: most for training, the rest for validation."""
    train, val = [], []
    for source in sources:
        every = max(2, round(1 / held_out))
        kept = tuple(s for i, s in enumerate(source.sequences) if i % every != every - 1)
        held = tuple(s for i, s in enumerate(source.sequences) if i % every == every - 1)
        train.append(Source(source.name, kept, source.weight))
        if held:
            val.append(Source(source.name, held, source.weight))
    return train, val


def batch_losses(
    learner: MetaLearner, network: MatchingNetwork, features: Features, episodes: Seq[Episode], support: int
) -> dict[str, Tensor]:
    """All terms of the loss (7) of a batch of episodes, each a mean, unweighted.

    Args:
        learner, network: g_θ and the frozen matching network.
        features: the embedded clips.
        episodes: which of them; the first ``support`` contexts of each give the gradient.
        support: M.
    """
    weight, bias = network.last.folded()
    gain, offset, cells = network.log_gain.exp(), network.bias, network.response_cells
    templates = [features.templates[e.clip].float() for e in episodes]  # each (3, C, k, k)
    searches = [features.searches[e.clip, e.chosen].float() for e in episodes]  # each (T, C, h, w)
    displacements = [features.displacements[e.clip, e.chosen] for e in episodes]  # each (T, 2)
    with torch.no_grad():
        believed = torch.stack(
            [label_map(d[:support] + e.noise, cells=cells) for d, e in zip(displacements, episodes, strict=True)]
        )
        own = torch.stack([t[0] for t in templates])
        delta = loss_gradient(own, torch.stack([s[:support] for s in searches]), believed, weight, bias, gain, offset)
    terms: dict[str, list[Tensor]] = {"logistic": [], "scale": [], "position": [], "stranger": []}
    with torch.autocast("cpu", torch.bfloat16):
        w_target = learner(delta)  # (n, 32, C)
        for i, episode in enumerate(episodes):
            contexts = torch.cat([searches[i], episode.stranger.float()[None]])
            response = adapted_response(
                templates[i], contexts, weight, bias, w_target[i].float(), gain, offset
            ).float()  # (T + 1, 3 or 1, r, r)
            right, y = response[:-1, 0], label_map(displacements[i], cells=cells)
            terms["logistic"].append(logistic_loss(right, y).mean())
            if response.shape[1] == 3:  # a box head has no search over scales to spoil
                wrong = scale_contrast(right, response[:-1, 1], y) + scale_contrast(right, response[:-1, 2], y)
                terms["scale"].append(0.5 * wrong.mean())
            terms["position"].append(position_contrast(right, displacements[i]).mean())
            terms["stranger"].append(stranger_loss(response[-1:, 0]).mean())
    return {name: torch.stack(values).mean() for name, values in terms.items() if values}


def draw_episodes(features: Features, config: MetaConfig, step: int) -> Iterator[Episode]:
    """The episodes of one batch."""
    rng = np.random.default_rng([config.seed, 7, step])
    clips, contexts = features.searches.shape[:2]
    for _ in range(config.batch):
        clip, other = rng.choice(clips, 2, replace=False)
        chosen = torch.from_numpy(rng.choice(contexts, config.patches, replace=False))
        stranger = features.searches[int(other), int(rng.integers(contexts))]
        noise = rng.normal(0, config.support_noise, (config.support, 2))
        slipped = rng.random((config.support, 1)) < config.mistakes
        noise = np.where(slipped, rng.uniform(-4, 4, (config.support, 2)), noise)
        yield Episode(int(clip), chosen, stranger, torch.from_numpy(noise.astype(np.float32)))


def measure_delta(network: MatchingNetwork, features: Features, config: MetaConfig) -> Tensor:
    """Typical size (root mean square) of δ over the first batches."""
    weight, bias = network.last.folded()
    squares = []
    with torch.no_grad():
        for step in range(8):
            for episode in draw_episodes(features, config, step):
                chosen = episode.chosen[: config.support]
                support = features.searches[episode.clip, chosen].float()[None]
                y = label_map(features.displacements[episode.clip, chosen], cells=network.response_cells)[None]
                template = features.templates[episode.clip, :1].float()
                delta = loss_gradient(template, support, y, weight, bias, network.log_gain.exp(), network.bias)
                squares.append(delta.square().mean())
    return torch.stack(squares).mean().sqrt()


def train_meta(config: MetaConfig, stop_after: int | None = None) -> Path:
    """Trains g_θ, continuing a checkpoint in ``config.out`` if there is one; returns the file of the best weights on validation.

    Raises:
        ValueError: the folder holds a checkpoint of other settings.
    """
    config.out.mkdir(parents=True, exist_ok=True)
    keep_freed_memory()
    cv2.setNumThreads(1)
    network = channels_last(load_matching(config.matching).requires_grad_(False))
    train_sources, val_sources = split_sources(load_mix(config.mix), config.held_out)
    boxes = isinstance(network, BoxNetwork)
    clips = Clips(PairSampler(train_sources, config.seed), config.clips, config.contexts, boxes)
    features = embed_clips(network, clips, config.workers)
    checks = simulate(val_sources, config.val_clips)
    torch.manual_seed(config.seed)
    learner = MetaLearner(network.trunk.channels, network.kernels)
    learner.delta_scale.copy_(measure_delta(network, features, config))
    optimizer = torch.optim.AdamW(learner.parameters(), lr=config.lr, weight_decay=config.weight_decay, fused=True)
    settings = description(config)
    baseline = float(track_clips(TorchModel(network, None), checks).mean())
    start, best = 0, -1.0
    checkpoint, best_file = config.out / "checkpoint.pt", config.out / "best.pt"
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        if {k: v for k, v in state["config"].items() if k not in ("workers", "out")} != {
            k: v for k, v in settings.items() if k not in ("workers", "out")
        }:
            raise ValueError(f"{checkpoint} was trained with other settings; give another --out, or delete it")
        learner.load_state_dict(state["learner"])
        optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["random"])  # dropout
        start, best = state["step"], state["best"]
    sums: dict[str, float] = {}
    count, clock = 0, time.perf_counter()
    last = config.iterations if stop_after is None else min(config.iterations, start + stop_after)
    print(f"validation overlap without adaptation {baseline:.4f}", flush=True)
    for step in range(start, last):
        learner.train()
        optimizer.param_groups[0]["lr"] = config.lr * learning_rate(step, 50, config.iterations)
        optimizer.zero_grad(set_to_none=True)
        losses = batch_losses(learner, network, features, list(draw_episodes(features, config, step)), config.support)
        total_loss(losses, config).backward()
        for name, value in losses.items():
            sums[name] = sums.get(name, 0.0) + value.item()
        nn.utils.clip_grad_norm_(learner.parameters(), 5.0)
        optimizer.step()
        count += 1
        done = step + 1
        if done % 50 == 0 or done == last:
            rate = count * config.batch / (time.perf_counter() - clock)
            row: dict[str, float] = {
                "step": done,
                **{k: round(v / count, 4) for k, v in sums.items()},
                "episodes_per_second": round(rate, 1),
            }
            if done % config.validate_every == 0 or done == last:
                learner.eval()
                row["overlap"] = round(float(track_clips(TorchModel(network, learner), checks, adapt=True).mean()), 4)
                row["baseline"] = round(baseline, 4)
                if row["overlap"] > best:
                    best = row["overlap"]
                    kept = {"learner": learner.state_dict(), "config": settings, "step": done, "overlap": best}
                    save_atomically({**kept, "baseline": baseline, "commit": code_version()}, best_file)
                content = {"learner": learner.state_dict(), "optimizer": optimizer.state_dict(), "random": torch.get_rng_state()}
                save_atomically({**content, "step": done, "best": best, "config": settings}, checkpoint)
            with (config.out / "log.jsonl").open("a") as log:
                log.write(json.dumps(row) + "\n")
            print("  ".join(f"{k} {v:g}" for k, v in row.items()), flush=True)
            sums, count, clock = {}, 0, time.perf_counter()
    return best_file


def load_meta(path: Path, network: MatchingNetwork) -> MetaLearner:
    """A trained meta-learner for a matching network, in evaluation mode."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    learner = MetaLearner(network.trunk.channels, network.kernels)
    learner.load_state_dict(state["learner"])
    return learner.eval()
