"""The loop of both trainings: a resumed run is the uninterrupted one, bit for bit; a stop loses nothing."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="training needs the train extra")

from metatrack.app import train as app  # noqa: E402
from metatrack.claims import claim  # noqa: E402
from metatrack.training import matching  # noqa: E402
from metatrack.training.matching import MatchingConfig, MatchingTraining, train_matching  # noqa: E402
from metatrack.training.meta import MetaConfig, train_meta  # noqa: E402
from metatrack.training.precision import choose_precision  # noqa: E402
from metatrack.training.run import Meter, Run, learning_rate  # noqa: E402


def test_learning_rate():
    assert learning_rate(0, 100, 1000) == pytest.approx(0.01)
    assert learning_rate(99, 100, 1000) == 1
    assert learning_rate(1000, 100, 1000) == pytest.approx(0.02)


def test_a_row_holds_means():
    meter = Meter("pairs", 8)
    meter.add({"logistic": 1.0, "box": 0.5})
    meter.add({"logistic": 2.0, "box": 0.0})
    row = meter.read()
    assert row.pop("pairs_per_second") > 0
    assert row == {"logistic": 1.5, "box": 0.25}


def test_what_a_training_begins_with_is_recorded_at_its_start(data, tmp_path, monkeypatch):
    config = MatchingConfig(
        mix=data / "train.json", val_mix=data / "val.json", trunk="paper", init=Path("paper"), out=tmp_path, val_clips=1
    )
    training = MatchingTraining(config, choose_precision("float32"))
    monkeypatch.setattr(matching, "provenance", None)  # it is not asked again, when the model may be another
    origin = training.weights()["began with"]
    assert (origin["model"], origin["settings"]["trunk"]) == ("paper", "paper")


def after(batches):
    """A wish to stop that comes after some batches."""
    count = itertools.count(1)
    return lambda: next(count) >= batches


def read(folder, name="checkpoint.pt"):
    return torch.load(folder / name, weights_only=True)


def state_of(folder):
    return {k: v for k, v in read(folder).items() if k != "config"}


def equal(a, b):
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(equal, a, b))
    return a == b


def matching_config(data, out, **settings):
    common = dict(trunk="paper", iterations=4, batch=2, validate_every=2, val_clips=1, workers=0)
    return MatchingConfig(mix=data / "train.json", val_mix=data / "val.json", out=out, **{**common, **settings})


@pytest.fixture(scope="module")
def runs(data, tmp_path_factory):
    """One run of four batches, and the same in two parts."""
    root = tmp_path_factory.mktemp("runs")
    whole, parts = (matching_config(data, root / name) for name in ("whole", "parts"))
    assert train_matching(whole).finished
    outcome = train_matching(parts, after(3))  # between two validations
    assert (outcome.step, outcome.finished) == (3, False)
    assert read(parts.out)["step"] == 3
    assert train_matching(parts).finished
    return whole, parts


def test_matching_resumes_bit_for_bit(runs):
    whole, parts = runs
    a, b = state_of(whole.out), state_of(parts.out)
    assert a["step"] == 4
    assert equal(a, b)
    for name in ("best.pt", "last.pt"):
        assert equal(read(whole.out, name)["network"], read(parts.out, name)["network"])


def test_a_run_that_ends_within_its_schedule_leaves_its_weights_and_can_go_on(data, runs, tmp_path):
    whole, _ = runs
    early = matching_config(data, tmp_path, until=3)
    outcome = train_matching(early)
    assert (outcome.step, outcome.finished) == (3, True)
    assert read(tmp_path, "last.pt")["step"] == 3
    assert train_matching(matching_config(data, tmp_path)).step == 4
    a, b = ({**state_of(folder), "best": None} for folder in (whole.out, tmp_path))  # batch 3 was validated, too
    assert equal(a, b)
    assert equal(read(whole.out, "last.pt")["network"], read(tmp_path, "last.pt")["network"])


def test_a_run_that_is_finished_is_left_as_it_is(runs):
    whole, _ = runs
    before = (whole.out / "log.jsonl").read_text()
    assert train_matching(whole).finished
    assert (whole.out / "log.jsonl").read_text() == before


def test_other_settings_do_not_resume_and_are_named(runs):
    whole, _ = runs
    other = MatchingConfig(**{**whole.__dict__, "lr": 0.5})
    with pytest.raises(ValueError, match=r"checkpoint\.pt was trained with other settings \(lr 0\.001, not 0\.5\)"):
        train_matching(other)


def test_a_damaged_checkpoint_is_named_with_the_remedy(data, tmp_path):
    (tmp_path / "checkpoint.pt").write_bytes(b"half a file")
    with pytest.raises(ValueError, match=r"checkpoint\.pt is damaged, .*; delete it to start anew"):
        Run(matching_config(data, tmp_path))


def test_where_a_run_is_and_how_it_is_watched_may_change(runs, tmp_path):
    whole, _ = runs
    (whole.out / "checkpoint.pt").rename(tmp_path / "checkpoint.pt")
    Run(MatchingConfig(**{**whole.__dict__, "out": tmp_path, "workers": 7, "threads": 1}))
    (tmp_path / "checkpoint.pt").rename(whole.out / "checkpoint.pt")


@pytest.mark.parametrize("bf16", [True, False])
def test_a_checkpoint_of_before_the_option_resumes_in_its_precision(runs, tmp_path, bf16, capsys):
    """Checkpoints of the first models say ``bf16``, and know nothing of the settings that came later."""
    whole, _ = runs
    old = read(whole.out)
    del old["config"]["precision"]
    old["config"]["bf16"] = bf16
    torch.save(old, tmp_path / "checkpoint.pt")
    config = MatchingConfig(**{**whole.__dict__, "out": tmp_path, "precision": "auto"})
    if bf16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        with pytest.raises(ValueError, match="precision bfloat16, not float32"):
            Run(config)
    else:
        assert Run(config).config.precision == ("bfloat16" if bf16 else "float32")
        assert "the interrupted run began with it" in capsys.readouterr().out


def test_ctrl_c_ends_after_the_batch_in_hand_and_the_command_goes_on(data, runs, tmp_path, monkeypatch, capsys):
    whole, _ = runs
    config = matching_config(data, tmp_path)
    stepped = MatchingTraining.stepped

    def interrupted(self, step):
        stepped(self, step)
        if step == 0:
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(MatchingTraining, "stepped", interrupted)
        assert app.matching(config) == 128 + signal.SIGINT
    assert "stopped after batch 1 of 4; the same command goes on" in capsys.readouterr().out
    assert app.matching(config) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("precision ")
    assert said[-1] == f"best weights on validation: {tmp_path / 'best.pt'}"
    assert equal(state_of(whole.out), state_of(tmp_path))


@pytest.mark.skipif(os.name != "posix", reason="groups of processes are POSIX's")
def test_sigterm_to_the_whole_group_ends_after_the_batch_in_hand(data, tmp_path):
    """``timeout``, a service manager or a scheduler's end: the processes that make the samples get the signal too."""
    mixes = ["--mix", str(data / "train.json"), "--val-mix", str(data / "val.json")]
    size = "--trunk paper --iterations 100000 --batch 2 --validate-every 100000 --val-clips 1 --workers 2 --threads 1".split()
    command = [sys.executable, "-m", "metatrack", "train", "matching", *mixes, *size, "--out", str(tmp_path)]
    piped: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, start_new_session=True, **piped) as process:
        try:
            while not (tmp_path / "log.jsonl").exists() and process.poll() is None:  # the first row, of 25 batches
                time.sleep(0.1)
            os.killpg(process.pid, signal.SIGTERM)
            said, _ = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 128 + signal.SIGTERM, said
    assert "the same command goes on from there" in said
    assert read(tmp_path)["step"] >= 25


