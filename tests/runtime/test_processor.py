"""What a processor is told to be able to, what follows of it for each engine, and how many cores a process may use."""

from __future__ import annotations

import math
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from metatrack import shipped_models
from metatrack.app import models
from metatrack.runtime import processor
from metatrack.runtime.bundle import BundleError, open_bundle
from metatrack.runtime.load import build_model, choice_for, load_model
from metatrack.runtime.processor import FEATURES, ONEDNN_LIMITS, PRECISIONS, Choice, cgroup_quota, choose, usable_cores

CPUINFO = {
    "AMD EPYC 7713, Zen 3": ("flags\t\t: fpu sse4_2 fma cx16 f16c avx avx2 bmi2 sha_ni vaes", "avx2 fma"),
    "Intel Xeon with AMX": (
        "flags\t\t: avx fma avx2 avx512f avx512bw avx_vnni avx512_bf16 avx512_vnni avx512_fp16 amx_bf16 amx_tile amx_int8",
        "avx2 fma avx512f avx_vnni avx512_bf16 avx512_vnni avx512_fp16 amx_bf16 amx_tile amx_int8",
    ),
    "Intel Core with AVX-VNNI": ("flags\t\t: fma avx2 avx_vnni", "avx2 fma avx_vnni"),
    "Arm Neoverse": ("Features\t: fp asimd crc32 asimddp sve i8mm bf16", "asimd asimddp sve i8mm bf16"),
    "Raspberry Pi 4": ("Features\t: fp asimd evtstrm crc32 cpuid", "asimd"),
    "RISC-V": ("isa\t\t: rv64imafdc", ""),
}
MACS = {
    "Apple M1": ("hw.optional.AdvSIMD: 1\nhw.optional.arm.FEAT_DotProd: 1\nhw.optional.arm.FEAT_BF16: 0", "asimd asimddp"),
    "Apple M3": (
        "hw.optional.arm.FEAT_DotProd: 1\nhw.optional.arm.FEAT_BF16: 1\nhw.optional.arm.FEAT_I8MM: 1",
        "asimddp bf16 i8mm",
    ),
    "Intel Mac": (
        "machdep.cpu.features: SSE FMA AVX1.0\nmachdep.cpu.leaf7_features: AVX2 AVX512F AVX512VNNI",
        "avx2 fma avx512f avx512_vnni",
    ),
}
AVX2, VNNI = frozenset({"avx2", "fma"}), frozenset({"avx2", "fma", "avx512f", "avx512_vnni"})
AMX, CLIENT = VNNI | {"avx512_bf16", "amx_bf16", "amx_int8"}, AVX2 | {"avx_vnni"}
AVX512, ARM, OLD_ARM = AVX2 | {"avx512f"}, frozenset({"asimd", "asimddp"}), frozenset({"asimd"})


@pytest.fixture
def system(monkeypatch):
    """Another system: its platform, and what its files and commands say."""

    def become(name, text):
        monkeypatch.setattr(sys, "platform", name)
        monkeypatch.setattr(processor, "_read", lambda path: text)
        monkeypatch.setattr(processor, "_output", lambda *command: text)
        processor._instructions.cache_clear()

    yield become
    monkeypatch.undo()
    processor._instructions.cache_clear()


@pytest.mark.parametrize("name", CPUINFO)
def test_linux_tells_by_cpuinfo(name, system):
    flags, expected = CPUINFO[name]
    core = f"processor\t: {{}}\nmodel name\t: {name}\n{flags}\nbugs\t\t: spectre_v1\n"
    system("linux", core.format(0) + "\n" + core.format(1))
    assert processor.instructions() == set(expected.split())
    assert processor.processor() == name


@pytest.mark.parametrize("name", MACS)
def test_a_mac_tells_by_sysctl(name, system):
    text, expected = MACS[name]
    system("darwin", text)
    assert processor.instructions() == set(expected.split())
    system("darwin", name)
    assert processor.processor() == name


