"""``python -m tools.meta.learn --features DIR --val-mix FILE --out BUNDLE``: trains g_θ, and exchanges it in a bundle.

The objectives cannot be met by one bank of kernels for all: on contexts that they were not made from, a target's own kernels must
beat those of another target of the batch, and no kernels.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
import tyro
from torch import Tensor

from metatrack.bundling.learner import replace_learner
from metatrack.model.learners import Learner, make_learner, within_energy
from metatrack.model.matching import EPSILON, Readout, label_map, logistic_loss, squared_distance
from metatrack.model.meta import MetaLearner
from metatrack.model.mixing import SHARE
from metatrack.model.polynomial import PolynomialLearner
from metatrack.model.shifts import gather
from metatrack.runtime.bundle import Bundle, open_bundle
from metatrack.runtime.load import load_model
from metatrack.runtime.torch_weights import read_networks
from metatrack.training.losses import scale_contrast
from metatrack.training.mix import load_mix
from metatrack.training.probe import interval, probe, sentence
from metatrack.version import code_version
from tools.meta.features import MAPPED, SOURCES, mapped

NEAR, FAR = 4.0, 16.0
"""Squared distances in cells: within the first a place is the target's, beyond the second it is another's."""
MOMENTS = 400
"""Targets whose contexts say how features are spread."""
VIDEO_WEIGHT = 4.0
"""How much oftener a trajectory is drawn than a picture."""


@dataclass(frozen=True)
class Options:
    """Trains the meta-learner of a model; repeated, it goes on from its checkpoint."""

    features: Path
    """Folder that ``tools.meta.features`` filled."""
    val_mix: Path
    """JSON file of held-out videos for the probe (configs/val.json)."""
    out: Path
    """Folder of the new bundle."""
    model: str = "lite"
    """Bundle whose matching network the features are of."""
    form: Literal["mixing", "polynomial", "printed"] = "mixing"
    """Of the meta-learner; printed is the paper's."""
    init: str = ""
    """Bundle whose meta-learner training begins with, where the matching network has been trained on since; "" begins anew."""
    energy: float = SHARE
    """What the new kernels take of the template's squared features; of the printed form, at most."""
    iterations: int = 1500
    """Batches."""
    batch: int = 16
    """Targets in a batch."""
    lr: float = 1e-3
    """AdamW's learning rate, after 100 batches; a cosine lowers it to 2 %."""
    weight_decay: float = 1e-2
    """Of matrices."""
    rank: float = 0.5
    """Weight of the rank loss against the logistic one."""
    scales: float = 0.5
    """Weight of the contrast between right and wrong scales, for a model that searches at three."""
    failing: float = 0.0
    """What a context whose highest logit lies elsewhere without kernels counts more than another."""
    swapped: float = 0.1
    """Weight of own kernels against another target's."""
    apart: float = 0.0
    """Weight of the mean cosine between the kernels of two targets."""
    none: float = 0.06
    """Weight of own kernels against none."""
    level: float = 0.0
    """Weight of the squared change of the target's logit by own kernels: what is above it is to fall, and it is to stay."""
    targets: int = 0
    """So many of the targets alone, for a curve over their number; 0 is all."""
    seed: int = 0
    """Of weights and batches."""
    probe: int = 400
    """Held-out targets of the probe, at most; 0 leaves it out, and what is measured on held-out features is all."""


class Batch(NamedTuple):
    """n targets with q later contexts each."""

    template: Tensor  # (n, s, C, k, k), at the right scale and perhaps at wrong ones
    delta: Tensor  # (n, K, C)
    search: Tensor  # (n, q, C, h, w)
    dots: Tensor  # (n, q, s, r, r), correlation of equation (1)
    energy_x: Tensor  # (n, s)
    energy_z: Tensor  # (n, q, r, r)
    correction: Tensor  # (n, q, r, r), of a box head
    displacements: Tensor  # (n, q, 2)

    def first(self) -> Batch:
        """With one context each."""
        return self._replace(**{name: getattr(self, name)[:, :1] for name in PER_CONTEXT})


PER_CONTEXT = ("search", "dots", "energy_z", "correction", "displacements")


