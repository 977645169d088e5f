"""``python -m tools.meta.features --list FILE --out DIR``: targets, embedded once with the frozen trunk of a shipped model.

A training step then costs a few small matrix products. Of the early contexts only the gradient is kept, of the later ones the
features, in 8 bits with a scale for each channel, and what equation (1) makes of them.
"""

from __future__ import annotations

import csv
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
import tyro

from metatrack.files import replacing
from metatrack.model.matching import label_map, project
from metatrack.model.meta import Support, loss_gradient
from metatrack.model.shifts import gather, products
from metatrack.runtime.bundle import open_bundle
from metatrack.runtime.load import load_model
from metatrack.runtime.torch_weights import read_networks
from metatrack.training.sampling import MAX_SHIFT, MAX_SHIFT_NEAR
from tools.meta.views import QUERIES, SUPPORT, Item, ViewMaker, Views

SOURCES = "sources.json"
"""In the folder of the features: the list, without paths."""
SHARD = 250
"""Targets in a file."""
NOISE, SLIPPED = 0.3, 0.1
"""Standard deviation, in cells, of the place that an early context is labelled with, and the share that is up to 4 cells off."""


MAPPED = ("queries", "delta")
"""Arrays that are large, each in a file of its own, which training maps instead of reading it."""


def mapped(shard: Path, name: str) -> Path:
    """Where such an array of a shard is."""
    return shard.with_suffix(f".{name}.npy")


@dataclass(frozen=True)
class Options:
    """Makes the features of a list of targets; repeated, it goes on."""

    list: Path
    """JSON list of ``{"name", "kind", "path", "held_out", "repeat", "most", "views", "what", "licence"}``, see :func:`items`.
    Paths start from its folder; views are the numbers of early and of later contexts; what and licence are for the card."""
    photographs: tuple[Path, ...]
    """Folders of photographs for cut-outs and for what lies behind a frame's border."""
    out: Path
    """Folder of the features."""
    model: str = "lite"
    """Whose trunk and last layer."""
    balanced: bool = True
    """The gradient is of the balanced loss (6); False: of the plain mean."""
    most: int | None = None
    """Targets of each entry of the list, at most."""
    part: int = 0
    """Number of this process, from 0, of ``parts`` that fill the folder together."""
    parts: int = 1
    """Such processes: each makes every ``parts``-th file."""


def items(entry: dict[str, Any], base: Path) -> Iterator[Item]:
    """Targets of one entry: folders of videos, ``boxes.csv`` of stills, PNG files with transparency, or photographs."""
    root, counts = base / entry["path"], entry.get("views", (SUPPORT, QUERIES))
    if entry["kind"] == "still":
        with (root / "boxes.csv").open(newline="") as rows:
            for row in csv.DictReader(rows):
                yield Item(row["file"], "still", root / row["file"], tuple(float(row[key]) for key in "xywh"), *counts)
        return
    pattern = {"video": "*/groundtruth.txt", "cutout": "**/*.png", "region": "**/*.jp*g"}[entry["kind"]]
    for path in sorted(root.glob(pattern)) + (sorted(root.glob("**/*.JPEG")) if entry["kind"] == "region" else []):
        place = path.parent if entry["kind"] == "video" else path
        for repeat in range(entry.get("repeat", 1)):
            yield Item(f"{place.relative_to(root)}#{repeat}", entry["kind"], place, (), *counts)