def test_a_system_that_tells_nothing(system):
    system("linux", "")
    assert processor.instructions() == frozenset()
    assert choose("onnxruntime", "auto", True).precision == "float32"
    assert processor.processor()  # its kind, at least


def test_windows_tells_by_its_own_and_by_numpy(monkeypatch):
    """As far as that can be seen elsewhere: numpy's words are those of the numpy that is installed here."""
    import ctypes
    from types import SimpleNamespace

    kernel = SimpleNamespace(IsProcessorFeaturePresent=lambda number: number == 40)
    monkeypatch.setattr(ctypes, "windll", SimpleNamespace(kernel32=kernel), raising=False)
    assert processor._of_windows() - {"avx512_vnni", "asimddp"} == {"avx2"}
    if sys.platform == "linux" and "avx512_vnni" in processor.instructions() and "avx512f" in processor.instructions():
        assert "avx512_vnni" in processor._of_windows()


@pytest.mark.parametrize("limit", ONEDNN_LIMITS)
def test_a_limit_takes_away_and_adds_nothing(limit):
    assert set(ONEDNN_LIMITS[limit]) <= set(FEATURES)
    assert processor.instructions(limit.lower()) == processor.instructions() & set(ONEDNN_LIMITS[limit])
    assert processor.instructions("ALL") == processor.instructions()


AUTO = {
    ("onnxruntime", "int8"): (AMX, VNNI, CLIENT, ARM),
    ("onnxruntime", "float32"): (AVX512, AVX2, OLD_ARM, frozenset()),
    ("openvino", "bfloat16"): (AMX,),
    ("openvino", "int8"): (VNNI,),
    ("openvino", "float32"): (AVX2,),
    ("cuda", "float32"): (AMX,),
    ("torch", "float32"): (AMX,),
}
"""What engines take of a model with a trunk in 8 bits whose first layers stay in float32, on processors without a GPU."""


@pytest.mark.parametrize(("engine", "expected", "features"), [(*key, each) for key, them in AUTO.items() for each in them])
def test_what_auto_takes(engine, expected, features):
    choice = choose(engine, "auto", True, features=features)
    assert choice.precision == expected and len(choice.reason) > 10 and not choice.exact_products
    named = [name for name in features if name in choice.reason]
    assert bool(named) == (expected in ("int8", "bfloat16"))  # the instructions that decided
    if engine == "onnxruntime" and features in (AVX512, AVX2):
        assert "precision 'int8' takes exact ones" in choice.reason


def test_what_auto_takes_of_other_models():
    assert choose("onnxruntime", "auto", False, features=AMX).precision == "float32"
    assert choose("openvino", "auto", True, float_layers=False, features=AMX).precision == "int8"  # such as paper
    assert choose("openvino", "auto", False, float_layers=False, features=AMX).precision == "bfloat16"
    assert choose("openvino", "auto", False, features=AVX2).precision == "float32"
    assert choose("torch", "auto", True, gpu=True, features=AVX2).precision == "float16"


@pytest.mark.parametrize("engine", PRECISIONS)
@pytest.mark.parametrize("features", [AMX, VNNI, ARM, frozenset()], ids=["AMX", "VNNI", "ARM", "unknown"])
def test_what_is_asked_for_is_taken(engine, features):
    for precision in PRECISIONS[engine]:
        choice = choose(engine, precision, True, features=features)  # type: ignore[arg-type]
        assert choice.precision == precision and choice.reason.startswith("as asked")
        assert choice.exact_products == (engine == "onnxruntime" and precision == "int8" and not features)


@pytest.mark.parametrize("features", [AVX2, AVX512], ids=["AVX2", "AVX512"])
def test_8_bits_without_vnni_are_exact_or_said_to_overflow(features):
    exact = "as asked, with exact products: the processor has no VNNI"
    assert choose("onnxruntime", "int8", True, features=features) == Choice("int8", exact, True)
    assert choose("openvino", "int8", True, features=features)[1:] == (
        "as asked, though 8-bit products overflow on this processor, which has no VNNI",
        False,
    )


