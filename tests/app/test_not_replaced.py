"""Commands that write folders leave alone what is not theirs, and two do not write into one."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from metatrack.app import demo, report
from metatrack.app.problem import Problem
from metatrack.claims import alone
from metatrack.evaluation.run.store import Store
from metatrack.images import read_image, write_image
from metatrack.video import open_source

torch = pytest.mark.skipif(find_spec("torch") is None, reason="torch is not installed, and trains")


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["summary.csv", "boxes", "speed.json"])
def test_an_evaluation_replaces_nothing_of_others(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir() if name == "boxes" else (tmp_path / name).write_text("years of work")
    with pytest.raises(ValueError, match=f"holds {name} and no evaluation.json"):
        Store(tmp_path, "plain", "ope")
    assert sorted(path.name for path in tmp_path.iterdir()) == [name]


def test_a_report_goes_into_a_new_folder_or_a_report_s(tmp_path: Path) -> None:
    report._require_ours(tmp_path)
    report._require_ours(tmp_path / "new")
    (tmp_path / "index.html").write_text("<html>my home page</html>")
    with pytest.raises(Problem, match="is there and no report of ours"):
        report._require_ours(tmp_path)
    (tmp_path / "index.html").write_bytes(b"<!DOCTYPE html>" + report.MARK + b'1.0">')
    report._require_ours(tmp_path)


@pytest.mark.parametrize("name", ["boxes.csv", "tracked.mp4", "filmstrip.png"])
def test_the_demo_replaces_its_own_results_alone(tmp_path: Path, name: str) -> None:
    with demo.demo_clip() as (clip, _):
        (tmp_path / name).write_bytes(clip.read_bytes())
    before = contents(tmp_path)
    with pytest.raises(Problem, match=f"{name} exists and is no (table|video|picture) that metatrack wrote"):
        demo.run(demo.DemoOptions(tmp_path))
    assert contents(tmp_path) == before


def test_a_picture_of_the_demo_is_known(tmp_path: Path) -> None:
    with demo.demo_clip() as (clip, _), open_source(clip, end=1) as source:
        frame = next(source)
    write_image(tmp_path / "a.png", frame, pnginfo=demo._mark())
    write_image(tmp_path / "b.png", frame)
    assert demo._is_ours(tmp_path / "a.png") and not demo._is_ours(tmp_path / "b.png")
    assert (read_image(tmp_path / "a.png") == frame).all()


def test_a_folder_has_one_writer(tmp_path: Path) -> None:
    with alone(tmp_path / ".lock", "out"), pytest.raises(OSError, match="out is being written by another run"):
        alone(tmp_path / ".lock", "out").__enter__()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(find_spec("cv2") is None, reason="OpenCV is not installed, and composes")
def test_a_list_of_other_sequences_stays(tmp_path: Path) -> None:
    from metatrack.data.synth.writer import _is_recipe, _Job, _write_all

    class Composer:
        materials: tuple[Path, ...] = ()

        def recipe(self) -> dict[str, str]:
            return {"subset": "all"}

    (tmp_path / "list.txt").write_text("GOT-10k_Train_000001\n")
    before = contents(tmp_path)
    with pytest.raises(ValueError, match="lists sequences that this program has not made"):
        _write_all(_Job(Composer(), tmp_path, "synth", 2, 1, 92), 1, 1)  # type: ignore[arg-type]
    assert contents(tmp_path) == before
    (tmp_path / "note.json").write_text('{"seed": 1, "length": 2, "material": "x"}')
    assert _is_recipe(tmp_path / "note.json") and not _is_recipe(tmp_path / "list.txt")


@torch
def test_weights_are_not_averaged_into_one_of_them_nor_into_something_else(tmp_path: Path) -> None:
    import torch

    from metatrack.training.weights import average_weights

    runs = [tmp_path / "a.pt", tmp_path / "b.pt"]
    for run in runs:
        torch.save({"network": {"x": torch.zeros(2)}, "config": {}}, run)
    (tmp_path / "thesis.pt").write_text("years of work")
    before = contents(tmp_path)
    with pytest.raises(ValueError, match="is one of the files that are averaged"):
        average_weights(runs, tmp_path / "a.pt")
    with pytest.raises(ValueError, match="is not a file of trained weights"):
        average_weights(runs, tmp_path / "thesis.pt")
    assert contents(tmp_path) == before


@torch
@pytest.mark.parametrize(
    "config", [{}, [], {"trunk": "lite"}, {"trunk": "no", "kernels": 8}, {"trunk": "lite", "kernels": 10**9}, {"kernels": "8"}]
)
def test_a_network_s_file_is_typed(tmp_path: Path, config: object) -> None:
    import torch

    from metatrack.training.weights import load_matching

    torch.save({"network": {"x": torch.zeros(2)}, "config": config}, tmp_path / "a.pt")
    with pytest.raises(ValueError, match=r"a\.pt is not a matching network of this program"):
        load_matching(tmp_path / "a.pt")


@torch
def test_a_training_replaces_no_weights_that_it_did_not_make(tmp_path: Path) -> None:
    from metatrack.training.run import Run, RunConfig

    (tmp_path / "best.pt").write_text("weeks of work")
    config = RunConfig(out=tmp_path, iterations=1, batch=1, scale_weight=0.0)
    with pytest.raises(ValueError, match=r"holds best\.pt and no checkpoint to go on from"):
        Run(config)
    assert [path.name for path in tmp_path.iterdir()] == ["best.pt"]
