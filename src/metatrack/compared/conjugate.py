"""Conjugate gradients: a linear system that is given as a function, solved step by step from where one stands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from metatrack.arrays import Array


@dataclass
class Direction:
    """Where the last step went: what a later call may go on from."""

    vector: Array
    energy: float
    """``<r, M^-1 r>`` of the residual before that step."""


def conjugate_gradients(
    apply: Callable[[Array], Array],
    right: Array,
    start: Array,
    *,
    inner: Callable[[Array, Array], float],
    precondition: Callable[[Array], Array],
    steps: int,
    direction: Direction | None = None,
) -> tuple[Array, Direction | None]:
    """Steps towards the solution of ``apply(x) = right``.

    Args:
        apply: a linear map, symmetric and positive definite under ``inner``.
        right: the right side.
        start: where the search begins; not changed.
        inner: the inner product, a real number.
        precondition: an approximate inverse of ``apply``, symmetric and positive definite as well.
        steps: how many. Fewer, if the system is solved before.
        direction: the last one of an earlier call on a similar system; None begins with the steepest descent.

    Returns:
        the approximate solution, and the last direction.
    """
    x = start.copy()
    residual = right - apply(x)
    for _ in range(steps):
        descent = precondition(residual)
        energy = inner(residual, descent)
        if not energy > 0:  # solved
            break
        if direction is not None and direction.energy > 0:
            descent = descent + direction.vector * _real(energy / direction.energy, descent)
        image = apply(descent)
        curvature = inner(descent, image)
        if not curvature > 0:  # nothing but rounding is left
            break
        # Not the energy: to the direction of an earlier system the residual need not be orthogonal.
        length = _real(inner(descent, residual) / curvature, x)
        x += length * descent
        residual -= length * image
        direction = Direction(descent, energy)
    return x, direction


def _real(value: float, like: Array) -> Any:
    """A number of the same precision, so that single precision stays single."""
    return like.real.dtype.type(value)
