"""C-COT: a filter on maps of several resolutions, learned and applied as continuous functions.

Danelljan, Robinson, Shahbaz Khan and Felsberg: Beyond Correlation Filters: Learning Continuous Convolution Operators for Visual
Tracking, ECCV 2016. With J the interpolation of :mod:`metatrack.compared.continuous`, the filter minimises the objective::

    sum_j alpha_j || sum_d f^d * J_d{x_j^d} - y ||^2 + sum_d || w f^d ||^2

over functions on the window, taken as periodic. Settings are those of the authors' released code.

Three things differ. The authors keep 300 or 400 samples; here their sums S = sum_j alpha_j conj(A_j) A_j^T and b are kept, which
is the same problem but for samples whose weights had faded to 5 % in all. A step is as long as is best along its direction.
And the window's side is the nearest that holds an odd number of whole cells.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metatrack.arrays import Float32, Float64, Spectrum
from metatrack.compared.conjugate import Direction, conjugate_gradients
from metatrack.compared.continuous import Joint, Penalty, coefficients, label, resized
from metatrack.compared.correlation import Found, Target
from metatrack.compared.features import HOG, Blocks, OneBlock
from metatrack.compared.follower import Follower
from metatrack.compared.fourier import highest, inner
from metatrack.compared.patches import TargetPlace, pyramid, scale_factors, scale_limits
from metatrack.geometry import Image


@dataclass(frozen=True)
class CCOTSettings:
    """What depends on the features."""

    area: float
    """Side of the square window, in geometric means of the target's sides."""
    sides: tuple[float, float]
    """Least and most pixels along a side of the window; the target is looked at in smaller or larger pixels."""
    output_sigma: float
    """Width of the label, in sizes of the target."""
    learning_rate: float
    """Weight of a new frame (lambda of the paper)."""
    edge: float
    """w at the middle of the target's borders."""
    first_steps: int
    """Of conjugate gradients, in the first frame."""
    scales: int
    scale_step: float
    low: float = 1e-4
    """w in the centre."""
    steps: int = 5
    """Of conjugate gradients, in every later frame."""
    forget: float = 10.0
    """An old direction counts as if the residual had faded by ``(1 - learning_rate)`` to this power."""


HOG_SETTINGS = CCOTSettings(4.0, (150.0, 200.0), 1 / 16, 0.01, 4e-3, 50, 7, 1.01)
HOG_CELL = 6


@dataclass
class CcotTarget:
    """Everything that belongs to one target. D channels of all blocks, N x N coefficients."""

    place: TargetPlace
    blocks: Blocks
    side: int  # of the window in pixels, at scale 1
    joint: Joint  # S
    right: Spectrum  # (D, N, N // 2 + 1): the running mean of conj(A) Y
    penalty: Penalty
    labels: Spectrum  # (N, N // 2 + 1)
    filter: Spectrum  # (D, N, N // 2 + 1): it is multiplied with a sample's coefficients, so it is the target's mirror image
    direction: Direction | None
    frames: int


