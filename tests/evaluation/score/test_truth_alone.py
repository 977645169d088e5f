"""Ground truth without images is enough to score boxes; a tracker that lacks sequences is said so, loudly."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from metatrack import cli
from metatrack.data.datasets import read_dataset
from metatrack.data.otb import otb_targets

TARGETS = {target.name: target for target in otb_targets()}


def rows(count: int) -> str:
    return "".join(f"{10 + k},20,30,40\n" for k in range(count))


@pytest.mark.parametrize("flat", [True, False])
def test_otb(tmp_path: Path, flat: bool, capsys: pytest.CaptureFixture[str]) -> None:
    names = ("Deer", "Human4-2", "Jogging-1", "Jogging-2", "Skating2-1", "Skating2-2")
    for name in names:
        target = TARGETS[name]
        file = tmp_path / "truth" / (f"{name}.txt" if flat else f"{target.folder}/{target.truth}")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(rows(target.rows))
    results = tmp_path / "Mine"
    results.mkdir()
    named = {"Deer": "Deer", "Human4": "Human4-2", "Jogging": "Jogging-1", "Jogging(2)": "Jogging-2"}
    for result, name in named.items():
        (results / f"{result}.txt").write_text(rows(TARGETS[name].rows))
    (results / "Skating2.txt").write_text(rows(TARGETS["Skating2-1"].rows))
    words = ["import-results", "--dataset", "otb", "--root", str(tmp_path / "truth"), "--results", str(results)]
    assert cli.main([*words, "--out", str(tmp_path / "out")]) == 0
    err = capsys.readouterr().err
    assert "INCOMPLETE: Mine has no result on 1 of 6 sequences (Skating2-2): its means are over 5 alone" in err
    (results / "Skating2(2).txt").write_text(rows(TARGETS["Skating2-2"].rows))
    assert cli.main([*words, "--out", str(tmp_path / "whole")]) == 0
    assert "INCOMPLETE" not in capsys.readouterr().err
    scores = json.loads((tmp_path / "whole" / "summary.json").read_text())["trackers"]["Mine"]
    assert scores["missing"] == [] and scores["scores"]["ao"]["mean"] == pytest.approx(1)


def test_frames_are_needed_where_they_are_read(tmp_path: Path) -> None:
    (tmp_path / "Deer").mkdir()
    (tmp_path / "Deer" / "groundtruth_rect.txt").write_text(rows(TARGETS["Deer"].rows))
    with pytest.raises(FileNotFoundError, match="holds no numbered frames"):
        read_dataset("otb", tmp_path)
    (deer,) = read_dataset("otb", tmp_path, images=False)
    assert len(deer) == TARGETS["Deer"].rows
    with pytest.raises(OSError, match="frame 0 of sequence Deer: .* there is no such file"):
        deer.frame(0)
    (tmp_path / "Deer" / "img").mkdir()
    (tmp_path / "Deer" / "img" / "0001.jpg").touch()  # a copy that is damaged, and not one without images
    with pytest.raises(FileNotFoundError, match="lacks 70 frames: 2-71"):
        read_dataset("otb", tmp_path, images=False)


def test_other_layouts(tmp_path: Path) -> None:
    (tmp_path / "got" / "a").mkdir(parents=True)
    (tmp_path / "got" / "a" / "groundtruth.txt").write_text(rows(4))
    (got,) = read_dataset("got10k", tmp_path / "got", images=False)
    lasot = tmp_path / "lasot" / "airplane-1"
    lasot.mkdir(parents=True)
    (lasot / "groundtruth.txt").write_text(rows(4))
    for name in ("full_occlusion.txt", "out_of_view.txt"):
        (lasot / name).write_text("0,0,0,0")
    (one,) = read_dataset("lasot", tmp_path / "lasot", images=False)
    assert [len(got), len(one)] == [4, 4] and np.isfinite(got.boxes).all()
