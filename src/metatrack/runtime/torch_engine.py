"""Runs a model bundle with torch, for a GPU: half precision, CUDA graphs, hundreds of targets in one batch.

It needs the extra ``train``. The weights are read off the bundle's float graphs, so that both engines share one file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import pairwise
from pathlib import Path
from threading import Lock
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from metatrack.geometry import SEARCH_SIZE
from metatrack.runtime.bundle import Bundle, BundleError, open_bundle
from metatrack.runtime.engine import Float32, Model

try:
    import onnx
    import torch
    from onnx import TensorProto, numpy_helper
    from torch import Tensor, nn

    from metatrack.model.box import BoxHead, BoxNetwork, locate, make_network
    from metatrack.model.features import Trunk, center_cells
    from metatrack.model.meta import TARGET_KERNELS, MetaLearner, adapted_response, loss_gradient
except ModuleNotFoundError as error:
    remedy = f"the torch engine needs {error.name}, which is not installed: pip install 'metatrack[train]'"
    raise ModuleNotFoundError(remedy, name=error.name) from error

Array: TypeAlias = npt.NDArray[Any]
Function: TypeAlias = Callable[..., Any]
"""Tensors -> one tensor, or a tuple of them."""
Device = Literal["auto", "cuda", "cpu"]
TorchPrecision = Literal["auto", "float32", "float16", "bfloat16"]
INPUTS = {
    "embed": ("crops",),
    "match": ("template", "search", "w_target"),
    "locate": ("template", "parts", "search", "w_target", "size"),
    "adapt": ("template", "support", "labels"),
}
"""Inputs of the bundle's graphs, in the order in which torch takes them."""
BATCHED = {"embed": INPUTS["embed"], "match": ("search",), "locate": INPUTS["locate"], "adapt": ()}
"""Of these, the inputs whose first axis is the batch, as it is the first of all outputs then."""
FEATURES = ("template", "parts", "search", "support")
"""Of these, what a trunk has made."""
BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
"""Batches on a GPU. Each has a CUDA graph to capture and buffers to hold, so what lies between is padded to the next one."""
WARM_UPS = 3
"""Runs before a capture, in which libraries load, allocate and choose their algorithms; a capture may do none of that."""
CAPTURING = Lock()
"""A process can capture one CUDA graph at a time."""


