"""TLD's detector: windows of a frame pass three tests, each of them slower and sharper than the one before.

Kalal, Mikolajczyk and Matas: Tracking-Learning-Detection, PAMI 2012, section 5.3: variance, an ensemble of ferns, nearest
neighbour. Settings are those of the authors' released OpenTLD. Windows are ``(n, 4)`` integers: x, y, w, h.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from metatrack.arrays import Bools, Float32, Float64, Floats, Integers
from metatrack.compared.patches import resampling
from metatrack.geometry import Image

SCALE_STEP, SCALE_STEPS = 1.2, 10
"""Windows are this much apart in size, and there are so many sizes above and below that of the target."""
SHIFT = 0.1
"""Way between neighbouring windows, in their smaller sides."""
LEAST_SIDE = 24
"""Windows have no smaller side than this, or than the target's own where that is smaller."""
FERNS, COMPARISONS = 10, 13
"""Ferns, and the comparisons of two pixels that each is made of."""
MOST = 100
"""Windows that reach the last test."""
PATTERN = 15
"""Side in pixels of a nearest neighbour's patch."""
SAME = 0.95
"""Patches more alike than this, on a scale from 0 to 1, are the same."""
EARLY = 0.5
"""Share of the target's patches, the oldest ones, that the conservative similarity looks at."""


class Grid(NamedTuple):
    """All windows of a frame, scale by scale."""

    windows: Integers  # (n, 4)
    begins: list[int]  # of each scale's first window, and in the end n

    def scales(self) -> Iterator[tuple[slice, tuple[int, int]]]:
        """The windows of each scale, and their common width and height."""
        for begin, end in zip(self.begins, self.begins[1:]):
            yield slice(begin, end), (int(self.windows[begin, 2]), int(self.windows[begin, 3]))


def make_grid(width: float, height: float, frame: tuple[int, ...]) -> Grid:
    """Windows of a target's shape over a frame of (height, width)."""
    sizes = [
        (round(width * SCALE_STEP**power), round(height * SCALE_STEP**power)) for power in range(-SCALE_STEPS, SCALE_STEPS + 1)
    ]
    fitting = [(w, h) for w, h in sizes if 1 <= w <= frame[1] and 1 <= h <= frame[0]] or [(frame[1], frame[0])]
    least = min(LEAST_SIDE, round(width), round(height))
    parts, begins = [], [0]
    for w, h in [size for size in fitting if min(size) >= least] or fitting:
        step = max(1.0, SHIFT * min(w, h))
        x, y = (np.arange(0, room - side + 1, step).astype(np.intp) for room, side in ((frame[1], w), (frame[0], h)))
        corners = np.stack(np.meshgrid(x, y), axis=2).reshape(-1, 2)
        parts.append(np.hstack([corners, np.broadcast_to([w, h], corners.shape)]))
        begins.append(begins[-1] + len(corners))
    return Grid(np.concatenate(parts), begins)


