"""Each format read back by its own tool's library, where it is installed; docs/formats.md says when each was last so."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from metatrack.convert.formats import FORMATS
from metatrack.convert.tracks import Mark, Track, Tracks, Video
from metatrack.geometry import Box
from tests.conftest import VOT

BOXES = {1: [Box(10 + n, 20, 30.5, 40.25) for n in range(4)], 2: [Box(300, 100 + n, 50, 60) for n in range(4)]}
LABELS = {1: "car", 2: "person"}
TRACKS = Tracks(
    tuple(
        Track(target, tuple(Mark(n, box, 0.5 + n / 10, keyframe=n == 0) for n, box in enumerate(boxes)), LABELS[target])
        for target, boxes in BOXES.items()
    ),
    Video((640, 360), 25.0, 6, "clip"),
)


@pytest.fixture
def written(request, tmp_path: Path) -> Path:
    name = request.param
    path = tmp_path / f"clip{'' if name == 'otb' or FORMATS[name].folder else FORMATS[name].suffixes[0]}"
    FORMATS[name].write(path, TRACKS)
    return path


def each(name: str):
    return pytest.mark.parametrize("written", [name], indirect=True)


@each("coco")
def test_pycocotools(written: Path) -> None:
    coco = pytest.importorskip("pycocotools.coco")
    with contextlib.redirect_stdout(io.StringIO()):
        api = coco.COCO(str(written))
    assert {c["id"]: c["name"] for c in api.loadCats(api.getCatIds())} == {1: "car", 2: "person"}
    images = api.loadImgs(api.getImgIds())
    assert [(i["frame_id"], i["width"], i["height"]) for i in images] == [(n, 640, 360) for n in range(6)]
    for image in images[:4]:
        found = {a["track_id"]: a["bbox"] for a in api.loadAnns(api.getAnnIds(imgIds=[image["id"]]))}
        assert found == {target: list(boxes[image["frame_id"]]) for target, boxes in BOXES.items()}


@each("mot")
def test_motmetrics(written: Path) -> None:
    motmetrics = pytest.importorskip("motmetrics")
    table = motmetrics.io.loadtxt(str(written), fmt="mot15-2D")
    assert len(table) == 8
    for target, boxes in BOXES.items():
        for n, box in enumerate(boxes):
            row = table.loc[(n + 1, target)]
            assert (row.X, row.Y, row.Width, row.Height) == pytest.approx(tuple(box))
            assert row.Confidence == pytest.approx(0.5 + n / 10)


@each("fiftyone")
def test_eta_which_fiftyone_imports_by(written: Path) -> None:
    video = pytest.importorskip("eta.core.video")
    labels = video.VideoLabels.from_json(str(written))
    assert sorted(labels.frames) == [1, 2, 3, 4]
    assert tuple(labels.metadata.frame_size) == (640, 360)
    for n in range(4):
        objects = {o.index: o for o in labels.get_frame(n + 1).objects}
        for target, boxes in BOXES.items():
            corner, other = objects[target].bounding_box.top_left, objects[target].bounding_box.bottom_right
            x, y, w, h = boxes[n]
            found = (corner.x * 640, corner.y * 360, (other.x - corner.x) * 640, (other.y - corner.y) * 360)
            assert found == pytest.approx((x, y, w, h), abs=1e-4)
            assert objects[target].label == LABELS[target]


@each("labelstudio")
def test_label_studio_sdk(written: Path) -> None:
    video = pytest.importorskip("label_studio_sdk._extensions.label_studio_tools.postprocessing.video")
    interfaces = pytest.importorskip("label_studio_sdk.label_interface")

    task = json.loads(written.read_text())[0]
    config = (
        '<View><Labels name="videoLabels" toName="video"><Label value="car"/><Label value="person"/></Labels>'
        '<Video name="video" value="$video"/><VideoRectangle name="box" toName="video"/></View>'
    )
    interface = interfaces.LabelInterface(config)
    for region in task["predictions"][0]["result"]:
        assert interface.get_control("box").validate_value(region["value"])
    filled = video.extract_key_frames(task["predictions"][0]["result"])
    for region in filled:
        boxes = BOXES[int(region["id"])]
        assert [step["frame"] for step in region["value"]["sequence"]] == [1, 2, 3, 4]
        for step, box in zip(region["value"]["sequence"], boxes):
            found = (step["x"] * 6.4, step["y"] * 3.6, step["width"] * 6.4, step["height"] * 3.6)
            assert found == pytest.approx(tuple(box), abs=1e-4)


@each("cvat")
def test_datumaro(written: Path) -> None:
    base = pytest.importorskip("datumaro.plugins.data_formats.cvat.base")
    items = {int(item.attributes["frame"]): item for item in base.CvatBase(str(written))}
    for n in range(4):
        found = {a.attributes["track_id"]: a for a in items[n].annotations}
        for target, boxes in BOXES.items():
            assert tuple(found[target].get_bbox()) == pytest.approx(tuple(boxes[n]), abs=1e-3)
    assert all(a.attributes["outside"] for a in items[4].annotations)


@each("yolo")
def test_supervision(written: Path) -> None:
    supervision = pytest.importorskip("supervision")
    from PIL import Image

    (written / "images").mkdir()
    for n in range(4):
        Image.new("RGB", (640, 360)).save(written / "images" / f"clip_{n + 1:06d}.jpg")
    data = supervision.DetectionDataset.from_yolo(str(written / "images"), str(written / "labels"), str(written / "data.yaml"))
    assert data.classes == ["car", "person"]
    for n, (_, _, found) in enumerate(sorted(data, key=lambda each: each[0])):
        for kind, target in ((0, 1), (1, 2)):
            x, y, w, h = BOXES[target][n]
            assert found.xyxy[found.class_id == kind][0] == pytest.approx((x, y, x + w, y + h), abs=1e-2)


@each("got10k")
def test_got10k(written: Path) -> None:
    for target, boxes in BOXES.items():  # as its experiments read results
        file = written / "metatrack" / f"clip-{target}" / f"clip-{target}_001.txt"
        assert np.loadtxt(file, delimiter=",")[:4] == pytest.approx(np.array(boxes), abs=1e-3)
        assert np.loadtxt(file.with_name(f"clip-{target}_time.txt"), delimiter=",").shape == (6,)


READ_VOT = """
import json, sys
from vot.tracker import Results
from vot.tracker.results import Trajectory
from vot.workspace.storage import LocalStorage
run = Trajectory.read(Results(LocalStorage(sys.argv[1])), sys.argv[2])
codes = [getattr(region, "code", None) for region in run.regions()]
boxes = [None if code is not None else [r.x, r.y, r.width, r.height] for code, r in zip(codes, run.regions())]
print(json.dumps({"codes": codes, "boxes": boxes, "scores": [run.properties(n).get("confidence") for n in range(len(run))]}))
"""


@each("vot")
@pytest.mark.skipif(not VOT.exists(), reason=f"VOT's toolkit is not installed in {VOT.parents[1]}: make pytest")
def test_vot_toolkit(written: Path) -> None:
    for target, boxes in BOXES.items():
        folder = written / "metatrack" / "unsupervised" / f"clip-{target}"
        words = [str(VOT.with_name("python")), "-c", READ_VOT, str(folder), f"clip-{target}_001"]
        run = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
        assert run["codes"] == [1, None, None, None, 0, 0]  # the start, and two frames without box
        assert np.array(run["boxes"][1:4]) == pytest.approx(np.array(boxes[1:4]), abs=1e-3)
        assert run["scores"] == [0.5, 0.6, 0.7, 0.8, None, None]


@each("arrow")
def test_pyarrow(written: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = parquet.read_table(written).to_pylist()
    assert [(row["frame"], row["id"], row["label"]) for row in rows[:2]] == [(0, "1", "car"), (0, "2", "person")]
    assert [row["x"] for row in rows if row["id"] == "1"] == [box.x for box in BOXES[1]]


def test_scipy_reads_the_file_of_the_otb_toolkit(tmp_path: Path) -> None:
    scipy = pytest.importorskip("scipy.io")
    path = tmp_path / "clip.mat"
    FORMATS["otb"].write(path, Tracks(TRACKS.targets[:1], TRACKS.video))
    result = scipy.loadmat(path, simplify_cells=True)["results"]
    assert result["res"][:4] == pytest.approx(np.array(BOXES[1]) + [1, 1, 0, 0])
    assert (result["type"], result["startFrame"]) == ("rect", 1)
