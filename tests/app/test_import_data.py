"""``metatrack data import``: every layout, made here, comes out as GOT-10k's with the boxes that went in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from metatrack.cli import main
from metatrack.data.got10k import read_got10k
from metatrack.images import write_image
from metatrack.video import BoxWriter, VideoWriter
from tests.conftest import Scene

SCENE = Scene(3, size=(120, 160))
BOXES = [tuple(float(v) for v in SCENE.box(i)) for i in range(4)]


def picture(i: int) -> np.ndarray:
    return SCENE.frame(i)[:120, :160]


def frames(folder: Path, first: int, digits: int, suffix: str = ".jpg") -> None:
    folder.mkdir(parents=True)
    for i in range(4):
        write_image(folder / f"{i + first:0{digits}d}{suffix}", picture(i))


def text(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def rows(boxes=BOXES, add: float = 0) -> str:
    return "".join(f"{x + add:g},{y + add:g},{w:g},{h:g}\n" for x, y, w, h in boxes)


def trackingnet(root: Path) -> None:
    frames(root / "TRAIN_0/frames/clip", 0, 1)
    text(root / "TRAIN_0/anno/clip.txt", rows())


def vid(root: Path) -> None:
    frames(root / "Data/VID/train/ILSVRC2015/clip", 0, 6, ".JPEG")
    for i, (x, y, w, h) in enumerate(BOXES):
        box = f"<xmax>{x + w}</xmax><xmin>{x}</xmin><ymax>{y + h}</ymax><ymin>{y}</ymin>"
        item = f"<object><trackid>0</trackid><name>n02</name><bndbox>{box}</bndbox><occluded>0</occluded></object>"
        text(root / f"Annotations/VID/train/ILSVRC2015/clip/{i:06d}.xml", f"<annotation>{item}</annotation>")


def davis(root: Path) -> None:
    frames(root / "JPEGImages/480p/clip", 0, 5)
    (root / "Annotations/480p/clip").mkdir(parents=True)
    for i, (x, y, w, h) in enumerate(BOXES):
        mask = np.zeros((120, 160, 3), np.uint8)
        mask[int(y) : int(y + h), int(x) : int(x + w)] = (128, 0, 0)
        write_image(root / f"Annotations/480p/clip/{i:05d}.png", mask)


def mot(root: Path) -> None:
    frames(root / "clip/img1", 1, 6)
    lines = [f"{i + 1},1,{x + 1},{y + 1},{w},{h},1,1,1\n" for i, (x, y, w, h) in enumerate(BOXES)]
    text(root / "clip/gt/gt.txt", "".join(lines))


def lasot(root: Path) -> None:
    frames(root / "airplane/airplane-1/img", 1, 8)
    text(root / "airplane/airplane-1/groundtruth.txt", rows(add=1))
    for name in ("full_occlusion", "out_of_view"):
        text(root / f"airplane/airplane-1/{name}.txt", "0,0,0,0\n")


@pytest.mark.parametrize("kind", ["trackingnet", "vid", "davis", "mot-folder", "lasot"])
def test_layouts(kind, tmp_path, capsys) -> None:
    {"trackingnet": trackingnet, "vid": vid, "davis": davis, "mot-folder": mot, "lasot": lasot}[kind](tmp_path / "in")
    assert main(["data", "import", kind, str(tmp_path / "in"), "--out", str(tmp_path / "out")]) == 0
    (sequence,) = read_got10k(tmp_path / "out")
    assert sequence.name == ("airplane-1" if kind == "lasot" else "clip")
    assert np.allclose(sequence.boxes, BOXES, atol=1e-3)
    assert np.abs(sequence.frame(2).astype(int) - picture(2)).mean() < 6
    assert "imported 1 clips with 4 boxes" in capsys.readouterr().err


def test_a_file_of_boxes_and_its_video(tmp_path) -> None:
    with VideoWriter(tmp_path / "my clip.mp4", 25.0) as film:
        for i in range(4):
            film.write(picture(i))
    with BoxWriter(tmp_path / "boxes.csv", ids=True) as table:
        for i, box in enumerate(BOXES):
            table.write(i, box, 1.0, target="cup")
            if i > 1:
                table.write(i, (5, 5, 20, 20), 1.0, target="hat")
    words = ["data", "import", "csv", str(tmp_path / "boxes.csv"), "--video", str(tmp_path / "my clip.mp4")]
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    found = {len(sequence): sequence for sequence in read_got10k(tmp_path / "out")}
    assert set(found) == {4, 2} and np.allclose(found[4].boxes, BOXES, atol=1e-3)
    assert main([*words, "--out", str(tmp_path / "less"), "--every", "3"]) == 0
    assert [len(sequence) for sequence in read_got10k(tmp_path / "less")] == [2, 1]


def test_youtube_bb(tmp_path, capsys) -> None:
    """Boxes are found by time, in a video of a variable rate too; absent objects and videos that are not there are left out."""
    (tmp_path / "videos").mkdir()
    with VideoWriter(tmp_path / "videos" / "-aB3_x9Yz12.mp4", 10.0) as film:
        for i, at in enumerate((0.0, 0.4, 1.1, 2.0)):
            film.write(picture(i), at)

    def row(video: str, ms: int, thing: int, box: tuple[float, ...] | None) -> str:
        x, y, w, h = box or (0, 0, 0, 0)
        corners = f"{x / 160},{(x + w) / 160},{y / 120},{(y + h) / 120}" if box else "-1,-1,-1,-1"
        return f"{video},{ms},3,bear,{thing},{'present' if box else 'absent'},{corners}\n"

    content = [row("-aB3_x9Yz12", ms, 0, BOXES[i]) for ms, i in ((1000, 2), (0, 0), (2010, 3))]
    content += [
        row("-aB3_x9Yz12", 1000, 1, (5, 5, 20, 20)),
        row("-aB3_x9Yz12", 2000, 1, None),
        row("elsewhere00", 0, 0, BOXES[0]),
    ]
    text(tmp_path / "boxes.csv", "".join(content))
    words = ["data", "import", "youtube-bb", str(tmp_path / "boxes.csv"), "--video", str(tmp_path / "videos")]
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    assert "boxes of 1 videos" in capsys.readouterr().err
    one, other = read_got10k(tmp_path / "out")
    assert (one.name, other.name) == ("aB3_x9Yz12-3-0", "aB3_x9Yz12-3-1")
    assert np.allclose(one.boxes, [BOXES[0], BOXES[2], BOXES[3]], atol=1e-3)
    for n, i in enumerate((0, 2, 3)):
        assert np.abs(one.frame(n).astype(int) - picture(i)).mean() < 6
    assert np.allclose(other.boxes[0], (5, 5, 20, 20), atol=1e-3)
    for fault, message in (
        ("elsewhere00", "holds no video that"),
        ("-aB3_x9Yz12,9000,3,bear,0,present,.1,.2,.1,.2", "has no frame near 9 s"),
        ("-aB3_x9Yz12,0,3,bear,0,present,.3,.2,.1,.2", "line 1: corners are shares of the frame"),
        ("../etc/passwd,0,3,bear,0,present,.1,.2,.1,.2", "line 1: expected are ten columns"),
    ):
        text(tmp_path / "boxes.csv", row("elsewhere00", 0, 0, BOXES[0]) if fault == "elsewhere00" else f"{fault}\n")
        assert main([*words, "--out", str(tmp_path / "none")]) == 2
        assert message in capsys.readouterr().err
    assert main([*words[:4], "--out", str(tmp_path / "none")]) == 2
    assert "--video FOLDER" in capsys.readouterr().err


def test_a_clip_with_a_fault_is_named_and_the_others_come(tmp_path, capsys) -> None:
    trackingnet(tmp_path / "in")
    text(tmp_path / "in/TRAIN_0/anno/gone.txt", rows())
    frames(tmp_path / "in/TRAIN_0/frames/short", 0, 1)
    text(tmp_path / "in/TRAIN_0/anno/short.txt", rows(BOXES[:3]))
    frames(tmp_path / "in/TRAIN_0/frames/outside", 0, 1)
    text(tmp_path / "in/TRAIN_0/anno/outside.txt", rows([*BOXES[:3], (500.0, 5.0, 10.0, 10.0)]))
    assert main(["data", "import", "trackingnet", str(tmp_path / "in"), "--out", str(tmp_path / "out")]) == 1
    err = capsys.readouterr().err
    assert "left out: gone: " in err and "holds no frames" in err and "short: " in err and "3 rows, its folder 4 frames" in err
    assert "lies outside of 160x120 pixels" in err
    assert [sequence.name for sequence in read_got10k(tmp_path / "out")] == ["clip"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["clip", "list.txt"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["davis", "."], "expected is Annotations/480p/NAME/00000.png"),
        (["nosuch", "."], "no kind 'nosuch'; there are csv"),
        (["cvat", "missing.xml"], "missing.xml does not exist"),
        (["csv", "boxes.csv"], "say of which video or folder of images with --video"),
        (["davis", ".", "--every", "0"], "--every 0"),
    ],
)
def test_what_is_missing_is_said(words, message, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "boxes.csv").write_text("frame,x,y,w,h,score,lost\n")
    assert main(["data", "import", *words, "--out", "out"]) == 2
    assert message in capsys.readouterr().err


def test_damaged_annotations(tmp_path, capsys) -> None:
    vid(tmp_path / "in")
    text(tmp_path / "in/Annotations/VID/train/ILSVRC2015/clip/000001.xml", "<annotation><object>")
    assert main(["data", "import", "vid", str(tmp_path / "in"), "--out", str(tmp_path / "out")]) == 2
    assert "000001.xml is no XML" in capsys.readouterr().err
