"""A first box that is not known ends in a sentence, before anything is run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from metatrack import cli
from metatrack.data.sequence import Sequence
from metatrack.evaluation.run.evaluate import check_starts
from metatrack.images import write_image


def sequence(*rows: float) -> Sequence:
    boxes = np.array([(row, row, 9, 9) for row in rows])
    return Sequence("walk", tuple(Path(f"{i}.jpg") for i in range(len(rows))), boxes)


def test_in_each_protocol() -> None:
    unknown = sequence(np.nan, *range(1, 60))
    for protocol in ("ope", "sre"):
        with pytest.raises(ValueError, match="no tracker can start on walk: the box of the first frame is not known"):
            check_starts(protocol, [sequence(1, 2), unknown])
    check_starts("tre", [unknown])  # which starts where boxes are known
    check_starts("ope", [sequence(1, np.nan)])


def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for i in range(3):
        write_image(tmp_path / "walk" / f"{i}.png", np.full((48, 64, 3), 40 * i, np.uint8))
    (tmp_path / "walk" / "groundtruth.txt").write_text("nan,nan,nan,nan\n1,2,9,9\n1,2,9,9\n")
    words = ["evaluate", "--dataset", "plain", "--root", str(tmp_path / "walk"), "--trackers", "kcf", "--out"]
    assert cli.main([*words, str(tmp_path / "out")]) == 2
    assert "line 1 of the ground truth is NaN" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
