"""C-COT: interpolation, label, penalty and the joint system of several resolutions against their definitions."""

from __future__ import annotations

import numpy as np
import pytest

from metatrack.compared.ccot import CCOT, faded, window_side
from metatrack.compared.conjugate import conjugate_gradients
from metatrack.compared.continuous import KERNEL, Joint, Penalty, coefficients, kernel_transform, label, resized
from metatrack.compared.fourier import inner, penalty_window
from metatrack.geometry import iou
from tests.compared.scenes import follow_growth

from ..conftest import Scene


def kernel(t: np.ndarray) -> np.ndarray:
    """The cubic convolution kernel with parameter a, piece by piece."""
    a, t = KERNEL, np.abs(t)
    inside = (a + 2) * t**3 - (a + 3) * t**2 + 1
    outside = a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a
    return np.where(t <= 1, inside, np.where(t <= 2, outside, 0))


def test_transform_of_the_kernel_equals_its_integral():
    t = np.linspace(-2, 2, 40_001)
    for f in (0.0, 1e-4, 0.1, 0.37, 0.5, 1.3, 2.0):
        integral = np.trapezoid(kernel(t) * np.cos(2 * np.pi * f * t), t) if hasattr(np, "trapezoid") else None
        if integral is None:
            integral = np.trapz(kernel(t) * np.cos(2 * np.pi * f * t), t)  # type: ignore[attr-defined]
        assert kernel_transform(f) == pytest.approx(integral, abs=1e-6)


def evaluate(spectrum: np.ndarray, y: float, x: float) -> float:
    """The function of half its coefficients at a place of the period."""
    top = spectrum.shape[0] // 2
    total = 0.0
    for i, ky in enumerate([*range(top + 1), *range(-top, 0)]):
        for kx in range(spectrum.shape[1]):
            total += (1 if kx == 0 else 2) * (spectrum[i, kx] * np.exp(2j * np.pi * (ky * y + kx * x))).real
    return float(total)


