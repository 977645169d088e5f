"""HDT: six correlation filters on six layers of a network, and a hedge over where they see the target.

Qi, Zhang, Qin, Yao, Huang, Lim and Yang: Hedged Deep Tracking, CVPR 2016. Settings are those of the authors' released code.

Two things differ. Layers are those of VGG-16 at the places of VGG-19's in the paper (conv4_2, conv4_3, relu4_4, conv5_2, conv5_3,
relu5_4 there). And the released code takes the true box in the second frame; here that frame is tracked with the first weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from metatrack.arrays import Float32, Spectrum
from metatrack.compared.correlation import Found, Target, box_around, gaussian_labels, hann, subwindow
from metatrack.compared.follower import Follower
from metatrack.compared.hedge import Hedge
from metatrack.compared.networks import VGG_SHA256, vgg16, vgg_path
from metatrack.compared.patches import resampling, resized
from metatrack.geometry import Image

LAYERS = ("relu5_3", "conv5_2", "conv5_1", "relu4_3", "conv4_2", "conv4_1")
FIRST_WEIGHTS = (1.0, 0.2, 0.2, 0.02, 0.03, 0.01)
"""Of the layers, before they are normalised."""
INPUT = 224
"""Sides of what the network sees, whatever the window's shape."""
CELL = 4
"""Pixels of the frame along a side of a cell, to which all maps are resized."""
PADDING = 2.2
"""Context around the target, in its sizes."""
TALL, TALL_PADDING = 2.0, 0.4
"""Targets whose height is more than this times their width get less context above and below."""
LARGE, LARGE_PADDING = 0.05, 1.0
"""Targets that cover more than this share of the frame get less context."""
REGULARIZATION = 1e-4
LEARNING_RATE = 0.01
OUTPUT_SIGMA = 0.1
"""Width of the labels, in sizes of the target."""


@dataclass
class HdtTarget:
    """Everything that belongs to one target: six filters with 512 channels on a grid of h x w cells."""

    row: float  # of the target's centre
    column: float
    size: tuple[float, float]  # height and width of the target
    window: tuple[int, int]  # height and width in pixels
    hann: Float32  # (h, w)
    labels: Spectrum  # (h, w // 2 + 1)
    templates: list[Spectrum]  # (512, h, w // 2 + 1) each
    alphas: list[Spectrum]  # (h, w // 2 + 1) each
    hedge: Hedge


class HDT(Follower[HdtTarget]):
    """Follows the centre; the size stays.

    Args:
        network: patches ``(N, 224, 224, 3)`` to six maps ``(N, C, h, w)``, in the order of :data:`LAYERS`; None takes VGG-16.

    Raises:
        FileNotFoundError: VGG-16 is not installed (see :mod:`metatrack.compared.networks`).
        ValueError: its file is not the one that is known.
    """

    def __init__(self, network: Callable[[Image], list[Float32]] | None = None) -> None:
        super().__init__()
        self._network = network or vgg16(*LAYERS)

    @classmethod
    def identity(cls) -> dict[str, Any]:
        """What decides its boxes besides this package.

        Raises:
            FileNotFoundError: VGG-16 is not installed.
            ValueError: its file is not the one that is known.
        """
        return {"sha256": {vgg_path().name: VGG_SHA256}}

    def learn_first(self, target: Target) -> HdtTarget:
        image, row, column, height, width, _ = target
        window = window_size(height, width, image.shape[:2])
        cells = (window[0] // CELL, window[1] // CELL)
        labels = np.fft.rfft2(gaussian_labels(*cells, OUTPUT_SIGMA * math.sqrt(height * width) / CELL)).astype(np.complex64)
        fade = hann(*cells).astype(np.float32)
        model = HdtTarget(row, column, (height, width), window, fade, labels, [], [], Hedge(FIRST_WEIGHTS))
        model.templates = self._samples(model, image)
        model.alphas = [labels / (kernel(x, x, fade.shape) + REGULARIZATION) for x in model.templates]
        return model

    def follow(self, model: HdtTarget, image: Image) -> Found:
        shape, weights = model.hann.shape, model.hedge.weights
        samples = self._samples(model, image)
        responses = np.stack(
            [
                np.fft.fftshift(np.fft.irfft2(alpha * kernel(x, template, shape), s=shape))
                for alpha, x, template in zip(model.alphas, samples, model.templates)
            ]
        )  # (6, h, w), shift 0 in the middle
        heights = responses.reshape(len(LAYERS), -1).max(axis=1)
        peaks = np.stack(np.unravel_index(responses.reshape(len(LAYERS), -1).argmax(axis=1), shape), axis=1)  # (6, 2)
        place = weights @ peaks
        row, column = np.floor(place + 0.5).astype(int)
        model.hedge.learn(heights - responses[:, row, column])
        seen = math.floor(model.row), math.floor(model.column)
        model.row += CELL * float(place[0] - shape[0] // 2)
        model.column += CELL * float(place[1] - shape[1] // 2)
        if seen != (math.floor(model.row), math.floor(model.column)):  # else the samples would be the same again
            samples = self._samples(model, image)
        for i, x in enumerate(samples):
            alpha = model.labels / (kernel(x, x, shape) + REGULARIZATION)
            model.alphas[i] = model.alphas[i] + np.float32(LEARNING_RATE) * (alpha - model.alphas[i])
            model.templates[i] += np.float32(LEARNING_RATE) * (x - model.templates[i])
        return Found(box_around(model.row, model.column, *model.size), float(weights @ heights))

    def _samples(self, model: HdtTarget, image: Image) -> list[Spectrum]:
        """The layers' maps around the target's last place, resized to the grid and faded out: spectra."""
        patch = resized(subwindow(image, model.row, model.column, *model.window), (INPUT, INPUT))
        rows, columns = model.hann.shape
        spectra = []
        for (maps,) in self._network(patch[None]):
            grid = resampling(maps.shape[1], rows) @ maps @ resampling(maps.shape[2], columns).T
            spectra.append(np.fft.rfft2(grid * model.hann).astype(np.complex64, copy=False))
        return spectra


def window_size(height: float, width: float, frame: tuple[int, ...]) -> tuple[int, int]:
    """Height and width of the window, at least 4 cells each.

    >>> window_size(10, 20, (500, 500)), window_size(50, 20, (500, 500)), window_size(200, 200, (500, 500))
    ((32, 64), (70, 64), (400, 400))
    """
    tall, wide = height * (1 + PADDING), width * (1 + PADDING)
    if height > TALL * width:
        tall = height * (1 + TALL_PADDING)
    elif height * width > LARGE * frame[0] * frame[1]:
        tall, wide = height * (1 + LARGE_PADDING), width * (1 + LARGE_PADDING)
    return max(4 * CELL, math.floor(tall)), max(4 * CELL, math.floor(wide))


def kernel(x: Spectrum, z: Spectrum, shape: tuple[int, ...]) -> Spectrum:
    """The linear kernel at all shifts, per element of the maps: spectra ``(C, h, m)`` twice to ``(h, m)``."""
    return np.asarray((x * z.conj()).sum(axis=0) / np.float32(len(x) * shape[0] * shape[1]))
