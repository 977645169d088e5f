"""Boxes that a person gives, from the command line and from files."""

from __future__ import annotations

from pathlib import Path

import pytest

from metatrack.app.given import from_tracks, gather
from metatrack.app.problem import Problem
from metatrack.app.setting import parse_settings
from metatrack.convert.tracks import Mark, Track, Tracks
from metatrack.geometry import Box

BOX, NEW = Box(10, 20, 30, 40), Box(50, 60, 30, 40)
ROOM = ("clip.mp4", (640, 360))


def ask(boxes=(), corrections=(), tracks=None, frames=(0, 100)):
    return gather(boxes, corrections, None if tracks is None else (Path("boxes.xml"), tracks), frames, *ROOM)


def test_boxes_and_corrections() -> None:
    assert ask([BOX], ["30:50,60,30,40"], frames=(5, None)) == {5: {1: BOX}, 30: {1: NEW}}
    assert ask([BOX, NEW], ["30:2:10 20 30 40"]) == {0: {1: BOX, 2: NEW}, 30: {2: BOX}}


def test_key_frames_of_a_file_and_where_they_end() -> None:
    marks = [
        *(Mark(0, BOX, keyframe=True), Mark(1, BOX), Mark(2, NEW, keyframe=True), Mark(3, NEW, outside=True, keyframe=True)),
        *(Mark(4, NEW, outside=True), Mark(7, BOX, keyframe=True)),
    ]
    tracks = Tracks((Track("dog", tuple(marks)),))
    assert ask(tracks=tracks) == {0: {"dog": BOX}, 2: {"dog": NEW}, 3: {"dog": None}, 7: {"dog": BOX}}
    assert ask(tracks=tracks, frames=(1, 100))[1] == {"dog": BOX}  # it is under way where the run begins


def test_without_key_frames_the_first_of_a_row_counts() -> None:
    rows = tuple(Mark(frame, BOX) for frame in (0, 1, 2, 30, 31, 90))
    assert sorted(from_tracks(Tracks((Track(1, rows),)))) == [0, 30, 90]


def test_a_file_adds_to_boxes() -> None:
    tracks = Tracks((Track(1, (Mark(40, NEW),)), Track("late", (Mark(50, BOX),))))
    assert ask([BOX], tracks=tracks) == {0: {1: BOX}, 40: {1: NEW}, 50: {"late": BOX}}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({}, "no box: say where the target is in frame 0 of clip.mp4"),
        ({"boxes": [BOX], "corrections": ["30"]}, "--correct 30: give FRAME:x,y,w,h"),
        ({"boxes": [BOX], "corrections": ["30:1,2,3"]}, "--correct 30:1,2,3: give FRAME:x,y,w,h"),
        ({"boxes": [BOX], "corrections": ["30:700,2,30,30"]}, "lies outside the frame of 640x360 pixels (frame 30 of clip.mp4)"),
        ({"boxes": [BOX], "corrections": ["0:1,2,30,30"]}, "target 1 begins in frame 0; correct a frame behind it"),
        ({"boxes": [BOX], "corrections": ["100:1,2,30,30"]}, "frame 100 has a box, but the last frame that is tracked is 99"),
        ({"boxes": [BOX, NEW], "corrections": ["9:1,2,30,30"]}, "which of the targets 1, 2? Give FRAME:ID:x,y,w,h"),
        ({"boxes": [BOX, NEW], "corrections": ["9:3:1,2,30,30"]}, "no target 3"),
        ({"boxes": [BOX], "corrections": ["9:1,2,30,30", "9:1,2,40,30"]}, "target 1 is given two boxes in frame 9"),
        ({"tracks": Tracks((Track(1, (Mark(3, BOX),)),)), "frames": (4, 100)}, "boxes.xml holds no box in frame 4 or behind it"),
    ],
)
def test_refused(words: dict, message: str) -> None:
    with pytest.raises(Problem) as caught:
        ask(**words)
    assert message in str(caught.value)


def test_settings_are_typed() -> None:
    assert parse_settings(["adaptation.interval=30", "size_limits=[0.2, 5]", "redetection.enabled=False"]) == {
        "adaptation.interval": 30, "size_limits": [0.2, 5], "redetection.enabled": False
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("adaptation.intervl=30", "unknown tracker setting 'adaptation.intervl'; did you mean 'adaptation.interval'?"),
        ("adaptation.interval=soon", "adaptation.interval 'soon' must be a whole number"),
        ("adaptation.interval=0", "adaptation.interval 0 must be at least 1"),
        ("adaptation.interval", "--set adaptation.interval: give NAME=VALUE"),
    ],
)
def test_settings_refused(text: str, message: str) -> None:
    with pytest.raises(Problem) as caught:
        parse_settings([text])
    assert str(caught.value).startswith(message)
