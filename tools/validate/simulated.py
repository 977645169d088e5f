"""``python -m tools.validate.simulated --mix FILE --models lite mobile``: models on simulated clips of held-out trajectories.

Those are the clips that a training validates on: a moving, zooming camera over the trajectories of a mix. The first model is what
the others are compared with, clip by clip.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro

from metatrack.evaluation.score.metrics import bootstrap_interval
from metatrack.runtime.load import load_model
from metatrack.runtime.processor import Precision
from metatrack.training.mix import load_mix
from metatrack.training.validation import simulate, track_clips


@dataclass(frozen=True)
class SimulatedOptions:
    """Follows the targets of simulated clips."""

    mix: Path
    """JSON file of held-out trajectories: configs/val_real.json, val_faces.json, val_parts.json."""
    models: tuple[str, ...] = ("lite",)
    """Shipped models, or folders of bundles."""
    clips: int = 60
    precision: Precision = "float32"


def main(options: SimulatedOptions) -> None:
    """Prints the mean overlap of each model, and its difference to the first with a 95 % interval over clips."""
    torch.set_num_threads(1)
    models = [load_model(name, 1, options.precision) for name in options.models]
    clips = simulate(load_mix(options.mix), options.clips)
    first = None
    for name, model in zip(options.models, models, strict=True):
        overlap = track_clips(model, clips)
        line = f"{name}: {overlap.mean():.4f}"
        if first is None:
            first = overlap
        else:
            low, high = bootstrap_interval(overlap - first, np.random.default_rng(0))
            line += f", {(overlap - first).mean():+.4f} [{low:+.4f}, {high:+.4f}]"
        print(line, flush=True)


if __name__ == "__main__":
    main(tyro.cli(SimulatedOptions))
