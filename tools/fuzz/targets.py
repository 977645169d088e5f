"""Every parser of what comes from outside, by name: how it is given a damaged file, and which exceptions it promises."""

from __future__ import annotations

import hashlib
import io
import json
import random
import shutil
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from metatrack.app.boxes import first_box, join_box, parse_box
from metatrack.app.problem import Problem
from metatrack.compared.process import parse_answer, read_settings
from metatrack.compared.trax import parse_box as parse_region_of_trax
from metatrack.compared.trax import parse_image, parse_message
from metatrack.data.datasets import read_dataset
from metatrack.data.got10k import read_stills
from metatrack.data.otb import otb_targets
from metatrack.data.regions import parse_region
from metatrack.data.rows import decode_text, parse_rows
from metatrack.evaluation.run.store import Store, Unit
from metatrack.evaluation.score.formats import parse_trajectories, result_files, write_json, write_mat
from metatrack.evaluation.score.records import Trajectory
from metatrack.evaluation.score.summary import tracker_order
from metatrack.images import read_image
from metatrack.runtime.bundle import open_bundle
from metatrack.video import open_source, read_boxes
from tools.fuzz.mutate import mutate

ROWS = "".join(f"{10 + k},{20.5 + k},30,40\n" for k in range(12)).encode()
BUNDLE = files("metatrack") / "models" / "lite-no-meta"
REFUSALS: tuple[type[Exception], ...] = (ValueError, OSError)


@dataclass(frozen=True)
class Target:
    """A parser."""

    call: Callable[[Path, bytes], object]
    """Gives it a file's contents; the folder is empty and for it alone."""
    good: Callable[[], Sequence[bytes]]
    """Files that it reads."""
    refusals: tuple[type[Exception], ...] = REFUSALS
    """What it raises, with a sentence, for what it cannot read."""

    def damaged(self, seed: int, index: int) -> bytes:
        """The damaged file of this number; the same each time."""
        rng = random.Random(f"{seed}-{index}")  # noqa: S311 - to be repeated, not to be secret
        return mutate(rng.choice(self.good()), rng)


def cached(make: Callable[[], Sequence[bytes]]) -> Callable[[], Sequence[bytes]]:
    """Makes the good files once."""
    made: list[Sequence[bytes]] = []

    def good() -> Sequence[bytes]:
        if not made:
            made.append(make())
        return made[0]

    return good


def these(*given: object) -> Callable[[], Sequence[bytes]]:
    """Good files that are texts, bytes, or values for JSON."""
    texts = [
        each if isinstance(each, bytes) else (each if isinstance(each, str) else json.dumps(each)).encode() for each in given
    ]
    return lambda: texts


def in_file(name: str, read: Callable[[Path], object]) -> Callable[[Path, bytes], object]:
    """Calls a reader of a file with that name."""

    def call(folder: Path, data: bytes) -> object:
        (folder / name).write_bytes(data)
        return read(folder / name)

    return call


def of_text(read: Callable[[str], object]) -> Callable[[Path, bytes], object]:
    """Calls a reader of a text, line by line."""
    return lambda folder, data: [read(line) for line in data.decode("utf-8", "surrogateescape").rstrip("\n").split("\n")]


def in_data_set(
    kind: str, file: str, frames: Sequence[str], others: dict[str, str] | None = None
) -> Callable[[Path, bytes], object]:
    """Calls the reader of a data set, one file of which is given."""

    def call(folder: Path, data: bytes) -> object:
        for name in frames:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).touch()
        given: dict[str, str | bytes] = {**(others or {}), file: data}
        for name, text in given.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_dataset(kind, folder)

    return call


def in_store(file: str, read: Callable[[Store], object]) -> Callable[[Path, bytes], object]:
    """Calls a reader of an evaluation's folder, one file of which is given."""

    def call(folder: Path, data: bytes) -> object:
        store = Store(folder, "plain", "ope")
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(data)
        return read(store)

    return call


def read_all(folder: Path) -> int:
    """Reads at most some frames of a source."""
    with open_source(folder, end=200) as source:
        return sum(1 for _ in source)


def pictures(kind: str) -> Callable[[], Sequence[bytes]]:
    """An image in a format of Pillow's."""

    def make() -> Sequence[bytes]:
        pixels = np.random.default_rng(1).integers(0, 256, (48, 64, 3), np.uint8)
        file = io.BytesIO()
        PIL.Image.fromarray(pixels).save(file, kind)
        return [file.getvalue()]

    return cached(make)


def videos(suffix: str, codec: str) -> Callable[[], Sequence[bytes]]:
    """A short clip."""

    def make() -> Sequence[bytes]:
        import av

        file = io.BytesIO()
        pixels = np.random.default_rng(1).integers(0, 256, (48, 64, 3), np.uint8)
        with av.open(file, "w", format={"mkv": "matroska"}.get(suffix, suffix)) as container:
            stream: Any = container.add_stream(codec, rate=25)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            for k in range(6):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(np.roll(pixels, k, 0))))
            container.mux(stream.encode())
        return [file.getvalue()]

    return cached(make)


