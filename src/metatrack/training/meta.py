"""Training of the meta-learner (section 3.2.2): episodes of one target each, equations (2), (3), (4) and (7).

The matching network is frozen, so every context is embedded once, before training; an episode is then a choice among features.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from collections.abc import Sequence as Seq
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from metatrack.model.box import BoxNetwork
from metatrack.model.learners import within_energy
from metatrack.model.matching import MatchingNetwork, label_map
from metatrack.model.meta import SUPPORT, MetaLearner, Support, adapted_loss, adapted_response, loss_gradient
from metatrack.training.loading import SampleSet, Share, load_batches, moved, to_network
from metatrack.training.losses import position_contrast, scale_contrast, stranger_loss
from metatrack.training.mix import load_mix, split_sources
from metatrack.training.precision import Precision
from metatrack.training.processes import processes
from metatrack.training.run import Outcome, Run, RunConfig, Stop, Training, never
from metatrack.training.sampling import PairSampler
from metatrack.training.validation import model_of, simulate, track_clips
from metatrack.training.weights import channels_last, load_matching


@dataclass(frozen=True, kw_only=True)
class MetaConfig(RunConfig):
    """Settings of ``metatrack train meta``."""

    matching: Path
    """Weights of the trained matching network (best.pt of its run)."""
    mix: Path
    """JSON file that names videos which the matching network did not see."""
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
    scale_weight: float = 0.5
    """Weight of the contrast between right and wrong scales."""
    balanced: bool = True
    """Half of the weight of the loss (6) on the target's positions, in (2) and in (7); False is the plain mean, as printed."""
    energy: float = 0.5
    """What the new kernels take of the template's squared features, at most; 1 is no limit, as in the paper."""


class Features(NamedTuple):
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


def embed_clips(network: MatchingNetwork, clips: SampleSet, workers: int, precision: Precision, stop: Stop = never) -> Features:
    """Embeds every clip with the frozen trunk; kept as float16.

    Raises:
        KeyboardInterrupt: ``stop`` said so; nothing is kept yet that the next call could go on from.
    """
    made: list[Features] = []
    with torch.no_grad(), precision.autocast():
        for drawn in load_batches(clips, 2, workers):
            clip = moved(drawn, precision.device)
            n = len(clip.templates)
            x = network.trunk.template(to_network(clip.templates.flatten(0, 1))).half().contiguous()
            z = network.trunk.search(to_network(clip.searches.flatten(0, 1)), network.response_cells).half().contiguous()
            made.append(Features(x.unflatten(0, (n, -1)), z.unflatten(0, (n, -1)), clip.displacements))
            if stop():
                raise KeyboardInterrupt
    return Features(*map(torch.cat, zip(*made, strict=True)))


def batch_losses(
    learner: MetaLearner, network: MatchingNetwork, features: Features, episodes: Seq[Episode], support: int, precision: Precision
) -> dict[str, Tensor]:
    """All terms of the loss (7) of a batch of episodes, each a mean, unweighted.

    Args:
        learner, network: g_θ and the frozen matching network.
        features, episodes: the embedded clips, and which of them.
        support: M; so many contexts of each episode, the first ones, give the gradient.
        precision: of the meta-learner's and the last layer's products.
    """
    readout, cells = network.readout(), network.response_cells
    templates = [features.templates[e.clip].float() for e in episodes]  # each (3, C, k, k)
    searches = [features.searches[e.clip, e.chosen].float() for e in episodes]  # each (T, C, h, w)
    displacements = [features.displacements[e.clip, e.chosen] for e in episodes]  # each (T, 2)
    with torch.no_grad():
        believed = torch.stack(
            [label_map(d[:support] + e.noise, cells=cells) for d, e in zip(displacements, episodes, strict=True)]
        )
        own = torch.stack([t[0] for t in templates])
        early = Support(torch.stack([s[:support] for s in searches]), believed)
        delta = loss_gradient(own, early, readout, learner.balanced)
    terms: dict[str, list[Tensor]] = {"logistic": [], "scale": [], "position": [], "stranger": []}
    with precision.autocast():
        w_target = within_energy(learner, learner(delta).float(), own, readout)  # (n, 32, C)
        for i, episode in enumerate(episodes):
            contexts = torch.cat([searches[i], episode.stranger.float()[None]])
            response = adapted_response(templates[i], contexts, readout, w_target[i]).float()  # (T + 1, 3 or 1, r, r)
            right, y = response[:-1, 0], label_map(displacements[i], cells=cells)
            terms["logistic"].append(adapted_loss(right, y, learner.balanced))
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
    readout = network.readout()
    squares = []
    with torch.no_grad():
        for step in range(8):
            for episode in draw_episodes(features, config, step):
                chosen = episode.chosen[: config.support]
                y = label_map(features.displacements[episode.clip, chosen], cells=network.response_cells)
                support = Support(features.searches[episode.clip, chosen].float()[None], y[None])
                template = features.templates[episode.clip, :1].float()
                delta = loss_gradient(template, support, readout, config.balanced)
                squares.append(delta.square().mean())
    return torch.stack(squares).mean().sqrt()