def test_a_precision_that_an_engine_has_not():
    with pytest.raises(ValueError, match="'onnxruntime' has no precision 'float16': use float32, int8 or auto, or engine torch"):
        choose("onnxruntime", "float16", True)
    with pytest.raises(ValueError, match="neither AVX-512 nor AVX-NE-CONVERT: use float32 or auto"):
        choose("openvino", "bfloat16", True, features=AVX2)
    assert choose("openvino", "bfloat16", True, features=AVX2 | {"avx_ne_convert"}).precision == "bfloat16"
    with pytest.raises(BundleError, match="'lite-no-meta' has nothing in 8 bits"):
        choice_for(open_bundle("lite-no-meta"), "int8")


def test_exact_products_answer_as_the_fast_ones(monkeypatch):
    """The way of AVX2, forced: on a processor with VNNI both are exact, so they must be equal to the bit."""
    import numpy as np

    crops = np.random.default_rng(0).integers(0, 256, (1, 127, 127, 3), dtype=np.uint8)
    usual = build_model(open_bundle("lite"), 1, "int8").template(crops)
    monkeypatch.setattr(processor, "_instructions", lambda: AVX2)
    model = build_model(open_bundle("lite"), 1, "int8")
    assert model.precision == "int8" and "exact products" in model.reason
    assert build_model(open_bundle("lite"), 1).precision == "float32"
    monkeypatch.undo()
    if not processor.instructions().isdisjoint(processor.PRODUCTS):
        np.testing.assert_array_equal(model.template(crops), usual)
    floats = build_model(open_bundle("lite"), 1, "float32").template(crops)
    assert (model.template(crops) * floats).sum() / np.linalg.norm(model.template(crops)) / np.linalg.norm(floats) > 0.99


CODE = """
from metatrack.runtime.bundle import open_bundle
from metatrack.runtime.load import build_model
model = build_model(open_bundle("lite"), 1, "{precision}", "{engine}")
import numpy as np
model.template(np.zeros((1, 127, 127, 3), np.uint8))
print(model.precision, model.reason, sep=": ")
"""


def python(code, **environment):
    given = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=given, check=False)


@pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="ONEDNN_MAX_CPU_ISA limits x86 alone")
@pytest.mark.parametrize(
    ("limit", "precision", "says"),
    [
        ("AVX2", "auto", "float32: no instruction is known here"),
        ("AVX2", "int8", "int8: as asked, though 8-bit products overflow"),
        ("AVX2", "bfloat16", "neither AVX-512 nor AVX-NE-CONVERT"),
        ("AVX512_CORE_BF16", "bfloat16", "bfloat16: as asked"),
    ],
)
def test_openvino_within_a_limit(limit, precision, says):
    pytest.importorskip("openvino", reason="an option: the openvino extra")
    if precision == "bfloat16" and limit != "AVX2" and "avx512f" not in processor.instructions():
        pytest.skip("OpenVINO has bfloat16 with AVX-512 alone")
    done = python(CODE.format(precision=precision, engine="openvino"), ONEDNN_MAX_CPU_ISA=limit)
    assert says in done.stdout + done.stderr, done.stderr


def test_the_command_names_precision_and_reason(capsys):
    assert models.run(models.ModelsOptions()) == 0
    printed = capsys.readouterr().out
    for name in shipped_models():
        precision, reason, _ = choice_for(open_bundle(name))
        assert f"{name} runs here in {precision}: {reason}\n" in printed


