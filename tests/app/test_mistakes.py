"""Common mistakes: each ends in a sentence with the remedy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metatrack import cli
from metatrack.app.boxes import first_box
from metatrack.app.problem import Problem
from metatrack.app.unloaded import help_of
from metatrack.geometry import Box, as_corners, check_box
from metatrack.images import write_image
from metatrack.video import SourceError, _decode, open_source
from tests.app.test_cli import DEMO


@pytest.mark.parametrize("box", [(0.3, 0.2, 0.2, 0.2), (0, 0, 0.5, 1), (0.5, 0.5, 1, 0.25)])
def test_shares_of_the_frame(box: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="looks like shares of the frame; in pixels it would be "):
        check_box(box, (360, 640))
    pixels = ",".join(f"{v:g}" for v in (box[0] * 640, box[1] * 360, box[2] * 640, box[3] * 360))
    with pytest.raises(Problem, match=f"would be {pixels} "):
        first_box(box, 0, "clip.mp4", (640, 360))


@pytest.mark.parametrize("box", [(0, 0, 1, 1), (0.3, 0.2, 2, 2), (5.5, 5.5, 0.5, 0.5), (1, 1, 1, 1)])
def test_small_boxes_in_pixels_are_taken(box: tuple[float, ...]) -> None:
    assert check_box(box, (360, 640)) == box


def test_two_corners() -> None:
    with pytest.raises(Problem, match=r"are two corners, give 300,200,100,100; .* the part in the frame, 300,200,340,160"):
        first_box((300, 200, 400, 300), 0, "clip.mp4", (640, 360))
    for box in ((600, 300, 69, 87), (-35, 100, 69, 87), (300, 100, 400, 200), (0, 0, 640, 360)):
        assert first_box(box, 0, "clip.mp4", (640, 360)) == box


@given(st.integers(0, 639), st.integers(0, 359), st.integers(1, 640), st.integers(1, 360))
def test_a_box_inside_the_frame_is_never_two_corners(x: int, y: int, w: int, h: int) -> None:
    box = Box(x, y, min(w, 640 - x), min(h, 360 - y))
    assert as_corners(box, (360, 640)) is None


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    (tmp_path / "inner").mkdir()
    for i in (1, 2):
        write_image(tmp_path / "inner" / f"{i}.png", np.full((48, 64, 3), 40 * i, np.uint8))
    return tmp_path


@pytest.mark.parametrize("name", ["*.png", "%04d.png", "%d.png", "?.png", "[0-9].png"])
def test_patterns_of_names(pictures: Path, name: str) -> None:
    with pytest.raises(SourceError, match=r"is a pattern of names; pass the folder, .*inner"):
        open_source(str(pictures / "inner" / name))


def test_a_folder_one_level_too_high(pictures: Path) -> None:
    with pytest.raises(SourceError, match=r"holds no images; pass a folder in it that does: .*inner$"):
        open_source(pictures)


def test_something_else_for_a_source() -> None:
    class VideoCapture:
        """As OpenCV's."""

        def read(self) -> None: ...

        def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
            return True

    with pytest.raises(TypeError, match="VideoCapture is no source of frames; pass a path, .* instead of OpenCV's capture"):
        open_source(VideoCapture())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="ndarray is no source of frames"):
        open_source(np.zeros((4, 4, 3), np.uint8))  # type: ignore[arg-type]


def test_frames_beyond_the_limit_of_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_decode, "MOST_PIXELS", 640 * 360 - 1)
    with pytest.raises(SourceError, match="has frames of 640x360 pixels; at most 230399 are read"):
        open_source(DEMO)


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert cli.main(words) == 2
    return capsys.readouterr().err


def test_images_that_the_shell_has_found(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [str(path) for path in sorted((pictures / "inner").iterdir())]
    message = f"2 images are given as sources; pass their folder, {pictures / 'inner'}"
    assert message in said(capsys, "track", *words, "--box=1,2,9,9")


@pytest.mark.parametrize("place", [0, 1])
def test_an_option_that_is_mistyped(place: int, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["clip.mp4"]
    words.insert(place, "--bx=1,2,3,4")
    assert said(capsys, "track", *words) == "error: unknown option --bx; did you mean '--box'?\n"
    assert "did you mean '--no-adapt'?" in said(capsys, "track", "--no-adpt", "clip.mp4")


def test_one_image_for_a_source(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = pictures / "inner" / "1.png"
    assert f"is a single image; pass its folder, {pictures / 'inner'}" in said(capsys, "track", str(image), "--box=1,2,9,9")
    (pictures / "clip.mp4").write_bytes(image.read_bytes())
    err = said(capsys, "track", str(pictures / "clip.mp4"), "--box=1,2,9,9")
    assert "is a single PNG image, not a video, whatever its name says" in err


def test_help_without_the_extras() -> None:
    code = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "cv2", "onnx"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
from metatrack import cli
for name, command in cli.COMMANDS.items():
    if command.extra:
        print("asked for", name)
        try:
            code = cli.main([*name.split(), "--help"])
        except SystemExit as end:
            code = end.code
        assert code == 0, name
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    helps = done.stdout.split("asked for ")[1:]
    assert len(helps) == sum(command.extra is not None for command in cli.COMMANDS.values())
    assert all("--" in text for text in helps)


def test_help_reads_inherited_options() -> None:
    text = help_of("metatrack train meta", "training.meta:MetaConfig", "torch is missing")
    assert "--mix" in text and "--matching" in text and "Not to be run here: torch is missing" in text
