"""Runs a model bundle with onnxruntime. A model is immutable and may be shared by any number of trackers."""

from __future__ import annotations

import os
import platform
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from metatrack.geometry import EXEMPLAR_SIZE, PARTS, SEARCH_SIZE, window_start
from metatrack.runtime.bundle import GRAPHS, Bundle, BundleError, open_bundle

Float32 = npt.NDArray[np.float32]
Engine = Literal["onnxruntime", "cuda", "openvino"]
CUDA = "CUDAExecutionProvider"
Precision = Literal["auto", "float32", "int8", "bfloat16"]
ALL_INT8 = ("paper",)
"""Trunks with an 8-bit graph of which no layer stays in float32: with OpenVINO, 8 bits are faster than bfloat16 there."""


class Maps(NamedTuple):
    """What a box head says of every position of n contexts."""

    response: Float32  # (n, r, r) logits of equation (4)
    logits: Float32  # (n, r, r) scores: the response, corrected
    sides: Float32  # (n, 4, r, r) distances to the left, top, right and bottom side, in pixels of the context patch


class Ready(NamedTuple):
    """Kernels that are there already, where a future is expected."""

    kernels: Float32

    def result(self) -> Float32:
        """The kernels."""
        return self.kernels


class Model:
    """The graphs of a bundle: embed, match or locate, and adapt where it can.

    Args:
        bundle: an opened bundle.
        threads: threads per graph; 0 is one per core.
        precision: of trunk and box head: 'float32'; 'int8', where the bundle has it; with OpenVINO also 'bfloat16'. 'auto' takes
        the fastest that the processor has instructions for: int8 (:func:`fast_int8`) before float32, and with OpenVINO bfloat16
        before either, but for :data:`ALL_INT8`.
        engine: 'onnxruntime'; 'cuda', the same on a GPU, in float32, where onnxruntime-gpu is installed in its place; 'openvino'
        where it is installed.

    Raises:
        BundleError: the engine does not accept a graph, or there is none of that precision.
        ValueError: precision or engine is unknown, or onnxruntime cannot use a GPU here.
        ModuleNotFoundError: the engine is not installed.
    """

    batch = 8
    """Contexts that :meth:`search` is best given at once: on a CPU, more fill the caches and gain nothing."""
    batch_head = False
    """Whether :meth:`locate` is best asked for many targets at once."""

    def __init__(self, bundle: Bundle, threads: int = 0, precision: Precision = "auto", engine: Engine = "onnxruntime") -> None:
        self._describe(bundle.card)
        for what, given, known in (("precision", precision, get_args(Precision)), ("engine", engine, get_args(Engine))):
            if given not in known:
                raise ValueError(f"unknown {what} {given!r}; there are {', '.join(known)}")
        has_int8 = bundle.graph("embed_int8") is not None
        if precision == "int8" and not has_int8:
            raise BundleError(f"model {self.name!r} has no 8-bit trunk; use precision 'float32' or 'auto'")
        if precision == "bfloat16" and engine != "openvino":
            raise ValueError("onnxruntime has no bfloat16 here; use engine 'openvino' or precision 'auto'")
        if precision == "auto":
            precision = "int8" if has_int8 and fast_int8() and engine != "cuda" else "float32"
            if engine == "openvino" and _has_bfloat16() and not (precision == "int8" and self.trunk in ALL_INT8):
                precision = "bfloat16"
        self.precision: str = precision
        self.engine: str = engine

        def graph(name: str, batched: bool = False) -> Any:
            """The graph, in 8 bits if that is asked for and the bundle has it so; None if the bundle has none."""
            if precision == "int8" and GRAPHS.get(f"{name}_int8") and bundle.graph(f"{name}_int8"):
                name = f"{name}_int8"
            path = bundle.graph(name)
            if path is None:
                return None
            if engine != "openvino":
                return _session(path, threads, engine == "cuda")
            # The meta-learner reads small differences: its gradient stays in float32.
            return _openvino(path, batched, threads, "float32" if name == "adapt" else precision, bundle.card)

        self._embed = graph("embed", batched=True)
        self._match = graph("match")
        self._locate = graph("locate", batched=True)
        self._adapt = graph("adapt")

    def _describe(self, card: dict[str, Any]) -> None:
        """Takes over what a card says of a model, whatever engine runs it."""
        architecture = card["architecture"]
        self.card = card
        self.name: str = card["name"]
        self.trunk: str = architecture.get("trunk", "")
        self.channels: int = architecture["channels"]
        self.template_cells: int = architecture["template_cells"]
        self.search_cells: int = architecture["search_cells"]
        self.response_cells: int = architecture["response_cells"]
        self.stride: int = architecture["stride"]
        self.support: int = architecture["support"]
        self.no_kernels: Float32 = np.zeros((0, self.channels), np.float32)
        self._aside, self._aside_of = ThreadPoolExecutor(1, "metatrack-adapt"), os.getpid()  # begins its thread when it is used

    @property
    def has_boxes(self) -> bool:
        """Whether the bundle has a box head: then :meth:`locate` answers, else :meth:`match`."""
        return self._locate is not None

    @property
    def can_adapt(self) -> bool:
        """Whether the bundle has a meta-learner."""
        return self._adapt is not None

    def template(self, crops: npt.NDArray[np.uint8]) -> Float32:
        """Target patches ``(m, 127, 127, 3)`` -> features ``(m, C, k, k)``."""
        return self._center(self._run_embed(crops), self.template_cells)

    def search(self, crops: npt.NDArray[np.uint8]) -> Float32:
        """Context patches ``(n, 255, 255, 3)`` -> features ``(n, C, k + r - 1, k + r - 1)``, r = ``response_cells``.

        With a box head, patches may be smaller by a multiple of 16, and r with them by 2 cells.
        """
        return self._center(self._run_embed(crops), self.search_cells - (SEARCH_SIZE - crops.shape[1]) // self.stride)

    def match(self, template: Float32, search: Float32, w_target: Float32) -> Float32:
        """Equation (4), or (1) where ``w_target`` has no rows: -> logits ``(n, m, 17, 17)``."""
        if self._match is None:
            raise BundleError(f"model {self.name!r} has a box head; use locate()")
        result: Float32 = self._match.run(None, {"template": template, "search": search, "w_target": w_target})[0]
        return result

    def look(self, crops: npt.NDArray[np.uint8], size: Float32) -> tuple[Float32, Float32]:
        """Target patches ``(m, 127, 127, 3)`` and the targets' sizes in them ``(m, 2)``, in pixels -> what a box head compares.

        Returns:
            :meth:`template` ``(m, C, k, k)``, and 7x7 parts of each target ``(m, C, 7, 7)``.
        """
        features = self._run_embed(crops)
        return self._center(features, self.template_cells), self._parts(features, size)

    def _parts(self, features: Float32, size: Float32) -> Float32:
        """As ``metatrack.model.box.parts``: points from edge to edge of the box, read bilinearly off whole patches' features."""
        line = np.linspace(-0.5, 0.5, PARTS, dtype=np.float32)
        places = (EXEMPLAR_SIZE - 1) / 2 / self.stride + size[:, :, None] * line / self.stride  # (m, 2, 7): x and y, in cells
        last = features.shape[-1] - 1
        places = places.clip(0, last)
        first = np.floor(places).astype(int).clip(0, last - 1)
        share = (places - first).astype(np.float32)
        result = np.empty((*features.shape[:2], PARTS, PARTS), np.float32)
        for i, image in enumerate(features):
            (x, y), (u, v) = first[i], share[i]
            rows = image[:, y] * (1 - v)[:, None] + image[:, y + 1] * v[:, None]  # (C, 7, w)
            result[i] = rows[:, :, x] * (1 - u) + rows[:, :, x + 1] * u
        return result

    def locate(self, template: Float32, target: Float32, search: Float32, w_target: Float32, size: Float32) -> Maps:
        """A box head's answer for n targets at once, template i in context i.

        Args:
            template: ``(n, C, k, k)``.
            target: ``(n, C, 7, 7)``, the parts of :meth:`look`.
            search: ``(n, C, h, w)``.
            w_target: ``(n, 32, C)``, or ``(n, 0, C)`` before the first update.
            size: ``(n, 2)`` width and height of the target in the template's patch, in pixels.

        Raises:
            BundleError: the model has no box head.
        """
        if self._locate is None:
            raise BundleError(f"model {self.name!r} has no box head; use match()")
        inputs = {"template": template, "parts": target, "search": search, "w_target": w_target, "size": size}
        return Maps(*self._locate.run(None, inputs))

    def adapt(self, template: Float32, support: Float32, labels: Float32) -> Float32:
        """Equations (2) and (3): template ``(1, C, k, k)``, M contexts, labels ``(M, 17, 17)`` -> w_target ``(32, C)``.

        Raises:
            BundleError: the model has no meta-learner.
        """
        if self._adapt is None:
            raise BundleError(f"model {self.name!r} has no meta-learner; use adapt=False")
        result: Float32 = self._adapt.run(None, {"template": template, "support": support, "labels": labels})[0]
        return result

    def adapt_aside(self, template: Float32, support: Float32, labels: Float32) -> Future[Float32] | Ready:
        """:meth:`adapt` in a thread of the model's own, one call after another: the next frames need not wait for it."""
        if self._aside_of != os.getpid():  # threads do not come along where a process forks
            self._aside, self._aside_of = ThreadPoolExecutor(1, "metatrack-adapt"), os.getpid()
        try:
            return self._aside.submit(self.adapt, template, support, labels)
        except RuntimeError:  # the main thread has ended, so Python begins no work in threads; this thread may still track
            return Ready(self.adapt(template, support, labels))

    def _run_embed(self, crops: npt.NDArray[np.uint8]) -> Float32:
        result: Float32 = self._embed.run(None, {"crops": crops})[0]
        return result

    @staticmethod
    def _center(features: Float32, cells: int) -> Float32:
        first = window_start(features.shape[-1], cells)
        return np.ascontiguousarray(features[..., first : first + cells, first : first + cells])


@lru_cache(maxsize=1)
def fast_int8() -> bool:
    """Whether the processor is known to multiply 8-bit integers faster than floats: x86 with VNNI, ARM with dot products.

    Known on Linux, and on Apple's own chips; False elsewhere.
    """
    if sys.platform == "darwin":
        return platform.machine() == "arm64"
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return not {"avx512_vnni", "avx_vnni", "asimddp"}.isdisjoint(text.split())


@lru_cache(maxsize=8)
def _cached(folder: Path, threads: int, precision: Precision, engine: Engine) -> Model:
    return Model(open_bundle(folder), threads, precision, engine)


def load_model(
    model: str | Path | Model = "lite", threads: int = 0, precision: Precision = "auto", engine: Engine = "onnxruntime"
) -> Model:
    """A model by the name of a shipped one, or by the folder of a bundle; loaded once per process.

    Raises:
        BundleError: there is no such model, or it is damaged.
        ValueError, ModuleNotFoundError: as :class:`Model`.
    """
    if isinstance(model, Model):
        return model
    return _cached(open_bundle(model).folder.resolve(), threads, precision, engine)


def _session(path: Path, threads: int, cuda: bool = False) -> ort.InferenceSession:
    if cuda and CUDA not in ort.get_available_providers():
        raise ValueError(
            f"onnxruntime {ort.__version__} as installed here has no {CUDA}; on a machine with a GPU:"
            " pip uninstall onnxruntime; pip install onnxruntime-gpu"
        )
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or (os.cpu_count() or 1)
    options.inter_op_num_threads = 1
    # Each graph has threads of its own. Between two operators they shall spin, since waking up takes longer than most operators;
    # but those of a graph that has just run must not spin beside those of the one that runs now.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.add_session_config_entry("session.intra_op.spin_duration_us", "50")
    options.log_severity_level = 3
    try:
        session = ort.InferenceSession(str(path), options, providers=[*([CUDA] if cuda else []), "CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises its own unrelated classes
        raise BundleError(f"{path}: onnxruntime {ort.__version__} cannot load the graph: {error}") from error
    if cuda and CUDA not in session.get_providers():  # it goes on with the CPU without a word
        raise ValueError("onnxruntime has the CUDA provider but cannot use it: no GPU, no driver or no cuDNN")
    return session


def _openvino(path: Path, batched: bool, threads: int, precision: str, card: dict[str, Any]) -> Any:
    from metatrack.runtime.openvino_graph import OpenVinoGraph

    try:
        return OpenVinoGraph(path, batched, threads, precision, card["architecture"].get("target_kernels", 0))
    except RuntimeError as error:
        raise BundleError(f"{path}: OpenVINO cannot read the graph: {error}") from error


def _has_bfloat16() -> bool:
    from metatrack.runtime.openvino_graph import has_bfloat16

    return has_bfloat16()
