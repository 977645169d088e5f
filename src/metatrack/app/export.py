"""``metatrack export``: trained weights to a model bundle."""

from __future__ import annotations

from collections.abc import Sequence as Seq
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from metatrack.app.problem import Problem, user_input
from metatrack.arrays import Array
from metatrack.bundling.calibration import calibrate, disappear
from metatrack.bundling.export import CardInfo, export_bundle
from metatrack.bundling.quantise import PAIRS
from metatrack.bundling.replacing import check_replaceable
from metatrack.runtime.bundle import open_bundle
from metatrack.runtime.model import Model
from metatrack.training.mix import load_mix
from metatrack.training.precision import choose_precision
from metatrack.training.sampling import BoxPair, PairSampler
from metatrack.training.validation import ViewedClip, model_of, simulate
from metatrack.training.weights import bundle_at, load_matching, load_meta
from metatrack.typed import read_json

MACHINE = ("out", "workers", "threads", "imagenet", "nanotrack", "matching", "init", "tensorboard")
"""Settings of a run that say where it ran, not what it did."""


@dataclass(frozen=True)
class ExportOptions:
    """Makes a model bundle: ONNX graphs and a card that says what they are."""

    matching: Path
    """Weights of the matching network: best.pt of its run, or a model."""
    card: Path
    """JSON file of what only a person knows: name, description, licence, data, training; optionally tracking, calibration."""
    out: Path
    """Folder of the bundle; an older one is replaced."""
    meta: Path | None = None
    """Weights of the meta-learner: best.pt of its run, or a model. Without it, the model cannot adapt."""
    val_mix: Path | None = None
    """JSON file of held-out videos (configs/val.json) to calibrate the score on; without it, the card's calibration stands."""
    val_clips: int = 120
    """Simulated clips for the calibration."""
    int8_mix: Path | None = None
    """JSON file of training data (configs/train.json) to calibrate trunk and box head in 8 bits; without it, there are none."""


def run(options: ExportOptions) -> int:
    """Exports; returns the exit code."""
    with user_input():
        info = read_json(options.card, CardInfo)
        check_replaceable(options.out)
        network = load_matching(options.matching)
        learner = None if options.meta is None else load_meta(options.meta, network)
        if options.val_mix is not None:
            clips = simulate(load_mix(options.val_mix), options.val_clips, seed=1)  # not those that chose the weights
            model = model_of(network, learner, choose_precision("auto"))
            model = replace(model, card={**model.card, "tracking": info.tracking})
            info = replace(info, calibration=calibration(model, clips, adapt=learner is not None))
        pairs: list[BoxPair[Array]] = []
        if options.int8_mix is not None:
            sampler = PairSampler(load_mix(options.int8_mix), seed=5)
            pairs = [sampler.box_pair(index) for index in range(PAIRS)]
    info = replace(info, training={**training_facts(options.matching, options.meta), **info.training})
    try:
        folder = export_bundle(network, learner, info, options.out, pairs)
    except BlockingIOError as error:
        raise Problem(str(error)) from error
    bundle = open_bundle(folder)
    size = sum(facts["bytes"] for facts in bundle.card["files"].values())
    print(f"{folder}: model {info.name!r}, {size / 1e6:.1f} MB, {'with' if learner else 'without'} meta-learner")
    return 0


def calibration(model: Model, clips: Seq[ViewedClip], adapt: bool) -> dict[str, Any]:
    """What the score is worth on held-out clips, for the card; prints what flag and search are worth where a target goes away."""
    fitted = calibrate(model, clips, adapt)
    worth = disappear(replace(model, card={**model.card, "calibration": fitted}), clips, adapt)
    print("where the target goes and comes back:", ", ".join(f"{name} {value}" for name, value in worth.items()))
    return {**fitted, "disappearance": worth}


def training_facts(matching: Path, meta: Path | None) -> dict[str, Any]:
    """What the runs recorded of themselves: settings, seed, step reached, commit."""
    facts: dict[str, Any] = {}
    for part, path in (("matching", matching), ("meta", meta)):
        if path is None:
            continue
        if (bundle := bundle_at(path)) is not None:
            facts[part] = {"model": bundle.card["name"], "card": bundle.digest}
            continue
        state = torch.load(path, map_location="cpu", weights_only=True)
        kept = ("commit", "step", "overlap", "baseline", "config", "averaged", "began with")
        facts[part] = public_record({key: state[key] for key in kept if key in state})
    return facts


def public_record(record: dict[str, Any]) -> dict[str, Any]:
    """What a run recorded of itself, and of those that it is the mean of or began with, without the paths of their machines."""
    made: dict[str, Any] = {}
    for key, value in record.items():
        if key == "config":
            if not {"averaged", "settings"} & record.keys():
                made["settings"] = public_settings(value)
        elif key in ("averaged", "mean of"):
            made["mean of"] = [public_record(run) for run in value]
        else:
            made[key] = public_record(value) if key == "began with" else value
    return made


def public_settings(config: dict[str, Any]) -> dict[str, Any]:
    """A run's settings without the paths of the machine that trained; a mix is known by its name."""
    return {k: Path(v).name if k in ("mix", "val_mix") else v for k, v in config.items() if k not in MACHINE}