def results(suffix: str) -> Callable[[], Sequence[bytes]]:
    """Result files of two runs."""

    def make() -> Sequence[bytes]:
        import tempfile

        runs = [Trajectory(np.arange(40.0).reshape(10, 4) + 1, 1, 30.0), Trajectory(np.full((10, 4), np.nan))]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"Deer{suffix}"
            if suffix == ".mat":
                write_mat(path, runs)
            else:
                write_json(path, runs, "KCF", "Deer", "ope")
            return [path.read_bytes()]

    return cached(make)


def archives() -> Sequence[bytes]:
    """A .zip of result files."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("Deer.txt", "Jogging(2).txt"):
            archive.writestr(name, ROWS * 5)
    return [file.getvalue()]


def card(folder: Path, data: bytes) -> object:
    """Opens a bundle with this card."""
    for name in ("embed.onnx", "match.onnx"):
        shutil.copy(str(BUNDLE / name), folder / name)
    (folder / "card.json").write_bytes(data)
    return open_bundle(folder)


def graph(folder: Path, data: bytes) -> object:
    """Loads a bundle with this graph, whose hash is as its card says."""
    from metatrack.runtime.load import load_model

    facts: dict[str, Any] = json.loads((BUNDLE / "card.json").read_text(encoding="utf-8"))
    shutil.copy(str(BUNDLE / "embed.onnx"), folder / "embed.onnx")
    (folder / "match.onnx").write_bytes(data)
    facts["files"]["match.onnx"] |= {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    (folder / "card.json").write_text(json.dumps(facts))
    return load_model(folder, 1)


def facts_of_card(path: Path) -> object:
    """Reads facts for a card (needs torch)."""
    from metatrack.app.export import read_card_info

    return read_card_info(path)


def mix(path: Path) -> object:
    """Reads a mix of training data (needs torch)."""
    from metatrack.training.mix import load_mix

    return load_mix(path)


DEER = next(target for target in otb_targets() if target.name == "Deer")
UNIT = Unit("x", "a", 1, 0, 12)
FACTS = {"name": "x", "description": "y", "licence": "MIT", "data": [{"name": "z"}], "training": {}, "tracking": {}}
TRACKER = {"command": ["python3", "x.py"], "protocol": "trax", "env": {"A": "1"}, "folder": ".", "timeout_s": 3}
NOTED = {"start_frame": 1, "frame_size": [48, 64], "attributes": ["OCC"], "boxes": [[1, 2, 3, 4], None]}
ENTRIES = [
    {"name": "a", "root": ".", "split": "s", "weight": 1.5, "pattern": "a*"},
    {"name": "b", "root": ".", "stills": True, "weight": 1},
]
FRAMES = [f"{k:08d}.jpg" for k in range(1, 13)]
TEXTS = these(ROWS, ROWS.replace(b",", b"\t"), ROWS.replace(b",", b" ").replace(b"\n", b"\r\n"))
REGIONS = these("1,2,3,4\n1,2,5,2,5,4,1,4\nm10,20,3,2,1,1,2,1,1\nnan,nan,nan,nan\n0\n")

TARGETS = {
    "card": Target(card, lambda: [(BUNDLE / "card.json").read_bytes()]),
    "graph": Target(graph, lambda: [(BUNDLE / "match.onnx").read_bytes()]),
    "mix": Target(in_file("mix.json", mix), these(ENTRIES)),
    "tracker-json": Target(in_file("tracker.json", read_settings), these(TRACKER)),
    "facts": Target(in_file("facts.json", facts_of_card), these(FACTS), (Problem,)),
    "store-evaluation": Target(
        in_store("evaluation.json", lambda store: Store.open(store.root)),
        these({"format": 1, "data_set": "plain", "protocol": "ope"}),
    ),
    "store-tracker": Target(in_store("trackers/x.json", Store.trackers), these({"model": "lite", "files": {"a": "b"}})),
    "store-sequence": Target(in_store("sequences/a.json", Store.sequences), these(NOTED)),
    "store-boxes": Target(in_store("boxes/x/a.txt", lambda store: store.read_boxes(UNIT)), TEXTS),
    "store-seconds": Target(in_store("seconds/x/a.txt", lambda store: store.read_seconds(UNIT)), these("0.1\n" * 12)),
    "summary": Target(in_store("summary.json", tracker_order), these({"trackers": {"x": {"missing": []}}})),
    "otb": Target(
        in_data_set("otb", "Deer/groundtruth_rect.txt", [f"Deer/img/{k:04d}.jpg" for k in DEER.frames]),
        these(b"1,2,30,40\n" * DEER.rows),
    ),
    "got10k": Target(in_data_set("got10k", "s/groundtruth.txt", [f"s/{name}" for name in FRAMES]), TEXTS),
    "got10k-list": Target(
        in_data_set("got10k", "list.txt", [f"s/{name}" for name in FRAMES], {"s/groundtruth.txt": ROWS.decode()}), these("s\n")
    ),
    "got10k-labels": Target(
        in_data_set("got10k", "s/cover.label", [f"s/{name}" for name in FRAMES], {"s/groundtruth.txt": ROWS.decode()}),
        these("8\n" * 12),
    ),
    "lasot": Target(
        in_data_set(
            "lasot",
            "airplane-1/groundtruth.txt",
            [f"airplane-1/img/{name}" for name in FRAMES],
            {f"airplane-1/{name}.txt": ",".join("0" * 12) for name in ("full_occlusion", "out_of_view")},
        ),
        TEXTS,
    ),
    "uav123": Target(in_data_set("uav123", "anno/UAV123/bike1.txt", ["data_seq/UAV123/bike1/000001.jpg"]), TEXTS),
    "nfs": Target(
        in_data_set("nfs", "Gymnastics/30/Gymnastics.txt", [f"Gymnastics/30/Gymnastics/{name}" for name in FRAMES]),
        these('1 10 20 30 40 0 0 0 0 "x"\n' * 12),
    ),
    "tcolor128": Target(
        in_data_set(
            "tcolor128",
            "Airport_ce/Airport_ce_frames.txt",
            ["Airport_ce/img/0001.jpg"],
            {"Airport_ce/Airport_ce_gt.txt": "1,2,3,4\n"},
        ),
        these("1,1\n"),
    ),
    "vot": Target(in_data_set("vot", "s/groundtruth.txt", [f"s/{name}" for name in FRAMES]), REGIONS),
    "vot-list": Target(
        in_data_set("vot", "list.txt", [f"s/{name}" for name in FRAMES], {"s/groundtruth.txt": ROWS.decode()}), these("s\n")
    ),
    "vot-sequence": Target(
        in_data_set("vot", "s/sequence", [f"s/color/{name}" for name in FRAMES], {"s/groundtruth.txt": ROWS.decode()}),
        these("channels.color=color/%08d.jpg\n"),
    ),
    "plain": Target(in_data_set("plain", "groundtruth.txt", FRAMES), TEXTS),
    "plain-table": Target(
        in_data_set("plain", "boxes.csv", FRAMES), these("frame,x,y,w,h,score,lost\n0,1,2,3,4,0.5,0\n5,1,2,3,4,0.5,1\n")
    ),
    "stills": Target(in_file("boxes.csv", lambda path: read_stills(path.parent)), these("file,x,y,w,h\nboxes.csv,1,2,3,4\n")),
    "rows": Target(lambda folder, data: parse_rows(decode_text(data, "rows.txt"), "rows.txt", (4, 8)), TEXTS),
    "regions": Target(of_text(parse_region), REGIONS),
    "results-mat": Target(lambda folder, data: parse_trajectories(data, "Deer.mat"), results(".mat")),
    "results-json": Target(lambda folder, data: parse_trajectories(data, "Deer.json"), results(".json")),
    "results-txt": Target(lambda folder, data: parse_trajectories(data, "Deer.txt"), TEXTS),
    "results-zip": Target(in_file("r.zip", lambda path: list(result_files(path))), cached(archives)),
    "boxes-table": Target(
        in_file("boxes.csv", read_boxes), these("frame,x,y,w,h,score,lost\n0,1.5,2,3,4,0.5,0\n1,1,2,3,4,0.5,1\n")
    ),
    **{
        f"image-{kind}": Target(in_file(f"i.{kind}", read_image), pictures(kind))
        for kind in ("png", "jpeg", "bmp", "tiff", "webp", "gif")
    },
    **{
        f"video-{suffix}": Target(in_file(f"v.{suffix}", read_all), videos(suffix, codec))
        for suffix, codec in (("mp4", "libx264"), ("mkv", "libx264"), ("avi", "mpeg4"), ("webm", "libvpx-vp9"))
    },
    "trax": Target(
        of_text(parse_message), these('@@TRAX:state "1,2,3,4" "confidence=0.5"\n@@TRAX:frame "file:///a b.jpg"\nloading\n')
    ),
    "trax-region": Target(of_text(parse_region_of_trax), these("1,2,3,4\nmask:5,6,3,2,1,4\n1,2,5,2,5,4,1,4\n")),
    "trax-image": Target(of_text(parse_image), these("file:///a b.jpg\nimage:1;2;\n")),
    "answers": Target(of_text(parse_answer), these("1 2 3 4 0.5\n1,2,3,4\nnan nan nan nan\n")),
    "box": Target(
        of_text(
            lambda text: first_box(parse_box(join_box(["--box", *text.split()])[0].removeprefix("--box=")), 0, "v", (640, 360))
        ),
        these("10,20,30,40\n10 20 30 40\n1.5, 2, 3, 4\n"),
        (Problem,),
    ),
}
"""By name."""
