"""Principal axes of maps: channels centred on their mean in one patch, and turned so that the first few hold most of it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from metatrack.arrays import Float32


class Axes(NamedTuple):
    """Found in one patch, used for all later ones."""

    mean: Float32
    """(C,)."""
    axes: Float32
    """(C, d), the largest first."""

    @classmethod
    def of(cls, maps: Float32, count: int) -> Axes:
        """The first ``count`` axes of the cells of maps ``(N, C, h, w)``.

        >>> Axes.of(np.float32([[[[1, 3]], [[5, 5]]]]), 1).mean.tolist()
        [2.0, 5.0]
        """
        vectors = maps.transpose(0, 2, 3, 1).reshape(-1, maps.shape[1])
        mean = vectors.mean(axis=0)
        _, axes = np.linalg.eigh(np.cov(vectors - mean, rowvar=False))  # the largest last
        return cls(mean, axes[:, ::-1][:, :count].astype(np.float32))

    def __call__(self, maps: Float32) -> Float32:
        """Maps ``(N, C, h, w)`` on these axes, ``(N, d, h, w)``."""
        count, channels, rows, columns = maps.shape
        turned = self.axes.T @ maps.reshape(count, channels, -1) - (self.mean @ self.axes)[:, None]
        return np.asarray(turned.reshape(count, -1, rows, columns))
