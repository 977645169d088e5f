"""What 8-bit products are worth on a processor without instructions that sum them in 32 bits, such as one with AVX2 alone.

    qemu-x86_64 -cpu Haswell .venv/bin/python -m benchmarks.products
    ONEDNN_MAX_CPU_ISA=AVX2 python -m benchmarks.products openvino

Emulated or not, it prints how far trunk and box head in 8 bits are from float32: as onnxruntime multiplies by itself, and with
exact products (``session.x64quantprecision``); or as OpenVINO multiplies, which has no such choice. Speeds under emulation mean
nothing, so none is printed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from benchmarks.clip import read_clip
from metatrack.arrays import Array, Float32
from metatrack.runtime.bundle import Bundle, open_bundle
from metatrack.runtime.load import build_model
from metatrack.runtime.model import Graph, Model, with_rows
from metatrack.runtime.onnx_graph import OnnxGraph
from metatrack.tracking.box_search import BoxSearch
from metatrack.tracking.patches import Patches
from metatrack.tracking.tracker import Tracker

FRAMES = 9
"""Of the demo clip."""


def cosine(a: Float32, b: Float32) -> float:
    """Of two arrays, as vectors.

    >>> cosine(np.array([1, 0], np.float32), np.array([3, 4], np.float32))
    0.6
    """
    return round(float((a * b).sum(dtype=np.float64) / np.linalg.norm(a) / np.linalg.norm(b)), 5)


def asked(model: Model) -> Iterator[tuple[str, Mapping[str, Array]]]:
    """What trunk and box head are asked along the demo clip, in float32: graph, inputs."""
    clip = read_clip(FRAMES)
    tracker = Tracker(model)
    tracker.init(clip.frames[0], clip.box)
    for frame in clip.frames[1:]:
        crops = tracker.contexts(Patches(frame))
        yield "embed", {"crops": crops}
        if isinstance(tracker.searcher, BoxSearch):
            own = tracker.started.appearance
            inputs = {"template": own.now.template, "parts": own.now.parts, "search": model.search(crops), "size": own.size}
            yield "locate", {**inputs, "w_target": with_rows(tracker.started.w_target, 32)[None]}
        tracker.update(frame)


def deviations(bundle: Bundle, engine: str) -> Iterator[tuple[str, list[float]]]:
    """Graph and cosine of its outputs to those in float32: products as they come, exact products where the engine has such."""
    model = build_model(bundle, 1, "float32")
    questions = list(asked(model))
    for name in dict(questions):
        file, own = bundle.graph(f"{name}_int8"), [feeds for each, feeds in questions if each == name]
        if file is None:
            continue
        data = file.read_bytes()
        if engine == "openvino":
            from metatrack.runtime.openvino_graph import OpenVinoGraph

            graphs: list[Graph] = [OpenVinoGraph(name, file, data, 1, "int8")]
        else:
            graphs = [OnnxGraph(file, data, 1), OnnxGraph(file, data, 1, exact_products=True)]
        expected = flat([model.graphs[name].run(feeds) for feeds in own])
        yield file.name, [cosine(flat([graph.run(feeds) for feeds in own]), expected) for graph in graphs]


def flat(answers: Sequence[Sequence[Float32]]) -> Float32:
    """All outputs of all calls in one row."""
    return np.concatenate([output.ravel() for answer in answers for output in answer])


def main(engine: str = "onnxruntime") -> None:
    """Prints the table."""
    # By CPUID, which an emulator answers for itself; the system's list would be the host's.
    print("instructions by numpy's names:", np.show_config(mode="dicts")["SIMD Extensions"])
    print("| model | graph | cosine to float32 |", "" if engine == "openvino" else " with exact products |")
    for name in ("lite", "paper"):
        for file, cosines in deviations(open_bundle(name), engine):
            print(f"| `{name}` | {file} |", " | ".join(f"{each:.5f}" for each in cosines), "|", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
