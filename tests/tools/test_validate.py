"""The validation: what its measures count, and scenes whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from tools.validate.make import write
from tools.validate.material import Natural
from tools.validate.run import RunOptions, line, main, measured, of_clips, summary
from tools.validate.scenes import HEIGHT, KINDS, LENGTH, WIDTH, Scene, filmed, to_and_fro

from metatrack.data.got10k import read_got10k
from metatrack.runtime.bundle import BundleError
from tests.conftest import Scene as MadeScene


def natural(name: str, color: int) -> Natural:
    masks = np.zeros((3, HEIGHT, WIDTH), bool)
    masks[:, 50:90, 60:100] = True
    frames = np.full((3, HEIGHT, WIDTH, 3), 40, np.uint8)
    frames[masks] = color
    return Natural(name, frames, masks)


def test_a_short_clip_is_played_to_and_fro():
    scene = filmed(natural("a", 200))
    assert len(scene.frames) == LENGTH and [to_and_fro(3, i) for i in range(5)] == [0, 1, 2, 1, 0]
    assert scene.boxes[7].tolist() == [60, 50, 40, 40]


@pytest.mark.parametrize("kind", KINDS)
def test_a_pasted_target_is_where_its_box_says(kind):
    scene = KINDS[kind](natural("a", 200), [natural("b", 40)], np.random.default_rng(3))
    seen = [i for i in range(LENGTH) if scene.visible[i] > 0.97]
    assert len(seen) > 20
    for i in seen[::10]:
        x, y, w, h = scene.boxes[i]
        assert scene.frames[i][int(y + h / 2), int(x + w / 2)].min() > 180
    if kind == "leaves":
        assert (scene.visible == 0).sum() >= 30


def test_a_clip_counts_once_however_often_it_is_followed():
    """Two clips from two first boxes: the mean AUC of each, and all frames of both runs."""
    runs = {"AUC": np.array([[0.2, 1], [0.4, 1], [0.5, 1], [0.7, 1]]), "elsewhere": np.array([[1, 9], [2, 9], [0, 8], [0, 8]])}
    clips = of_clips(runs, 2)
    assert clips["AUC"][:, 0].tolist() == pytest.approx([0.3, 0.6])
    assert clips["elsewhere"].tolist() == [[3, 18], [0, 16]]


def test_a_model_that_is_not_there_ends_the_run(tmp_path):
    with pytest.raises(BundleError, match="no model"):
        main(RunOptions(root=tmp_path, model=str(tmp_path / "missing")))


def test_measures_tell_misses_wrong_sizes_and_flags_apart(tmp_path):
    frames = [np.zeros((100, 100, 3), np.uint8)] * 6
    visible = np.array([1, 1, 1, 1, 0, 0.5])
    write(Scene("leaves-a", frames, np.array([[20.0, 20, 20, 20]] * 6), visible), tmp_path / "choose" / "leaves-a")
    (video,) = read_got10k(tmp_path, "choose")
    found = np.array(
        [
            [20, 20, 20, 20, 0.9, 0],
            [10, 10, 40, 40, 0.9, 0],
            [70, 70, 20, 20, 0.1, 1],
            [0, 0, 9, 9, 0, 1],
            [20, 20, 20, 20, 0.9, 1],
        ]
    )
    result = measured(found.astype(float), video)
    assert result["right"].tolist() == [True, False, False, False, True]
    assert result["missed"].tolist() == [False, False, True, True, False]
    assert result["wrong size"].tolist() == [False, True, False, False, False]
    shares = summary([result])
    assert shares["missed and flagged"].tolist() == [[2, 2]] and shares["right and flagged"].tolist() == [[1, 2]]
    one, half = "1.000 [1.000, 1.000]", "0.500 [0.500, 0.500]"  # missed: flagged, unsure; right and flagged
    assert f"| {one} | {one} | {half} |" in line("all", shares, None)


def test_models_on_simulated_clips_are_compared_with_the_first(tmp_path, capsys):
    pytest.importorskip("torch", reason="simulated clips need the train extra")
    from tools.validate import simulated

    scene = MadeScene(seed=4, length=8)
    boxes = np.array([scene.box(i) for i in range(8)], float)
    write(Scene("filmed-a", [scene.frame(i) for i in range(8)], boxes, np.ones(8)), tmp_path / "val" / "filmed-a")
    (tmp_path / "mix.json").write_text('[{"name": "a", "root": ".", "split": "val", "weight": 1}]')
    simulated.main(simulated.SimulatedOptions(tmp_path / "mix.json", ("lite", "mobile", "lite"), clips=2))
    first, second, again = capsys.readouterr().out.splitlines()
    assert 0.5 < float(first.removeprefix("lite: ")) <= 1
    assert second.startswith("mobile: 0.")
    assert again == f"{first}, +0.0000 [+0.0000, +0.0000]"
