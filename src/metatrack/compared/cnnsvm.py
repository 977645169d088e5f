"""CNN-SVM: a support vector machine on a network's features, and a map of the pixels that its decision hangs on.

Hong, You, Kwak and Han: Online Tracking by Learning Discriminative Saliency Map with Convolutional Neural Network, ICML 2015.

The paper's features are the first fully connected layer of an AlexNet, 4,096 numbers. Here they are EfficientNet-Lite0's last
wide layer with 16 pixels a cell (``block10.expand``, at least 0 like the paper's), averaged to 3 x 3 cells: 6,048 numbers. The
paper leaves open, and chosen here are: C = 1; 100 vectors are kept, those of the first frame for ever; maps have 43 cells along
a box.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import onnxruntime as ort

from metatrack.arrays import Bools, Float32, Float64
from metatrack.compared.correlation import Found, Target, subwindow
from metatrack.compared.follower import Follower
from metatrack.compared.networks import file_hashes, graph_file, lite0, lite0_file
from metatrack.compared.patches import resized
from metatrack.compared.svm import solve_dual
from metatrack.geometry import Box, Image, iou

GRADIENT = "lite0-gradient.onnx"
"""Made by ``tools/export_lite0.py``."""
LAYER, CHANNELS, CELLS = "block10.expand", 672, 9
CROP = 129
"""Side in pixels of what the network sees of a box: 16 k + 1, as the gradient needs it."""
POOL = 3
"""Cells of the layer along a side of a feature's cell."""
GRAIN = 3
"""Pixels of a crop along a side of a cell of the saliency map."""
SAMPLES = 120
"""Boxes that are looked at in a frame (N of the paper)."""
SPREAD = 0.5
"""Standard deviation of their places, in geometric means of the box's sides."""
REACH = 3.0
"""Samples are no further away than this many standard deviations."""
COST = 1.0
KEPT = 100
"""Vectors that the machine is learned from, besides the newest."""
NEGATIVE = 0.3
"""Samples that overlap the found box by less are not the target."""
MEMORY = 30
"""Frames whose saliency makes the appearance model (m of the paper)."""
BATCH = 2
"""Crops that a network sees at once: with more, its maps leave the processor's cache."""


