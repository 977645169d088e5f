"""Every parser of what comes from outside, by name: how it is given a damaged file, and which exceptions it promises."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from importlib.resources import files
from pathlib import Path
from typing import Any

from metatrack.app.boxes import first_box, join_box, parse_box
from metatrack.app.problem import Problem
from metatrack.app.vot import serve
from metatrack.compared.process import parse_answer, read_settings
from metatrack.compared.trax import parse_box as parse_region_of_trax
from metatrack.compared.trax import parse_image, parse_message
from metatrack.data.got10k import read_stills
from metatrack.data.otb import otb_targets
from metatrack.data.regions import parse_region
from metatrack.data.rows import decode_text, parse_rows
from metatrack.data.uav123 import uav123_targets
from metatrack.evaluation.run.store import Store, Unit
from metatrack.evaluation.score.formats import parse_trajectories, result_files
from metatrack.evaluation.score.summary import tracker_order
from metatrack.files import inside
from metatrack.images import read_image
from metatrack.runtime.bundle import open_bundle
from metatrack.runtime.graph_file import check_graph
from metatrack.runtime.load import load_model
from metatrack.tracking.settings import TrackerSettings
from metatrack.video import open_source, read_boxes
from metatrack.video.source import local_path, scheme_of
from tools.fuzz.exchanged import EXCHANGED
from tools.fuzz.good import ROWS, archives, pictures, results, videos, weights
from tools.fuzz.target import REFUSALS, Target, in_data_set, in_file, in_store, of_text, these

BUNDLE = files("metatrack") / "models" / "lite-no-meta"


def read_all(path: Path) -> int:
    """Reads at most some frames of a source."""
    with open_source(path, end=200) as source:
        return sum(1 for _ in source)


def linked_bundle(folder: Path) -> None:
    """A bundle's graphs; its card is the input."""
    for name in ("embed.onnx", "match.onnx"):
        shutil.copy(str(BUNDLE / name), folder / name)


def graph(folder: Path, data: bytes) -> object:
    """Loads a bundle with this graph, whose hash is as its card says."""
    facts: dict[str, Any] = json.loads((BUNDLE / "card.json").read_text(encoding="utf-8"))
    (folder / "match.onnx").write_bytes(data)
    facts["files"]["match.onnx"] |= {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    (folder / "card.json").write_text(json.dumps(facts))
    return load_model(folder, 1)


def facts_of_card(path: Path) -> object:
    """Reads facts for a card (needs torch)."""
    from metatrack.bundling.export import CardInfo
    from metatrack.typed import read_json

    return read_json(path, CardInfo)


def mix(path: Path) -> object:
    """Reads a mix of training data (needs torch)."""
    from metatrack.training.mix import load_mix

    return load_mix(path)


def training_data(folder: Path) -> None:
    """What the good mix names: a clip, and a still with its table."""
    (folder / "s" / "a1").mkdir(parents=True)
    for name in ("s/a1/00000001.jpg", "c.png"):
        (folder / name).touch()
    (folder / "s" / "a1" / "groundtruth.txt").write_text("1,2,3,4\n", encoding="utf-8")
    (folder / "boxes.csv").write_text("file,x,y,w,h\nc.png,1,2,3,4\n", encoding="utf-8")


def trained(path: Path) -> object:
    """Reads a training's weights (needs torch)."""
    from metatrack.training.weights import read_weights

    return read_weights(path, "network")


def settings(path: Path) -> object:
    """Settings as a card or a user gives them."""
    from metatrack.typed import read_json

    given = read_json(path, dict[str, Any])
    return TrackerSettings(**given)


class Standing:
    """A tracker for conversations: its target stays where it was."""

    class model:  # noqa: N801 - an attribute of trackers
        """As a model, to be named."""

        name = "standing"

    def init(self, frame: Any, box: Sequence[float]) -> None:
        """Takes the box."""
        from metatrack.geometry import check_box

        self.box = check_box(box, frame.shape[:2])

    def update(self, frame: Any) -> tuple[Any, float, bool]:
        """Answers with it."""
        return self.box, 0.5, False


def conversation(folder: Path, data: bytes) -> None:
    """What a program that speaks TraX says to ``metatrack vot``; ``HERE`` is the folder, which holds an image."""
    text = data.replace(b"HERE", bytes(folder)).decode("utf-8", "surrogateescape")
    serve(Standing(), text.splitlines(), lambda line: None)  # type: ignore[arg-type]


def an_image(folder: Path) -> None:
    """``a.png``."""
    (folder / "a.png").write_bytes(pictures("png")()[0])


def command_line(line: str) -> None:
    """``metatrack track missing.mp4`` with these words behind it."""
    from metatrack.cli import dispatch

    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()) as said:
        try:
            dispatch(["track", "missing.mp4", *line.split("|")])
        except SystemExit as end:
            if end.code not in (0, 2) or "Traceback" in said.getvalue():
                raise RuntimeError(f"exit code {end.code}: {said.getvalue()}") from end
            raise ValueError("the options are wrong") from end