class TorchModel(Model):
    """The graphs of a bundle in torch, to be given as ``model`` to a Tracker or a MultiTracker; threads may share it.

    Trunk and box head run in the precision asked for. What stays in float32 costs little: equation (4), which sums thousands of
    squares, and the meta-learner with the loss gradient, a small difference of large sums: three digits would leave noise of it.

    Args:
        bundle: name of a shipped model, folder of a bundle, or an opened one.
        device: 'auto' is the current GPU, if there is one, else the CPU.
        precision: 'auto' is float16 on a GPU, else float32; its convolutions are not done in TF32.

    Raises:
        BundleError: there is no such model, it is damaged, or its graphs lack parameters.
        ValueError: device or precision is unknown, or torch sees no GPU.
    """

    batch_head = True

    def __init__(self, bundle: str | Path | Bundle = "lite", device: Device = "auto", precision: TorchPrecision = "auto") -> None:
        for what, given, known in (("device", device, get_args(Device)), ("precision", precision, get_args(TorchPrecision))):
            if given not in known:
                raise ValueError(f"unknown {what} {given!r}; there are {', '.join(known)}")
        gpu = torch.cuda.is_available() and device != "cpu"
        if device == "cuda" and not gpu:
            raise ValueError(f"torch {torch.__version__} sees no GPU: no driver, or a build for CPUs; use device 'cpu' or 'auto'")
        opened = bundle if isinstance(bundle, Bundle) else open_bundle(bundle)
        self._describe(opened.card)
        # Zeros add nothing to equation (4), and all targets have as many kernels: one batch, one CUDA graph.
        self.no_kernels = np.zeros((TARGET_KERNELS, self.channels), np.float32)
        self.engine = "torch"
        self.precision = ("float16" if gpu else "float32") if precision == "auto" else precision
        self.batch = 4 * BUCKETS[-1] if gpu else Model.batch  # a session cuts it to its buckets
        place, dtype = Gpu() if gpu else Place(), getattr(torch, self.precision)
        networks = read_networks(opened).to(place.device)
        _cast(networks.trunk, dtype)
        if networks.head is not None:
            _cast(networks.head, dtype)
            networks.head.register_forward_pre_hook(lambda _, given: (given[0].to(dtype), given[1].to(dtype), given[2]))
        self._take(networks, place, dtype)

    def _take(self, networks: Networks, place: Place, dtype: torch.dtype) -> None:
        """Puts torch where onnxruntime's sessions are."""
        trunk, weight, bias, gain, offset, head, learner = networks

        def embed(crops: Tensor) -> Tensor:
            return trunk.embed(crops.permute(0, 3, 1, 2).to(dtype))

        def embed_context(crops: Tensor) -> Tensor:
            return center_cells(embed(crops), self.search_cells - (SEARCH_SIZE - crops.shape[1]) // self.stride)

        def match(template: Tensor, search: Tensor, w_target: Tensor) -> Tensor:
            return adapted_response(template.float(), search.float(), weight, bias, w_target, gain, offset)

        def find(
            head: BoxHead, template: Tensor, parts: Tensor, search: Tensor, w_target: Tensor, size: Tensor
        ) -> tuple[Tensor, ...]:
            x, t, z = template.float(), parts.float(), search.float()
            return locate(head, x, t, z, weight, bias, w_target, gain, offset, size)

        def adapt(learner: MetaLearner, template: Tensor, support: Tensor, labels: Tensor) -> Tensor:
            delta = loss_gradient(template, support[None], labels[None], weight, bias, gain, offset)
            kernels: Tensor = learner(delta)[0]
            return kernels

        self._embed = Session("embed", embed, place)
        self._search = Session("embed", embed_context, place)  # only the cells that count leave the GPU
        self._match = None if head else Session("match", match, place, dtype)
        self._locate = Session("locate", partial(find, head), place, dtype) if head else None
        self._adapt = Session("adapt", partial(adapt, learner), place) if learner else None

    def search(self, crops: npt.NDArray[np.uint8]) -> Float32:
        features: Float32 = self._search.run(None, {"crops": crops})[0]
        return features


class Session:
    """One graph in torch, which is asked as a session of onnxruntime is.

    Args:
        name: of the graph, in :data:`INPUTS`.
        function: takes tensors in that order, and answers with one or several.
        place: where it runs.
        features: dtype in which features travel there; all else but bytes is float32.
    """

    def __init__(self, name: str, function: Function, place: Place, features: torch.dtype = torch.float32) -> None:
        self.function, self.place = function, place
        self.inputs, self.batched = INPUTS[name], BATCHED[name]
        kinds = {"crops": torch.uint8, **dict.fromkeys(FEATURES, features)}
        self.dtypes = [kinds.get(each, torch.float32) for each in self.inputs]
        self.slots: dict[tuple[tuple[int, ...], ...], Slot] = {}

    def run(self, outputs: None, feeds: Mapping[str, Array]) -> list[Float32]:
        """As onnxruntime's: arrays by name -> all outputs, in float32."""
        arrays = [feeds[name] for name in self.inputs]
        cut = [name in self.batched for name in self.inputs]
        total = len(feeds[self.batched[0]]) if self.batched else 0
        results: list[Float32] = []
        with self.place.lock, torch.no_grad():
            for rows, size in batches(total, self.place.buckets) if self.batched else [(slice(None), 0)]:
                given = [array[rows] if own else array for array, own in zip(arrays, cut)]
                shapes = tuple((size, *array.shape[1:]) if own else array.shape for array, own in zip(given, cut))
                answers = self._slot(shapes).run(given, rows.stop - rows.start if self.batched else None)
                if not results:
                    results = [np.empty((total, *a.shape[1:]) if self.batched else a.shape, np.float32) for a in answers]
                for result, answer in zip(results, answers):
                    torch.from_numpy(result[rows]).copy_(answer)
        return results

    def _slot(self, shapes: tuple[tuple[int, ...], ...]) -> Slot:
        if not self.place.buckets:
            return self.place.slot(self.function, shapes, self.dtypes)
        if shapes not in self.slots:
            self.slots[shapes] = self.place.slot(self.function, shapes, self.dtypes)
        return self.slots[shapes]


def batches(total: int, buckets: Sequence[int]) -> Iterator[tuple[slice, int]]:
    """Cuts rows into batches of the largest bucket, and says how many rows each has with padding; without buckets, one batch.

    >>> list(batches(7, (1, 2, 4)))
    [(slice(0, 4, None), 4), (slice(4, 7, None), 4)]
    >>> list(batches(7, ()))
    [(slice(0, 7, None), 7)]
    """
    most = max(buckets, default=max(total, 1))
    for first in range(0, max(total, 1), most):
        last = min(first + most, total)
        yield slice(first, last), min((size for size in buckets if size >= last - first), default=last - first)


class Slot:
    """Buffers for inputs of certain shapes, and a function of them."""

    def __init__(self, function: Function, shapes: Sequence[tuple[int, ...]], dtypes: Sequence[torch.dtype]) -> None:
        self.function = function
        self.inputs = [torch.zeros(shape, dtype=dtype) for shape, dtype in zip(shapes, dtypes)]

    def run(self, arrays: Sequence[Array], count: int | None) -> list[Tensor]:
        """Puts arrays into the buffers' first rows -> the outputs' first rows, on the CPU, valid until the next call.

        The buffers' other rows hold what they held before: no row's answer depends on another.

        Args:
            arrays: one for each buffer.
            count: rows of the outputs; None is all.
        """
        self._fill(arrays)
        return [each[:count] for each in self._compute(self.inputs)]

    def _fill(self, arrays: Sequence[Array]) -> None:
        for buffer, array in zip(self.inputs, arrays):
            buffer[: len(array)].copy_(torch.from_numpy(np.ascontiguousarray(array)))

    def _compute(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        outputs = self.function(*inputs)
        return [each.contiguous() for each in (outputs if isinstance(outputs, tuple) else (outputs,))]


class Place:
    """The CPU: every graph runs in the shapes in which it is asked."""

    device = torch.device("cpu")
    buckets: tuple[int, ...] = ()
    lock: AbstractContextManager[Any] = nullcontext()

    def slot(self, function: Function, shapes: Sequence[tuple[int, ...]], dtypes: Sequence[torch.dtype]) -> Slot:
        """Buffers for a function."""
        return Slot(function, shapes, dtypes)


class Gpu(Place):
    """The current GPU: every graph is captured once for each bucket. Nothing here has a meaning without CUDA.

    The captures share the memory of what lies between inputs and outputs: under the lock, only one of them runs at a time.
    """

    buckets = BUCKETS

    def __init__(self) -> None:
        self.device = torch.device("cuda", torch.cuda.current_device())
        self.lock = Lock()
        self.stream = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        self.pool = torch.cuda.graph_pool_handle()

    def slot(self, function: Function, shapes: Sequence[tuple[int, ...]], dtypes: Sequence[torch.dtype]) -> Slot:
        return CapturedSlot(function, shapes, dtypes, self)


class CapturedSlot(Slot):
    """Pinned buffers on the CPU, fixed ones on the GPU, and the CUDA graph that leads from inputs to outputs."""

    def __init__(self, function: Function, shapes: Sequence[tuple[int, ...]], dtypes: Sequence[torch.dtype], gpu: Gpu) -> None:
        super().__init__(function, shapes, dtypes)
        self.device = gpu.device
        self.inputs = [buffer.pin_memory() for buffer in self.inputs]
        self.placed = [buffer.to(self.device) for buffer in self.inputs]
        self.graph = torch.cuda.CUDAGraph()
        # Algorithms are chosen now and kept in the graph, so these settings are needed nowhere else.
        exact = torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=False)
        with CAPTURING, torch.cuda.device(self.device), exact:
            gpu.stream.wait_stream(torch.cuda.current_stream())  # the buffers are being filled there
            with torch.cuda.stream(gpu.stream):
                for _ in range(WARM_UPS):
                    self._compute(self.placed)
            gpu.stream.synchronize()
            with torch.cuda.graph(self.graph, pool=gpu.pool, stream=gpu.stream, capture_error_mode="thread_local"):
                self.outputs = self._compute(self.placed)
            self.answers = [torch.empty(each.shape, dtype=each.dtype, pin_memory=True) for each in self.outputs]

    def run(self, arrays: Sequence[Array], count: int | None) -> list[Tensor]:
        self._fill(arrays)
        answers = [each[:count] for each in self.answers]
        with torch.cuda.device(self.device):
            for buffer, placed, array in zip(self.inputs, self.placed, arrays):
                placed[: len(array)].copy_(buffer[: len(array)], non_blocking=True)
            self.graph.replay()
            for answer, output in zip(answers, self.outputs):
                answer.copy_(output[:count], non_blocking=True)
            torch.cuda.current_stream().synchronize()
        return answers


class Networks(NamedTuple):
    """What the graphs of a bundle are made of."""

    trunk: Trunk
    weight: Tensor  # (K, C), kernels of the last layer, its batch norm folded in
    bias: Tensor  # (K,)
    gain: Tensor  # a scalar, as is
    offset: Tensor
    head: BoxHead | None
    learner: MetaLearner | None

    def to(self, device: torch.device) -> Networks:
        """All of it on a device."""
        parts: Any = [part if part is None else part.to(device) for part in self]
        return Networks(*parts)


def read_networks(bundle: Bundle) -> Networks:
    """A bundle's networks, ready to be asked, in float32 on the CPU.

    Raises:
        BundleError: the card or a graph lacks something, or the meta-learner belongs to another network.
    """
    card, name = bundle.card, "locate" if bundle.graph("locate") else "match"
    lacking = [key for key in ("trunk", "kernels") if key not in card["architecture"]]
    if lacking:
        raise BundleError(f"model {card['name']!r}: the card's architecture lacks {', '.join(lacking)}")
    embed, last = _Constants(bundle, "embed"), _Constants(bundle, name)
    with torch.device("meta"):  # shapes alone: all weights come from the bundle
        network = make_network(card["architecture"]["trunk"], card["architecture"]["kernels"], name == "locate")
        learner = MetaLearner(network.trunk.channels, network.kernels) if bundle.graph("adapt") else None
    embed.fill(network.trunk, "trunk")
    head = network.box if isinstance(network, BoxNetwork) else None
    if head is not None:
        last.fill(head, "head")
    weight = last.take("weight", (network.kernels, network.trunk.channels))
    if learner is not None:
        adapt = _Constants(bundle, "adapt")
        adapt.fill(learner, "learner")
        if not torch.equal(adapt.take("weight", tuple(weight.shape)), weight):
            raise BundleError(f"{adapt.file} belongs to another network than {last.file}: export the model again")
    bias, gain, offset = last.take("bias", (network.kernels,)), last.take("gain", ()), last.take("offset", ())
    return Networks(network.trunk, weight, bias, gain, offset, head, learner)


class _Constants:
    """Float constants of one of a bundle's graphs, in float32, by the names that the parameters have in torch.

    Raises:
        BundleError: the bundle has no such graph, or it cannot be read.
    """

    def __init__(self, bundle: Bundle, name: str) -> None:
        file = bundle.graph(name)
        if file is None:
            raise BundleError(f"model {bundle.card['name']!r} has no graph {name!r} in float, which the torch engine needs")
        self.file, self.found = file, weights(file)

    def take(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """One of them."""
        self._check({name: shape})
        return self.found[name]

    def fill(self, module: nn.Module, prefix: str) -> None:
        """Gives a module, whose tensors have no memory yet, the weights that it had when the graph was made.

        Raises:
            BundleError: the graph lacks one of that shape.
        """
        self._fold(module, prefix)
        for name in module.state_dict():
            if name.endswith("num_batches_tracked"):  # counts in training alone, and no graph has it
                self.found[f"{prefix}.{name}"] = torch.tensor(0)
        wanted = {f"{prefix}.{name}": tuple(value.shape) for name, value in module.state_dict().items()}
        self._check(wanted)
        module.load_state_dict({name.removeprefix(f"{prefix}."): self.found[name] for name in wanted}, assign=True)
        module.eval().requires_grad_(False)

    def _fold(self, module: nn.Module, prefix: str) -> None:
        """Where a batch norm is not in the graph, the exporter folded it into the convolution before it: so it is here."""
        for path, layers in list(module.named_modules(prefix=prefix)):
            for i, (conv, norm) in enumerate(pairwise(layers if isinstance(layers, nn.Sequential) else ())):
                known = f"{path}.{i + 1}.running_var" in self.found
                if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d) and not known:
                    conv.bias = nn.Parameter(torch.empty(conv.out_channels, device="meta"))
                    layers[i + 1] = nn.Identity()

    def _check(self, wanted: Mapping[str, tuple[int, ...]]) -> None:
        missing = [
            f"{name} {list(shape)}"
            for name, shape in wanted.items()
            if name not in self.found or tuple(self.found[name].shape) != shape
        ]
        if missing:
            more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
            raise BundleError(f"{self.file} lacks {', '.join(missing[:3])}{more}: export the model again, or use onnxruntime")


def weights(file: Path) -> dict[str, Tensor]:
    """Float constants of a graph, in float32, by the names that their parameters have in torch.

    :func:`metatrack.training.export.store_half` appends ``_half`` to large ones. Where a batch norm was folded into the
    convolution before it, torch's exporter calls the bias that comes of it ``LAYER.weight_bias``.

    Raises:
        BundleError: the file is no ONNX graph.
    """
    try:
        constants = onnx.load(file).graph.initializer
    except Exception as error:  # protobuf raises its own unrelated class
        raise BundleError(f"{file}: onnx {onnx.__version__} cannot read the graph: {error}") from error
    found = {}
    for constant in constants:
        if constant.data_type not in (TensorProto.FLOAT, TensorProto.FLOAT16):
            continue
        name = constant.name.removesuffix("_half")
        if name.endswith(".weight_bias"):
            name = name.removesuffix("weight_bias") + "bias"
        found[name] = torch.from_numpy(numpy_helper.to_array(constant).astype(np.float32))
    return found


def _cast(module: nn.Module, dtype: torch.dtype) -> None:
    """To a precision, in place, with the channels last: so tensor cores want them, and so the bytes of a patch come."""
    module.to(dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
