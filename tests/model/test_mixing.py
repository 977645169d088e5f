"""The meta-learner that mixes rows and columns of the gradient: what holds whatever its weights are."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the networks need the train extra")

from metatrack.model.matching import Readout, project  # noqa: E402
from metatrack.model.meta import MetaLearner  # noqa: E402
from metatrack.model.mixing import SHARE, MixingLearner, bounded, make_learner, target_kernels  # noqa: E402


@pytest.fixture
def learner():
    torch.manual_seed(0)
    return MixingLearner().eval()


@pytest.fixture
def readout():
    torch.manual_seed(1)
    return Readout(torch.randn(96, 128) * 0.1, torch.randn(96) * 0.1, torch.tensor(8.0), torch.tensor(-3.0))


def test_the_size_of_the_gradient_does_not_count_its_direction_does(learner):
    delta = torch.randn(3, 96, 128)
    assert torch.allclose(learner(delta), learner(delta * 1e-4), atol=1e-3)
    assert not torch.allclose(learner(delta), learner(-delta), atol=0.1)


def test_without_a_gradient_the_constant_is_left(learner):
    assert torch.allclose(learner(torch.zeros(1, 96, 128))[0], learner.constant)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_new_kernels_take_their_share_of_the_template_and_no_more(readout, scale):
    template = torch.randn(4, 128, 7, 7)
    kernels = bounded(torch.randn(4, 32, 128) * scale, template, readout)
    new = torch.matmul(kernels, template.flatten(2)).square().sum((1, 2))
    old = project(template, readout.weight, readout.bias).square().sum((1, 2, 3))
    assert torch.allclose(new / (new + old), torch.full((4,), SHARE), atol=1e-4)


def test_kernels_differ_from_target_to_target_and_are_finite(learner, readout):
    template, support = torch.randn(2, 128, 7, 7), torch.randn(2, 4, 128, 29, 29)
    labels = torch.where(torch.rand(2, 4, 23, 23) > 0.9, 1.0, -1.0)
    with torch.no_grad():
        kernels = target_kernels(learner, template, support, labels, readout)
    assert kernels.shape == (2, 32, 128)
    assert kernels.isfinite().all()
    assert not torch.allclose(kernels[0], kernels[1], atol=1e-2)


def test_forms_by_name():
    assert isinstance(make_learner("printed", 128, 96), MetaLearner)
    assert isinstance(make_learner("mixing", 128, 96), MixingLearner)
    with pytest.raises(ValueError, match="printed, mixing"):
        make_learner("other", 128, 96)
