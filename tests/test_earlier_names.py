"""Scripts that name modules by their earlier names go on: the cases that people have sent us are such."""

from __future__ import annotations

from importlib.util import find_spec

import pytest


def test_at_run_time() -> None:
    from metatrack.evaluation.results import parse_trajectories, read_trajectories
    from metatrack.evaluation.score import formats
    from metatrack.runtime import load
    from metatrack.runtime.engine import load_model

    assert load_model is load.load_model
    assert (parse_trajectories, read_trajectories) == (formats.parse_trajectories, formats.read_trajectories)


@pytest.mark.skipif(find_spec("torch") is None, reason="torch is not installed, and trains")
def test_of_trainings() -> None:
    from metatrack.bundling.export import export_bundle
    from metatrack.training import export as earlier
    from metatrack.training import mix, sampling

    assert earlier.export_bundle is export_bundle
    assert sampling.load_mix is mix.load_mix