def test_training_learns(data, tmp_path):
    """Forty batches on four scenes must lower the loss; a loop that does not step cannot pass."""
    quick = dict(trunk="lite", freeze_trunk=True, iterations=40, batch=3, warmup=2, validate_every=40)
    config = matching_config(data, tmp_path, **quick)
    train_matching(config)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [25, 40]
    assert rows[-1]["logistic"] < 0.9 * rows[0]["logistic"]
    assert 0 <= rows[-1]["overlap"] <= 1


def test_meta_resumes_bit_for_bit(data, runs, tmp_path):
    whole, _ = runs
    few = dict(clips=2, contexts=4, patches=4, support=2)
    common = dict(iterations=4, batch=2, val_clips=1, validate_every=2, workers=0, **few)
    config = MetaConfig(matching=whole.out / "best.pt", mix=data / "val.json", out=tmp_path / "whole", **common)  # type: ignore[arg-type]
    parts = MetaConfig(**{**config.__dict__, "out": tmp_path / "parts"})
    assert train_meta(config).finished
    with pytest.raises(KeyboardInterrupt):  # while the clips are embedded, nothing is there to keep
        train_meta(parts, after(1))
    assert train_meta(parts, after(4)).step == 3  # one of the questions comes from the embedding
    train_meta(parts)
    assert equal(state_of(config.out), state_of(parts.out))
    assert read(config.out, "best.pt").keys() == {"learner", "baseline", "config", "step", "overlap", "commit"}


def test_two_trainings_do_not_write_into_one_folder(data, tmp_path):
    with claim(tmp_path / ".lock") as ours:
        assert ours
        with pytest.raises(BlockingIOError, match="is being written by another run"):
            Run(matching_config(data, tmp_path))
    Run(matching_config(data, tmp_path))  # as soon as it has ended