class CCOT(Follower[CcotTarget]):
    """Follows place and size; the ratio of height to width stays.

    This is its version on HOG, which the authors call fast. With a network's features: :mod:`metatrack.compared.deepccot`.

    >>> frame = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    >>> tracker = CCOT()
    >>> tracker.init(frame, (120, 80, 60, 60))
    >>> x, y, w, h = tracker.update(np.roll(frame, (4, -6), axis=(0, 1))).box
    >>> abs(x - 114) <= 1, abs(y - 84) <= 1, abs(w - 60) <= 1
    (True, True, True)
    """

    settings = HOG_SETTINGS

    def __init__(self) -> None:
        super().__init__()
        self.blocks = self.make_blocks()

    def make_blocks(self) -> Blocks:
        """The features."""
        return OneBlock(HOG(HOG_CELL))

    def learn_first(self, target: Target) -> CcotTarget:
        settings = self.settings
        wanted = settings.area * math.sqrt(target.height * target.width)
        scale = wanted / min(max(wanted, settings.sides[0]), settings.sides[1])
        place = TargetPlace.of(target, scale)
        side = window_side(wanted / scale, self.blocks.strides[-1])
        place.limits = scale_limits((side, side), place.base, target.image.shape[:2], settings.scale_step)
        patch = pyramid(target.image, place, (side, side), [1.0], smooth=False)
        blocks = self.blocks.fitted(patch)
        spectra = sample_spectra(blocks, patch)
        joint = Joint([block.shape[-3] for block in spectra], [block.shape[-2] for block in spectra])
        sample = joint.join(spectra)[0]
        joint.learn(sample, 1.0)
        sigma = settings.output_sigma * math.sqrt(math.floor(place.base[0]) * math.floor(place.base[1])) * joint.size / side
        labels = label(joint.size, sigma)
        penalty = Penalty(side, place.base, settings.low, settings.edge)
        right = sample.conj() * labels
        model = CcotTarget(place, blocks, side, joint, right, penalty, labels, np.zeros_like(right), None, 1)
        solve(model, settings.first_steps)
        return model

    def follow(self, model: CcotTarget, image: Image) -> Found:
        settings = self.settings
        n = model.joint.size
        factors = scale_factors(settings.scales, settings.scale_step)
        responses = np.einsum("ndhw,dhw->nhw", self._samples(model, image, factors), model.filter)
        peaks = highest(responses * np.float32(n * n), n)  # there, spectra are of unnormalised transforms
        best = max(range(settings.scales), key=lambda i: peaks[i].height)
        pixels = model.side / n * model.place.scale * float(factors[best])
        model.place.move(peaks[best].down * pixels, peaks[best].right * pixels, float(factors[best]))
        self._learn(model, self._samples(model, image, [1.0])[0])
        return Found(model.place.box(), peaks[best].height)

    def _samples(self, model: CcotTarget, image: Image, factors: Sequence[float] | Float64) -> Spectrum:
        """Features around the target at some scales, faded out: coefficients ``(n, D, N, N // 2 + 1)``."""
        patches = pyramid(image, model.place, (model.side, model.side), factors, smooth=False)
        return model.joint.join(sample_spectra(model.blocks, patches))

    def _learn(self, model: CcotTarget, sample: Spectrum) -> None:
        """Takes a sample into S and b. A new sample weighs 1 / (1 - rate) times the one before; all together weigh 1."""
        settings = self.settings
        model.frames += 1
        rate = settings.learning_rate / (1 - (1 - settings.learning_rate) ** model.frames)
        model.joint.learn(sample, rate)
        model.right += np.float32(rate) * (sample.conj() * model.labels - model.right)
        if model.direction is not None:
            model.direction.energy /= (1 - settings.learning_rate) ** settings.forget
        solve(model, settings.steps)


def window_side(side: float, cell: int) -> int:
    """The nearest side that is an odd number of cells.

    >>> window_side(200, 6), window_side(200, 16)
    (198, 208)
    """
    return cell * max(3, 2 * round((side / cell - 1) / 2) + 1)


def sample_spectra(blocks: Blocks, patches: Image) -> list[Spectrum]:
    """Coefficients of each block's maps, faded out."""
    return [coefficients(faded(maps, energy)) for maps, energy in zip(blocks(patches), blocks.energies)]


def faded(maps: Float32, energy: float) -> Float32:
    """Maps ``(n, C, h, w)``, each sample's with the same mean energy of a cell, times a cosine window without its zeros."""
    found = (maps * maps).sum(axis=1, keepdims=True).mean(axis=(2, 3), keepdims=True)
    rows, columns = (np.hanning(side + 2)[1:-1].astype(np.float32) for side in maps.shape[2:])
    return np.asarray(maps * np.sqrt(np.float32(energy) / np.maximum(found, np.float32(1e-12))) * rows[:, None] * columns)


def solve(model: CcotTarget, steps: int) -> None:
    """Steps of conjugate gradients for (S + W^H W) f = b, from the last filter and the last direction: section 3.4."""
    joint, penalty, width = model.joint, model.penalty, model.joint.size

    def apply(f: Spectrum) -> Spectrum:
        image = joint.apply(f)
        for channels, size in joint.blocks:
            image[channels] += resized(penalty.apply(resized(f[channels], size, size)), width, width)
        return image

    energies, diagonal = joint.diagonal(), np.ones(model.right.shape, np.float32)
    for channels, size in joint.blocks:
        energy = resized(energies[channels], size, size)
        mixed = 0.99 * (0.5 * energy + 0.5 * energy.mean(axis=0)) + 0.01 * penalty.energy
        padded = resized(mixed, width, width)
        diagonal[channels] = np.where(padded > 0, padded, 1)  # beyond a block's coefficients, where all is 0, it is 1
    model.filter, model.direction = conjugate_gradients(
        apply,
        model.right,
        model.filter,
        inner=lambda a, b: inner(a, b, width),
        precondition=lambda r: r / diagonal,
        steps=steps,
        direction=model.direction,
    )
    column = model.filter[..., 0]  # its halves mirror each other, which rounding must not undo
    model.filter[..., 0] = (column + np.roll(column[..., ::-1], 1, axis=-1).conj()) / 2