# --- how many cores ------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system has no affinity")
def test_cores_by_affinity():
    code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); os.cpu_count = lambda: 64;"
    done = python(code + "from metatrack.runtime.processor import usable_cores; print(usable_cores())")
    assert done.stdout == "1\n", done.stderr


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="the system does not list threads")
def test_a_model_begins_no_more_threads_than_the_process_may_use():
    """As in a container with one processor on a machine that has 64."""
    code = """
import os
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
os.cpu_count = lambda: 64
import numpy as np
from metatrack import Tracker
frame = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
before = len(os.listdir("/proc/self/task"))
tracker = Tracker("lite", adapt=False)
tracker.init(frame, (60, 40, 30, 30))
tracker.update(frame)
print(len(os.listdir("/proc/self/task")) - before)
"""
    done = python(code)
    assert int(done.stdout) < 8, done.stderr  # onnxruntime has one or two of its own; three graphs would begin 63 each


def test_cores_without_a_limit_and_with_one(monkeypatch):
    monkeypatch.setattr(processor, "cgroup_quota", lambda: math.inf)
    free = usable_cores()
    assert 1 <= free <= (os.cpu_count() or 1)
    for quota, cores in ((0.2, 1), (1.0, 1), (1.5, min(2, free)), (1000.0, free)):
        monkeypatch.setattr(processor, "cgroup_quota", lambda quota=quota: quota)
        assert usable_cores() == cores


def group(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("cpu_", "cpu.", 1)).write_text(text)


def test_quota_of_version_2(tmp_path):
    assert cgroup_quota(tmp_path, "0::/\n") == math.inf
    group(tmp_path / "kubepods", cpu_max="400000 100000\n")
    group(tmp_path / "kubepods" / "pod1", cpu_max="max 100000\n")
    assert cgroup_quota(tmp_path, "0::/kubepods/pod1\n") == 4  # a parent's limit counts
    group(tmp_path / "kubepods" / "pod1", cpu_max="150000 100000\n")
    assert cgroup_quota(tmp_path, "0::/kubepods/pod1\n") == 1.5
    assert cgroup_quota(tmp_path, "0::/kubepods/pod2\n") == 4
    group(tmp_path, cpu_max="50000 100000\n")  # in a container, what is mounted is its own group
    assert cgroup_quota(tmp_path, "0::/a/path/of/the/host\n") == 0.5


def test_quota_of_version_1(tmp_path):
    lines = "5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n1:name=systemd:/docker/abc\n"
    group(tmp_path / "memory" / "docker" / "abc", cpu_cfs_quota_us="100\n", cpu_cfs_period_us="100000\n")
    assert cgroup_quota(tmp_path, lines) == math.inf
    group(tmp_path / "cpu,cpuacct", cpu_cfs_quota_us="-1\n", cpu_cfs_period_us="100000\n")
    assert cgroup_quota(tmp_path, lines) == math.inf
    group(tmp_path / "cpu,cpuacct" / "docker" / "abc", cpu_cfs_quota_us="250000\n", cpu_cfs_period_us="100000\n")
    assert cgroup_quota(tmp_path, lines) == 2.5


def test_version_1_where_the_folder_is_called_cpu(tmp_path):
    group(tmp_path / "cpu", cpu_cfs_quota_us="200000\n", cpu_cfs_period_us="100000\n")
    assert cgroup_quota(tmp_path, "4:cpu,cpuacct:/docker/abc\n") == 2


@pytest.mark.parametrize("text", ["", "max\n", "0 100000\n", "100000 0\n", "many few\n"])
def test_a_quota_that_is_none(tmp_path, text):
    group(tmp_path, cpu_max=text)
    assert cgroup_quota(tmp_path, "0::/\n") == math.inf
    assert cgroup_quota(tmp_path, "nonsense\n\n") == math.inf


@pytest.mark.parametrize("threads", [-1, 10_000, 1.5, "2", True])
def test_numbers_of_threads_that_make_no_sense(threads):
    with pytest.raises(ValueError, match="threads .* must be a whole number from 0"):
        load_model("lite", threads)
