"""The composer of clips."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from metatrack.arrays import Rng
from metatrack.data.clips import MadeClip
from metatrack.data.synth.backgrounds import backgrounds as draw_backgrounds
from metatrack.data.synth.config import ComposerConfig
from metatrack.data.synth.distractors import covers as draw_covers
from metatrack.data.synth.distractors import distractors as draw_distractors
from metatrack.data.synth.files import Subset, require_subset
from metatrack.data.synth.layers import Actor, Layer, blend
from metatrack.data.synth.light import camera, color_tables
from metatrack.data.synth.motion import Motion
from metatrack.data.synth.stock import Stock


class Composer:
    """Composes clips of one object through time from a folder of objects and a folder of photographs.

    Args:
        objects: folder or folders, searched through, of images with transparency; see
            :func:`metatrack.data.synth.cutouts.read_object` for what is used.
        backgrounds: folder or folders of photographs; see :func:`metatrack.data.synth.stock.find_photos`.
        subset: ``train`` or ``val`` use disjoint parts (85 : 15, by a hash of the file's name) of objects and backgrounds.
        config: what the clips look like.

    Raises:
        FileNotFoundError: a folder does not exist.
        ValueError: a folder holds nothing usable, or nothing of this subset.
    """

    def __init__(
        self,
        objects: Path | Iterable[Path],
        backgrounds: Path | Iterable[Path],
        *,
        subset: Subset = "all",
        config: ComposerConfig | None = None,
    ) -> None:
        require_subset(subset)
        self.config = config or ComposerConfig()
        self.subset = subset
        self.stock = Stock(objects, backgrounds, subset, recolor=0.2 * min(1.0, self.config.lighting))

    @property
    def materials(self) -> list[Path]:
        return [*self.stock.object_paths, *self.stock.photo_paths]

    def recipe(self) -> dict[str, Any]:
        return {
            "subset": self.subset,
            "config": vars(self.config),
            "objects": len(self.stock.object_paths),
            "backgrounds": len(self.stock.photo_paths),
        }

    def clip(self, rng: Rng, length: int) -> MadeClip:
        """Composes one clip of ``length`` frames; the same state of ``rng`` gives the same clip.

        Raises:
            ValueError: length is less than 1, or the config's shift moves the target out of the frame.
            OSError: a photograph cannot be read.
        """
        if length < 1:
            raise ValueError(f"length={length}: a clip has at least one frame")
        # A generator for each part, so that switching one part off leaves the others as they were.
        seeds = rng.integers(0, 2**63, size=5)
        rng_target, rng_back, rng_distract, rng_cover, rng_look = (np.random.default_rng(seed) for seed in seeds)
        stock, config, size = self.stock, self.config, self.config.size

        target = self._target(rng_target, length)
        targets = [self._visible(target, i) for i in range(length)]
        frames = draw_backgrounds(rng_back, length, stock, config)
        distractors = draw_distractors(rng_distract, target, stock, config)
        covers = draw_covers(rng_cover, targets, stock, config)
        finish = camera(rng_look, length, size, config.degrade)

        for i, frame in enumerate(frames):
            for layer in [*(other.layer(i, size) for other in distractors), targets[i], covers[i]]:
                if layer is not None:
                    blend(frame, layer)
        boxes = np.array([layer.box for layer in targets], np.float64)
        return MadeClip([finish(frame, i) for i, frame in enumerate(frames)], boxes)

    def _target(self, rng: Rng, length: int) -> Actor:
        config = self.config
        cutout = self.stock.thing(rng, config.blob)
        motion = Motion.sample(rng, length)
        tables = color_tables(rng, length, config.lighting, 1.0)
        jitter = rng.uniform(-1, 1, size=(length, 3))
        centers = config.size / 2 + config.shift * jitter[:, :2]
        contexts = config.context * (1 + config.scale_jitter * jitter[:, 2])
        return Actor(cutout, tables, motion, contexts, centers)

    def _visible(self, target: Actor, i: int) -> Layer:
        layer = target.layer(i, self.config.size, exact=True)
        if layer is None:
            raise ValueError(f"the target lies outside the frame: shift={self.config.shift} is too much for it")
        return layer