def bundle_card() -> Sequence[bytes]:
    """The card of a shipped model."""
    return [(BUNDLE / "card.json").read_bytes()]


DEER = next(target for target in otb_targets() if target.name == "Deer")
FLIGHT, (FLOWN, BEGIN, LAND) = min(uav123_targets().items(), key=lambda each: each[1][2] - each[1][1])
UNIT = Unit("x", "a", 1, 0, 12)
FACTS = {"name": "x", "description": "y", "licence": "MIT", "data": [{"name": "z"}], "training": {}, "tracking": {}}
TRACKER = {"command": ["python3", "x.py"], "protocol": "trax", "env": {"A": "1"}, "folder": ".", "timeout_s": 3}
NOTED = {"start_frame": 1, "frame_size": [48, 64], "attributes": ["OCC"], "boxes": [[1, 2, 3, 4], None]}
SETTINGS = {"window": 0.3, "adaptation": {"interval": 30, "choice": "peak"}, "size_limits": [0.2, 5.0], "redetection.below": 0.2}
ENTRIES = [
    {"name": "a", "root": ".", "split": "s", "weight": 1.5, "pattern": "a*"},
    {"name": "b", "root": ".", "stills": True, "weight": 1},
]
FRAMES = [f"{k:08d}.jpg" for k in range(1, 13)]
IN_S = [f"s/{name}" for name in FRAMES]
TEXTS = these(ROWS, ROWS.replace(b",", b"\t"), ROWS.replace(b",", b" ").replace(b"\n", b"\r\n"))
REGIONS = these("1,2,3,4\n1,2,5,2,5,4,1,4\nm10,20,3,2,1,1,2,1,1\nnan,nan,nan,nan\n0\n")
TRUTH = {"s/groundtruth.txt": ROWS.decode()}
CONVERSATION = these(
    '@@TRAX:initialize "10,10,20,20"\n@@TRAX:frame "file://HERE/a.png"\n@@TRAX:frame "file://HERE/a.png"\n@@TRAX:quit\n',
    '@@TRAX:initialize "file://HERE/a.png" "10,10,20,20"\n@@TRAX:frame "file://HERE/a.png" "x=1"\n',
)
NAMES = these("a/b.jpg\n0001.jpg\nx y.png\na/./b\n")
ADDRESSES = these("rtsp://user:secret@camera:554/1?x=1\nfile:///data/a%20b.mp4\nhttp://host/a.mp4\nclip:1.mp4\nconcat:a|b\n")
WORDS = these(
    "--box|1,2,3,4|--boxes|b.csv\n--box=1,2,3,4|--start|3|--end|9|--no-adapt\n--model|lite|--threads|2|--engine|onnxruntime\n",
    "--box|1|2|3|4|--video|v.mp4|--times|--allow|ftp\n",
)

