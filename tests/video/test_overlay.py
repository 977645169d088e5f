"""What is drawn on frames, and the demo clip that it is shown on."""

from __future__ import annotations

import importlib.resources
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metatrack.video import draw, filmstrip, open_source, read_boxes
from metatrack.video.overlay import INK, LOST, TRACKED, outline

BOX = (60.0, 50.0, 80.0, 60.0)


def near(image: np.ndarray[Any, Any], color: tuple[int, int, int]) -> np.ndarray[Any, Any]:
    """Where a colour stands, (H, W) bool."""
    return np.asarray(np.abs(image.astype(int) - color).max(axis=-1) < 30)


def gray(value: int, height: int = 180, width: int = 240) -> np.ndarray[Any, Any]:
    return np.full((height, width, 3), value, np.uint8)


@pytest.mark.parametrize("background", [0, 128, 255])
def test_the_box_stands_where_it_should_on_any_background(background: int) -> None:
    image = draw(gray(background), BOX)
    paint = near(image, TRACKED)
    rows, columns = np.flatnonzero(paint.any(1)), np.flatnonzero(paint.any(0))
    # Lines are centred on the box's edges, 2 pixels wide at this height.
    np.testing.assert_allclose([columns[0], columns[-1], rows[0], rows[-1]], [60, 139, 50, 109], atol=1)
    assert paint[50:110].any(1).all() and paint[:, 60:140].any(0).all()  # no gap in it
    assert (image[55:105, 65:135] == background).all()  # nothing inside it
    assert near(image, INK).any()  # the outline that sets it off


def test_a_lost_target_is_dashed_and_orange() -> None:
    tracked, lost = draw(gray(128), BOX), draw(gray(128), BOX, lost=True)
    top = np.any(near(lost, LOST)[49:52, 60:140], axis=0)
    assert not near(lost, TRACKED).any() and not near(tracked, LOST).any()
    assert 0.3 < top.mean() < 0.8 and np.abs(np.diff(top.astype(int))).sum() >= 4  # at least three dashes
    assert top[3] and top[-4]  # corners are whole
    assert near(draw(gray(128), BOX, lost=True, color=(90, 90, 255)), (90, 90, 255)).any()


