"""Files that the fuzzing found: each ends in a sentence with the file's name, or is read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from metatrack.convert.formats import read_tracks
from metatrack.convert.tracks import Video


def test_xml_in_an_encoding_that_nobody_knows(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text('<?xml version="1.0" encoding="utf0x10"?><annotations/>')
    with pytest.raises(ValueError, match=r"a\.xml"):
        read_tracks(tmp_path / "a.xml", "cvat")


def test_a_count_of_frames_that_is_no_number_of_the_machine(tmp_path: Path) -> None:
    step = {"frame": 1, "x": 10**400, "y": 2, "width": 3, "height": 4, "enabled": True, "rotation": 0}
    value = {"framesCount": 10**400, "duration": 1.5, "labels": ["a"], "sequence": [step]}
    task = {"annotations": [{"result": [{"id": "x", "type": "videorectangle", "value": value}]}]}
    (tmp_path / "a.json").write_text(json.dumps([task]))
    with pytest.raises(ValueError, match=r"a\.json"):
        read_tracks(tmp_path / "a.json", "labelstudio", Video((640, 360)))
