"""The stock of models and photographs that a renderer draws from."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from metatrack.arrays import Rng
from metatrack.data.render.model import Mesh, read_model
from metatrack.data.render.pack import ModelRow, read_table
from metatrack.data.synth.files import Subset, as_roots, key_in_subset
from metatrack.data.synth.stock import Photographs

kept_model = lru_cache(maxsize=96)(read_model)  # so many models are kept in memory
ANIMATED_SHARE = 0.3
"""Share of the draws that are articulated figures, where there are some: there are few, and they are what cut-outs lack."""


def model_key(name: str) -> str:
    """What the models share that are variants of one: ``Scopia-chair3`` and ``Scopia-chair`` are one, for the split.

    >>> model_key("sweethome3d-Scopia-chair_03"), model_key("quaternius-fish_pack-Fish1")
    ('sweethome3d-scopia-chair', 'quaternius-fish_pack-fish')
    """
    return re.sub(r"[-_ ]*\d*(-\d+)?$", "", name.lower()) or name.lower()


class ModelStock(Photographs):
    """Models, read when drawn and kept for a while, and photographs.

    Args:
        models: folder or folders of packed models (:func:`metatrack.data.render.pack.pack`).
        backgrounds, subset, recolor: of the photographs; the subset is of the models too.

    Raises:
        FileNotFoundError: a folder does not exist, or holds no table of models.
        ValueError: a folder holds nothing of this subset.
    """

    def __init__(self, models: Path | Iterable[Path], backgrounds: Path | Iterable[Path], subset: Subset, recolor: float) -> None:
        folders = as_roots(models)
        usable = [
            (folder / row.file, row)
            for folder in folders
            for row in read_table(folder)
            if row.file is not None and key_in_subset(model_key(row.name), subset)
        ]
        if not usable:
            raise ValueError(
                f"no model of subset {subset!r} in {', '.join(map(str, folders))}; `metatrack data models` makes them"
            )
        super().__init__(backgrounds, subset, recolor)
        self.rows: list[ModelRow] = [row for _, row in usable]
        self.paths = [path for path, _ in usable]
        kept_model.cache_clear()  # files may have been packed anew
        self._animated = [i for i, row in enumerate(self.rows) if row.animated]
        self._rigid = [i for i, row in enumerate(self.rows) if not row.animated]

    def model(self, rng: Rng) -> Mesh:
        """A random model, drawn the more often the fewer there are of its source."""
        animated, pick = rng.random() < ANIMATED_SHARE, rng.random()
        group = self._animated if (animated and self._animated) or not self._rigid else self._rigid
        return kept_model(self.paths[group[int(pick * len(group))]])
