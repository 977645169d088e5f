"""What the processor can do, and how much of it this process may use: asked here alone, for every engine."""

from __future__ import annotations

import math
import os
import platform
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

Engine = Literal["onnxruntime", "cuda", "openvino", "torch"]
Precision = Literal["auto", "float32", "int8", "bfloat16", "float16"]
PRECISIONS: dict[str, tuple[str, ...]] = {
    "onnxruntime": ("float32", "int8"),
    "cuda": ("float32", "int8"),
    "openvino": ("float32", "int8", "bfloat16"),
    "torch": ("float32", "float16", "bfloat16"),
}
"""What each engine can compute trunk and box head with."""
FEATURES = (
    *("avx2", "fma", "avx_vnni", "avx_ne_convert", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16"),
    *("amx_tile", "amx_int8", "amx_bf16"),
    *("asimd", "asimddp", "i8mm", "bf16", "sve"),
)
"""Instruction sets that decide how fast networks run, by Linux's names."""
APPLE = {"FEAT_DotProd": "asimddp", "FEAT_I8MM": "i8mm", "FEAT_BF16": "bf16", "AdvSIMD": "asimd"}
INTEL_MAC = {"AVX2": "avx2", "FMA": "fma", "AVX512F": "avx512f", "AVX512VNNI": "avx512_vnni"}
WINDOWS = {40: "avx2", 41: "avx512f", 43: "asimddp"}
"""Numbers of ``IsProcessorFeaturePresent``, which tells of no more; what follows is numpy's."""
NUMPY = {"AVX512_CLX": "avx512_vnni", "AVX512_ICL": "avx512_vnni", "AVX512_SPR": "avx512_vnni", "ASIMDDP": "asimddp"}
"""Groups of instructions that numpy looks for when it is imported (``numpy.show_config``), and what each of them contains."""
PRODUCTS = ("avx512_vnni", "avx_vnni", "asimddp", "i8mm", "amx_int8")
"""Instructions that sum products of 8-bit integers in 32 bits."""
BFLOAT16 = ("avx512_bf16", "amx_bf16", "bf16")  # instructions that multiply bfloat16
OPENVINO_BFLOAT16 = ("avx512f", "avx_ne_convert")
"""Of these OpenVINO needs one on x86 to compute in bfloat16, be it slowly; without, it fails when a graph is compiled."""
ONEDNN_LIMITS = {
    "SSE41": (),
    "AVX": (),
    "AVX2": ("avx2", "fma"),
    "AVX2_VNNI": ("avx2", "fma", "avx_vnni"),
    "AVX512_CORE": ("avx2", "fma", "avx512f"),
    "AVX512_CORE_VNNI": ("avx2", "fma", "avx512f", "avx512_vnni"),
    "AVX512_CORE_BF16": ("avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16"),
}
"""What is left of an x86 processor to OpenVINO and torch, by ``ONEDNN_MAX_CPU_ISA``."""


class Choice(NamedTuple):
    """A precision, and why."""

    precision: str
    reason: str
    exact_products: bool = False
    """Whether onnxruntime is told to multiply 8-bit integers by the code that cannot overflow: see :func:`choose`."""


def choose(
    engine: Engine,
    asked: Precision,
    int8: bool,
    float_layers: bool = True,
    gpu: bool = False,
    features: frozenset[str] | None = None,
) -> Choice:
    """Decides the precision of trunk and box head.

    Without instructions that sum 8-bit products in 32 bits, onnxruntime and OpenVINO sum pairs of them in 16 on x86, where
    255 x 127 x 2 does not fit: the features of ``lite`` then leave those of float32 (docs/performance.md has numbers).
    onnxruntime takes a slower code that cannot overflow when told so.

    Args:
        engine: what runs the networks.
        asked: 'auto' takes what is fastest by measurement (docs/performance.md) among what is right.
        int8: whether the model has a trunk or a box head in 8 bits.
        float_layers: whether some layers of it stay in float32; with OpenVINO, 8 bits are faster than bfloat16 where none does.
        gpu: for torch, whether it runs on one.
        features: instruction sets of :data:`FEATURES`; None asks the processor, within ``ONEDNN_MAX_CPU_ISA`` for OpenVINO.

    Raises:
        ValueError: the engine does not have that precision, or not on this processor.
    """
    if features is None:
        features = instructions(os.environ.get("ONEDNN_MAX_CPU_ISA", "") if engine == "openvino" else "")
    if asked != "auto":
        return _as_asked(engine, asked, features)
    if engine in ("cuda", "torch"):
        half = gpu and engine == "torch"
        return Choice("float16", "fastest on a GPU") if half else Choice("float32", f"what {engine} is best at here")
    if engine == "openvino" and not features.isdisjoint(BFLOAT16) and (float_layers or not int8):
        return Choice("bfloat16", f"the processor multiplies bfloat16 ({_named(features, BFLOAT16)})")
    if not int8:
        return Choice("float32", "the model has nothing in 8 bits")
    if not features.isdisjoint(PRODUCTS):
        return Choice("int8", f"the processor sums products of 8-bit integers ({_named(features, PRODUCTS)})")
    if engine == "onnxruntime" and "avx2" in features:
        return Choice("float32", "8-bit products overflow or lose their speed without VNNI; precision 'int8' takes exact ones")
    return Choice("float32", "no instruction is known here that sums 8-bit products in 32 bits, such as VNNI")


def _as_asked(engine: Engine, asked: str, features: frozenset[str]) -> Choice:
    known = PRECISIONS[engine]
    if asked not in known:
        having = ", ".join(each for each, theirs in PRECISIONS.items() if asked in theirs)
        raise ValueError(f"engine {engine!r} has no precision {asked!r}: use {', '.join(known)} or auto, or engine {having}")
    x86 = "avx2" in features
    if engine == "openvino" and asked == "bfloat16" and x86 and features.isdisjoint(OPENVINO_BFLOAT16):
        raise ValueError(
            "OpenVINO has no bfloat16 on this processor, which has neither AVX-512 nor AVX-NE-CONVERT: use float32 or auto"
        )
    if asked == "int8" and features.isdisjoint(PRODUCTS):
        if engine == "onnxruntime":
            return Choice(asked, "as asked, with exact products: the processor has no VNNI", exact_products=True)
        if engine == "openvino" and x86:
            return Choice(asked, "as asked, though 8-bit products overflow on this processor, which has no VNNI")
    return Choice(asked, "as asked")


def _named(features: frozenset[str], kind: tuple[str, ...]) -> str:
    return ", ".join(name for name in kind if name in features)


def instructions(onednn_limit: str = "") -> frozenset[str]:
    """The processor's instruction sets, those of :data:`FEATURES`; empty where the system does not tell.

    Args:
        onednn_limit: a value of ``ONEDNN_MAX_CPU_ISA``, beyond which nothing counts.
    """
    found = _instructions()
    allowed = ONEDNN_LIMITS.get(onednn_limit.upper())
    return found if allowed is None else found & set(allowed)


def multiplies_bfloat16() -> bool:
    """Whether the processor has instructions for products of bfloat16, and oneDNN may use them."""
    return not instructions(os.environ.get("ONEDNN_MAX_CPU_ISA", "")).isdisjoint(BFLOAT16)


@lru_cache(maxsize=1)
def _instructions() -> frozenset[str]:
    if sys.platform == "darwin":
        return _of_mac(_output("sysctl", "-a"))
    if sys.platform == "win32":
        return _of_windows()
    return _of_linux(_read("/proc/cpuinfo"))


def _of_linux(cpuinfo: str) -> frozenset[str]:
    r"""By the first processor's flags.

    >>> sorted(_of_linux("processor : 0\nflags : fpu avx2 fma\nprocessor : 1\nflags : avx512f"))
    ['avx2', 'fma']
    """
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return frozenset(FEATURES) & frozenset(value.split())
    return frozenset()


def _of_mac(settings: str) -> frozenset[str]:
    r"""By sysctl's ``hw.optional`` and ``machdep.cpu``.

    >>> sorted(_of_mac("hw.optional.arm.FEAT_DotProd: 1\nhw.optional.arm.FEAT_BF16: 0\nhw.optional.AdvSIMD: 1"))
    ['asimd', 'asimddp']
    >>> sorted(_of_mac("machdep.cpu.features: FMA SSE4.2\nmachdep.cpu.leaf7_features: AVX2 BMI1"))
    ['avx2', 'fma']
    """
    found = set()
    for line in settings.splitlines():
        name, _, value = line.partition(": ")
        if name.startswith("hw.optional.") and value.strip() == "1":
            found.add(APPLE.get(name.rpartition(".")[2], ""))
        elif name in ("machdep.cpu.features", "machdep.cpu.leaf7_features"):
            found |= {INTEL_MAC.get(each, "") for each in value.split()}
    return frozenset(found - {""})


def _of_windows() -> frozenset[str]:
    import ctypes

    kernel = getattr(ctypes, "windll").kernel32  # noqa: B009  # typeshed knows it on Windows alone
    found = frozenset(name for number, name in WINDOWS.items() if kernel.IsProcessorFeaturePresent(number))
    return found | _of_numpy(np.show_config(mode="dicts"))


def _of_numpy(config: Any) -> frozenset[str]:
    """By what numpy found.

    >>> _of_numpy({"SIMD Extensions": {"baseline": ["SSE"], "found": ["AVX512_CLX"]}})
    frozenset({'avx512_vnni'})
    """
    extensions = config.get("SIMD Extensions", {})
    named = [*extensions.get("baseline", ()), *extensions.get("found", ())]
    return frozenset(NUMPY[name] for name in named if name in NUMPY)


def processor() -> str:
    """Name of the processor, as far as the system tells."""
    named = [line.partition(":")[2].strip() for line in _read("/proc/cpuinfo").splitlines() if line.startswith("model name")]
    if sys.platform == "darwin":
        named = [_output("sysctl", "-n", "machdep.cpu.brand_string").strip()]
    return (named[0] if named else "") or platform.processor() or platform.machine()


def usable_cores() -> int:
    """Cores that this process may use: by its affinity, and at most the quota of its control groups; at least 1.

    A container with two processors on a large machine sees all of them, and may use two.
    """
    if hasattr(os, "process_cpu_count"):  # Python 3.13
        allowed = os.process_cpu_count() or 1
    elif hasattr(os, "sched_getaffinity"):
        allowed = len(os.sched_getaffinity(0))
    else:
        allowed = os.cpu_count() or 1
    return max(1, math.ceil(min(allowed, cgroup_quota())))


def cgroup_quota(root: Path = Path("/sys/fs/cgroup"), groups: str | None = None) -> float:
    """Processors that the control groups of this process grant, version 1 or 2; infinite without a limit.

    Args:
        root: where the control groups are mounted.
        groups: content of ``/proc/self/cgroup``; None reads it.
    """
    least = math.inf
    for line in (_read("/proc/self/cgroup") if groups is None else groups).splitlines():
        _, controllers, path = (line.split(":", 2) + ["", ""])[:3]
        if controllers and "cpu" not in controllers.split(","):
            continue
        folder = root / (controllers if controllers else ".")
        if controllers and not folder.is_dir():
            folder = root / "cpu"
        # Within a container, the path may be the host's, and what is mounted is the group itself.
        own = folder / path.lstrip("/")
        for group in {folder, own, *(parent for parent in own.parents if folder in parent.parents)}:
            least = min(least, _quota(group))
    return least


def _quota(group: Path) -> float:
    """Of one control group: ``cpu.max`` in version 2, ``cpu.cfs_quota_us`` and ``cpu.cfs_period_us`` in version 1."""
    quota, _, period = _read(group / "cpu.max").strip().partition(" ")
    if not quota:
        quota, period = _read(group / "cpu.cfs_quota_us").strip(), _read(group / "cpu.cfs_period_us").strip()
    try:
        return int(quota) / int(period) if int(quota) > 0 and int(period) > 0 else math.inf
    except ValueError:  # "max", or no such files
        return math.inf


def _read(path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _output(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=False).stdout  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return ""


MOST_THREADS = 256  # more are a slip, and would take memory and time of the whole machine


def check_engine(engine: str, precision: str, threads: int = 0) -> None:
    """Raises a ``ValueError`` for an engine or a precision that is unknown, and for what is no number of threads."""
    if isinstance(threads, bool) or not isinstance(threads, int) or not 0 <= threads <= MOST_THREADS:
        raise ValueError(f"threads {threads!r} must be a whole number from 0 (one for each usable core) to {MOST_THREADS}")
    for what, given, known in (("precision", precision, get_args(Precision)), ("engine", engine, get_args(Engine))):
        if given not in known:
            raise ValueError(f"unknown {what} {given!r}; there are {', '.join(known)}")
