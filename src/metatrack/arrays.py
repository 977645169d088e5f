"""Names of the array types that more than one room uses."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]  # of any kind of number
UInt8: TypeAlias = npt.NDArray[np.uint8]
Float32: TypeAlias = npt.NDArray[np.float32]
Float64: TypeAlias = npt.NDArray[np.float64]
Floats: TypeAlias = npt.NDArray[np.floating]  # float32 or float64: what is computed keeps the caller's precision
Integers: TypeAlias = npt.NDArray[np.intp]  # indices
Bools: TypeAlias = npt.NDArray[np.bool_]
Spectrum: TypeAlias = npt.NDArray[np.complexfloating]
"""Half a Fourier transform of :data:`Floats`, as ``rfft2`` gives it: the other half of a real signal's is its mirror image."""
Rng: TypeAlias = np.random.Generator  # the source of chance: passed in, never global