class Embedder:
    """What training needs of a target's views.

    Args:
        name: of the model.
        balanced: see :class:`Options`.
    """

    def __init__(self, name: str, balanced: bool) -> None:
        self.balanced = balanced
        self.model, self.readout = load_model(name, 1), read_networks(open_bundle(name)).readout
        self.reach = MAX_SHIFT_NEAR if self.model.has_boxes else MAX_SHIFT

    @torch.no_grad()
    def row(self, views: Views, rng: np.random.Generator) -> dict[str, Any]:
        """The arrays of one target."""
        model = self.model
        features = torch.from_numpy(np.concatenate([model.search(part) for part in np.array_split(views.contexts, 2)]))
        if model.has_boxes:
            template, parts = model.appearance(views.templates, views.size[None])
        else:
            template, parts = model.template(views.templates), None
        x, places = torch.from_numpy(template), torch.from_numpy(views.displacements)
        n, late = views.early, features[views.early :]
        noise = np.where(rng.random((n, 1)) < SLIPPED, rng.uniform(-4, 4, (n, 2)), rng.normal(0, NOISE, (n, 2)))
        y = label_map(places[:n] + torch.from_numpy(noise).float(), cells=model.response_cells)
        early = [Support(features[None, i : i + 1], y[None, i : i + 1]) for i in range(n)]
        one = [loss_gradient(x[:1], each, self.readout, self.balanced)[0] for each in early]
        phi_x, phi_z = (project(a, self.readout.weight, self.readout.bias) for a in (x, late))
        energy = F.avg_pool2d(phi_z.square().sum(1, keepdim=True), x.shape[-1], stride=1)[:, 0] * x.shape[-1] ** 2
        correction = np.zeros((len(late), model.response_cells, model.response_cells), np.float32)
        if parts is not None:
            own = [np.repeat(a, len(late), axis=0) for a in (template, parts, views.size[None])]
            maps = model.locate(own[0], own[1], late.numpy(), np.zeros((len(late), 0, model.channels), np.float32), own[2])
            correction = maps.logits - maps.response
        scale = late.abs().amax((0, 2, 3)).clamp(min=1e-6) / 127
        return {
            "template": template.astype(np.float16),
            "delta": torch.stack(one).numpy(),
            "queries": (late / scale[:, None, None]).round().to(torch.int8).numpy(),
            "scale": scale.numpy(),
            "displacements": views.displacements[n:],
            "dots": np.stack([gather(products(each.expand(len(late), *each.shape), phi_z)).numpy() for each in phi_x], axis=1),
            "energy_x": phi_x.square().sum((1, 2, 3)).numpy(),
            "energy_z": energy.numpy(),
            "correction": correction,
            "balanced": self.balanced,
        }


def main(options: Options) -> None:
    """Makes what is not there yet, one file after another."""
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    photographs = sorted(p for folder in options.photographs for p in folder.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg"))
    embedder = Embedder(options.model, options.balanced)
    entries, number = json.loads(options.list.read_text()), 0
    (options.out / SOURCES).write_text(json.dumps([{k: v for k, v in entry.items() if k != "path"} for entry in entries]))
    for entry in entries:
        targets = list(items(entry, options.list.parent))
        np.random.default_rng(5).shuffle(targets)
        targets = targets[: entry.get("most")][: options.most]
        for first in range(0, len(targets), SHARD):
            split = "held" if entry.get("held_out") else "train"
            path = options.out / f"{split}-{entry['name']}-{first // SHARD:04d}.npz"
            number += 1
            if number % options.parts == options.part and not path.exists():
                maker = ViewMaker(photographs, embedder.reach, scales=not embedder.model.has_boxes)
                _shard(embedder, maker, targets[first : first + SHARD], path)


def _shard(embedder: Embedder, maker: ViewMaker, targets: list[Item], path: Path) -> None:
    rows, names = [], []
    for item in targets:
        rng = np.random.default_rng([zlib.crc32(item.name.encode()), 3])
        views = maker.views(item, rng)
        if views is not None:
            rows.append(embedder.row(views, rng))
            names.append(item.name)
    if rows:
        arrays: dict[str, Any] = {key: np.stack([row[key] for row in rows]) for key in rows[0]}
        for name in MAPPED:
            with replacing(mapped(path, name)) as part:
                np.save(part, arrays.pop(name))
        with replacing(path) as part:  # last: a shard whose file is there is whole
            np.savez(part, name=np.array(names), **arrays)
    print(f"{path.name}: {len(rows)} targets", flush=True)


if __name__ == "__main__":
    main(tyro.cli(Options))
