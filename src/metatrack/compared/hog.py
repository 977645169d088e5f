"""Felzenszwalb's histograms of oriented gradients, 31 channels, as Dollár's ``fhog`` computes them.

The features are defined in section 6 of Felzenszwalb, Girshick, McAllester and Ramanan: Object Detection with Discriminatively
Trained Part-Based Models, PAMI 2010. KCF and DSST used Dollár's variant of them (Piotr's Computer Vision Matlab Toolbox), which
differs in details that the trackers' results depend on; they are marked with "Dollár" below.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from metatrack.arrays import Float32, Float64, Integers

DIRECTIONS = 18
"""Bins over the full circle, 20 degrees each, the first centred on 0 (a gradient to the right, which is x)."""
CHANNELS = 31
"""18 contrast-sensitive directions, 9 contrast-insensitive ones, 4 textures."""
CLIP = 0.2
"""Largest normalised value of a cell (alpha of section 6.2)."""
TEXTURE = 0.2357
"""Weight of a sum over the 18 directions; 1 / sqrt(18), rounded as in the released code."""


class Spread(NamedTuple):
    """How pixels are shared out to cells: a sparse matrix as triplets, each of shape ``(k,)``."""

    pixel: Integers
    cell: Integers
    weight: Float32


def hog(images: npt.NDArray[np.generic], cell: int) -> Float32:
    """Features of images of one size: ``(N, H, W, C)`` to float32 ``(N, 31, H // cell, W // cell)``.

    Values are non-negative, and no larger than 0.4 (0.85 in the textures). Pixels that do not fill a cell at the right and at
    the bottom are left out. Where an image has several colours, each pixel takes the one with the strongest gradient.

    Args:
        images: of any number type; a factor on all values changes nothing but gradients near 0.
        cell: side of a cell in pixels.

    Raises:
        ValueError: an image is smaller than 2 x 2 cells, so that no block of cells fits into it.
    """
    count, height, width = images.shape[:3]
    rows, columns = height // cell, width // cell
    if rows < 2 or columns < 2 or height < 2 or width < 2:
        raise ValueError(f"images of {width}x{height} pixels hold no 2 x 2 cells of {cell} pixels")
    magnitude, direction = _gradients(np.asarray(images, np.float32))
    spread = _spread(height, width, cell)
    # Section 6.1: each pixel votes for one direction in up to four cells around it. (Dollár: for its nearest direction.)
    target = direction.reshape(count, -1)[:, spread.pixel] * (rows * columns) + spread.cell
    target += np.arange(count)[:, None] * (DIRECTIONS * rows * columns)
    votes = magnitude.reshape(count, -1)[:, spread.pixel] * spread.weight
    size = count * DIRECTIONS * rows * columns
    histogram = np.bincount(target.ravel(), votes.ravel(), size)
    signed = histogram.astype(np.float32).reshape(count, DIRECTIONS, rows, columns)
    unsigned = signed[:, : DIRECTIONS // 2] + signed[:, DIRECTIONS // 2 :]  # (N, 9, rows, columns)

    out = np.zeros((count, CHANNELS, rows, columns), np.float32)
    for i, norm in enumerate(_norms(unsigned, cell)):
        # Section 6.2 sums over the four norms, and section 6.3 over the directions.
        clipped = np.minimum(signed * norm, CLIP)
        out[:, 18:27] += np.minimum(unsigned * norm, CLIP)
        out[:, :18] += clipped
        out[:, 27 + i] = TEXTURE * clipped.sum(axis=1)
    out[:, :27] *= 0.5
    return out


def _gradients(images: Float32) -> tuple[Float32, Integers]:
    """Length and direction 0..17 of the gradient: ``(N, H, W, C)`` to two ``(N, H, W)``."""
    # Central differences inside, one-sided at the border.
    dy, dx = (np.asarray(slope, np.float32) for slope in np.gradient(images, axis=(1, 2)))
    strongest = (dx**2 + dy**2).argmax(axis=3, keepdims=True)
    dx, dy = (np.take_along_axis(slope, strongest, axis=3)[..., 0] for slope in (dx, dy))
    turns = np.arctan2(dy, dx) / np.float32(2 * np.pi)  # in -1/2 .. 1/2, clockwise, since y points down
    direction = np.floor(turns * DIRECTIONS + np.float32(0.5)).astype(np.intp) % DIRECTIONS
    return np.sqrt(dx**2 + dy**2), direction


@lru_cache(maxsize=8)  # a tracker needs two
def _spread(height: int, width: int, cell: int) -> Spread:
    """Bilinear shares of pixels in cells, for images of ``height x width``."""
    pixel_y, cell_y, weight_y = _spread_line(height, cell)
    pixel_x, cell_x, weight_x = _spread_line(width, cell)
    pixel = np.add.outer(pixel_y * width, pixel_x)
    cells = np.add.outer(cell_y * (width // cell), cell_x)
    return Spread(pixel.ravel(), cells.ravel(), np.outer(weight_y, weight_x).ravel().astype(np.float32))


def _spread_line(pixels: int, cell: int) -> tuple[Integers, Integers, Float64]:
    """The same along one axis: pixel, cell and weight, ``(k,)`` each."""
    cells = pixels // cell
    pixel = np.arange(cells * cell)
    place = (pixel + 0.5) / cell - 0.5  # in cells, 0 at the centre of the first
    lower = np.floor(place).astype(np.intp)
    pixel = np.concatenate([pixel, pixel])
    index = np.concatenate([lower, lower + 1])
    weight = np.concatenate([1 - (place - lower), place - lower]) / cell
    # Dollár: cells at the border are raised, since 7/8 of a full cell's votes arrive there, for any even side. Cells of one pixel
    # lack none, and are raised all the same.
    weight *= np.where((index == 0) | (index == cells - 1), 8 / 7, 1.0)
    keep = (index >= 0) & (index < cells) & (weight > 0)
    return pixel[keep], index[keep], weight[keep]


def _norms(unsigned: Float32, cell: int) -> list[Float32]:
    """The four norms of section 6.2: a cell's histogram is divided by the length of each block of 2 x 2 cells that holds it.

    Returns:
        their inverses, ``(N, 1, rows, columns)`` each, for the blocks to the lower right, upper right, lower left, upper left.
    """
    energy = (unsigned**2).sum(axis=1)  # (N, rows, columns)
    block = energy[:, :-1, :-1] + energy[:, 1:, :-1] + energy[:, :-1, 1:] + energy[:, 1:, 1:]
    epsilon = 1e-4 / 4 / cell**4  # Dollár: keeps flat image parts at zero
    inverse = 1 / np.sqrt(block + np.float32(epsilon))
    inverse = np.pad(inverse, ((0, 0), (1, 1), (1, 1)), mode="edge")[:, None]  # Dollár: cells at the border repeat a block
    return [inverse[..., 1:, 1:], inverse[..., :-1, 1:], inverse[..., 1:, :-1], inverse[..., :-1, :-1]]
