"""From a bundle to a model: which graphs, in which engine, in which precision, and whether they answer as the card says."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from metatrack.arrays import Float32, UInt8
from metatrack.geometry import EXEMPLAR_SIZE, PARTS, SEARCH_SIZE
from metatrack.runtime.bundle import Bundle, BundleError, read_card
from metatrack.runtime.model import Graph, Model, feeds
from metatrack.runtime.processor import Choice, Engine, Precision, check_engine, choose, usable_cores


def build_model(
    bundle: Bundle, threads: int = 0, precision: Precision = "auto", engine: Engine = "onnxruntime", device: str = "auto"
) -> Model:
    """A new model from a bundle; :func:`load_model` shares them.

    Args:
        bundle: an opened bundle. Its graphs are read, hashed and given to the engine as the same bytes; a bundle that did not
            come with the package is asked once, on blank patches, whether its graphs answer as the card says.
        threads: threads per graph; 0 is one for each core that this process may use.
        precision: of trunk and box head. 'auto' takes the fastest for this processor: :func:`metatrack.runtime.processor.choose`.
        engine: 'onnxruntime'; 'cuda', the same on a GPU, in float32, where onnxruntime-gpu is installed in its place; 'openvino'
            and 'torch' where they are installed.
        device: of torch: 'cuda', 'cpu', or 'auto': the current GPU, if there is one.

    Raises:
        BundleError: a file is not what the card says, the engine does not accept a graph, a graph answers in other shapes than
            the card's, or there is none of that precision.
        ValueError: precision, engine or device is unknown, the engine does not have that precision, or there is no GPU.
        ModuleNotFoundError: the engine is not installed.
    """
    check_engine(engine, precision, threads)
    if engine == "torch":
        from metatrack.runtime.torch_graph import torch_model

        model = torch_model(bundle, threads, precision, device)
    else:
        model = _onnx(bundle, threads, precision, engine)
    if not bundle.shipped:
        check_model(model, bundle.folder)
    place = bundle.folder.name if bundle.shipped else str(bundle.folder)  # a shipped one lies elsewhere on other machines
    origin = load_again, (place, bundle.digest, threads, (precision, model.precision), engine, device)
    object.__setattr__(model, "origin", origin)  # what is changed with replace() has none
    return model


def _onnx(bundle: Bundle, threads: int, precision: Precision, engine: Engine) -> Model:
    choice, graphs = choice_for(bundle, precision, engine), dict[str, Graph]()
    threads = threads or usable_cores()
    for name in ("embed", "match", "locate", "adapt"):
        chosen = f"{name}_int8" if choice.precision == "int8" and bundle.graph(f"{name}_int8") else name
        path = bundle.graph(chosen)
        if path is None:
            continue
        # The meta-learner reads small differences, so it stays in float32, and works in the background: onnxruntime, which need
        # not compile it for each shape, serves every engine.
        if engine == "openvino" and name != "adapt":
            from metatrack.runtime.openvino_graph import OpenVinoGraph

            graphs[name] = OpenVinoGraph(name, path, bundle.content(chosen), threads, choice.precision)
        else:
            from metatrack.runtime.onnx_graph import OnnxGraph

            graphs[name] = OnnxGraph(path, bundle.content(chosen), threads, engine == "cuda", choice.exact_products)
    if "embed" not in graphs or not {"match", "locate"} & set(graphs):
        raise BundleError(f"{bundle.folder} is incomplete: a model has the graph embed and one of match and locate")
    return Model(bundle.card, graphs, engine, choice.precision, choice.reason, same_rows=engine == "openvino")


def choice_for(bundle: Bundle, precision: Precision = "auto", engine: Engine = "onnxruntime") -> Choice:
    """The precision that :func:`build_model` takes for a bundle, and why, for every engine but torch.

    Raises:
        BundleError: 8 bits are asked for, and there are none.
        ValueError: the engine does not have that precision here.
    """
    if precision == "int8" and not bundle.has_int8:
        raise BundleError(f"model {bundle.card['name']!r} has nothing in 8 bits; use precision 'float32' or 'auto'")
    choice = choose(engine, precision, bundle.has_int8, bundle.float_layers > 0)
    if choice.precision == "int8" and bundle.graph("embed_int8") is None:
        return choice._replace(reason=f"{choice.reason}; of the box head alone, the trunk stays in float32")
    return choice


@lru_cache(maxsize=8)
def _cached(bundle: Bundle, threads: int, precision: Precision, engine: Engine, device: str) -> Model:
    bundle.check()  # also of what this precision does not need
    return build_model(bundle, threads, precision, engine, device)


def load_model(
    model: str | Path | Model = "lite", threads: int = 0, precision: Precision = "auto", engine: Engine = "onnxruntime"
) -> Model:
    """A model by the name of a shipped one, or by the folder of a bundle.

    Each is loaded once per process; a bundle whose card has changed, and with it the hashes of its graphs, is another one.

    Raises:
        BundleError: there is no such model, or it is damaged.
        BundleError, ValueError, ModuleNotFoundError: as :func:`build_model`.
    """
    if isinstance(model, Model):
        return model
    check_engine(engine, precision, threads)  # before the cache, to which True is 1
    return _cached(read_card(model), threads, precision, engine, "auto")


def load_again(
    model: str, digest: str, threads: int, precisions: tuple[Precision, Precision], engine: Engine, device: str
) -> Model:
    """What :meth:`metatrack.runtime.model.Model.__reduce__` has stored, in this process.

    Args:
        digest: SHA-256 of its card; a :class:`BundleError` where another has taken its place.
        precisions: that was asked for, and that was chosen: on another processor 'auto' may be another.
    """
    bundle = read_card(model)
    if bundle.digest != digest:
        raise BundleError(
            f"{bundle.folder} holds another model than when this was pickled: its card has SHA-256 {bundle.digest[:12]},"
            f" not {digest[:12]}; put the old bundle back, or start anew with the new one"
        )
    asked, chosen = precisions
    found = _cached(bundle, threads, asked, engine, device)
    return found if found.precision == chosen else _cached(bundle, threads, chosen, engine, device)


def check_model(model: Model, folder: Path) -> None:
    """Refuses a model whose graphs do not answer as its card says, when they are asked once, on blank patches.

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
            features = model.graphs["embed"].run(feeds("embed", _blank(size)))[0]
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
