"""Training material out of mirrored repositories: small ones are made, in each format, and collected."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest
from tools.collect import stills, video
from tools.collect.annotations import Images, yolo
from tools.collect.linking import Frame, Rectangle, link
from tools.collect.repository import Repository
from tools.collect.stills import StillOptions, StillSource, without_copies
from tools.collect.tables import chosen, read_sources
from tools.collect.video import VideoOptions, VideoSource

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")


def texture(seed: int, height: int, width: int) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 255, (height // 8, width // 8, 3), np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


class Mirror:
    """Repositories that are made file by file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def commit(self, name: str, files: dict[str, bytes]) -> str:
        work = self.folder / name.replace("/", "+") / "repo"
        for path, data in files.items():
            (work / path).parent.mkdir(parents=True, exist_ok=True)
            (work / path).write_bytes(data)
        who = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
        for words in (["init", "-q"], ["add", "."], [*who, "commit", "-q", "-m", "all"]):
            subprocess.run(["git", "-C", str(work), *words], check=True)
        head = subprocess.run(["git", "-C", str(work), "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
        return head.stdout.strip()


@pytest.fixture
def mirror(tmp_path: Path) -> Mirror:
    return Mirror(tmp_path / "mirror")


def encoded(image: np.ndarray, suffix: str = ".png") -> bytes:
    return cv2.imencode(suffix, image)[1].tobytes()


def with_table(monkeypatch: pytest.MonkeyPatch, module: object, path: Path, text: str) -> None:
    path.write_text(text)
    monkeypatch.setattr(module, "TABLE", path)


ENTRY = 'repository = "o/r"\ncommit = "{commit}"\nwhat = "things"\nlicence = "none stated"\n'
VOC = "<a><object><name>cat</name><bndbox><xmin>101</xmin><ymin>81</ymin><xmax>180</xmax><ymax>140</ymax></bndbox></object></a>"
OUTLINE = np.array([(140 + 40 * np.cos(a), 110 + 30 * np.sin(a)) for a in np.arange(16) * np.pi / 8])
COCO = {
    "images": [{"id": 7, "file_name": "a.png"}],
    "categories": [{"id": 1, "name": "Cat, tame"}],
    "annotations": [
        {
            "image_id": 7,
            "category_id": 1,
            "bbox": [100, 80, 80, 60],
            "segmentation": [OUTLINE.ravel().tolist()],
        }
    ],
}


@pytest.mark.parametrize("kind", ["voc", "coco", "yolo", "mask"])
def test_one_object_in_each_format(mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    image, entry = texture(0, 480, 640), f'formats = ["{kind}"]\n'
    files = {"images/a.png": encoded(image)}
    if kind == "voc":
        files["labels/a.xml"] = VOC.encode()
    elif kind == "coco":
        files["coco.json"] = json.dumps(COCO).encode()
    elif kind == "yolo":
        files["labels/a.txt"] = b"1 0.21875 0.2291666667 0.125 0.125\n"
        files["data.yaml"] = b"names:\n  - dog\n  - cat\n"
    else:
        mask = np.zeros((480, 640), np.uint8)
        cv2.ellipse(mask, (140, 110), (40, 30), 0, 0, 360, (255,), -1)
        files["masks/a.png"] = encoded(mask)
        entry = "masks = { images = 'images/(.*)\\.png$', mask = 'masks/\\1.png', class = \"cat\" }\n"
    commit = mirror.commit("o/r", files)
    entry = f"[made]\n{ENTRY.format(commit=commit[:12])}{entry}cutouts = 9\nphotos = 9\n"
    with_table(monkeypatch, stills, tmp_path / "t.toml", entry)
    out = tmp_path / "out"
    assert stills.main(StillOptions(mirror.folder, out)) == 0
    (row,) = csv.DictReader((out / "still" / "boxes.csv").open())
    assert (row["file"], row["source"]) == ("made_00000.jpg", "made")
    assert row["class"] == ("cat  tame" if kind == "coco" else "cat")
    box = np.array([float(row[key]) for key in "xywh"])
    w, h = (81, 61) if kind == "mask" else (80, 60)  # the ellipse has its rim
    scale = 127 / np.sqrt((w + (w + h) / 2) * (h + (w + h) / 2))
    assert box == pytest.approx([165 - w * scale / 2, 165 - h * scale / 2, w * scale, h * scale], abs=0.011)
    crop = cv2.imread(str(out / "still" / row["file"]))
    x, y = (100, 80)
    middle = cv2.resize(image[y : y + 60, x : x + 80], None, fx=scale, fy=scale)
    left, top = (round(v) for v in box[:2])
    difference = np.abs(crop[top : top + 40, left : left + 40].astype(float) - middle[:40, :40])
    assert difference.mean() < 12  # within what half a pixel and JPEG do to this texture
    assert len(list((out / "cutouts").iterdir())) == (kind in ("coco", "mask"))
    assert (out / "photos" / "made_00000.jpg").is_file()
    table = (out / "SOURCES-stills.md").read_text()
    assert f"| made | o/r | {commit[:12]} | things | none stated | 1 | 1 |" in table
    first = {path: path.read_bytes() for path in out.rglob("*.*")}
    assert stills.main(StillOptions(mirror.folder, out, ("made",))) == 0
    assert {path: path.read_bytes() for path in out.rglob("*.*")} == first


def test_a_source_that_fails_leaves_the_others(mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    commit = mirror.commit("o/r", {"images/a.png": encoded(texture(0, 480, 640)), "labels/a.xml": VOC.encode()})
    good = f"[good]\n{ENTRY.format(commit='0000')}formats = ['voc']\n"
    bad = f"[bad]\n{ENTRY.format(commit=commit)}".replace("o/r", "o/none")
    with_table(monkeypatch, stills, tmp_path / "t.toml", bad + good)
    assert stills.main(StillOptions(mirror.folder, tmp_path / "out")) == 1
    assert len((tmp_path / "out" / "still" / "boxes.csv").read_text().splitlines()) == 2
    err = capsys.readouterr().err
    assert "bad: failed: FileNotFoundError" in err and "git clone --mirror" in err
    assert f"good: the mirror is at {commit[:12]}, the table at 0000" in err


def test_the_nearest_image_and_no_mask(mirror: Mirror) -> None:
    images = Images(["train/images/a.jpg", "test/images/a.jpg", "test/masks/a.png"])
    assert images.find("a", "test/labels/a.txt") == "test/images/a.jpg"
    assert images.find("b.jpg", "x") is None
    mirror.commit("o/r", {"labels/a.txt": b"0 0.5 0.5 0.2 0.2\n0 9 9 9 9\n", "a.jpg": b"x"})
    with Repository(mirror.folder, "o/r") as repository:
        (found,) = yolo(repository, Images(repository.files))
    assert [each.name for each in found.annotations] == ["class0"] and found.shares


def test_copies_of_one_photograph() -> None:
    copies = [f"train/{base}.rf.{k}.jpg" for base in "abc" for k in range(3)]
    assert without_copies(copies) == (["train/a.rf.0.jpg", "train/b.rf.0.jpg", "train/c.rf.0.jpg"], True)
    assert without_copies(["train/x.jpg", "valid/y.jpg"]) == (["valid/y.jpg", "train/x.jpg"], False)


def test_video(mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    thing, ground, files = texture(1, 40, 48), texture(2, 240, 320), {}
    for k in range(12):
        frame = ground.copy()
        x, y = 40 + 8 * k, 60 + 4 * k
        frame[y : y + 40, x : x + 48] = thing
        files[f"img/frame{k}.png"] = encoded(frame)
        files[f"lab/frame{k}.txt"] = f"0 {(x + 24) / 320} {(y + 20) / 240} {48 / 320} {40 / 240}\n".encode()
    commit = mirror.commit("o/r", files)
    entry = ENTRY.format(commit=commit).replace('repository = "o/r"', 'repositories = ["o/r"]').replace("commit = ", "commits = ")
    entry = entry.replace(f'"{commit}"', f'["{commit}"]')
    entry += "frames = 'img/frame(?P<n>\\d+)\\.png'\nlabels = 'lab/frame\\g<n>.txt'\nkind = \"yolo\"\nstride = 1\n"
    with_table(monkeypatch, video, tmp_path / "t.toml", "[made]\n" + entry)
    options = VideoOptions(mirror.folder, tmp_path / "out", (), tmp_path / "sheets")
    assert video.main(options) == 0
    folder = tmp_path / "out" / "train" / "made_a_0"
    boxes = np.loadtxt(folder / "groundtruth.txt", delimiter=",")
    assert boxes.shape == (12, 4) and len(list(folder.glob("*.jpg"))) == 12
    np.testing.assert_allclose(boxes[:, :2] + boxes[:, 2:] / 2, 165, atol=0.002)
    crop, (x, y, w, h) = cv2.imread(str(folder / "00000005.jpg")), boxes[4].round().astype(int)
    expected = cv2.resize(thing, (w, h), interpolation=cv2.INTER_LINEAR).astype(float)
    assert np.abs(crop[y : y + h, x : x + w] - expected).mean() < 12
    (row,) = csv.DictReader((tmp_path / "out" / "meta.csv").open())
    assert (row["trajectory"], row["source"], row["frames"], row["licence"]) == ("made_a_0", "o/r", "12", "none stated")
    assert cv2.imread(str(tmp_path / "sheets" / "made.png")) is not None
    with_table(monkeypatch, video, tmp_path / "t.toml", "[made]\n" + entry + "refused = { a = [0] }\n")
    assert video.main(options) == 0
    assert not folder.exists()


def test_tracks_end_where_there_is_doubt() -> None:
    def frames(*boxes: list[Rectangle]) -> list[Frame]:
        return [Frame(k, lambda: None, [("a", box) for box in each]) for k, each in enumerate(boxes)]

    one, other = (0.0, 0.0, 10.0, 10.0), (100.0, 0.0, 10.0, 10.0)
    assert sorted(len(track) for track in link(frames([one, other], [other, one]), 6, 0.3)) == [2, 2]
    close = (1.0, 0.0, 10.0, 10.0)  # overlaps one as much as one itself nearly does
    assert sorted(len(track) for track in link(frames([one], [one, close]), 6, 0.3)) == [1, 1, 1]
    assert len(link(frames([one], *[[]] * 7, [one]), 6, 0.3)) == 2  # too long away


def test_the_tables_are_whole() -> None:
    still, moving = read_sources(stills.TABLE, StillSource), read_sources(video.TABLE, VideoSource)
    assert (len(still), len(moving)) == (49, 14)
    assert all(bool(source.masks) + bool(source.formats) + bool(source.plain_photos) == 1 for source in still.values())
    assert all(len(source.repositories) == len(source.commits) for source in moving.values())
    assert all(bool(source.rule) != bool(source.frames and source.labels) for source in moving.values())
    with pytest.raises(ValueError, match="no source 'none'"):
        chosen(("none",), still)


def test_a_table_that_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "t.toml").write_text("[a]\nwhat = 1\n")
    with pytest.raises(ValueError, match=r"t\.toml: "):
        read_sources(tmp_path / "t.toml", StillSource)