TARGETS = {
    "card": Target(in_file("card.json", lambda path: open_bundle(path.parent)), bundle_card, prepare=linked_bundle),
    "model": Target(in_file("card.json", lambda path: load_model(path.parent, 1)), bundle_card, prepare=linked_bundle),
    "graph": Target(graph, lambda: [(BUNDLE / "match.onnx").read_bytes()], prepare=linked_bundle),
    "graph-file": Target(lambda folder, data: check_graph(data), lambda: [(BUNDLE / "match.onnx").read_bytes()]),
    "settings": Target(in_file("settings.json", settings), these(SETTINGS)),
    "mix": Target(in_file("mix.json", mix), these(ENTRIES), prepare=training_data),
    "weights": Target(in_file("best.pt", trained), weights),
    "tracker-json": Target(in_file("tracker.json", read_settings), these(TRACKER)),
    "facts": Target(in_file("facts.json", facts_of_card), these(FACTS)),
    "store-evaluation": Target(
        in_file("evaluation.json", lambda path: Store.open(path.parent)),
        these({"format": 1, "data_set": "plain", "protocol": "ope"}),
    ),
    "store-tracker": in_store("trackers/x.json", Store.trackers, these({"model": "lite", "files": {"a": "b"}})),
    "store-sequence": in_store("sequences/a.json", Store.sequences, these(NOTED)),
    "store-boxes": in_store("boxes/x/a.txt", lambda store: store.read_boxes(UNIT), TEXTS),
    "store-seconds": in_store("seconds/x/a.txt", lambda store: store.read_seconds(UNIT), these("0.1\n" * 12)),
    "summary": in_store("summary.json", tracker_order, these({"trackers": {"x": {"missing": []}}})),
    "otb": in_data_set(
        "otb", "Deer/groundtruth_rect.txt", [f"Deer/img/{k:04d}.jpg" for k in DEER.frames], these(b"1,2,30,40\n" * DEER.rows)
    ),
    "got10k": in_data_set("got10k", "s/groundtruth.txt", IN_S, TEXTS),
    "got10k-list": in_data_set("got10k", "list.txt", IN_S, these("s\n"), TRUTH),
    "got10k-labels": in_data_set("got10k", "s/cover.label", IN_S, these("8\n" * 12), TRUTH),
    "lasot": in_data_set(
        "lasot",
        "airplane-1/groundtruth.txt",
        [f"airplane-1/img/{name}" for name in FRAMES],
        TEXTS,
        {f"airplane-1/{name}.txt": ",".join("0" * 12) for name in ("full_occlusion", "out_of_view")},
    ),
    "uav123": in_data_set(
        "uav123",
        f"anno/UAV123/{FLIGHT}.txt",
        [f"data_seq/UAV123/{FLOWN}/{k:06d}.jpg" for k in range(BEGIN, LAND + 1)],
        these(b"1,2,30,40\n" * (LAND - BEGIN + 1)),
    ),
    "nfs": in_data_set(
        "nfs",
        "Gymnastics/30/Gymnastics.txt",
        [f"Gymnastics/30/Gymnastics/{name}" for name in FRAMES],
        these('1 10 20 30 40 0 0 0 0 "x"\n' * 12),
    ),
    "tcolor128": in_data_set(
        "tcolor128",
        "Airport_ce/Airport_ce_frames.txt",
        ["Airport_ce/img/0001.jpg"],
        these("1,1\n"),
        {"Airport_ce/Airport_ce_gt.txt": "1,2,3,4\n"},
    ),
    "vot": in_data_set("vot", "s/groundtruth.txt", IN_S, REGIONS),
    "vot-list": in_data_set("vot", "list.txt", IN_S, these("s\n"), TRUTH),
    "vot-sequence": in_data_set(
        "vot", "s/sequence", [f"s/color/{name}" for name in FRAMES], these("channels.color=color/%08d.jpg\n"), TRUTH
    ),
    "plain": in_data_set("plain", "groundtruth.txt", FRAMES, TEXTS),
    "plain-table": in_data_set(
        "plain", "boxes.csv", FRAMES, these("frame,x,y,w,h,score,lost\n0,1,2,3,4,0.5,0\n5,1,2,3,4,0.5,1\n")
    ),
    "stills": Target(in_file("boxes.csv", lambda path: read_stills(path.parent)), these("file,x,y,w,h\nboxes.csv,1,2,3,4\n")),
    "rows": Target(lambda folder, data: parse_rows(decode_text(data, "rows.txt"), "rows.txt", (4, 8)), TEXTS),
    "regions": Target(of_text(parse_region), REGIONS),
    "names": Target(of_text(lambda name: inside("data", name, "list.txt")), NAMES),
    "addresses": Target(of_text(lambda text: scheme_of(text) or local_path(text)), ADDRESSES),
    "results-mat": Target(lambda folder, data: parse_trajectories(data, "Deer.mat"), results(".mat")),
    "results-json": Target(lambda folder, data: parse_trajectories(data, "Deer.json"), results(".json")),
    "results-txt": Target(lambda folder, data: parse_trajectories(data, "Deer.txt"), TEXTS),
    "results-zip": Target(in_file("r.zip", lambda path: list(result_files(path))), archives),
    "boxes-table": Target(
        in_file("boxes.csv", read_boxes),
        these(
            "frame,x,y,w,h,score,lost\n0,1.5,2,3,4,0.5,0\n1,1,2,3,4,0.5,1\n",
            "frame,x,y,w,h,score,lost,time\n0,1.5,2,3,4,0.5,0,0.04\n1,1,2,3,4,0.5,1,\n",
            "frame,id,x,y,w,h,score,lost\n0,1,1.5,2,3,4,0.5,0\n0,dog,1,2,3,4,0.5,1\n",
        ),
    ),
    **{
        f"image-{kind}": Target(in_file(f"i.{kind}", read_image), pictures(kind, modes))
        for kind, modes in {
            "png": ("RGB", "P", "LA", "I;16", "1"),
            "jpeg": ("RGB", "L", "CMYK"),
            "jpeg2000": ("RGB", "L"),
            "bmp": ("RGB", "P"),
            "tiff": ("RGB", "CMYK", "F", "I;16"),
            "webp": ("RGB", "RGBA"),
            "gif": ("P",),
            "ppm": ("RGB", "L", "1"),
        }.items()
    },
    **{
        f"video-{suffix}": Target(in_file(f"v.{suffix}", read_all), videos(suffix, codec))
        for suffix, codec in {
            **{"mp4": "libx264", "mkv": "libx264", "avi": "mpeg4", "webm": "libvpx-vp9", "mov": "mjpeg"},
            **{"ts": "libx264", "mpg": "mpeg2video", "flv": "flv", "gif": "gif"},
        }.items()
    },
    "trax": Target(
        of_text(parse_message), these('@@TRAX:state "1,2,3,4" "confidence=0.5"\n@@TRAX:frame "file:///a b.jpg"\nloading\n')
    ),
    "trax-conversation": Target(conversation, CONVERSATION, (Problem,), an_image),
    "trax-region": Target(of_text(parse_region_of_trax), these("1,2,3,4\nmask:5,6,3,2,1,4\n1,2,5,2,5,4,1,4\n")),
    "trax-image": Target(of_text(parse_image), these("file:///a b.jpg\n/a/b.jpg\n")),
    "answers": Target(of_text(parse_answer), these("1 2 3 4 0.5\n1,2,3,4\nnan nan nan nan\n")),
    "box": Target(
        of_text(
            lambda text: first_box(parse_box(join_box(["--box", *text.split()])[0].removeprefix("--box=")), 0, "v", (640, 360)),
            (Problem,),
        ),
        these("10,20,30,40\n10 20 30 40\n1.5, 2, 3, 4\n"),
        (Problem,),
    ),
    **EXCHANGED,
    "command-line": Target(of_text(command_line, (Problem, *REFUSALS)), WORDS, (Problem, *REFUSALS)),
}
"""By name."""
