"""From a bundle to a model: which graphs, in which engine, in which precision."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from metatrack.runtime.bundle import Bundle, BundleError, open_bundle
from metatrack.runtime.graph import Graph
from metatrack.runtime.model import Model
from metatrack.runtime.processor import Choice, Engine, Precision, check_engine, choose, usable_cores


def build_model(
    bundle: Bundle, threads: int = 0, precision: Precision = "auto", engine: Engine = "onnxruntime", device: str = "auto"
) -> Model:
    """A new model from a bundle; :func:`load_model` shares them.

    Args:
        bundle: an opened bundle.
        threads: threads per graph; 0 is one for each core that this process may use.
        precision: of trunk and box head. 'auto' takes the fastest for this processor: :func:`metatrack.runtime.processor.choose`.
        engine: 'onnxruntime'; 'cuda', the same on a GPU, in float32, where onnxruntime-gpu is installed in its place; 'openvino'
            and 'torch' where they are installed.
        device: of torch: 'cuda', 'cpu', or 'auto': the current GPU, if there is one.

    Raises:
        BundleError: the engine does not accept a graph, or there is none of that precision.
        ValueError: precision, engine or device is unknown, the engine does not have that precision, or there is no GPU.
        ModuleNotFoundError: the engine is not installed.
    """
    check_engine(engine, precision)
    if engine == "torch":
        from metatrack.runtime.torch_graph import torch_model

        return torch_model(bundle, threads, precision, device)
    choice = choice_for(bundle, precision, engine)
    graphs = {}
    for name in ("embed", "match", "locate", "adapt"):
        path = (bundle.graph(f"{name}_int8") if choice.precision == "int8" else None) or bundle.graph(name)
        if path is not None:
            graphs[name] = _open(name, path, threads or usable_cores(), engine, choice)
    return Model(bundle.card, graphs, engine, choice.precision, choice.reason, same_rows=engine == "openvino")


def choice_for(bundle: Bundle, precision: Precision = "auto", engine: Engine = "onnxruntime") -> Choice:
    """The precision that :func:`build_model` takes for a bundle, and why, for every engine but torch.

    Raises:
        BundleError: 8 bits are asked for, and there are none.
        ValueError: the engine does not have that precision here.
    """
    has_int8 = bundle.graph("embed_int8") is not None
    if precision == "int8" and not has_int8:
        raise BundleError(f"model {bundle.card['name']!r} has no 8-bit trunk; use precision 'float32' or 'auto'")
    return choose(engine, precision, has_int8, bundle.float_layers > 0)


def _open(name: str, path: Path, threads: int, engine: Engine, choice: Choice) -> Graph:
    if engine == "openvino":
        from metatrack.runtime.openvino_graph import openvino_graph

        # The meta-learner reads small differences: its gradient stays in float32.
        return openvino_graph(name, path, threads, "float32" if name == "adapt" else choice.precision)
    from metatrack.runtime.onnx_graph import onnx_graph

    return onnx_graph(path, threads, engine == "cuda", choice.exact_products)


@lru_cache(maxsize=8)
def _cached(folder: Path, threads: int, precision: Precision, engine: Engine) -> Model:
    return build_model(open_bundle(folder), threads, precision, engine)


def load_model(
    model: str | Path | Model = "lite", threads: int = 0, precision: Precision = "auto", engine: Engine = "onnxruntime"
) -> Model:
    """A model by the name of a shipped one, or by the folder of a bundle; loaded once per process.

    Raises:
        BundleError: there is no such model, or it is damaged.
        BundleError, ValueError, ModuleNotFoundError: as :func:`build_model`.
    """
    if isinstance(model, Model):
        return model
    return _cached(open_bundle(model).folder.resolve(), threads, precision, engine)
