"""What engines are asked, and how near their answers shall be: parts of the demo clip, and every question of a model."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np

import metatrack
from metatrack import open_source
from metatrack.geometry import crop
from metatrack.runtime.bundle import open_bundle
from metatrack.runtime.load import build_model
from metatrack.runtime.model import Model
from metatrack.runtime.processor import Precision

DEMO = Path(metatrack.__file__).parent / "assets" / "demo.mp4"
HEAD, HAND, ROCKS = (185, 120, 69, 87), (80, 125, 50, 50), (395, 137, 177, 75)


@lru_cache(maxsize=1)
def clip() -> tuple[np.ndarray, ...]:
    with open_source(DEMO, end=10) as source:
        return tuple(source)


def patches(count: int, size: int) -> np.ndarray:
    """Parts of the demo clip's frames, at several places and scales."""
    sides = (size * 0.8, size * 1.1, size * 0.6)
    return np.stack(
        [crop(clip()[i % 8], 120 + 60 * (i % 5), 150 + 7 * i, sides[i % 3], size, (90.0, 90.0, 90.0)) for i in range(count)]
    )


@lru_cache(maxsize=4)
def models(name: str, precision: Precision = "float32") -> tuple[Model, Model]:
    """A shipped model in onnxruntime and float32, and in torch and a precision."""
    return build_model(open_bundle(name), 1, "float32"), in_torch(name, precision)


def in_torch(name: str | Path, precision: Precision = "float32") -> Model:
    """A model in torch on the CPU."""
    return build_model(open_bundle(name), 1, precision, "torch", "cpu")


def inputs(model: Model) -> SimpleNamespace:
    """What a tracker would ask, from one engine's features, so that both are asked the same."""
    rng = np.random.default_rng(1)
    size = np.array([[60, 50], [20, 110], [64, 64]], np.float32)
    crops = patches(3, 127)
    template, parts = model.appearance(crops, size) if model.has_boxes else (model.template(crops), None)
    cells = model.response_cells
    return SimpleNamespace(
        size=size,
        template=template,
        parts=parts,
        search=model.search(patches(3, 255)),
        kernels=rng.normal(0, 0.05, (3, 32, model.channels)).astype(np.float32),
        labels=np.where(rng.random((4, cells, cells)) > 0.9, 1, -1).astype(np.float32),
    )


def agree(answer: np.ndarray, expected: np.ndarray, share: float = 1e-4) -> None:
    assert answer.shape == expected.shape and answer.dtype == np.float32 and answer.flags.c_contiguous
    assert np.abs(expected).max() > 0
    assert np.abs(answer - expected).max() <= share * np.abs(expected).max()


def answers(model: Model, given: SimpleNamespace) -> dict[str, np.ndarray]:
    """All methods' answers."""
    found = {"template": model.template(patches(3, 127)), "search": model.search(patches(3, 255))}
    for rows in (0, 32):
        kernels = given.kernels[:, :rows]
        if model.has_boxes:
            found["appearance"], found["parts"] = model.appearance(patches(3, 127), given.size)
            maps = model.locate(given.template, given.parts, given.search, kernels, given.size)
            found.update({f"{name} {rows}": value for name, value in maps._asdict().items()})
            found["small"] = model.search(patches(2, 191))  # a smaller context has fewer cells
        else:
            found[f"match {rows}"] = model.match(given.template, given.search, kernels[0])
    if model.can_adapt:
        for shift in (0, 1):
            support = np.concatenate([given.search[shift:], given.search])[:4]
            found[f"adapt {shift}"] = model.adapt(given.template[:1], support, given.labels)
    return found