class Features:
    """All targets of a folder; what is large is read when it is drawn.

    Args:
        folder: of ``train-*.npz``.
        readout: of the matching network.
        split: train, or held for targets that are kept for measuring.
    """

    def __init__(self, folder: Path, readout: Readout, split: str = "train") -> None:
        files = sorted(file for file in folder.glob(f"{split}-*.npz") if ".part" not in file.name)
        if not files:
            raise ValueError(f"{folder} holds no {split}-*.npz: run tools.meta.features first")
        self.readout = readout
        self.shards: list[Mapping[str, Any]] = [_unpacked(file) for file in files]
        self.data = _data(
            folder, Counter(file.name[len(split) + 1 : -9] for file, shard in zip(files, self.shards) for _ in shard["template"])
        )
        self.balanced = bool(self.shards[0]["balanced"][0])
        self.places = [(s, i) for s, shard in enumerate(self.shards) for i in range(len(shard["template"]))]
        weights = np.array([VIDEO_WEIGHT if "video" in files[s].name else 1.0 for s, _ in self.places])
        self.shares = weights / weights.sum()

    def batch(self, chosen: np.ndarray[Any, Any], rng: np.random.Generator) -> Batch:
        """Targets by number, with two of their later contexts; δ is of one to three early ones."""
        count = int(rng.integers(1, 4))
        rows: list[dict[str, Any]] = []
        for number in chosen:
            shard, i = self.shards[self.places[number][0]], self.places[number][1]
            late, early = rng.permutation(shard["dots"].shape[1])[:2], rng.permutation(shard["delta"].shape[1])[:count]
            row = {name: shard[name][i] for name in ("template", "energy_x")}
            row |= {name: shard[name][i][late] for name in ("dots", "energy_z", "correction", "displacements")}
            row["search"] = shard["queries"][i][late] * shard["scale"][i][:, None, None]
            row["delta"] = shard["delta"][i][early].mean(0)
            rows.append(row)
        return Batch(*(torch.from_numpy(np.stack([row[name] for row in rows])).float() for name in Batch._fields))

    def delta_size(self) -> Tensor:
        """Typical size (root mean square) of δ."""
        some = np.random.default_rng(0).permutation(len(self.places))[:MOMENTS]
        squares = [np.square(self.shards[s]["delta"][i].astype(np.float32)).mean() for s, i in (self.places[n] for n in some)]
        return torch.tensor(np.mean(squares)).sqrt()

    def second_moment(self) -> Tensor:
        """Mean product of two channels over the cells of later contexts: ``(C, C)``."""
        rng, total, count = np.random.default_rng(0), 0.0, 0
        for number in rng.permutation(len(self.places))[:MOMENTS]:
            shard, i = self.shards[self.places[number][0]], self.places[number][1]
            cells = (shard["queries"][i, 0] * shard["scale"][i][:, None, None]).reshape(len(shard["scale"][i]), -1)
            total, count = total + cells @ cells.T, count + cells.shape[1]
        return torch.from_numpy(np.asarray(total) / count).float()


def _data(folder: Path, counts: Mapping[str, int]) -> list[dict[str, Any]]:
    """What the targets are of, for the card: kind, number of targets, and what the list says of it."""
    entries = [entry for entry in json.loads((folder / SOURCES).read_text()) if not entry.get("held_out")]
    kept = ("what", "licence", "kind", "repeat")
    return [{**{k: e[k] for k in kept if k in e}, "targets": counts[e["name"]]} for e in entries if counts[e["name"]]]


def _unpacked(file: Path) -> dict[str, Any]:
    """Arrays of a shard; what is large is mapped."""
    with np.load(file) as shard:
        arrays = {name: shard[name] for name in shard.files}
    return arrays | {name: np.load(mapped(file, name), mmap_mode="r") for name in MAPPED}


def response(batch: Batch, readout: Readout, w_target: Tensor | None) -> Tensor:
    """Equation (4), or (1): ``(n, q, s, r, r)`` logits."""
    dots, energy_x, energy_z = batch.dots, batch.energy_x[:, None, :, None, None], batch.energy_z[:, :, None]
    if w_target is not None:
        n, q, _, h, w = batch.search.shape
        s, k = batch.template.shape[1], batch.template.shape[-1]
        x = torch.matmul(w_target[:, None], batch.template.flatten(3))  # (n, s, 32, k k)
        z = torch.matmul(w_target[:, None], batch.search.flatten(3))  # (n, q, 32, h w)
        products = torch.matmul(x.transpose(2, 3)[:, None], z[:, :, None]).reshape(n * q * s, k * k, h, w)
        dots = dots + gather(products).reshape(dots.shape)
        energy_x = energy_x + x.square().sum((2, 3))[:, None, :, None, None]
        window = F.avg_pool2d(z.square().sum(2).reshape(n * q, 1, h, w), k, stride=1) * k**2
        energy_z = energy_z + window.reshape(n, q, 1, *dots.shape[-2:])
    cosine = dots / ((energy_x + EPSILON).sqrt() * (energy_z + EPSILON).sqrt())
    return readout.gain * cosine + readout.offset


