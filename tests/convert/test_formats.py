"""What is written is read back, in every format; what a format cannot hold is told."""

from __future__ import annotations

import re
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings

from metatrack.convert.formats import FORMATS, SCORED, lacking, read_tracks
from metatrack.convert.tracks import Mark, Track, Tracks, Video
from metatrack.geometry import Box
from tests.conftest import REPOSITORY
from tests.convert.tracks import SIZE, held, scored, seen, some_tracks


def fresh(folder: Path, name: str, tracks: Tracks) -> Path:
    """Where nothing is yet, with the usual suffix; OTB has files for single targets and folders for several."""
    single = len(tracks.targets) == 1 and tracks.targets[0].target == 1
    suffix = "" if FORMATS[name].folder or (name == "otb" and not single) else FORMATS[name].suffixes[0]
    return folder / f"{uuid4().hex}{suffix}"


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tracks=some_tracks())
def test_what_is_written_is_read_back(name: str, tracks: Tracks, tmp_path: Path) -> None:
    if name == "arrow":
        pytest.importorskip("pyarrow")
    path = fresh(tmp_path, name, tracks)
    FORMATS[name].write(path, tracks)
    back = read_tracks(path)  # found out by the file alone
    expected, found = held(scored(tracks) if name in SCORED else tracks, name), seen(back)
    assert found.keys() == expected.keys()
    for target, marks in expected.items():
        assert found[target].keys() == marks.keys()
        for frame, mark in marks.items():
            got = found[target][frame]
            assert got.box == pytest.approx(mark.box, abs=2e-3)
            assert got.score == (None if mark.score is None else pytest.approx(mark.score, abs=1e-4))
            assert got[3:] == mark[3:]
    if "labels" in FORMATS[name].holds:
        numbers = tracks.numbers() if "names" not in FORMATS[name].holds else {t.target: t.target for t in tracks.targets}
        labels = {numbers[track.target]: track.label for track in tracks.targets}
        assert all(track.label == labels[track.target] for track in back.targets)


@pytest.mark.parametrize("name", ["jsonl", "coco", "cvat", "fiftyone"])
def test_outside_is_kept(name: str, tmp_path: Path) -> None:
    mark = Mark(3, Box(1, 2, 3, 4), outside=True, keyframe=True)
    tracks = Tracks((Track(1, (Mark(2, Box(1, 2, 3, 4), keyframe=True), mark)),), Video((64, 48), 25.0, 9))
    path = tmp_path / f"a{FORMATS[name].suffixes[0]}"
    FORMATS[name].write(path, tracks)
    assert [(m.frame, m.outside, m.keyframe) for m in read_tracks(path).targets[0].marks] == [(2, False, True), (3, True, True)]


@pytest.mark.parametrize("name", ["coco", "cvat", "labelstudio", "yolo", "fiftyone"])
def test_size_and_count_are_kept(name: str, tmp_path: Path) -> None:
    tracks = Tracks((Track(1, (Mark(2, Box(1, 2, 3, 4)),)),), Video((64, 48), 30.0, 9))
    path = fresh(tmp_path, name, tracks)
    FORMATS[name].write(path, tracks)
    video = read_tracks(path).video
    assert (video.size, video.frames) == ((64, 48), 9)
    assert video.fps == (None if name == "cvat" else 30.0)


@pytest.mark.parametrize("name", FORMATS)
def test_what_cannot_be_held_is_told(name: str) -> None:
    mark = Mark(0, Box(1, 2, 3, 4), 0.5, lost=True, outside=True, occluded=True, keyframe=True)
    told = " ".join(lacking(Tracks((Track("dog", (mark,), "animal"),)), name))
    words = {"names": "dog", "labels": "animal", "score": "scores", **{f: f"flag {f}" for f in ("lost", "occluded", "keyframe")}}
    for what, word in words.items():
        assert (word in told) == (what not in FORMATS[name].holds)


