"""The meta-learner that mixes rows and columns of the gradient: what holds whatever its weights are."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the networks need the train extra")

from metatrack.model.learners import (  # noqa: E402
    FORMS,
    facts_of,
    make_learner,
    target_kernels,
    within_energy,
)  # noqa: E402
from metatrack.model.matching import Readout, project  # noqa: E402
from metatrack.model.meta import MetaLearner, Support, loss_gradient, loss_gradient_by_autograd  # noqa: E402
from metatrack.model.mixing import SHARE, MixingLearner  # noqa: E402
from metatrack.model.polynomial import PolynomialLearner  # noqa: E402


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
def test_new_kernels_take_their_share_of_the_template_and_no_more(readout, scale, learner):
    template = torch.randn(4, 128, 7, 7)
    kernels = within_energy(learner, torch.randn(4, 32, 128) * scale, template, readout)
    new = torch.matmul(kernels, template.flatten(2)).square().sum((1, 2))
    old = project(template, readout.weight, readout.bias).square().sum((1, 2, 3))
    assert torch.allclose(new / (new + old), torch.full((4,), SHARE), atol=1e-4)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_kernels_of_the_printed_form_take_no_more_than_their_limit(readout, scale):
    template, kernels = torch.randn(4, 128, 7, 7), torch.randn(4, 32, 128) * scale
    limited = within_energy(make_learner("printed", 128, 96, energy=0.5), kernels, template, readout)
    new = torch.matmul(limited, template.flatten(2)).square().sum((1, 2))
    old = project(template, readout.weight, readout.bias).square().sum((1, 2, 3))
    assert (new / (new + old) < 0.5 + 1e-4).all()
    assert torch.equal(limited, kernels) == (scale < 1)
    assert within_energy(make_learner("printed", 128, 96), kernels, template, readout) is kernels  # as printed


def test_the_polynomial_knows_a_gradient_by_its_direction(readout):
    torch.manual_seed(0)
    learner, delta = PolynomialLearner(128, 96, readout.weight), torch.randn(3, 96, 128)
    with torch.no_grad():
        kernels = learner(delta)
        assert torch.allclose(kernels, learner(delta * 1e-3), atol=1e-4)
        assert not torch.allclose(kernels, learner(-delta), atol=0.01)
        assert not torch.allclose(kernels[0], kernels[1], atol=0.01)
        assert torch.equal(learner(torch.zeros(1, 96, 128)), torch.zeros(1, 32, 128))


@pytest.mark.parametrize("balanced", [True, False])
def test_the_gradient_of_either_loss_is_that_of_autograd(readout, balanced):
    template = torch.randn(2, 128, 8, 8)
    support = Support(torch.randn(2, 4, 128, 24, 24), torch.where(torch.rand(2, 4, 17, 17) > 0.9, 1.0, -1.0))
    closed = loss_gradient(template, support, readout, balanced)
    assert torch.allclose(closed, loss_gradient_by_autograd(template, support, readout, balanced), atol=1e-6)
    assert not torch.allclose(closed, loss_gradient(template, support, readout, not balanced), atol=1e-6)


@pytest.mark.parametrize("form", FORMS)
def test_a_learner_takes_the_gradient_of_its_own_loss(readout, form):
    """A plain and a balanced learner of the same weights make different kernels."""
    torch.manual_seed(0)
    template = torch.randn(1, 128, 8, 8)
    support = Support(torch.randn(1, 4, 128, 24, 24), torch.where(torch.rand(1, 4, 17, 17) > 0.9, 1.0, -1.0))
    plain, same = make_learner(form, 128, 96, balanced=False).eval(), make_learner(form, 128, 96).eval()
    weights = plain.state_dict()
    if form == "polynomial":
        weights["inverse"] = torch.linalg.pinv(readout.weight)
    else:
        weights = {name: value * 30 for name, value in weights.items()}
    for learner in (plain, same):
        learner.load_state_dict(weights)
    with torch.no_grad():
        kernels = [target_kernels(learner, template, support, readout) for learner in (plain, same)]
    assert not torch.allclose(*kernels, rtol=1e-3)
    assert facts_of(plain) == {**facts_of(same), "balanced": False}


def test_kernels_differ_from_target_to_target_and_are_finite(learner, readout):
    template = torch.randn(2, 128, 7, 7)
    support = Support(torch.randn(2, 4, 128, 29, 29), torch.where(torch.rand(2, 4, 23, 23) > 0.9, 1.0, -1.0))
    with torch.no_grad():
        kernels = target_kernels(learner, template, support, readout)
    assert kernels.shape == (2, 32, 128)
    assert kernels.isfinite().all()
    assert not torch.allclose(kernels[0], kernels[1], atol=1e-2)


@pytest.mark.parametrize("form", ["mixing", "polynomial"])
def test_the_share_of_new_kernels_is_what_was_asked_for(form, readout):
    template, delta = torch.randn(4, 128, 7, 7), torch.randn(4, 96, 128)
    for energy, share in ((1.0, SHARE), (0.1, 0.1)):
        learner = make_learner(form, 128, 96, energy=energy).eval()
        if form == "polynomial":
            learner.get_buffer("inverse").copy_(torch.linalg.pinv(readout.weight))
        with torch.no_grad():
            kernels = within_energy(learner, learner(delta), template, readout)
        new = torch.matmul(kernels, template.flatten(2)).square().sum((1, 2))
        old = project(template, readout.weight, readout.bias).square().sum((1, 2, 3))
        assert torch.allclose(new / (new + old), torch.full((4,), share), atol=1e-4)
        assert facts_of(learner)["energy"] == share


def test_forms_by_name():
    assert isinstance(make_learner("printed", 128, 96), MetaLearner)
    assert isinstance(make_learner("mixing", 128, 96), MixingLearner)
    with pytest.raises(ValueError, match="printed, mixing, polynomial"):
        make_learner("other", 128, 96)
