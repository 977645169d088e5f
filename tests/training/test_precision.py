"""Which precision is taken: each kind of processor is forced by oneDNN's and ATen's own limits, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

torch = pytest.importorskip("torch", reason="training needs the train extra")

from metatrack.model.processor import onednn_takes  # noqa: E402
from metatrack.runtime.processor import multiplies_bfloat16  # noqa: E402
from metatrack.training import precision  # noqa: E402
from metatrack.training.precision import PrecisionName, choose_precision  # noqa: E402

AVX2 = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
AVX512 = {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"}  # takes bfloat16, and works it out in float32


def python(*arguments, limits):
    environment = {**os.environ, **limits, "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, *map(str, arguments)], capture_output=True, text=True, env=environment, check=False)


@pytest.mark.parametrize("limits", [AVX2, AVX512], ids=["AVX2", "AVX-512 without bfloat16"])
def test_a_processor_without_bfloat16_trains_in_float32(limits):
    done = python("-c", "from metatrack.training.precision import *; print(choose_precision('auto'))", limits=limits)
    assert done.stdout == "float32: the processor has no instructions for bfloat16\n", done.stderr


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("limits", [{}, AVX2], ids=["this processor", "AVX2"])
def test_the_frozen_layers_run_in_half_precision_on_every_processor(limits, dtype):
    """oneDNN's fused operators raise where the processor lacks a dtype; the layers must not ask them then."""
    code = f"""
import torch
from metatrack.model.features import LiteTrunk
torch.manual_seed(0)
trunk, images = LiteTrunk().eval(), torch.rand(1, 3, 127, 127) * 255
with torch.no_grad():
    exact = trunk.embed(images)
    with torch.autocast("cpu", torch.{dtype}):
        under_autocast = trunk.embed(images).float()
    cast = trunk.to(torch.{dtype}).embed(images.to(torch.{dtype})).float()
for found in (under_autocast, cast):
    print(torch.nn.functional.cosine_similarity(exact.flatten(), found.flatten(), dim=0) > 0.99)
"""
    done = python("-c", code, limits=limits)
    assert done.stdout == "tensor(True)\ntensor(True)\n", done.stderr


def test_both_trainings_run_on_a_processor_with_avx2_alone(data, tmp_path):
    matching = ["--boxes", "--mix", data / "train.json", "--val-mix", data / "val.json", "--out", tmp_path / "matching"]
    meta = ["--matching", tmp_path / "matching" / "best.pt", "--mix", data / "val.json", "--out", tmp_path / "meta"]
    few = ["--iterations", 1, "--batch", 2, "--val-clips", 1, "--workers", 0]
    for command in (["matching", *matching, *few], ["meta", *meta, *few, "--clips", 2, "--contexts", 6]):
        done = python("-m", "metatrack", "train", *command, limits=AVX2)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("precision float32: the processor has no instructions for bfloat16\n")
        done = python("-m", "metatrack", "train", *command, "--precision", "bfloat16", limits=AVX2)
        assert done.returncode == 2
        assert done.stderr == (
            "error: the processor cannot train in bfloat16; use --precision float32, or auto, which takes what it can\n"
        )


def test_auto_takes_what_this_processor_multiplies():
    chosen = choose_precision("auto")
    assert chosen.name == ("bfloat16" if multiplies_bfloat16() else "float32")
    assert onednn_takes(torch.bfloat16) or not multiplies_bfloat16()
    assert not onednn_takes(torch.float64)


@pytest.mark.parametrize(
    ("can", "fast", "asked", "began", "name", "why"),
    [
        (True, True, "auto", None, "bfloat16", "the processor has instructions for it"),
        (True, False, "auto", None, "float32", "the processor has no instructions for bfloat16"),
        (True, True, "auto", "float32", "float32", "the interrupted run began with it"),
        (True, False, "auto", "bfloat16", "bfloat16", "the interrupted run began with it"),
        (False, False, "auto", "bfloat16", "float32", "the processor has no instructions for bfloat16"),
        (True, False, "bfloat16", "float32", "bfloat16", "as asked, though the processor has no instructions for it"),
        (True, True, "float32", "bfloat16", "float32", "as asked"),
    ],
)
def test_decisions(monkeypatch, can, fast, asked, began, name, why):
    monkeypatch.setattr(precision, "onednn_takes", lambda dtype: can)
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda: fast)
    chosen = choose_precision(asked, began)
    assert (chosen.name, chosen.why) == (name, why)


def test_autocast_rounds_or_leaves_alone():
    a = torch.randn(4, 4)
    names: tuple[PrecisionName, ...] = ("float32", "bfloat16")
    for name, dtype in zip(names, (torch.float32, torch.bfloat16), strict=True):
        if name == "bfloat16" and not onednn_takes(torch.bfloat16):
            continue
        with choose_precision(name).autocast():
            assert (a @ a).dtype == dtype