def test_a_table_made_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "hand.csv"
    path.write_text("id,frame,x,y,w,h,label,keyframe\nrabbit,7,1,2,3,4,animal,1\nrabbit,3,1,2,3,5,animal,0\n")
    track = read_tracks(path).targets[0]
    assert (track.target, track.label) == ("rabbit", "animal")
    assert track.marks == (Mark(3, Box(1, 2, 3, 5)), Mark(7, Box(1, 2, 3, 4), keyframe=True))


def test_the_table_of_a_killed_run(tmp_path: Path) -> None:
    path = tmp_path / "killed.csv"
    path.write_text("frame,x,y,w,h,score,lost\n0,1.000,2.000,3.000,4.000,1.0000,0\n1,1.000,2.")
    assert [mark.frame for mark in read_tracks(path).targets[0].marks] == [0]


def test_ground_truth_of_mot(tmp_path: Path) -> None:
    (tmp_path / "gt").mkdir()
    (tmp_path / "seqinfo.ini").write_text(
        "[Sequence]\nname=MOT16-02\nframeRate=30\nseqLength=600\nimWidth=1920\nimHeight=1080\nimExt=.jpg\n"
    )
    (tmp_path / "gt" / "gt.txt").write_text("1,5,11,21,30,40,1,3,0.25\n2,5,11,21,30,40,1,3,1\n")
    tracks = read_tracks(tmp_path / "gt" / "gt.txt")
    assert tracks.video == Video((1920, 1080), 30.0, 600)
    assert tracks.targets == (Track(5, (Mark(0, Box(10, 20, 30, 40), occluded=True), Mark(1, Box(10, 20, 30, 40))), "car"),)


def test_key_frames_of_cvat_are_filled_in_between(tmp_path: Path) -> None:
    path = tmp_path / "task.xml"
    box = '<box frame="{}" keyframe="1" outside="{}" occluded="0" xtl="{}" ytl="0" xbr="{}" ybr="10" z_order="0"/>'
    boxes = box.format(0, 0, 0, 10) + box.format(2, 0, 20, 30) + box.format(4, 1, 20, 30)
    path.write_text(
        "<annotations><version>1.1</version><meta><task><size>8</size></task></meta>"
        f'<track id="4" label="car" source="manual">{boxes}</track></annotations>'
    )
    track = read_tracks(path).targets[0]
    assert [(m.frame, m.box.x, m.keyframe, m.outside) for m in track.marks] == [
        (0, 0, True, False), (1, 10, False, False), (2, 20, True, False), (3, 20, False, False), (4, 20, True, True)
    ]  # fmt: skip


def test_a_track_of_cvat_stays_to_the_end(tmp_path: Path) -> None:
    path = tmp_path / "task.xml"
    path.write_text(
        "<annotations><meta><task><size>4</size></task></meta><track id='0' label='car'>"
        "<box frame='1' keyframe='1' outside='0' occluded='1' xtl='1' ytl='2' xbr='4' ybr='6'/></track></annotations>"
    )
    assert [(m.frame, m.occluded) for m in read_tracks(path).targets[0].marks] == [(1, True), (2, True), (3, True)]