class SaliencyNetwork:
    """The features of crops, and how a weighted sum of them changes with each pixel."""

    def __init__(self) -> None:
        self._forward = lite0(LAYER)
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = ort.InferenceSession(graph_file(GRADIENT), options, providers=["CPUExecutionProvider"])
        cells = np.arange(CELLS) // POOL
        one = (cells[:, None] == np.arange(CELLS // POOL)).astype(np.float32) / POOL
        self._pool = np.kron(one, one)  # (81, 9): a map's cells to a feature's

    def features(self, crops: Image) -> Float32:
        """``(n, 129, 129, 3)`` RGB to ``(n, 6048)``."""
        parts = []
        for begin in range(0, len(crops), BATCH):
            (maps,) = self._forward(crops[begin : begin + BATCH])
            parts.append((maps.reshape(-1, CELLS**2) @ self._pool).reshape(len(maps), -1))
        return np.concatenate(parts)

    def gradients(self, crops: Image, weights: Float32) -> Float32:
        """Of ``features(crop) @ weights`` with respect to each pixel, per 128 grey levels: ``(n, 129, 129, 3)``."""
        cells = weights.reshape(CHANNELS, CELLS // POOL, CELLS // POOL) / np.float32(POOL**2)
        spread = cells.repeat(POOL, axis=1).repeat(POOL, axis=2)[None]
        parts = []
        for begin in range(0, len(crops), BATCH):
            part = crops[begin : begin + BATCH]
            given = np.ascontiguousarray(np.broadcast_to(spread, (len(part), *spread.shape[1:])))
            parts += self._session.run(["gradient"], {"images": _normal(part), "weights": given})
        return np.concatenate(parts)


@lru_cache(maxsize=1)
def network() -> SaliencyNetwork:
    """The one that all trackers share."""
    return SaliencyNetwork()


def _normal(images: Image) -> Float32:
    return (images.astype(np.float32) - np.float32(127)) / np.float32(128)


class Examples(NamedTuple):
    """What the machine is learned from."""

    vectors: Float32  # (n, 6048)
    labels: Float32  # (n,), 1 or -1
    first: Bools  # (n,): from the first frame


class Surroundings(NamedTuple):
    """The frame around the last place, enlarged so that a box has 129 x 129 pixels."""

    image: Image
    left: float  # of its first pixel in the frame
    top: float
    scale: tuple[float, float]  # pixels of it per pixel of the frame, down and right

    def corner(self, row: float, column: float) -> tuple[int, int]:
        """The first pixel of a box that begins at a place of the frame."""
        limits = (self.image.shape[0] - CROP, self.image.shape[1] - CROP)
        wanted = ((row - self.top) * self.scale[0], (column - self.left) * self.scale[1])
        return min(max(round(wanted[0]), 0), limits[0]), min(max(round(wanted[1]), 0), limits[1])

    def crops(self, corners: Sequence[tuple[int, int]]) -> Image:
        """``(n, 129, 129, 3)``."""
        return np.stack([self.image[row : row + CROP, column : column + CROP] for row, column in corners])


@dataclass
class CnnSvmTarget:
    """Everything that belongs to one target."""

    box: Box
    rng: np.random.Generator
    memory: Examples
    weights: Float32  # (6048,)
    bias: float
    posterior: Float64  # of places around the last one, (rows, columns); it is in the middle
    appearance: deque[Float32] = field(default_factory=lambda: deque(maxlen=MEMORY))  # (43, 43) each


class CNNSVM(Follower[CnnSvmTarget]):
    """Follows the centre; the size stays.

    Args:
        saliency: False takes the sample with the highest score instead, the first of the paper's two stages by itself.
        seed: of the random samples.
    """

    def __init__(self, saliency: bool = True, seed: int = 0) -> None:
        super().__init__()
        self._saliency, self._seed = saliency, seed

    @classmethod
    def identity(cls) -> dict[str, dict[str, str]]:
        """What decides its boxes besides this package."""
        return file_hashes(lite0_file(LAYER), GRADIENT)

    def learn_first(self, target: Target) -> CnnSvmTarget:
        given = target.box
        rng = np.random.default_rng(self._seed)
        around = surroundings(target.image, given)
        corners = sample_places(around, given, rng)
        vectors = network().features(around.crops([*corners, around.corner(given.y, given.x)]))
        labels = _labels(corners, around.corner(given.y, given.x))
        first = np.ones(len(labels), np.bool_)
        memory = Examples(vectors[labels != 0], labels[labels != 0], first[labels != 0])
        rows, columns = ((side - CROP) // GRAIN + 1 for side in around.image.shape[:2])
        posterior = np.zeros((rows, columns))
        posterior[rows // 2, columns // 2] = 1
        model = CnnSvmTarget(given, rng, memory, np.zeros(0, np.float32), 0.0, posterior)
        learn(model)
        if self._saliency:
            here = [around.corner(given.y, given.x)]
            model.appearance.append(cut(saliency_map(around, here, model.weights), here[0]))
        return model

    def follow(self, model: CnnSvmTarget, image: Image) -> Found:
        around = surroundings(image, model.box)
        corners = sample_places(around, model.box, model.rng)
        vectors = network().features(around.crops(corners))
        scores = vectors @ model.weights + np.float32(model.bias)
        positive = [corner for corner, score in zip(corners, scores) if score > 0]
        if not positive:  # nothing is learned, and the box stays
            return Found(model.box, float(scores.max()))
        found = corners[int(scores.argmax())]
        if self._saliency:
            saliency = saliency_map(around, positive, model.weights)
            model.posterior, found = locate(model, saliency, np.array(positive) / GRAIN)
            model.appearance.append(cut(saliency, found))
        x, y = around.left + found[1] / around.scale[1], around.top + found[0] / around.scale[0]
        model.box = model.box._replace(x=float(x), y=float(y))
        own = network().features(around.crops([found]))
        labels = _labels(corners, found)
        kept, new = model.memory, labels[labels != 0]
        joined = np.concatenate([vectors, own])[labels != 0]
        fresh = np.zeros(len(new), np.bool_)
        model.memory = Examples(*(np.concatenate(pair) for pair in zip(kept, Examples(joined, new, fresh))))
        learn(model)
        return Found(model.box, float(own[0] @ model.weights + model.bias))


class SVMOnly(CNNSVM):
    """The first stage by itself: the sample with the highest score is the target."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(saliency=False, seed=seed)


def surroundings(image: Image, box: Box) -> Surroundings:
    """All that samples can reach, as pixels of which a box has 129 x 129."""
    reach = REACH * SPREAD * math.sqrt(box.w * box.h)
    height, width = (2 * math.ceil(side / 2 + reach) for side in (box.h, box.w))
    row, column = math.floor(box.y + box.h / 2), math.floor(box.x + box.w / 2)
    part = subwindow(image, row - 1, column - 1, height, width)  # its middle lies between two pixels, the second being the place
    size = (max(CROP, round(height * CROP / box.h)), max(CROP, round(width * CROP / box.w)))
    return Surroundings(resized(part, size), column - width / 2, row - height / 2, (size[0] / height, size[1] / width))


def sample_places(around: Surroundings, box: Box, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Corners of boxes around the last one, normally distributed: section 3.1."""
    deviation = SPREAD * math.sqrt(box.w * box.h)
    away = np.clip(rng.standard_normal((SAMPLES, 2)), -REACH, REACH) * deviation
    return [around.corner(box.y + down, box.x + right) for down, right in away]


def _labels(corners: Sequence[tuple[int, int]], found: tuple[int, int]) -> Float32:
    """Of samples and, last, of the found box: -1 far from it, 1 the box itself, 0 for what is not used."""
    boxes = [(column, row, CROP, CROP) for row, column in corners]
    far = iou(np.array(boxes, float), np.array((found[1], found[0], CROP, CROP), float)) < NEGATIVE
    return np.append(np.where(far, -1, 0), 1).astype(np.float32)


def learn(model: CnnSvmTarget) -> None:
    """The machine of all that is kept; then those vectors are kept that lie nearest to its border, and the first frame's."""
    vectors, labels, first = model.memory
    dual = solve_dual(vectors @ vectors.T, labels, np.full(len(labels), COST))
    model.weights = (dual.alpha * labels).astype(np.float32) @ vectors
    model.bias = dual.bias
    margin = labels * (vectors @ model.weights + np.float32(model.bias))
    margin[first] = -np.inf
    keep = np.sort(np.argsort(margin, kind="stable")[: max(KEPT, int(first.sum()))])
    model.memory = Examples(vectors[keep], labels[keep], first[keep])


def saliency_map(around: Surroundings, corners: Sequence[tuple[int, int]], weights: Float32) -> Float32:
    """M: at each cell the largest gradient, in any colour, of the target's features in any positive sample; else 0.

    A sample's target-specific features are w_k phi_k where w_k > 0: equation (3), and (5) to (7) for the map.
    """
    rows, columns = (side // GRAIN for side in around.image.shape[:2])
    saliency = np.zeros((rows, columns), np.float32)
    gradients = np.abs(network().gradients(around.crops(corners), np.maximum(weights, 0))).max(axis=3)
    side = CROP // GRAIN
    for (row, column), gradient in zip(corners, gradients):
        cells = gradient.reshape(side, GRAIN, side, GRAIN).max(axis=(1, 3))
        top, left = min(row // GRAIN, rows - side), min(column // GRAIN, columns - side)
        part = saliency[top : top + side, left : left + side]
        np.maximum(part, cells, out=part)
    return saliency


def cut(saliency: Float32, corner: tuple[int, int]) -> Float32:
    """The part of a map inside a box, ``(43, 43)``."""
    side = CROP // GRAIN
    top, left = (min(place // GRAIN, limit - side) for place, limit in zip(corner, saliency.shape))
    return saliency[top : top + side, left : left + side].copy()


def locate(model: CnnSvmTarget, saliency: Float32, places: Float64) -> tuple[Float64, tuple[int, int]]:
    """The posterior over places, equation (9), moved so that its maximum is in the middle, and that maximum as a corner.

    Args:
        model: the target.
        saliency: M.
        places: corners of the positive samples in cells, ``(n, 2)``: their mean and covariance say how the target moves.
    """
    shape = model.posterior.shape
    middle = np.array([side // 2 for side in shape])
    spread = np.cov(places, rowvar=False) if len(places) > 1 else np.zeros((2, 2))
    prior = moved_and_smoothed(model.posterior, places.mean(axis=0) - middle, spread + np.eye(2))
    likelihood = correlated(saliency, np.mean(model.appearance, axis=0))[: shape[0], : shape[1]]
    posterior = prior * likelihood
    if not posterior.max() > 0:
        posterior = prior
    row, column = np.unravel_index(int(posterior.argmax()), shape)
    centred = np.roll(posterior, (middle[0] - row, middle[1] - column), axis=(0, 1))
    return centred / centred.sum(), (int(row) * GRAIN, int(column) * GRAIN)


def moved_and_smoothed(density: Float64, way: Float64, covariance: Float64) -> Float64:
    """A density ``(rows, columns)`` moved by a way and smoothed by a Gaussian: x_t = x_(t-1) + d + noise, equation (10)."""
    rows, columns = density.shape
    ky, kx = 2 * np.pi * np.fft.fftfreq(rows)[:, None], 2 * np.pi * np.fft.rfftfreq(columns)[None]
    fade = covariance[0, 0] * ky**2 + 2 * covariance[0, 1] * ky * kx + covariance[1, 1] * kx**2
    spectrum = np.fft.rfft2(density) * np.exp(-fade / 2 - 1j * (ky * way[0] + kx * way[1]))
    return np.maximum(np.fft.irfft2(spectrum, s=density.shape), 0)


def correlated(saliency: Float32, appearance: Float32) -> Float64:
    """Sum of products of a map and a smaller one at each place: ``(h, w)`` and ``(a, b)`` to ``(h - a + 1, w - b + 1)``."""
    rows, columns = (a - b + 1 for a, b in zip(saliency.shape, appearance.shape))
    spectrum = np.fft.rfft2(saliency) * np.fft.rfft2(appearance, s=saliency.shape).conj()
    return np.maximum(np.fft.irfft2(spectrum, s=saliency.shape)[:rows, :columns], 0)
