"""MEEM's features: colours, and a pixel's rank among its neighbours, as sixteen binary maps.

Zhang, Ma and Sclaroff: MEEM: Robust Tracking via Multiple Experts Using Entropy Minimization, ECCV 2014, section 4.
"""

from __future__ import annotations

import numpy as np

from metatrack.arrays import Array, Bools, Float32, Float64
from metatrack.geometry import Image

MAPS = 16
BINS = 32
"""Of grey levels, for the rank."""

_TO_XYZ = np.array([[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]])
"""Linear RGB with the white point D65 (ITU-R BT.709)."""
_WHITE = _TO_XYZ.sum(axis=1)
_LINEAR = np.linspace(0, 1, 256)
_LINEAR = np.where(_LINEAR <= 0.04045, _LINEAR / 12.92, ((_LINEAR + 0.055) / 1.055) ** 2.4).astype(np.float32)
_CUBE_ROOT_FROM = (6 / 29) ** 3


def binary_maps(image: Image, neighbourhood: int) -> Bools:
    """``(H, W, 3)`` RGB to ``(16, H, W)``: each channel against thresholds that lie at equal distances.

    Channels are rank, L, a, b with four thresholds each; where the image is grey, rank and grey with eight.

    Args:
        image: what is looked at.
        neighbourhood: side in pixels of the square in which a pixel has its rank.
    """
    if (image[..., 0] == image[..., 1]).all() and (image[..., 0] == image[..., 2]).all():
        channels: list[Array] = [rank(image[..., 0], neighbourhood), image[..., 0]]
    else:
        lab = to_lab(image)
        channels = [rank(lab[0], neighbourhood), *lab]
    count = MAPS // len(channels)
    thresholds = np.arange(1, count + 1, dtype=np.float32) * np.float32(255 / (count + 1))
    return np.concatenate([channel[None] > thresholds[:, None, None] for channel in channels])


def to_lab(image: Image) -> Image:
    """``(H, W, 3)`` RGB to CIE L, a, b, ``(3, H, W)``: L in 0..100 to 0..255, 3 a and 3 b in -110..110 likewise.

    >>> to_lab(np.array([[[255, 255, 255], [0, 0, 0]]], np.uint8))[:, 0].tolist()
    [[255, 0], [127, 127], [127, 127]]
    """
    xyz = _LINEAR[image] @ (_TO_XYZ / _WHITE[:, None]).T.astype(np.float32)  # (H, W, 3)
    f = np.where(xyz > _CUBE_ROOT_FROM, np.cbrt(xyz), xyz * np.float32(841 / 108) + np.float32(4 / 29))
    x, y, z = f[..., 0], f[..., 1], f[..., 2]
    scaled = np.stack([(116 * y - 16) / 100, (1500 * (x - y) + 110) / 220, (600 * (y - z) + 110) / 220])
    return np.asarray((scaled * 255 + np.float32(0.001)).clip(0, 255), np.uint8)  # white is a hair under 255


def rank(channel: Image, neighbourhood: int) -> Float32:
    """255 - 255 times the share of a pixel's neighbours that are as bright or brighter, in 32 bins: ``(H, W)``.

    A change of light that keeps the order of brightness changes nothing.
    """
    bins: Image = channel // np.uint8(256 // BINS)
    share = np.zeros(channel.shape, np.float32)
    for bin_ in np.unique(bins):
        here = bins == bin_
        share[here] = box_mean((bins >= bin_).astype(np.float32), neighbourhood)[here]
    return np.asarray(255 - 255 * share, np.float32)


def box_mean(values: Float32, side: int) -> Float32:
    """Mean over a square of ``side`` around each place, ``(H, W)``; beyond the border, the values at it are repeated.

    >>> box_mean(np.array([[0, 0, 3, 0, 0]], np.float32), 3).tolist()
    [[0.0, 1.0, 1.0, 1.0, 0.0]]
    """
    before, after = side // 2, side - 1 - side // 2
    sums = np.pad(values, ((before + 1, after), (before + 1, after)), mode="edge").cumsum(0, np.float64).cumsum(1)
    mean: Float64 = (sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]) / side**2
    return mean.astype(np.float32)
