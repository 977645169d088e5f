"""HDT: the hedge against its definition, the linear filter, VGG-16's file, and a run on other features."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metatrack.compared import networks
from metatrack.compared.features import HOG
from metatrack.compared.hdt import HDT, kernel
from metatrack.compared.hedge import Hedge, hedged, old_share
from metatrack.geometry import iou
from tests.conftest import Scene


def vgg(*layers: str) -> networks.Network:
    try:
        return networks.vgg16(*layers)
    except FileNotFoundError as error:
        pytest.skip(str(error))


# --- hedge ----------------------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=8).filter(lambda regrets: max(regrets) > 1e-3))
def test_weights_equal_their_definition(regrets):
    """c is searched for here by its own equation; then w_i = [R_i]_+ / c exp([R_i]_+^2 / 2 c), normalised."""
    positive = np.maximum(regrets, 0)
    scales = positive.max() ** 2 * np.geomspace(0.05, 2, 200_001)
    means = np.mean([np.exp(r**2 / (2 * scales)) for r in positive], axis=0)
    scale = scales[np.abs(means - 2.72).argmin()]
    expected = positive / scale * np.exp(positive**2 / (2 * scale))
    np.testing.assert_allclose(hedged(np.array(regrets), np.ones(len(regrets))), expected / expected.sum(), atol=1e-4)


def test_weights_without_any_regret_stay():
    before = np.array([0.25, 0.75])
    np.testing.assert_array_equal(hedged(np.array([-1.0, 0.0]), before), before)


def test_share_of_the_old_regret_by_hand():
    """Losses 1, 2, 3, 4, 5: mean 3, deviation sqrt(2.5), of which 3 is no way off and 5 is 1.26 times."""
    memory = np.array([[1.0], [2], [3], [4], [5]])
    assert old_share(np.array([3.0]), memory) == pytest.approx(0.97)
    assert old_share(np.array([5.0]), memory) == pytest.approx(0.119)  # 0.97 exp(-12.6)
    away = 0.05 * math.sqrt(2.5)
    assert old_share(np.array([3 + away]), memory) == pytest.approx(0.97 * math.exp(-0.5))
    assert old_share(np.zeros(1), np.zeros((5, 1))) == pytest.approx(0.97)


def test_one_frame_of_regret_by_hand():
    """The first losses are nothing like the zeros before: the old regret keeps 0.119."""
    hedge = Hedge([3.0, 1.0])
    hedge.learn(np.array([0.5, 0.1]))
    # Weights 3/4 and 1/4 lose 0.4; memory (0.5, 0, 0, 0, 0) has mean 0.1 and deviation 0.2236, (0.1, 0, ...) 0.02 and 0.0447.
    np.testing.assert_allclose(hedge.regrets, (1 - 0.119) * np.array([-0.1, 0.3]))
    assert hedge.weights[0] == 0 and hedge.weights[1] == 1


def test_the_expert_that_loses_least_is_trusted_in_the_end():
    rng, hedge = np.random.default_rng(0), Hedge([1.0, 1, 1])
    for _ in range(60):
        hedge.learn(rng.uniform(0, 0.1, 3) + [0.4, 0.1, 0.4])
        assert hedge.weights.sum() == pytest.approx(1)
    assert hedge.weights[1] > 0.9


# --- filters --------------------------------------------------------------------------------------------------------------


def test_kernel_is_the_mean_product_at_each_shift():
    x, z = np.random.default_rng(0).normal(size=(2, 3, 5, 6))
    found = np.fft.irfft2(kernel(np.fft.rfft2(x), np.fft.rfft2(z), (5, 6)), s=(5, 6))
    for shift in np.ndindex(5, 6):
        assert found[shift] == pytest.approx(np.mean(x * np.roll(z, shift, axis=(1, 2))))


class Layers:
    """Six maps of decreasing resolution, as a network would give."""

    def __call__(self, patches: np.ndarray) -> list[np.ndarray]:
        return [HOG(cell)(patches) for cell in (16, 16, 16, 8, 8, 8)]


def test_follows_a_moving_target_on_other_features():
    scene, tracker = Scene(), HDT(Layers())
    tracker.init(scene.frame(0), scene.box(0))
    overlaps = [float(iou(tracker.update(scene.frame(i)).box, scene.box(i))) for i in range(1, 20)]
    assert min(overlaps) > 0.6
    assert len(set(tracker.model.hedge.weights)) > 1


@pytest.mark.parametrize("box", [(40, 30, 0.4, 0.6), (40, 10, 3, 60), (-20, -20, 25.5, 26.5), (-40, -30, 180, 140)])
def test_odd_targets_do_no_harm(box):
    """Tiny, thin, leaving the frame, larger than the frame; then the frame goes black."""
    frames = np.random.default_rng(0).integers(0, 256, (2, 80, 100, 3), dtype=np.uint8)
    tracker = HDT(Layers())
    tracker.init(frames[0], box)
    for frame in (frames[1], np.zeros_like(frames[0])):
        found = tracker.update(frame)
        assert np.isfinite([*found.box, found.score]).all()
        assert found.box[2:] == box[2:]


def test_update_before_init_is_told():
    with pytest.raises(RuntimeError, match="before init"):
        HDT(Layers()).update(Scene().frame(0))


# --- VGG-16 ---------------------------------------------------------------------------------------------------------------


def test_vgg_of_any_size_has_the_layers_shapes():
    low, high = vgg("relu1_2", "conv4_1")(np.random.default_rng(0).integers(0, 256, (2, 48, 64, 3), dtype=np.uint8))
    assert low.shape == (2, 64, 48, 64) and high.shape == (2, 512, 6, 8)
    assert low.min() == 0 and high.min() < 0  # after ReLU, and before it


def test_vgg_expects_blue_green_red_of_0_to_255():
    """With the colours in another order or range, its first layer, whose mean colour is no longer grey, answers otherwise.

    A grey image of the mean colour is 0 everywhere: then each channel of the first layer is its bias, the same in all places.
    """
    network = vgg("conv1_1")
    flat = np.empty((1, 16, 16, 3), np.uint8)
    flat[:] = (124, 117, 104)  # red, green, blue
    wrong = flat[..., ::-1]
    right_spread, wrong_spread = (np.ptp(network(image)[0], axis=(2, 3)).max() for image in (flat, wrong))
    assert right_spread < 0.1 * wrong_spread


def test_hdt_with_vgg_follows():
    vgg("conv4_1")
    scene, tracker = Scene(), HDT()
    tracker.init(scene.frame(0), scene.box(0))
    overlaps = [float(iou(tracker.update(scene.frame(i)).box, scene.box(i))) for i in range(1, 6)]
    assert min(overlaps) > 0.65
    assert set(tracker.identity()) == {"sha256"}


def test_a_damaged_vgg_is_told(tmp_path, monkeypatch):
    package = tmp_path / networks.VGG_PACKAGE / "models"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").write_text("")
    (package.parent / networks.VGG_FILE).write_bytes(b"no network")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match="SHA-256"):
        networks.vgg_path()


def test_a_missing_vgg_is_told(monkeypatch):
    monkeypatch.setattr(networks, "VGG_PACKAGE", "a_package_that_is_not_there")
    with pytest.raises(FileNotFoundError, match=r"metatrack\[vgg\]"):
        networks.vgg_path()
