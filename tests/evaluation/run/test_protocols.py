"""Where OPE, TRE and SRE start a tracker: by hand-made cases, and against published runs of TRE."""

from pathlib import Path

import numpy as np
import pytest

from metatrack.data.otb import otb_targets, zero_based
from metatrack.data.rows import parse_rows
from metatrack.data.sequence import Sequence
from metatrack.evaluation.run.protocols import SRE_SHIFTS, first_box, first_frames, shifted
from metatrack.evaluation.score.formats import match_target, parse_trajectories, result_files
from metatrack.geometry import Box


def still(count, start_frame=1):
    boxes = np.tile([10.0, 20, 30, 40], (count, 1))
    return Sequence("still", tuple(Path(f"{k}.jpg") for k in range(count)), boxes, start_frame=start_frame)


def test_ope_and_sre_start_in_the_first_frame():
    assert first_frames("ope", still(50)) == [0]
    assert first_frames("sre", still(50)) == [0] * 12
    assert first_box("ope", still(50), 1, 7, (100, 100)) == (10, 20, 30, 40)
    assert first_box("sre", still(50), 2, 0, (100, 100)) == shifted(Box(10, 20, 30, 40), "right", (100, 100))


def test_tre_spreads_20_starts_and_leaves_20_frames_to_each():
    starts = first_frames("tre", still(400))
    # 381 frames have 20 to come; a step of 381 / 19 = 20.05: frames 1, 21, 41, 61 .. of which the last is 381
    assert len(starts) == 20 and starts[:4] == [0, 20, 41 - 1, 61 - 1] and starts[-1] == 380
    assert starts == sorted(starts)
    assert first_frames("tre", still(19)) == [0] and len(first_frames("tre", still(39))) == 20


def test_tre_starts_neither_where_nothing_is_known_nor_where_the_benchmark_says_not_to():
    sequence = still(400, start_frame=101)
    boxes = sequence.boxes.copy()
    boxes[10:30] = np.nan
    boxes[50:70, 0] = -3  # begins left of the frame
    sequence = Sequence("x", sequence.frame_paths, boxes, start_frame=101)
    starts = first_frames("tre", sequence, omit=[(301, 350), (390, 9999)])
    banned = {*range(10, 30), *range(50, 70), *range(200, 250), *range(289, 400)}
    assert not banned & set(starts) and len(starts) == 20


@pytest.mark.parametrize(
    ("shift", "box"),
    [
        # x = 11, y = 21 where the first pixel is 1; a tenth of 33 x 40 is 3.3 x 4
        ("left", (6, 20, 33, 40)),  # ceil(3.3) = 4
        ("right", (14, 20, 33, 40)),
        ("up", (10, 16, 33, 40)),
        ("down", (10, 24, 33, 40)),
        ("topLeft", (7, 16, 36, 44)),  # 11 - 3.3 = 7.7 -> 8, 0-based 7; the right edge stays at 43
        ("topRight", (10, 16, 36, 44)),  # right 43 + 3.3 = 46.3 -> 46: 46 - 11 + 1
        ("bottomLeft", (7, 20, 36, 44)),
        ("bottomRight", (10, 20, 36, 44)),
        ("scale_8", (13, 24, 26, 32)),  # 27.5 - 13.2 = 14.3 -> 14; 26.4 -> 26
        ("scale_9", (12, 22, 30, 36)),  # 27.5 - 14.85 = 12.65 -> 13; 29.7 -> 30
        ("scale_11", (8, 18, 36, 44)),  # 27.5 - 18.15 = 9.35 -> 9; 36.3 -> 36
        ("scale_12", (7, 16, 40, 48)),  # 27.5 - 19.8 = 7.7 -> 8; 39.6 -> 40
    ],
)
def test_sre(shift, box):
    assert shift in SRE_SHIFTS
    assert shifted(Box(10, 20, 33, 40), shift, (200, 200)) == box


def test_sre_at_the_edge_of_the_frame():
    assert shifted(Box(0, 0, 30, 40), "topLeft", (200, 200)) == (0, 0, 33, 44)  # moved back, not narrowed: the toolkit's way
    assert shifted(Box(70, 60, 30, 40), "bottomRight", (100, 100)) == (70, 60, 30, 40)
    with pytest.raises(ValueError, match="unknown shift 'sideways'"):
        shifted(Box(0, 0, 1, 1), "sideways", (9, 9))


def test_tre_starts_where_the_published_runs_of_siamfc_do(shared):
    targets = {target.name: target for target in otb_targets()}
    seen = 0
    for file, data in result_files(shared / "data" / "otb" / "results" / "SiamFC-3s__cfnet17.zip"):
        name = match_target(Path(file).stem, list(targets))
        target = targets[name]
        rows = parse_rows((shared / "data" / "otb" / "meta" / "groundtruth" / f"{name}.txt").read_text(), name)[target.skip :]
        sequence = Sequence(name, (Path(),) * len(rows), zero_based(rows), start_frame=target.frames[0])
        ours = first_frames("tre", sequence, target.omit)
        assert [run.start for run in parse_trajectories(data, file)] == [sequence.start_frame + i for i in ours], name
        seen += 1
    assert seen == 100


def test_spans_without_starts_lie_inside_their_sequences():
    for target in otb_targets():
        for first, last in target.omit:
            assert target.start <= first <= last and first <= target.end
    assert sum(bool(target.omit) for target in otb_targets()) == 27
