"""Training material out of mirrored repositories: small ones are made, in each format, and collected."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from tools.collect import stills, video
from tools.collect.annotations import Annotation, Images, annotated, coco, voc, yolo
from tools.collect.sources import CollectOptions, Repository, read_sources
from tools.collect.stills import StillSource, without_copies
from tools.collect.video import VideoOptions
from tools.collect.videos import Frame, VideoSource, link

from metatrack.geometry import Box

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
def test_one_object_in_each_format(mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys, kind: str) -> None:
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
    assert stills.main(CollectOptions(mirror.folder, out)) == 0
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
    assert len(list((out / "cutouts").glob("*"))) == (kind in ("coco", "mask"))
    assert (out / "photos" / "made_00000.jpg").is_file()
    assert capsys.readouterr().out == f"made: 1 crops, {int(kind in ('coco', 'mask'))} cutouts, 1 photos, 1 classes\n"
    first = {path: path.read_bytes() for path in out.rglob("*.*")}
    assert stills.main(CollectOptions(mirror.folder, out, ("made",))) == 0
    assert {path: path.read_bytes() for path in out.rglob("*.*")} == first


def test_a_source_that_fails_leaves_the_others(mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    commit = mirror.commit("o/r", {"images/a.png": encoded(texture(0, 480, 640)), "labels/a.xml": VOC.encode()})
    good = f"[good]\n{ENTRY.format(commit='0000')}formats = ['voc']\n"
    bad = f"[bad]\n{ENTRY.format(commit=commit)}".replace("o/r", "o/none")
    with_table(monkeypatch, stills, tmp_path / "t.toml", bad + good)
    assert stills.main(CollectOptions(mirror.folder, tmp_path / "out")) == 1
    assert len((tmp_path / "out" / "still" / "boxes.csv").read_text().splitlines()) == 2
    err = capsys.readouterr().err
    assert "bad: failed: FileNotFoundError" in err and "git clone --mirror" in err
    assert f"o/r: the mirror is at {commit[:12]}, the table at 0000" in err


def test_the_nearest_image_and_no_mask(mirror: Mirror) -> None:
    images = Images(["train/images/a.jpg", "test/images/a.jpg", "test/masks/a.png"])
    assert images.find("a", "test/labels/a.txt") == "test/images/a.jpg"
    assert images.find("b.jpg", "x") is None
    mirror.commit("o/r", {"labels/a.txt": b"0 0.5 0.5 0.2 0.2\n0 9 9 9 9\n", "b.txt": b"0 0.5 0.5 0.2 0.2\n", "a.jpg": b"x"})
    ((path, found),) = annotated(Repository(mirror.folder, "o/r", ""), "yolo")
    assert path == "a.jpg" and [each.name for each in found] == ["class0"]


def test_what_is_left_out_of_annotations() -> None:
    flagged = VOC.replace("</name>", "</name><truncated>1</truncated>").encode()
    assert voc(flagged, strict=True) == ("", [])
    assert voc(flagged)[1] == [Annotation(Box(101, 81, 79, 59), "cat")]
    crowd = {**COCO, "annotations": [{**COCO["annotations"][0], "iscrowd": 1}]}
    assert list(coco(json.dumps(crowd).encode())) == list(coco(b"[]")) == []
    polygon, box = yolo(b"1 0.1 0.2 0.3 0.2 0.3 0.6\n0 0.5 0.5 0.2 0.4 0.9\n", ["dog", "cat"])
    assert (polygon.name, box.name) == ("cat", "dog")
    assert polygon.in_pixels(50, 100).box == pytest.approx((10, 10, 20, 20))
    assert box.in_pixels(50, 100).box == pytest.approx((40, 15, 20, 20))


def test_copies_of_one_photograph() -> None:
    copies = [f"train/{base}.rf.{k}.jpg" for base in "abc" for k in range(3)]
    assert without_copies(copies) == (["train/a.rf.0.jpg", "train/b.rf.0.jpg", "train/c.rf.0.jpg"], True)
    assert without_copies(["train/x.jpg", "valid/y.jpg"]) == (["valid/y.jpg", "train/x.jpg"], False)


def moving(count: int) -> list[tuple[np.ndarray, tuple[int, int, int, int]]]:
    """Frames in which a thing of 48 x 40 pixels moves, and its box in each."""
    thing, ground, made = texture(1, 40, 48), texture(2, 240, 320), []
    for k in range(count):
        frame, x, y = ground.copy(), 40 + 8 * k, 60 + 4 * k
        frame[y : y + 40, x : x + 48] = thing
        made.append((frame, (x, y, 48, 40)))
    return made


def video_entry(kind: str, more: str) -> str:
    facts = 'repositories = ["o/r"]\ncommits = [""]\nwhat = "things"\nlicence = "none stated"\nstride = 1\n'
    return f"[made]\n{facts}kind = {kind!r}\n{more}"


def test_video(mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {}
    for k, (frame, (x, y, w, h)) in enumerate(moving(12)):
        files[f"img/frame{k}.png"] = encoded(frame)
        files[f"lab/frame{k}.txt"] = f"0 {(x + w / 2) / 320} {(y + h / 2) / 240} {w / 320} {h / 240}\n".encode()
    mirror.commit("o/r", files)
    entry = video_entry("yolo", "frames = 'img/frame(?P<n>\\d+)\\.png'\nlabels = 'lab/frame\\g<n>.txt'\n")
    with_table(monkeypatch, video, tmp_path / "t.toml", entry)
    options = VideoOptions(mirror.folder, tmp_path / "out", (), tmp_path / "sheets")
    assert video.main(options) == 0
    folder = tmp_path / "out" / "train" / "made_a_0"
    boxes = np.loadtxt(folder / "groundtruth.txt", delimiter=",")
    assert boxes.shape == (12, 4) and len(list(folder.glob("*.jpg"))) == 12
    np.testing.assert_allclose(boxes[:, :2] + boxes[:, 2:] / 2, 165, atol=0.002)
    crop, (x, y, w, h) = cv2.imread(str(folder / "00000005.jpg")), boxes[4].round().astype(int)
    expected = cv2.resize(texture(1, 40, 48), (w, h), interpolation=cv2.INTER_LINEAR).astype(float)
    assert np.abs(crop[y : y + h, x : x + w] - expected).mean() < 12
    (row,) = csv.DictReader((tmp_path / "out" / "meta.csv").open())
    assert (row["trajectory"], row["source"], row["frames"], row["licence"]) == ("made_a_0", "o/r", "12", "none stated")
    assert cv2.imread(str(tmp_path / "sheets" / "made.png")) is not None
    with_table(monkeypatch, video, tmp_path / "t.toml", entry + "refused = { a = [0] }\n")
    assert video.main(options) == 0
    assert not folder.exists()


@pytest.mark.parametrize("kind", ["rows", "blobs", "clip"])
def test_video_without_a_label_for_each_frame(mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    made, ground = moving(12), np.full((240, 320, 3), 220, np.uint8)
    if kind != "rows":  # a still camera over an empty arena
        made = [(cv2.rectangle(ground.copy(), (x, y, 24, 20), (20, 60, 90), -1), (x, y, 24, 20)) for _, (x, y, _, _) in made]
    files = {f"cam1/{k:04d}.png": encoded(frame) for k, (frame, _) in enumerate(made, 1)}
    entry = video_entry(
        "blobs", "frames = 'cam(?P<v>\\d)/(?P<n>\\d+)\\.png'\ntitle = 'cam\\g<v>'\nblobs = { cam1 = [60, 3000, 1] }\n"
    )
    if kind == "rows":
        files["cam1.txt"] = "".join(f"{x} {y} {w} {h}\n" for _, (x, y, w, h) in made[:-1]).encode() + b"0 0 0 0\n"
        entry = entry.replace("blobs = {", "labels = 'cam\\g<v>.txt'\nblobs = {").replace("kind = 'blobs'", "kind = 'rows'")
    elif kind == "clip":
        with av.open(str(tmp_path / "cam1.mp4"), "w") as container:
            stream = container.add_stream("libx264", rate=25, options={"crf": "10"})
            stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
            for frame, _ in made:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="bgr24")))
            container.mux(stream.encode())
        files = {"cam1.mp4": (tmp_path / "cam1.mp4").read_bytes()}
        entry = entry.replace("cam(?P<v>\\d)/(?P<n>\\d+)\\.png", "cam(?P<v>\\d)\\.mp4")
    mirror.commit("o/r", files)
    with_table(monkeypatch, video, tmp_path / "t.toml", entry)
    assert video.main(VideoOptions(mirror.folder, tmp_path / "out")) == 0
    boxes = np.loadtxt(tmp_path / "out" / "train" / "made_cam1_0" / "groundtruth.txt", delimiter=",")
    assert len(boxes) == 12 - (kind == "rows")
    width, height = (48, 40) if kind == "rows" else (26, 22)  # a blob has its rim
    np.testing.assert_allclose(boxes[:, 2] / boxes[:, 3], width / height, atol=0.04)


def test_tracks_end_where_there_is_doubt() -> None:
    def frames(*boxes: list[Box]) -> list[Frame]:
        return [Frame(k, lambda: None, [Annotation(box, "a") for box in each]) for k, each in enumerate(boxes)]

    one, other = Box(0, 0, 10, 10), Box(100, 0, 10, 10)
    assert sorted(len(track) for track in link(frames([one, other], [other, one]), 6, 0.3)) == [2, 2]
    close = Box(1, 0, 10, 10)  # overlaps one as much as one itself nearly does
    assert sorted(len(track) for track in link(frames([one], [one, close]), 6, 0.3)) == [1, 1, 1]
    assert len(link(frames([one], *[[]] * 7, [one]), 6, 0.3)) == 2  # too long away


def test_the_tables_are_whole() -> None:
    still, moving = read_sources(stills.TABLE, StillSource), read_sources(video.TABLE, VideoSource)
    assert (len(still), len(moving)) == (49, 14)
    assert all(bool(source.masks) + bool(source.formats) + bool(source.plain_photos) == 1 for source in still.values())
    assert all(len(source.repositories) == len(source.commits) for source in moving.values())
    assert all(bool(source.frames) != (source.kind == "jhmdb") for source in moving.values())
    assert all(bool(source.labels) == (source.kind in ("voc", "yolo", "rows")) for source in moving.values())
    assert list(read_sources(video.TABLE, VideoSource, ("trex",))) == ["trex"]
    with pytest.raises(ValueError, match="no source 'none'"):
        read_sources(video.TABLE, VideoSource, ("none",))


def test_a_table_that_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "t.toml").write_text("[a]\nwhat = 1\n")
    with pytest.raises(ValueError, match=r"t\.toml: "):
        read_sources(tmp_path / "t.toml", StillSource)
