"""``python -m tools.pseudo.make --mirror DIR --segmenter FILE --held DIR --out DIR``: follows targets of all sources.

Each clip that is done leaves a record in ``<out>/records``, so that an interrupted call goes on where it stopped; delete those
of a source to make it anew. ``python -m tools.pseudo.finish --out DIR`` comes after it.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from metatrack.arrays import Float64
from metatrack.compared.opencv import Nano
from metatrack.files import write_atomically
from metatrack.geometry import Box, iou
from tools.collect.pictures import Crops, write_trajectory
from tools.collect.sources import Repository, make_all, read_sources
from tools.pseudo.agree import Own, Pair, followed
from tools.pseudo.checks import SAME, Held, trajectory
from tools.pseudo.material import TABLE, Scene, Source, clips, label, scenes
from tools.pseudo.propose import ISNet, Saliency, movers, salient

TEACHER = "HonglinChu/SiamTrackers"
TEACHER_COMMIT = "248663fde6bf"


@dataclass(frozen=True)
class PseudoOptions:
    """Labels clips by agreement."""

    mirror: Path
    """Folder of the mirrored repositories."""
    segmenter: Path
    """The ONNX file of ISNet, see sources.toml."""
    held: tuple[Path, ...]
    """Folders of frames that must not be trained on."""
    out: Path
    """Folder of the split train, of records, tables and sheets."""
    only: tuple[str, ...] = ()
    """These sources alone."""
    minutes: float = float("inf")
    """Begin no further clip after so long."""


class Tools:
    """What clips are labelled with."""

    def __init__(self, saliency: Saliency, pair: Pair, held: Held) -> None:
        self.saliency, self.pair, self.held = saliency, pair, held


def nano(mirror: Path) -> Nano:
    """NanoTrack v2 out of its mirrored repository.

    Raises:
        FileNotFoundError: it is not mirrored.
    """
    repository = Repository(mirror, TEACHER, TEACHER_COMMIT)
    folder = Path(tempfile.mkdtemp(prefix="nanotrack-"))
    for name in Nano.files.values():
        write_atomically(folder / name, repository.read(f"NanoTrack/models/nanotrackv2/{name}"))
    return Nano(folder)


def labelled(tools: Tools, scene: Scene, found: list[Box], most: int) -> Iterator[tuple[dict[str, Any], Crops]]:
    """What became of each target of a scene: facts, and crops where it was accepted.

    Args:
        tools: for it.
        scene: the frames.
        found: what the segmenter found in the frame in the middle.
        most: targets that move, beside those.
    """
    at = len(scene.frames) // 2
    taken: list[tuple[int, Float64]] = []
    moved = movers(scene.frames, at, found, most)
    for found_as, box in [*(("salient", box) for box in found), *(("moving", box) for box in moved)]:
        facts: dict[str, Any] = {"scene": scene.number, "found": found_as, "box": [round(v, 1) for v in box]}
        first, boxes = followed(tools.pair, scene.frames, at, box)
        frames = scene.frames[first : first + len(boxes)]
        crops, why = trajectory(frames, boxes)
        if crops and any(_meet(first, boxes, *other) for other in taken):
            crops, why = [], "meets another"
        if crops:
            likest = max(tools.held.likest(frame) for frame in frames)
            facts["likest"] = round(likest, 3)
            if likest > SAME:
                crops, why = [], "held out"
        if crops:
            taken.append((first, boxes))
        yield {**facts, "agreed": len(boxes), "why": why, "frames": len(crops)}, crops


def _meet(first: int, boxes: Float64, other_first: int, others: Float64) -> bool:
    """Whether two trajectories come to be of one target: their boxes overlap by half somewhere."""
    start, end = max(first, other_first), min(first + len(boxes), other_first + len(others))
    own, theirs = boxes[start - first : end - first], others[start - other_first : end - other_first]
    return bool(len(own)) and float(iou(own, theirs).max()) > 0.5


def label_clip(tools: Tools, name: str, source: Source, repository: Repository, path: str, out: Path) -> list[dict[str, Any]]:
    """Labels one clip and writes its trajectories: the facts of its targets."""
    rows: list[dict[str, Any]] = []
    pictures = (
        out / "salient" / name / f"{label(path)}.json"
    )  # the segmenter is dear: what it found outlasts a change of the rest
    known = json.loads(pictures.read_text(encoding="utf-8")) if pictures.exists() else {}
    for scene in scenes(source, repository, path):
        found = known.get(str(scene.number))
        if found is None:
            at = len(scene.frames) // 2
            found = salient(tools.saliency, scene.frames[at], source.salient) if source.salient else []
            known[str(scene.number)] = found
        for facts, crops in labelled(tools, scene, [Box(*each) for each in found], source.most):
            if crops:
                facts["name"] = f"{name}_{scene.clip}_{len(rows)}"  # a name stays where others are refused
                write_trajectory(out / "all" / facts["name"], crops, quality=90)
            rows.append(facts)
    pictures.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(pictures, json.dumps(known))
    return rows


def main(options: PseudoOptions) -> int:
    """Makes the sources; 1 if one of them failed."""
    held = Held.of(options.held, options.out / "held.npy")
    tools = Tools(ISNet(options.segmenter), (Own(), nano(options.mirror)), held)
    until = time.monotonic() + 60 * options.minutes

    def make(name: str, source: Source) -> str:
        repository = Repository(options.mirror, source.repository, source.commit)
        paths = clips(source, repository)
        done = made = 0
        for path in paths:
            record = options.out / "records" / name / f"{label(path)}.json"
            if not record.exists():
                if time.monotonic() > until:
                    break
                start = time.process_time()
                targets = label_clip(tools, name, source, repository, path, options.out)
                facts = {"path": path, "seconds": round(time.process_time() - start, 1), "targets": targets}
                record.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(record, json.dumps(facts, indent=1))
            done += 1
            made += sum("name" in each for each in json.loads(record.read_text())["targets"])
        return f"{done} of {len(paths)} clips, {made} trajectories"

    return make_all(read_sources(TABLE, Source, options.only), make)


if __name__ == "__main__":
    raise SystemExit(main(tyro.cli(PseudoOptions)))
