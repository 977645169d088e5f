"""What metatrack track writes beside the table: real video, real files."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from metatrack.app.products import FollowingVideos, HidingVideo, TrainingData
from metatrack.cli import main
from metatrack.convert.formats import read_tracks
from metatrack.data.got10k import read_got10k
from metatrack.geometry import Box
from metatrack.tracking.tracker import Result
from metatrack.video import open_source, read_boxes
from metatrack.video.effects import CELLS, hide
from tests.app.test_cli import DEMO, MODEL, run

FACE = "185,120,69,87"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run that writes everything: two targets, one of them from frame 4 on, a correction, another format."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "more.csv").write_text("id,frame,x,y,w,h\nrabbit,4,300,200,60,60\n")
    done = run(
        *("track", str(DEMO), "--box", FACE, "--boxes-from", "more.csv", "--correct", "6:1:190,118,69,87", "--end", "12"),
        *("--boxes", "boxes.xml", "--format", "cvat", "--crop-video", "crop.mp4", "--blur", "blur.mp4", "--dataset", "data"),
        *("--set", "judging.lost_after=2", "--model", MODEL),
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    (folder / "said.txt").write_text(done.stderr)
    return folder


def test_boxes_in_another_format(made: Path) -> None:
    tracks = {track.target: track for track in read_tracks(made / "boxes.xml").targets}
    assert [mark.frame for mark in tracks[1].marks] == list(range(12))
    first, late = tracks[1], tracks[2]  # a name is a number there
    assert [mark.frame for mark in late.visible] == list(range(4, 12))
    assert [mark.frame for mark in first.marks if mark.keyframe] == [0, 6]
    assert first.marks[6].box == pytest.approx((190, 118, 69, 87), abs=1e-3)
    assert not (made / "boxes.xml.part.csv").exists()
    assert "cvat cannot hold names of targets (rabbit)" in (made / "said.txt").read_text()


def test_clips_follow(made: Path) -> None:
    for name, frames in (("crop-1.mp4", 12), ("crop-2.mp4", 8)):
        with open_source(made / name) as clip:
            assert clip.size[0] == clip.size[1] >= 120
            assert sum(1 for _ in clip) == frames


def test_what_is_hidden_cannot_be_seen(made: Path) -> None:
    with open_source(DEMO, end=1) as before, open_source(made / "blur.mp4", end=1) as after:
        old, new = next(before).astype(int), next(after).astype(int)
    inner, far = (slice(130, 200), slice(190, 250)), (slice(0, 60), slice(400, 600))
    detail = [np.abs(np.diff(picture[inner], axis=1)).mean() for picture in (old, new)]
    assert detail[1] < detail[0] / 2
    assert np.abs(old[far] - new[far]).mean() < 4  # what H.264 costs
    assert "look at blur.mp4 before you publish it" in (made / "said.txt").read_text()


def test_data_for_training_is_read(made: Path) -> None:
    sequences = {sequence.name: sequence for sequence in read_got10k(made / "data")}
    assert sorted(sequences) == ["demo-1", "demo-2"]
    assert [len(sequences[name].boxes) for name in ("demo-1", "demo-2")] == [12, 8]
    assert sequences["demo-1"].boxes[0] == pytest.approx((185, 120, 69, 87))
    assert sequences["demo-2"].boxes[0] == pytest.approx((300, 200, 60, 60))
    with open_source(DEMO, start=4, end=5) as source:
        there = sequences["demo-2"].frame(0)
        assert np.abs(there.astype(int) - next(source)).mean() < 3


def test_a_target_that_is_not_to_be_seen_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "given.csv").write_text(
        "frame,x,y,w,h,keyframe,outside\n0,185,120,69,87,1,0\n3,185,120,69,87,1,1\n6,185,120,69,87,1,0\n"
    )
    done = run("track", str(DEMO), "--boxes-from", "given.csv", "--end", "8", "--boxes", "b.csv", "--model", MODEL, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [row.frame for row in read_boxes(tmp_path / "b.csv")] == [0, 1, 2, 6, 7]
    assert "2 boxes of 1 target in frames 0, 3, 6 (given.csv)" in done.stderr


def test_names_stay_in_the_table(tmp_path: Path) -> None:
    (tmp_path / "given.csv").write_text("id,frame,x,y,w,h\nrabbit,2,185,120,69,87\n")
    assert (
        run(
            "track", str(DEMO), "--boxes-from", "given.csv", "--end", "5", "--boxes", "b.csv", "--model", MODEL, cwd=tmp_path
        ).returncode
        == 0
    )
    assert [(row.frame, row.target) for row in read_boxes(tmp_path / "b.csv")] == [(n, "rabbit") for n in (2, 3, 4)]


def frames(count: int, size: tuple[int, int] = (96, 128)) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*size, 3), np.uint8) for _ in range(count)]


def test_hidden_regions_hold_few_colours() -> None:
    picture = frames(1)[0]
    hidden = hide(picture, [Box(20.5, 10.2, 40, 30)])
    part = hidden[10:41, 20:61]
    assert np.array_equal(hidden[:10], picture[:10])
    assert np.abs(np.diff(part.astype(int), axis=1)).max() < 30  # noise of 0..255 is gone
    assert CELLS < 12
    assert np.array_equal(hide(picture, [Box(-50, -50, 20, 20)]), picture)


def test_a_lost_target_is_hidden_at_its_last_place_which_grows(tmp_path: Path, monkeypatch) -> None:
    sure, lost = Result(Box(40, 40, 20, 20), 0.9, False), Result(Box(90, 10, 20, 20), 0.05, True)
    shown = []
    with HidingVideo(tmp_path / "a.mp4", 25.0) as product:
        monkeypatch.setattr(product._video, "write", lambda frame, time=None: shown.append(frame))  # before H.264 touches it
        pictures = frames(5)
        for picture, result in zip(pictures, [sure, lost, lost, lost, None]):
            product.write(picture, {} if result is None else {1: result}, None)
    changed = [(new != old).any(axis=2) for new, old in zip(shown, pictures)]
    for before, after in pairwise(changed[:4]):
        assert after[40:60, 40:60].mean() > 0.9
        assert after[:, :80].sum() >= before[:, :80].sum()
    assert changed[3][:, :80].sum() > 1.5 * changed[0][:, :80].sum()
    assert changed[1][10:30, 90:110].mean() > 0.9  # the guess too
    assert not changed[4].any()
    assert product.open_frames == 1


def test_the_view_stands_still_while_the_target_is_lost(tmp_path: Path, monkeypatch) -> None:
    shown = []
    with FollowingVideos({1: tmp_path / "a.mp4"}, 25.0) as product:
        monkeypatch.setattr(product._videos[1], "write", lambda frame, time=None: shown.append(frame))
        still = frames(1)[0]
        for result in [Result(Box(40, 40, 20, 20), 0.9, False)] + [Result(Box(5, 5, 20, 20), 0.0, True)] * 3:
            product.write(still, {1: result}, None)
    assert all(np.array_equal(each, shown[0]) for each in shown)
    assert shown[0].shape == (128, 128, 3)


def test_data_of_an_interrupted_run_is_whole(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), TrainingData(tmp_path / "data", {1: "clip"}) as product:
        for picture in frames(3):
            product.write(picture, {1: Result(Box(1, 2, 30, 40), 0.9, False)}, None)
        raise KeyboardInterrupt
    assert [len(sequence.boxes) for sequence in read_got10k(tmp_path / "data")] == [3]


def test_absence_is_labelled(tmp_path: Path) -> None:
    with TrainingData(tmp_path / "data", {1: "clip"}) as product:
        for lost, picture in zip((False, True, None), frames(3)):
            product.write(picture, {} if lost is None else {1: Result(Box(1, 2, 30, 40), 0.9, lost)}, None)
    sequence = read_got10k(tmp_path / "data")[0]
    assert sequence.absent.tolist() == [False, True, True]
    assert np.isfinite(sequence.boxes).all(axis=1).tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--boxes", "-", "--format", "mot"), "--boxes - writes a table to standard output; it is csv, not mot"),
        (("--format", "coco"), "--format coco needs a file: --boxes boxes.json"),
        (("--boxes", "a.txt", "--format", "mto"), "no format 'mto'; did you mean 'mot'?"),
        (("--boxes", "mine.json", "--format", "coco"), "mine.json exists; name another file, or delete it"),
        (("--blur", "a.mp4", "--crop-video", "a.mp4"), "a.mp4 cannot be two videos; name two files"),
        (("--blur", "a.avi"), "a.avi does not end in one of .mp4"),
        (("--dataset", "full"), "--dataset full is not an empty folder; name a new one"),
        (("--set", "adaptation.intervl=3"), "unknown tracker setting 'adaptation.intervl'; did you mean 'adaptation.interval'?"),
        (("--boxes-from", "none.csv"), "none.csv does not exist; pass a file of boxes"),
    ],
)
def test_refused_before_anything_is_written(words: tuple[str, ...], message: str, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.json").write_text("{}")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").touch()
    assert main(["track", str(DEMO), "--box", FACE, *words]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"error: {message}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full", "mine.json"]