def test_thickness_follows_the_frame() -> None:
    def thickness(height: int) -> int:
        image = draw(gray(128, height, height), (height / 4, height / 4, height / 2, height / 2))
        return int(near(image, TRACKED)[: height // 2, height // 2].sum())

    # AA takes a pixel from some of them.
    assert thickness(100) <= 2 <= thickness(480) < thickness(1080) <= 8


def test_outlines_without_words() -> None:
    frame, blue = gray(128), (40, 80, 240)
    solid, dashed = outline(frame, BOX, blue, 3), outline(frame, BOX, blue, 3, (12, 12))
    assert (frame == 128).all()
    paint = near(solid, blue)
    assert paint[50:110, 60].all() and not paint[60:100, 70:130].any() and near(solid, INK).any()
    side = np.any(near(dashed, blue)[49:52, 60:140], axis=0)
    # 80 px: dashes at 0, 22.7, 45.3, 68 of 11.3 px, and 3 px of line ends
    assert np.abs(np.diff(side.astype(int))).sum() == 6 and 0.55 < side.mean() < 0.75
    assert side[0] and side[-1]
    point = outline(frame, (5.0, 5, 0, 0), blue, 3, (12, 12))  # no length to cut into dashes
    assert near(point, blue).any()
    with pytest.raises(ValueError, match="not finite"):
        outline(frame, (5.0, np.nan, 1, 1), blue)


@pytest.mark.parametrize("words", [{"score": 0.5}, {"number": 12}, {"label": "duck"}, {"score": 0.1, "lost": True, "number": 0}])
def test_the_plate_is_legible_and_clear_of_the_box(words: dict[str, Any]) -> None:
    plain, image = draw(gray(255), BOX, lost="lost" in words), draw(gray(255), BOX, **words)
    changed = (image != plain).any(-1)
    rows = np.flatnonzero(changed.any(1))
    assert 0 < rows[0] and rows[-1] < 50  # above the box
    plate = image[changed]
    assert (plate.max(-1) < 90).mean() > 0.5 and (plate.min(-1) > 180).any()  # light on dark
    assert (draw(gray(255), BOX) == draw(gray(255), BOX, label=None)).all()


@pytest.mark.parametrize(
    ("box", "below"),
    [((60, 2, 80, 60), True), ((-50, -50, 900, 900), None), ((200, 100, 80, 60), False), ((60, 5, 80, 170), None)],
)
def test_the_plate_stays_in_the_frame(box: tuple[float, ...], below: bool | None) -> None:
    plain, image = draw(gray(255), box), draw(gray(255), box, score=0.5, number=1)
    rows, columns = np.nonzero((image != plain).any(-1))
    assert columns.max() < 240 and rows.max() < 180 and len(np.unique(columns)) > 40  # all of it is there
    if below is not None:
        assert (rows.min() > box[1] + box[3]) if below else (rows.max() < box[1])


FLOATS = st.floats(-1e9, 1e9, allow_nan=False)


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(FLOATS, FLOATS, FLOATS, FLOATS) | st.tuples(*[st.floats(-300, 300)] * 4),
    st.booleans(),
    st.sampled_from([(1, 1), (7, 300), (300, 7), (60, 80)]),
    st.none() | st.floats(0, 1),
)
def test_any_finite_box_on_any_frame_draws_and_leaves_the_input(
    box: tuple[float, ...], lost: bool, shape: tuple[int, int], score: float | None
) -> None:
    frame = np.full((*shape, 3), 77, np.uint8)
    frame.flags.writeable = False
    image = draw(frame, box, score, lost, label="any", number=1)
    assert image.shape == frame.shape and image.dtype == np.uint8 and not np.shares_memory(image, frame)
    assert (frame == 77).all()


def test_several_boxes_and_other_kinds_of_frames() -> None:
    one = draw(np.full((180, 240), 30000, np.uint16), (10, 60, 50, 50))
    both = draw(one, (150, 60, 50, 50), color=(80, 80, 255))
    assert near(both, TRACKED)[:, :120].any() and near(both, (80, 80, 255))[:, 120:].any()
    assert not near(one, (80, 80, 255)).any()


@pytest.mark.parametrize("box", [(float("nan"), 0, 1, 1), (0, 0, float("inf"), 1)])
def test_a_box_that_is_not_finite_is_refused(box: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="not finite"):
        draw(gray(0), box)


def test_a_box_turned_inside_out() -> None:
    assert (draw(gray(9), (140, 110, -80, -60)) == draw(gray(9), BOX)).all()


def test_subpixel_positions_differ() -> None:
    image = draw(gray(0), (60.25, 50, 80, 60))
    # The line covers 59.25 to 61.25, its outline 58.25 to 62.25, on black; green of 220 on green of 20.
    expected = [0, 0.75 * 20, 0.75 * 220 + 0.25 * 20, 220, 0.25 * 220 + 0.75 * 20, 0.25 * 20, 0]
    np.testing.assert_allclose(image[80, 57:64, 1], expected, atol=1)


def test_the_arithmetic_of_a_filmstrip() -> None:
    frames = [gray(10, 90, 120), gray(20, 90, 120), gray(30, 180, 120)]
    strip = filmstrip(frames, height=90, gap=8, background=(255, 255, 255))
    assert strip.shape == (90 + 2 * 8, 120 + 120 + 60 + 4 * 8, 3)  # the tall frame is half as wide
    assert [strip[50, x, 0] for x in (4, 60, 132, 190, 260, 290, 330)] == [255, 10, 255, 20, 255, 30, 255]
    grid = filmstrip(frames, columns=2, height=90, gap=8)
    assert grid.shape == (2 * 90 + 3 * 8, 2 * 120 + 3 * 8, 3)
    assert grid[150, 30, 0] == 30 and (grid[110:, 80:] == 255).all()
    assert all((frame == frame[0, 0]).all() for frame in frames)


@pytest.mark.parametrize("background", [(255, 255, 255), (0, 0, 0)])
def test_captions_stand_under_their_frames(background: tuple[int, int, int]) -> None:
    frames = [gray(128, 90, 120)] * 2
    strip = filmstrip(frames, captions=["one", ""], height=90, background=background)
    plain = filmstrip(frames, captions=["", ""], height=90, background=background)
    rows, columns = np.nonzero((strip != plain).any(-1))
    assert rows.min() >= 98 and rows.max() < strip.shape[0] - 1 and columns.max() < 128
    assert np.abs(strip[rows, columns].astype(int) - background).max() > 180


@pytest.mark.parametrize(
    ("frames", "options"), [(0, {}), (2, {"columns": 0}), (2, {"height": 0}), (2, {"captions": ["one"]}), (1, {"captions": []})]
)
def test_a_filmstrip_that_cannot_be(frames: int, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\d"):
        filmstrip([gray(0)] * frames, **options)


def test_the_demo_clip_and_its_labels() -> None:
    assets = importlib.resources.files("metatrack") / "assets"
    with importlib.resources.as_file(assets / "demo.mp4") as path:
        assert path.stat().st_size <= 400_000
        with open_source(path) as source:
            assert (source.size, source.fps, source.frame_count) == ((640, 360), 25.0, 116)
            assert sum(1 for _ in source) == 116
    with importlib.resources.as_file(assets / "demo.csv") as path:
        rows = read_boxes(path)
    assert tuple(rows[0].box) == (185, 120, 69, 87) and rows[0].frame == 0
    assert len(rows) >= 9 and [row.frame for row in rows] == sorted({row.frame for row in rows}) and rows[-1].frame == 115
    assert all(0 <= x and x + w <= 640 and 0 <= y and y + h <= 360 for x, y, w, h in (row.box for row in rows))
    text = (assets / "ATTRIBUTION.md").read_text()
    assert "Blender Foundation" in text and "creativecommons.org/licenses/by/3.0" in text  # the licence asks for both
