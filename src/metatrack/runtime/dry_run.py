"""One question to every graph of a model, on blank patches: whether the answers have the shapes that the card states."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from metatrack.arrays import Float32, UInt8
from metatrack.geometry import EXEMPLAR_SIZE, PARTS, SEARCH_SIZE
from metatrack.runtime.bundle import BundleError
from metatrack.runtime.model import Model


def check_model(model: Model, folder: Path) -> None:
    """Refuses a model whose graphs do not answer as its card says.

    Raises:
        BundleError: a graph fails on a blank patch, or answers in another shape; the message names it.
    """
    try:
        _check_features(model)
        _check_heads(model)
    except BundleError as error:
        raise BundleError(f"{folder}: {error}; export the model again") from error
    except Exception as error:  # engines raise their own unrelated classes
        raise BundleError(f"{folder}: its graphs do not fit its card: {str(error)[:500]}; export the model again") from error


def _check_features(model: Model) -> None:
    """Of a target's patch and a context: channels, cells and stride."""
    if "search" not in model.graphs:  # else the trunk's answer is cut to what counts before it comes here
        cells = []
        for size in (EXEMPLAR_SIZE, SEARCH_SIZE):
            features = model.graphs["embed"].run({"crops": _blank(size)})[0]
            _require("embed", features, (1, model.channels, features.shape[-1], features.shape[-1]))
            cells.append(features.shape[-1])
        apart = (cells[1] - cells[0]) * model.stride
        if apart != SEARCH_SIZE - EXEMPLAR_SIZE:
            raise BundleError(f"graph embed answers {cells[0]} and {cells[1]} cells, which is no stride of {model.stride} px")
    k, s = model.template_cells, model.search_cells
    _require("embed", model.template(_blank(EXEMPLAR_SIZE)), (1, model.channels, k, k))
    _require("embed", model.search(_blank(SEARCH_SIZE)), (1, model.channels, s, s))


def _check_heads(model: Model) -> None:
    """Of features of the stated shapes: equations (1) and (4), the box head, the meta-learner."""
    c, k, s, r = model.channels, model.template_cells, model.search_cells, model.response_cells
    template, search = np.zeros((1, c, k, k), np.float32), np.zeros((1, c, s, s), np.float32)
    kernels = model.no_kernels
    if model.can_adapt:
        if not model.support:
            raise BundleError("the card's support is 0, and there is a meta-learner")
        labels = np.ones((model.support, r, r), np.float32)
        kernels = model.adapt(template, np.zeros((model.support, c, s, s), np.float32), labels)
        _require("adapt", kernels, (model.card["architecture"].get("target_kernels", len(kernels)), c))
    for rows in {len(kernels): kernels, 0: model.no_kernels}.values():
        if model.has_boxes:
            size = np.full((1, 2), 60, np.float32)
            parts = np.zeros((1, c, PARTS, PARTS), np.float32)
            maps = model.locate(template, parts, search, rows[None], size)
            _require("locate", maps.response, (1, r, r))
            _require("locate", maps.logits, (1, r, r))
            _require("locate", maps.sides, (1, 4, r, r))
        else:
            _require("match", model.match(template, search, rows), (1, 1, r, r))


def _require(graph: str, found: Float32, shape: tuple[int, ...]) -> None:
    if found.shape != shape or found.dtype != np.float32:
        raise BundleError(
            f"graph {graph} answers {found.dtype} of shape {list(found.shape)}, where the card means float32 {list(shape)}"
        )


def _blank(size: int) -> UInt8:
    return np.zeros((1, size, size, 3), np.uint8)