@pytest.mark.parametrize("size", [(7, 7), (6, 6), (6, 9)])
def test_coefficients_are_those_of_the_interpolated_function(size):
    """J{x}(t) = sum_n x[n] kernel(N t - n - 1/2), periodic, integrated numerically against exp(-2 pi i k t)."""
    values = np.random.default_rng(0).normal(size=size).astype(np.float32)
    found = coefficients(values)
    assert found.shape == (2 * (size[0] // 2) + 1, size[1] // 2 + 1)
    lines = []
    for cells in size:
        t = (np.arange(600 * cells) + 0.5) / (600 * cells)
        lines.append((t, np.array([sum(kernel(cells * (t + turn) - n - 0.5) for turn in (-1, 0, 1)) for n in range(cells)])))
    (ty, rows), (tx, columns) = lines
    top = size[0] // 2
    for i, ky in enumerate([*range(top + 1), *range(-top, 0)]):
        for kx in range(size[1] // 2 + 1):
            down = (rows * np.exp(-2j * np.pi * ky * ty)).mean(axis=1)
            right = (columns * np.exp(-2j * np.pi * kx * tx)).mean(axis=1)
            assert found[i, kx] == pytest.approx(down @ values @ right, abs=1e-4)


def test_a_longer_map_of_the_same_scene_has_the_same_low_coefficients():
    """A wave is one function, whether it is sampled in 9 or in 27 cells: the blocks lie on each other without a shift."""
    fine, coarse = (np.cos(2 * np.pi * ((np.arange(n) + 0.5) / n - 0.3)) for n in (27, 9))
    a, b = (coefficients(np.outer(line, line).astype(np.float32)) for line in (fine, coarse))
    np.testing.assert_allclose(resized(a, 3, 3), resized(b, 3, 3), atol=0.01)


def test_label_is_a_gaussian():
    found = label(31, 2.0)
    for y, x in [(0, 0), (1, 2), (-3, 1), (5, 5)]:
        assert evaluate(found, y / 31, x / 31) == pytest.approx(np.exp(-(y**2 + x**2) / 8), abs=2e-3)


def test_resized_only_adds_and_drops_the_highest():
    spectrum = coefficients(np.random.default_rng(0).normal(size=(2, 7, 7)).astype(np.float32))
    larger = resized(spectrum, 11, 11)
    assert evaluate(larger[1], 0.2, 0.7) == pytest.approx(evaluate(spectrum[1], 0.2, 0.7), abs=1e-5)
    np.testing.assert_array_equal(resized(larger, 7, 7), spectrum)


def test_penalty_is_the_product_with_the_square_of_the_window():
    penalty = Penalty(60, (20, 15), 0.1, 3.0)
    assert 1 <= penalty.order <= 4
    dense = penalty.window(301)
    assert dense.min() == pytest.approx(0.1, abs=0.01)
    assert abs(dense - penalty_window((301, 301), (20 * 301 / 60, 15 * 301 / 60), 0.1, 3.0)).mean() < 0.12 * dense.mean()
    assert penalty.energy == pytest.approx((dense**2).mean(), rel=1e-5)
    filters = coefficients(np.random.default_rng(0).normal(size=(1, 9, 9)).astype(np.float32))
    values = np.fft.irfft2(resized(filters, 301, 301), s=(301, 301)) * dense**2
    np.testing.assert_allclose(penalty.apply(filters), resized(np.fft.rfft2(values), 9, 9), atol=1e-4)


@pytest.mark.parametrize("target", [(30, 5), (5, 30)])
def test_penalty_of_long_targets_grows_along_the_short_side(target):
    """Of a tall target's window one row of coefficients is left, of a wide one's one column: neither window is constant."""
    penalty = Penalty(60, target, 0.1, 3.0)
    assert penalty.order >= 2
    dense = penalty.window(301)
    across = dense if target[0] > target[1] else dense.T
    assert across[150, 0] > 10 * across[150, 150]
    filters = coefficients(np.random.default_rng(0).normal(size=(1, 9, 9)).astype(np.float32))
    values = np.fft.irfft2(resized(filters, 301, 301), s=(301, 301)) * dense**2
    expected = resized(np.fft.rfft2(values), 9, 9)
    np.testing.assert_allclose(penalty.apply(filters), expected, atol=1e-5 * np.abs(expected).max())


def test_joint_system_equals_a_dense_one():
    """Two blocks, 2 channels of 7 and 3 of 3 coefficients a side: at each frequency, those channels that reach it."""
    rng = np.random.default_rng(0)
    joint = Joint([2, 3], [7, 3])
    samples = [
        joint.join([coefficients(rng.normal(size=(c, n, n)).astype(np.float32)) for c, n in ((2, 7), (3, 3))]) for _ in range(2)
    ]
    joint.learn(samples[0], 1.0)
    joint.learn(samples[1], 0.3)
    filters = joint.join([coefficients(rng.normal(size=(c, n, n)).astype(np.float32)) for c, n in ((2, 7), (3, 3))])
    expected = sum(a * x.conj() * (x * filters).sum(axis=0) for a, x in zip((0.7, 0.3), samples))
    expected[2:] = resized(resized(expected[2:], 3, 3), 7, 7)
    np.testing.assert_allclose(joint.apply(filters), expected, atol=1e-5)
    diagonal = sum(a * np.abs(x) ** 2 for a, x in zip((0.7, 0.3), samples))
    np.testing.assert_allclose(joint.diagonal(), diagonal, atol=1e-6)


def test_solution_minimises_the_objective():
    """Against ordinary least squares: values of filters of 5 and 3 coefficients a side, on their own grids."""
    rng = np.random.default_rng(1)
    sizes, channels = (5, 3), (2, 1)
    joint, penalty = Joint(channels, sizes), Penalty(40, (16, 16), 0.3, 2.0)
    sample = joint.join([coefficients(rng.normal(size=(c, n, n)).astype(np.float32)) for c, n in zip(channels, sizes)])
    joint.learn(sample, 1.0)
    labels = label(5, 1.0)

    def apply(f):
        image = joint.apply(f)
        for part, size in joint.blocks:
            image[part] += resized(penalty.apply(resized(f[part], size, size)), 5, 5)
        return image

    found, _ = conjugate_gradients(
        apply,
        sample.conj() * labels,
        np.zeros_like(sample),
        inner=lambda a, b: inner(a, b, 5),
        precondition=lambda r: r,
        steps=300,
    )

    grid = 25  # fine enough for products of all these functions: means over it are integrals
    rows, window = [], penalty.window(grid)
    for channel, size in ((0, 5), (1, 5), (2, 3)):
        for place in range(size * size):
            unit = np.zeros((size, size))
            unit.flat[place] = 1
            f = np.zeros_like(sample)
            f[channel] = resized(np.fft.rfft2(unit), 5, 5)
            answer = np.fft.irfft2(resized((f * sample).sum(axis=0), grid, grid), s=(grid, grid))
            weighted = np.fft.irfft2(resized(f, grid, grid), s=(grid, grid)) * window
            rows.append(np.concatenate([answer.ravel(), weighted.ravel()]))
    goal = np.fft.irfft2(resized(labels, grid, grid), s=(grid, grid)).ravel()
    best = np.linalg.lstsq(np.array(rows).T, np.concatenate([goal, np.zeros(3 * grid * grid)]), rcond=None)[0]
    expected = [np.fft.rfft2(best[:25].reshape(5, 5)), np.fft.rfft2(best[25:50].reshape(5, 5))]
    expected.append(resized(np.fft.rfft2(best[50:].reshape(3, 3)), 5, 5))
    np.testing.assert_allclose(found, np.array(expected), atol=2e-3 * np.abs(expected).max())


def test_maps_are_normalised_and_fade_without_zeros():
    maps = np.random.default_rng(0).uniform(0, 9, (2, 3, 5, 5)).astype(np.float32)
    result = faded(maps, 3.0)
    assert result.min() > 0
    np.testing.assert_allclose(result, faded(7 * maps, 3.0), rtol=1e-5)
    assert (result[0, :, 2, 2] ** 2 / maps[0, :, 2, 2] ** 2 * (maps[0] ** 2).mean()) == pytest.approx(np.ones(3))


@pytest.mark.parametrize(("side", "cell"), [(150, 6), (200, 6), (300, 16), (10, 16)])
def test_windows_hold_an_odd_number_of_cells(side, cell):
    assert window_side(side, cell) % (2 * cell) == cell
    assert abs(window_side(side, cell) - side) <= cell or side < 3 * cell


def test_follows_growth():
    box, true = follow_growth(CCOT())
    assert iou(box, true) > 0.85


def test_the_first_frames_weigh_as_much_as_their_age_says():
    """Weights 1 / (1 - rate)^j, normalised: after three frames as 0.99^2 : 0.99 : 1."""
    scene, tracker = Scene(), CCOT()
    tracker.init(scene.frame(0), scene.box(0))
    samples = [tracker._samples(tracker.model, scene.frame(0), [1.0])[0]]
    for i in (1, 2):
        tracker.update(scene.frame(i))
        samples.append(tracker._samples(tracker.model, scene.frame(i), [1.0])[0])
    weights = np.array([0.99**2, 0.99, 1]) / (0.99**2 + 0.99 + 1)
    expected = sum(a * x.conj() * tracker.model.labels for a, x in zip(weights, samples))
    np.testing.assert_allclose(tracker.model.right, expected, atol=1e-5)