MANY_TRACKS = "<track id='1' label='a'><box frame='0' xtl='0' ytl='0' xbr='1' ybr='1'/></track>" * 3
HOSTILE = {
    "tracks.xml": (f"<annotations><meta><size>900000</size></meta>{MANY_TRACKS}</annotations>", "stand for 2,700,000 boxes"),
    "frames.xml": (
        "<annotations><meta><size>999999999</size></meta></annotations>",
        "999999999 frames at None a second are no video",
    ),
    "bomb.xml": ('<!DOCTYPE a [<!ENTITY b "ha"><!ENTITY c "&b;&b;">]><annotations>&c;</annotations>', "line 1: a document type"),
    "images.xml": ("<annotations><image id='0'/></annotations>", "CVAT for images"),
    "other.xml": ("<svg/>", "begins with <svg>"),
    "cut.xml": ("<annotations>\n<track id='0' label='a'>", "line 2: not XML"),
    "nan.xml": (
        "<annotations><track><box frame='0' xtl='nan' ytl='0' xbr='1' ybr='1'/></track></annotations>",
        "line 1: xtl: 'nan'",
    ),
    "far.xml": (
        "<annotations><track><box frame='0' xtl='0' ytl='0' xbr='1' ybr='1'/>"
        "<box frame='999999999' xtl='0' ytl='0' xbr='1' ybr='1'/></track></annotations>",
        "its key frames stand for",
    ),
    "twice.csv": ("frame,x,y,w,h\n0,1,2,3,4\n0,1,2,3,4\n", "two boxes in frame 0"),
    "words.csv": ("frame,x,y,w,h\n0,1,2,three,4\n", "line 2: w: 'three' is not a number"),
    "short.csv": ("frame,x,y,w,h\n0,1,2\n", "line 2: w: 'None' is not a number"),
    "lacks.csv": ("frame,x,y\n0,1,2\n", "lacks the columns h, w"),
    "negative.csv": ("frame,x,y,w,h\n0,1,2,-3,4\n", "no box x,y,w,h"),
    "score.jsonl": ('{"frame": 0, "x": 1, "y": 2, "w": 3, "h": 4, "score": 7}\n', "the score 7.0 is not between 0 and 1"),
    "broken.jsonl": ('{"frame": 0, "x": 1, "y": 2, "w": 3, "h": 4}\n{"frame":', "line 2"),
    "zero.txt": ("0,1,1,1,5,5,1,-1,-1,-1\n", "box 1: frame"),
    "detections.txt": ("1,-1,1,1,5,5,0.5,-1,-1,-1\n", "without an id"),
    "plain.json": ('{"images": [], "annotations": [{"image_id": 3, "category_id": 1}]}', "annotations[0] is of image 3"),
    "untracked.json": (
        '{"images": [{"id": 3}], "annotations": [{"image_id": 3, "category_id": 1, "bbox": [1, 2, 3, 4]}]}',
        "no annotation has a track_id",
    ),
    "two.json": (
        '{"videos": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}], "images": [], "annotations": []}',
        "2 videos (a, b)",
    ),
    "task.zip": ("PK", "is an archive; unpack it"),
    "number.json": ("123", "what it holds must be an object"),
    "min.json": ('[{"video": "a.mp4", "box": [{"framesCount": 3}]}]', "not as JSON-MIN"),
    "what.bin": ("\0\0\0", "not clear what format"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_refused_with_the_file_and_the_place(name: str, tmp_path: Path) -> None:
    text, message = HOSTILE[name]
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError) as caught:
        read_tracks(tmp_path / name)
    assert name in str(caught.value)
    assert message in str(caught.value)


def test_unknown_format_suggests() -> None:
    with pytest.raises(ValueError, match="did you mean 'coco'"):
        read_tracks(Path(__file__), "cocoo")


def test_the_page_of_formats_names_them_all() -> None:
    page = (REPOSITORY / "docs" / "formats.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == set(FORMATS)


def test_a_box_in_the_frame_is_not_told_to_be_cut() -> None:
    boxes = [Box(10.1 + n / 10, 20.3, 30.2, 40.7) for n in range(50)] + [Box(0, 0, *SIZE), Box(609.4, 0.1, 30.6, 2.3)]
    tracks = Tracks((Track(1, tuple(Mark(n, box) for n, box in enumerate(boxes))),), Video(SIZE))
    assert lacking(tracks, "labelstudio") == []
    assert lacking(tracks, "yolo") == ["boxes without a score (52 get the score 1)"]
    assert lacking(Tracks((Track(1, (Mark(0, Box(620, 0, 30, 9)),)),), Video(SIZE)), "labelstudio") == [
        "what lies outside the frame (1 box cut)"
    ]
