"""The benchmark: its command with tiny settings makes a whole page; its counts are exact. No time is asserted."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import numpy as np
import pytest

from tests.conftest import REPOSITORY

onnx = pytest.importorskip("onnx")

from benchmarks.clip import read_clip  # noqa: E402
from benchmarks.graphs import count  # noqa: E402
from benchmarks.machine import Activity  # noqa: E402
from benchmarks.options import PARTS, Options  # noqa: E402
from benchmarks.page import Section, Table, markdown  # noqa: E402
from benchmarks.size import closure, direct  # noqa: E402

from metatrack.app.problem import Problem  # noqa: E402


def test_the_command_makes_a_page(tmp_path):
    given = ["--out", str(tmp_path), "--only", "fps,stages,size,memory,gpu", "--models", "lite", "--frames", "2", "--rounds", "1"]
    path = os.pathsep.join([str(REPOSITORY / "src"), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / "benchmarks/run.py"), *given, "--memory-frames", "10", "--threads", "1"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert done.returncode == 0, done.stderr
    (page,) = tmp_path.glob("*.md")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d-\d{4}-\w+\.md", page.name)
    text = page.read_text()
    titles = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert titles == [
        *("Machine", "Frames per second, end to end", "Milliseconds per stage", "Installed size", "Constant memory", "GPU")
    ]
    assert "Traceback" not in done.stderr
    assert "--only fps,stages,size,memory,gpu" in text
    for name in ("lite", "lite, no adaptation", "csrt", "mil", "mosse", "kcf, OpenCV's"):
        assert re.search(rf"^\| {re.escape(name)} \| [\d.,]+ \|", text, re.MULTILINE), name
    assert re.search(r"^\| nano \|.*not run: .*--nano \|$", text, re.MULTILINE)
    assert re.search(r"^\| vit \|.*not run: .*--vit \|$", text, re.MULTILINE)
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({line.count(" | ") for line in table.splitlines()}) == 1, table  # as many cells in every row
    picture = re.search(r"!\[.*\]\((.*\.png)\)", text)
    assert (picture and (tmp_path / picture[1]).read_bytes()[:4] == b"\x89PNG") or "No plot: matplotlib" in text


def test_a_part_that_fails_says_so_and_stops_nothing(monkeypatch, tmp_path, capsys):
    from benchmarks import command, size

    def fail(options):
        raise RuntimeError("no disk")

    monkeypatch.setattr(size, "measure", fail)
    page = command.run(Options(out=tmp_path, only="size"), [])
    assert "Not measured: RuntimeError: no disk" in page.read_text()


@pytest.mark.parametrize("bad", [{"only": "fsp"}, {"frames": 1}, {"rounds": 0}, {"targets": "1,x"}, {"targets": "0"}])
def test_bad_options_are_refused(bad):
    with pytest.raises(Problem):
        Options(**bad).check()


def test_every_part_has_a_module():
    for part in PARTS:
        assert (REPOSITORY / "benchmarks" / f"{part}.py").is_file()


def graph(tmp_path, nodes, inputs, constants, output):
    made = onnx.helper.make_graph(
        nodes,
        "g",
        [onnx.helper.make_tensor_value_info(name, kind, None) for name, kind in inputs.items()],
        [onnx.helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    path = tmp_path / "g.onnx"
    onnx.save(onnx.helper.make_model(made, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9), path)
    return path


def test_operations_of_a_convolution_and_a_product(tmp_path):
    node = onnx.helper.make_node
    nodes = [
        node("Conv", ["x", "w"], ["a"], group=2),  # (1, 4, 6, 6) by (8, 2, 3, 3) -> (1, 8, 4, 4)
        node("Relu", ["a"], ["b"]),
        node("MatMul", ["b", "m"], ["y"]),  # by (4, 5) -> (1, 8, 4, 5)
    ]
    constants = {"w": np.ones((8, 2, 3, 3), np.float32), "m": np.ones((4, 5), np.float32)}
    file = graph(tmp_path, nodes, {"x": onnx.TensorProto.FLOAT}, constants, "y")
    work = count(file, {"x": np.ones((1, 4, 6, 6), np.float32)})
    # 128 values of 2 x 3 x 3 products, 160 values of 4; two operations each
    assert work.float_ops == 2 * (128 * 18 + 160 * 4)
    assert work.int8_ops == 0
    # float32: input 144, weights 144, output 128; then 128, 20, 160
    assert work.bytes == 4 * (144 + 144 + 128 + 128 + 20 + 160)


def test_a_node_between_dequantized_operands_counts_as_int8(tmp_path):
    node = onnx.helper.make_node
    nodes = [
        node("DequantizeLinear", ["q", "s"], ["x"]),
        node("DequantizeLinear", ["wq", "s"], ["w"]),
        node("MatMul", ["x", "w"], ["y"]),
    ]
    constants = {"wq": np.ones((3, 4), np.int8), "s": np.array(1, np.float32)}
    file = graph(tmp_path, nodes, {"q": onnx.TensorProto.INT8}, constants, "y")
    work = count(file, {"q": np.ones((2, 3), np.int8)})
    assert (work.float_ops, work.int8_ops, work.bytes) == (0, 2 * 8 * 3, 6 + 12 + 8)


def test_dependencies_are_found_without_an_installed_package():
    assert {"numpy", "onnxruntime"} <= set(direct())
    assert "numpy" in closure(["opencv-contrib-python-headless", "numpy"])
    assert closure(["no-such-package-anywhere"]) == {}


def test_the_clip_runs_forwards_and_backwards():
    clip = read_clip(3)
    assert [clip.frame(i) is clip.frames[n] for i, n in enumerate((0, 1, 2, 1, 0, 1))] == [True] * 6


def test_a_page_escapes_bars():
    lines = list(markdown(Section("T", ["words", Table(("a", "b"), [("x|y", "1")])])))
    assert lines == ["## T", "", "words", "", "| a | b |", "| --- | ---: |", r"| x\|y | 1 |", ""]


def test_activity_without_a_past():
    now = Activity.read()
    assert now.stolen_until(now) == 0
