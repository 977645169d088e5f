"""The probe tells kernels that depend on their target from a bank that does not."""

from __future__ import annotations

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the probe needs the train extra")

from metatrack.app.train import ProbeOptions  # noqa: E402
from metatrack.app.train import probe as probe_command  # noqa: E402
from metatrack.runtime.bundle import open_bundle  # noqa: E402
from metatrack.runtime.load import load_model  # noqa: E402
from metatrack.runtime.torch_weights import read_networks  # noqa: E402
from metatrack.training.mix import load_mix  # noqa: E402
from metatrack.training.probe import draw_episodes, interval, probe, sentence  # noqa: E402


def answering(name, answer):
    """A shipped model whose meta-learner is replaced by a function of the template."""

    class Fixed:
        def run(self, feeds):
            return [answer(feeds["template"])]

    return load_model(name, 1).wrapped(lambda each, graph: Fixed() if each == "adapt" else graph)


def last_layer(name):
    networks = read_networks(open_bundle(name))
    return networks.readout.weight.numpy(), networks.readout.bias.numpy()


def bank(seed=0):
    return np.random.default_rng(seed).normal(0, 0.3, (32, 128)).astype(np.float32)


@pytest.mark.parametrize("name", ["lite", "paper"])
def test_one_bank_for_all_is_found_out(data, name):
    kernels = bank()
    measured = probe(answering(name, lambda template: kernels), last_layer(name), load_mix(data / "val.json"), 4)
    summary = measured.summary()
    assert summary["targets"] == 4
    assert summary["cosine"] == 1
    assert np.allclose(measured.loss[:, 1:], measured.loss[:, 1:2], atol=1e-4)  # own, another target's and the mean: all the same
    assert not np.allclose(measured.loss[:, 0], measured.loss[:, 1], atol=1e-4)
    assert summary["own_better_than_swapped"][0] < 1
    assert 0 < summary["energy"][0] < summary["energy"][2] < 1


def test_no_kernels_change_nothing(data):
    silent = answering("lite", lambda _: np.zeros((32, 128), np.float32))
    measured = probe(silent, last_layer("lite"), load_mix(data / "val.json"), 3)
    assert np.allclose(measured.share, 0)
    for values in (measured.loss, measured.margin, measured.overlap):
        assert np.allclose(values, values[:, :1], atol=1e-5)


def test_kernels_of_ones_own_are_told_from_anothers(data):
    """Kernels along the target's own mean feature raise its own response; another's lie in another direction."""

    def own(template):
        cells = template[0].reshape(128, -1)
        return np.linalg.svd(cells - cells.mean(1, keepdims=True), full_matrices=False)[0].T[:32].astype(np.float32) * 2

    summary = probe(answering("lite", own), last_layer("lite"), load_mix(data / "val.json"), 5).summary()
    assert summary["cosine"] < 0.9
    assert summary["loss"]["own"] != summary["loss"]["swapped"]


def test_an_episode_is_of_one_target_and_tries_later_frames(data):
    sources = load_mix(data / "val.json")
    episodes = list(draw_episodes(sources, 100, 4, 60.0))
    assert len(episodes) == 5  # no trajectory twice
    for episode, again in zip(episodes, draw_episodes(sources, 100, 4, 60.0), strict=True):
        assert episode.contexts.shape == (7, 255, 255, 3)
        assert np.abs(episode.displacements).max() <= 60 / 8
        assert all(np.array_equal(getattr(episode, name), getattr(again, name)) for name in episode._fields)


def test_intervals_hold_their_mean_and_shrink_with_the_targets():
    rng = np.random.default_rng(0)
    values = rng.normal(1, 1, 400)
    mean, low, high = interval(values, rng)
    assert low < mean < high
    few = interval(values[:20], rng)
    assert few[2] - few[1] > high - low
    assert interval(np.ones(7), rng) == [1, 1, 1]


def test_the_command_prints_numbers_and_the_line(data, capsys):
    assert probe_command(ProbeOptions(mix=data / "val.json", targets=3)) == 0
    printed = capsys.readouterr().out
    summary = json.loads(printed[: printed.rindex("}") + 1])
    assert summary["targets"] == 3
    assert printed.strip().endswith(sentence(summary))


def test_a_model_without_meta_learner_is_refused(data):
    with pytest.raises(ValueError, match="no meta-learner"):
        probe(load_model("lite-no-meta", 1), last_layer("lite-no-meta"), load_mix(data / "val.json"), 3)