def variances(image: Image, windows: Integers) -> Float64:
    """Variance of the grey values in each window, ``(n,)``, from sums over rectangles."""
    x, y, w, h = windows.T
    moments = []
    for values in (image.astype(np.float64), image.astype(np.float64) ** 2):
        sums = np.pad(values, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
        moments.append((sums[y + h, x + w] - sums[y, x + w] - sums[y + h, x] + sums[y, x]) / (w * h))
    return np.asarray(moments[1] - moments[0] ** 2)


def blurred(image: Image) -> Image:
    """A grey frame smoothed by a Gaussian of 2 pixels, so that single pixels can be compared."""
    reach = 6
    weights = np.exp(-(np.arange(-reach, reach + 1, dtype=np.float32) ** 2) / 8)
    weights /= weights.sum()
    smooth = np.pad(image.astype(np.float32), reach, mode="edge")
    for axis in (0, 1):
        size = image.shape[axis]
        smooth = sum(weight * smooth.take(np.arange(i, i + size), axis) for i, weight in enumerate(weights))
    return np.rint(smooth).astype(np.uint8)


class Ferns:
    """An ensemble of ferns: what comparisons of pixels say, looked up in tables of how often it was the target.

    Args:
        rng: draws the comparisons; each is between two pixels of a row or a column.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        first = rng.random((FERNS * COMPARISONS, 2))
        second = first.copy()
        axis = rng.integers(0, 2, FERNS * COMPARISONS)
        second[np.arange(len(axis)), axis] = rng.random(len(axis))
        self._points = np.stack([first, second])  # (2, 130, 2): x and y in a window of side 1
        self.positive = np.zeros((FERNS, 2**COMPARISONS), np.int32)
        self.negative = np.zeros((FERNS, 2**COMPARISONS), np.int32)

    def codes(self, blurred: Image, corners: Integers, size: tuple[int, int]) -> Integers:
        """What the ferns see in windows ``(n, 2)`` of one size (w, h): ``(n, 10)``, a number of 13 bits for each."""
        stride = blurred.shape[1]
        x, y = (np.minimum((self._points[..., axis] * size[axis]).astype(np.intp), size[axis] - 1) for axis in (0, 1))
        first, second = y * stride + x
        base, pixels = corners[:, 1] * stride + corners[:, 0], blurred.ravel()
        codes = np.zeros((len(corners), FERNS), np.intp)
        for bit in range(COMPARISONS):
            mine = slice(bit * FERNS, (bit + 1) * FERNS)
            codes = 2 * codes + (pixels[base[:, None] + first[mine]] > pixels[base[:, None] + second[mine]])
        return codes

    def posteriors(self, codes: Integers) -> Float32:
        """Mean over the ferns of how likely codes ``(n, 10)`` are the target's: ``(n,)`` in 0..1."""
        fern = np.arange(FERNS)
        p, n = self.positive[fern, codes], self.negative[fern, codes]
        return np.asarray((p / np.maximum(p + n, 1)).mean(axis=-1), np.float32)

    def learn(self, codes: Integers, targets: Bools, threshold: float) -> None:
        """Counts codes, one after the other, where the ferns are not right yet: the target is above the threshold."""
        fern = np.arange(FERNS)
        for code, target in zip(codes, targets):
            p, n = self.positive[fern, code], self.negative[fern, code]
            if (float((p / np.maximum(p + n, 1)).mean()) > threshold) != target:
                (self.positive if target else self.negative)[fern, code] += 1


@dataclass
class Neighbours:
    """Patches of the target and of what is not: vectors of length 1 and mean 0, ``(k, 225)``, the target's from the oldest on."""

    positive: Float32 = field(default_factory=lambda: np.zeros((0, PATTERN**2), np.float32))
    negative: Float32 = field(default_factory=lambda: np.zeros((0, PATTERN**2), np.float32))

    def similarities(self, patterns: Float32) -> tuple[Float32, Float32]:
        """Relative and conservative similarity of patterns, ``(n,)`` each in 0..1: section 5.1, definitions 3 and 4."""
        if not len(self.positive):
            return np.zeros(len(patterns), np.float32), np.zeros(len(patterns), np.float32)
        if not len(self.negative):
            return np.ones(len(patterns), np.float32), np.ones(len(patterns), np.float32)
        positive = (1 + patterns @ self.positive.T) / 2  # (n, k)
        early = positive[:, : int(np.ceil(EARLY * len(self.positive)))]
        away = 1 - (1 + (patterns @ self.negative.T).max(axis=1)) / 2
        near, near_early = 1 - positive.max(axis=1), 1 - early.max(axis=1)
        return away / np.maximum(away + near, 1e-6), away / np.maximum(away + near_early, 1e-6)

    def known(self, patterns: Float32) -> Bools:
        """Whether patterns are among those that are not the target."""
        if not len(self.negative):
            return np.zeros(len(patterns), np.bool_)
        return np.asarray((1 + (patterns @ self.negative.T).max(axis=1)) / 2 > SAME)

    def learn(self, patterns: Iterable[tuple[Float32, bool]], threshold: float) -> None:
        """Keeps patterns that are not recognised yet; one of the target stands after the one most like it."""
        for pattern, target in patterns:
            similarity = self.similarities(pattern[None])[0][0]
            if target and (similarity <= threshold or not len(self.positive)):
                after = int((self.positive @ pattern).argmax()) + 1 if len(self.positive) else 0
                self.positive = np.insert(self.positive, after, pattern, axis=0)
            elif not target and similarity > 0.5:
                self.negative = np.concatenate([self.negative, pattern[None]])


def pattern(image: Image, box: Floats | tuple[float, ...]) -> Float32:
    """A window of a grey frame, cut off at the frame's border, as ``(225,)``: 15 x 15 means of areas, mean 0 and length 1."""
    x, y, w, h = (round(float(value)) for value in box)
    left, top = (min(max(value, 0), limit - 1) for value, limit in ((x, image.shape[1]), (y, image.shape[0])))
    part = image[top : max(y + h, top + 1), left : max(x + w, left + 1)].astype(np.float32)
    small = resampling(part.shape[0], PATTERN) @ part @ resampling(part.shape[1], PATTERN).T
    vector = (small - small.mean()).ravel()
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-6), np.float32)


def patterns(image: Image, windows: npt.NDArray[np.generic]) -> Float32:
    """:func:`pattern` of each window, ``(n, 225)``."""
    return np.array([pattern(image, window) for window in windows], np.float32).reshape(-1, PATTERN**2)