def peaks(logits: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """The target's highest logit, and the soft maximum of everything else's, a box head's correction with them: ``(n, q)``."""
    away = squared_distance(batch.displacements.flatten(0, 1), logits.shape[-1])
    scores = (logits[:, :, 0] + batch.correction).flatten(0, 1)
    here = scores.masked_fill(away > NEAR, -1e4).amax((1, 2))
    elsewhere = (2 * scores.masked_fill(away <= FAR, -1e4)).logsumexp((1, 2)) / 2
    return here.reshape(logits.shape[:2]), elsewhere.reshape(logits.shape[:2])


def losses(logits: Tensor, batch: Batch, options: Options, balanced: bool) -> Tensor:
    """Equation (6), the softplus of everything else's soft maximum less the target's, and the contrast of scales: ``(n, q)``."""
    n, q, s, r, _ = logits.shape
    right, y = logits[:, :, 0].flatten(0, 1), label_map(batch.displacements.flatten(0, 1), cells=r)
    here, elsewhere = peaks(logits, batch)
    total = logistic_loss(right, y, balanced).reshape(n, q) + options.rank * F.softplus(elsewhere - here)
    for i in range(1, s):
        wrong = scale_contrast(right, logits[:, :, i].flatten(0, 1), y).reshape(n, q)
        total = total + options.scales / (s - 1) * wrong
    return total


def objective(learner: Learner, batch: Batch, readout: Readout, options: Options, shift: int) -> Tensor:
    """Own kernels' loss, and what it costs not to be better than another target's kernels and than none."""
    kernels, template, how = learner(batch.delta), batch.template[:, 0], (options, learner.balanced)
    adapted = response(batch, readout, within_energy(learner, kernels, template, readout))
    own = losses(adapted, batch, *how)
    one = batch.first()
    others = within_energy(learner, kernels.roll(shift, 0), template, readout)
    swapped = losses(response(one, readout, others), one, *how)[:, 0]
    plain = response(batch, readout, None)
    none, (here, elsewhere) = losses(plain, batch, *how), peaks(plain, batch)
    weight = 1 + options.failing * (elsewhere > here)
    contrast = F.softplus((own[:, 0] - swapped.clamp(max=2)) / 0.1 + 0.5).mean()
    worse = (weight * F.softplus((own - none) / 0.1)).sum() / weight.sum()
    alike = F.normalize(kernels.flatten(1)) @ F.normalize(kernels.roll(shift, 0).flatten(1)).T
    mean = (weight * own).sum() / weight.sum()
    total = mean + options.swapped * contrast + options.none * worse + options.apart * alike.diagonal().mean()
    return total + options.level * (peaks(adapted, batch)[0] - here).square().mean()


@torch.no_grad()
def measured(learner: Learner, held: Features, options: Options) -> dict[str, Any]:
    """On held-out targets with doubles pasted beside them: own kernels against another target's and none, as in training.

    Returns:
        Means with intervals over the targets: of which share own kernels have the lower loss, and by how much; of the contexts,
        the share whose highest logit lies elsewhere without kernels and with own ones; of those that fail without, the share
        that kernels repair, and of the others the share that they break.
    """
    rng, rows = np.random.default_rng(0), []
    for first in range(0, len(held.places), options.batch):
        batch = held.batch(np.arange(first, min(first + options.batch, len(held.places))), rng)
        kernels = within_energy(learner, learner(batch.delta), batch.template[:, 0], held.readout)
        found = []
        for w_target in (None, kernels, kernels.roll(1, 0)):
            logits = response(batch, held.readout, w_target)
            peak, elsewhere = peaks(logits, batch)
            found.append((losses(logits, batch, options, learner.balanced), elsewhere > peak, peak))
        rows.append([torch.stack(each).double().numpy() for each in zip(*found, strict=True)])
    loss, fails, here = (np.concatenate(each, axis=1) for each in zip(*rows, strict=True))  # each (3, targets, contexts)
    none, own, swapped = loss.mean(-1)
    before, after = fails[0] > 0, fails[1] > 0
    return {
        "targets": len(held.places),
        "own_better_than_swapped": interval(own < swapped, rng),
        "own_better_than_none": interval(own < none, rng),
        "none_better_than_swapped": interval(none < swapped, rng),
        "loss_gain": interval(none - own, rng),
        "swapped_gain": interval(none - swapped, rng),
        "level": interval((here[1] - here[0]).mean(1), rng),
        "fails_without": interval(before.mean(1), rng),
        "fails_with": interval(after.mean(1), rng),
        "repaired": interval(~after[before], rng) if before.any() else None,
        "broken": interval(after[~before], rng) if (~before).any() else None,
    }


def new_learner(features: Features, form: str, energy: float = SHARE) -> Learner:
    """Of the form, for the features' matching network.

    A polynomial begins with features that are alike in all directions, the printed form with δ at a size that its layers expect.
    """
    weight = features.readout.weight
    if form == "polynomial":
        polynomial = PolynomialLearner(weight.shape[1], weight.shape[0], weight, features.balanced)
        polynomial.whiten(features.second_moment())
        polynomial.energy = energy
        return polynomial
    learner = make_learner(form, weight.shape[1], weight.shape[0], features.balanced, energy)
    if isinstance(learner, MetaLearner):
        learner.delta_scale.copy_(features.delta_size())
    return learner


def begin_with(learner: Learner, name: str) -> None:
    """Takes over the weights of a bundle's meta-learner of the same form; what is the matching network's, W⁺, stays."""
    known = read_networks(open_bundle(name)).learner
    if type(known) is not type(learner):
        raise ValueError(f"the meta-learner of {name} is no {type(learner).__name__}")
    learner.load_state_dict({**known.state_dict(), **dict(learner.named_buffers())})
    learner.balanced, learner.energy = known.balanced, known.energy


def train(features: Features, options: Options) -> Learner:
    """Trains, with a checkpoint every 100 batches beside the bundle's folder."""
    torch.manual_seed(options.seed)
    learner = new_learner(features, options.form, options.energy)
    if options.init:
        begin_with(learner, options.init)
    optimizer = torch.optim.AdamW(learner.parameters(), options.lr, weight_decay=options.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min(1, (step + 1) / 100) * (0.02 + 0.49 * (1 + math.cos(math.pi * step / options.iterations))),
    )
    number = len(features.places)
    among = np.random.default_rng(1).permutation(number)[: options.targets or number]
    shares = features.shares[among] / features.shares[among].sum()
    checkpoint, start, settings = (
        options.out.with_name(f"{options.out.name}.checkpoint.pt"),
        0,
        {k: str(v) for k, v in asdict(options).items()},
    )
    if checkpoint.exists() and (state := torch.load(checkpoint, weights_only=True))["settings"] == settings:
        learner.load_state_dict(state["learner"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        torch.set_rng_state(state["random"])
        start = state["step"]
    for step in range(start, options.iterations):
        rng = np.random.default_rng([options.seed, step])
        batch = features.batch(rng.choice(among, options.batch, p=shares), rng)
        loss = objective(learner, batch, features.readout, options, int(rng.integers(1, options.batch)))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if (step + 1) % 100 == 0 or step + 1 == options.iterations:
            print(f"batch {step + 1} of {options.iterations}: loss {loss.item():.4f}", flush=True)
            state = {"learner": learner.state_dict(), "optimizer": optimizer.state_dict(), "schedule": schedule.state_dict()}
            torch.save({**state, "random": torch.get_rng_state(), "step": step + 1, "settings": settings}, checkpoint)
    return learner.eval()


def probed(bundle: Bundle, learner: Learner, kept: dict[str, Any], val_mix: Path, targets: int, out: Path) -> dict[str, Any]:
    """What a probe says of the graph that is shipped: writes the bundle, without a word of it yet, and asks that."""
    replace_learner(bundle, learner, {**kept, "adaptation": {"sentence": ""}}, out)
    readout = read_networks(bundle).readout
    last = readout.weight.numpy(), readout.bias.numpy()
    summary = probe(load_model(out, 1), last, load_mix(val_mix), targets).summary()
    return {**summary, "sentence": sentence(summary)}


def main(options: Options) -> None:
    """Trains, probes and writes the bundle."""
    torch.set_num_threads(1)
    bundle = open_bundle(options.model)
    readout = read_networks(bundle).readout
    features = Features(options.features, readout)
    learner = train(features, options)
    settings = {k: v for k, v in asdict(options).items() if not isinstance(v, Path)} | {"model": bundle.card["name"]}
    settings["init"] = Path(options.init).name
    facts: dict[str, Any] = {"commit": code_version(), "targets": options.targets or len(features.places), "settings": settings}
    facts["data"] = features.data
    kept = {"training": facts, "tracking": {"update_choice": "softmax"}}
    summary: dict[str, Any] = {"sentence": ""}
    if options.probe:
        summary = probed(bundle, learner, kept, options.val_mix, options.probe, options.out)
    if any(options.features.glob("held-*.npz")):
        summary["doubles"] = measured(learner, Features(options.features, readout, "held"), options)
    replace_learner(bundle, learner, {**kept, "adaptation": summary}, options.out)
    print(json.dumps(summary))


if __name__ == "__main__":
    main(tyro.cli(Options))