class MetaTraining(Training):
    """The meta-learner, on features of a frozen matching network; see :func:`embed_clips` for ``stop``."""

    unit = "episodes"
    report_every = 50
    warmup = 50

    def __init__(self, network: MatchingNetwork, config: MetaConfig, precision: Precision, stop: Stop = never) -> None:
        self.network, self.config, self.precision = network, config, precision
        train_sources, val_sources = split_sources(load_mix(config.mix), config.held_out)
        boxes = isinstance(network, BoxNetwork)
        draw = partial(PairSampler(train_sources, config.seed).clip, contexts=config.contexts, boxes=boxes)
        clips = SampleSet(draw, 0, config.clips)
        self.features = embed_clips(network, clips, config.workers, precision, stop)
        self.clips = simulate(val_sources, config.val_clips)
        torch.manual_seed(config.seed)
        size = network.trunk.channels, network.kernels
        self.trained = self.learner = MetaLearner(*size, balanced=config.balanced, energy=config.energy).to(precision.device)
        self.kept = {"learner": self.learner}
        self.learner.delta_scale.copy_(measure_delta(network, self.features, config))
        self.optimizer = torch.optim.AdamW(self.learner.parameters(), config.lr, weight_decay=config.weight_decay, fused=True)
        self.baseline = float(track_clips(model_of(network, None, precision), self.clips).mean())
        print(f"validation overlap without adaptation {self.baseline:.4f}", flush=True)

    def batches(self, start: int) -> Generator[list[Episode], None, None]:
        for step in range(start, self.config.iterations):
            share = Share(self.config.batch, *processes())
            drawn = list(draw_episodes(self.features, self.config, step))
            yield [drawn[share.number(i)] for i in range(len(drawn) // share.size)]

    def losses(self, batch: list[Episode]) -> dict[str, Tensor]:
        self.learner.train()
        return batch_losses(self.learner, self.network, self.features, batch, self.config.support, self.precision)

    def validate(self) -> dict[str, float]:
        model = model_of(self.network, self.learner.eval(), self.precision)
        return {"overlap": float(track_clips(model, self.clips, adapt=True).mean()), "baseline": self.baseline}

    def weights(self) -> dict[str, Any]:
        return {"learner": self.learner.state_dict(), "baseline": self.baseline}

    def state(self) -> dict[str, Any]:
        return {**super().state(), "random": torch.get_rng_state()} | (
            {"random on the card": torch.cuda.get_rng_state()} if self.precision.device == "cuda" else {}
        )

    def load(self, state: Mapping[str, Any]) -> None:
        super().load(state)
        torch.set_rng_state(state["random"])  # dropout
        if self.precision.device == "cuda" and "random on the card" in state:
            torch.cuda.set_rng_state(state["random on the card"])


def train_meta(config: MetaConfig, stop: Stop = never) -> Outcome:
    """Trains g_θ as :func:`~metatrack.training.matching.train_matching` trains the matching network.

    Raises:
        ValueError: the folder holds a checkpoint of other settings, or a setting, the weights or the data cannot be used.
        KeyboardInterrupt: ``stop`` said so before the first batch.
    """
    run = Run(config)
    network = channels_last(load_matching(config.matching).requires_grad_(False)).to(run.precision.device)
    return run.train(MetaTraining(network, run.config, run.precision, stop), stop)
