"""From a sampler to batches of tensors with names."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the train extra")

from metatrack.training.loading import SampleSet, load_batches, to_network  # noqa: E402
from metatrack.training.mix import load_mix  # noqa: E402
from metatrack.training.sampling import BoxPair, Pair, PairSampler  # noqa: E402


@pytest.fixture(scope="module")
def sampler(data):
    return PairSampler(load_mix(data / "train.json"), 3)


@pytest.mark.parametrize(("boxes", "kind"), [(False, Pair), (True, BoxPair)])
def test_samples_keep_their_names_and_their_order(sampler, boxes, kind):
    draw = sampler.box_pair if boxes else sampler.pair
    batches = list(load_batches(SampleSet(draw, 5, 8), 2, workers=0))
    assert [type(batch) for batch in batches] == [kind, kind]
    assert [len(batch.search) for batch in batches] == [2, 1]
    sample = draw(6)
    assert sample._fields == kind._fields
    for name in kind._fields:
        assert np.array_equal(getattr(batches[0], name)[1].numpy(), getattr(sample, name)), name


def test_worker_processes_make_the_same_batches(sampler):
    clips = SampleSet(partial(sampler.clip, contexts=2, boxes=True), 0, 3)
    own, theirs = (list(load_batches(clips, 2, workers)) for workers in (0, 1))
    assert len(own) == len(theirs) == 2
    for a, b in zip(own, theirs):
        assert a._fields == b._fields == ("templates", "searches", "displacements")
        assert all(map(torch.equal, a, b))
    assert own[0].searches.shape == (2, 2, 255, 255, 3)


class Threads(NamedTuple):
    """What OpenCV uses where a sample is made."""

    number: object


def threads(_):
    from metatrack.training.augment import OPENCV

    return Threads(np.array([OPENCV.getNumThreads()]))


def test_worker_processes_use_one_core_each():
    pytest.importorskip("cv2", reason="asks for OpenCV's threads")
    (batch,) = load_batches(SampleSet(threads, 0, 1), 1, workers=1)
    assert batch.number.item() == 1


def test_images_for_the_network():
    images = torch.arange(2 * 4 * 4 * 3, dtype=torch.uint8).reshape(2, 4, 4, 3)
    given = to_network(images)
    assert given.shape == (2, 3, 4, 4)
    assert given.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(given[1, 2], images[1, :, :, 2].float())
