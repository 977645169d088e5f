"""``python -m tools.pseudo.make --mirror DIR --segmenter FILE --held DIR --out DIR``: follows targets of all sources.

Each clip that is done leaves a record in ``<out>/records``, so that an interrupted call goes on where it stopped; delete those
of a source to make it anew. ``python -m tools.pseudo.finish --out DIR`` comes after it.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import tyro

from metatrack.arrays import Float64
from metatrack.compared.opencv import Nano
from metatrack.files import write_atomically
from metatrack.geometry import Box, Image, iou
from tools.collect.pictures import Crops, write_trajectory
from tools.collect.sources import Repository, make_all, read_sources
from tools.pseudo.agree import Own, Pair, followed
from tools.pseudo.alone import people_alone
from tools.pseudo.checks import SAME, SHORTEST, Held, trajectory
from tools.pseudo.detector import Detector, YoloX, again, confirmed, found_in, still
from tools.pseudo.faces import FACE, Faces, YuNet, followed_faces
from tools.pseudo.material import TABLE, Scene, Source, clips, label, scenes
from tools.pseudo.propose import ISNet, Saliency, movers, salient

TEACHER = "HonglinChu/SiamTrackers"
TEACHER_COMMIT = "248663fde6bf"
MOST_SCENES, ENOUGH = 4, 5
"""Scenes of a clip that a detector looks at; trajectories after which it looks at no further one."""
LONG_SCENE = 40
"""Frames from which targets are looked for three times."""


@dataclass(frozen=True)
class PseudoOptions:
    """Labels clips by agreement."""

    mirror: Path
    """Folder of the mirrored repositories."""
    held: tuple[Path, ...]
    """Folders of frames that must not be trained on."""
    out: Path
    """Folder of the split train, of records, tables and sheets."""
    segmenter: Path | None = None
    """The ONNX file of ISNet, see sources.toml: find what stands out, and what moves."""
    detector: Path | None = None
    """The ONNX file of YOLOX instead, see sources.toml: find what COCO names."""
    faces: Path | None = None
    """The ONNX file of YuNet instead, see sources.toml: find faces."""
    only: tuple[str, ...] = ()
    """These sources alone."""
    minutes: float = float("inf")
    """Begin no further clip after so long."""


class Tools:
    """What clips are labelled with: a segmenter or a detector of things or of faces, and trackers."""

    def __init__(
        self, saliency: Saliency | None, pair: Pair, held: Held, detector: Detector | None = None, faces: Faces | None = None
    ) -> None:
        self.saliency, self.pair, self.held, self.detector, self.faces = saliency, pair, held, detector, faces


Taken = list[tuple[int, Float64]]
"""Index of the first frame and boxes of the trajectories of a scene so far."""


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
    taken: Taken = []
    moved = movers(scene.frames, at, found, most)
    for found_as, box in [*(("salient", box) for box in found), *(("moving", box) for box in moved)]:
        first, boxes = followed(tools.pair, scene.frames, at, box)
        facts = {"scene": scene.number, "found": found_as, "box": [round(v, 1) for v in box]}
        more, crops = judged(tools.held, scene.frames, first, boxes, taken)
        yield {**facts, **more}, crops


def detected(tools: Tools, detector: Detector, scene: Scene, source: Source) -> Iterator[tuple[dict[str, Any], Crops]]:
    """The same of targets that the detector finds in up to three frames of a scene, and confirms later."""
    frames = scene.frames
    taken: Taken = []
    tried: Taken = []
    last = len(frames) - 1
    for at in (last // 2, last // 6, last - last // 6)[: 3 if last >= LONG_SCENE else 1]:
        for (box, score, class_), alone in found_in(detector, frames[at], source.detected, source.parts):
            if any(first <= at < first + len(there) and iou(box, there[at - first]) > 0.4 for first, there in tried):
                continue
            facts: dict[str, Any] = {"found": "detected", "class": class_, "score": round(score, 2)}
            facts |= {"alone": alone, "at": at, "box": [round(v, 1) for v in box]}
            if why := "stands still" if still(frames, at, box) else None if again(detector, frames[at], box) else "not confirmed":
                yield {**facts, "why": why, "frames": 0}, []
                continue
            first, agreed = followed(tools.pair, frames, at, box, back=not alone)
            tried.append((first, agreed))
            start, boxes = confirmed(detector, frames[first : first + len(agreed)], agreed, at - first)
            more, crops = judged(tools.held, frames, first + start, boxes, taken)
            if len(boxes) < SHORTEST <= len(agreed):
                more["why"] = "not confirmed"
            yield {**facts, "followed": len(agreed), **more}, crops


def faces_of(tools: Tools, faces: Faces, scene: Scene, source: Source) -> Iterator[tuple[dict[str, Any], Crops]]:
    """The same of the faces that are seen longest in a scene."""
    tracks = followed_faces([faces(frame) for frame in scene.frames], scene.frames[0].shape)
    taken: Taken = []
    for first, boxes in tracks[: source.faces]:
        more, crops = judged(tools.held, scene.frames, first, boxes, taken)
        yield {"found": "face", "class": FACE, "at": first, **more}, crops


def judged(held: Held, frames: list[Image], first: int, boxes: Float64, taken: Taken) -> tuple[dict[str, Any], Crops]:
    """What is to be said of a followed target, and its crops where it is accepted; it is then among those that are taken.

    Args:
        held: frames that must not be trained on.
        frames: of the scene.
        first: index of the frame of its first box.
        boxes: ``(n, 4)``.
        taken: targets of the scene that were accepted.
    """
    facts: dict[str, Any] = {"agreed": len(boxes)}
    part = frames[first : first + len(boxes)]
    crops, why = trajectory(part, boxes)
    if crops and any(_meet(first, boxes, *other) for other in taken):
        crops, why = [], "meets another"
    if crops:
        likest = max(held.likest(frame) for frame in part)
        facts["likest"] = round(likest, 3)
        if likest > SAME:
            crops, why = [], "held out"
    if crops:
        taken.append((first, boxes))
    return {**facts, "why": why, "frames": len(crops)}, crops


def _meet(first: int, boxes: Float64, other_first: int, others: Float64) -> bool:
    """Whether two trajectories come to be of one target: their boxes overlap by half somewhere."""
    start, end = max(first, other_first), min(first + len(boxes), other_first + len(others))
    if end <= start:
        return False
    own, theirs = boxes[start - first : end - first], others[start - other_first : end - other_first]
    return float(iou(own, theirs).max()) > 0.5


def label_clip(tools: Tools, name: str, source: Source, repository: Repository, path: str, out: Path) -> list[dict[str, Any]]:
    """Labels one clip and writes its trajectories: the facts of its targets."""
    if (faces := tools.faces) is not None:
        some = islice(scenes(source, repository, path), MOST_SCENES)
        found_faces = (each for scene in some for each in _numbered(scene, faces_of(tools, faces, scene, source)))
        return _written(found_faces, f"{name}_{label(path)}_f", out)
    if (detector := tools.detector) is not None:
        return _written(_some(tools, detector, source, scenes(source, repository, path)), f"{name}_{label(path)}_d", out)
    if (saliency := tools.saliency) is None:
        raise ValueError("there is neither a segmenter nor a detector, of things or of faces")
    pictures = (
        out / "salient" / name / f"{label(path)}.json"
    )  # the segmenter is dear: what it found outlasts a change of the rest
    known = json.loads(pictures.read_text(encoding="utf-8")) if pictures.exists() else {}

    def found() -> Iterator[tuple[dict[str, Any], Crops]]:
        for scene in scenes(source, repository, path):
            if (boxes := known.get(str(scene.number))) is None:
                at = len(scene.frames) // 2
                boxes = salient(saliency, scene.frames[at], source.salient) if source.salient else []
                known[str(scene.number)] = boxes
            yield from labelled(tools, scene, [Box(*each) for each in boxes], source.most)

    rows = _written(found(), f"{name}_{label(path)}_", out)
    pictures.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(pictures, json.dumps(known))
    return rows


def _numbered(scene: Scene, targets: Iterable[tuple[dict[str, Any], Crops]]) -> Iterator[tuple[dict[str, Any], Crops]]:
    """Targets with the number of their scene."""
    for facts, crops in targets:
        yield {"scene": scene.number, **facts}, crops


def _some(tools: Tools, detector: Detector, source: Source, found: Iterator[Scene]) -> Iterator[tuple[dict[str, Any], Crops]]:
    """What became of the targets of a clip's first scenes, until there are enough of it."""
    accepted = 0
    for scene in islice(found, MOST_SCENES):
        if source.alone:
            targets = people_alone(detector, tools.held, scene.frames)
        else:
            targets = detected(tools, detector, scene, source)
        for facts, crops in _numbered(scene, targets):
            accepted += bool(crops)
            yield facts, crops
        if accepted >= ENOUGH:
            return


def _written(targets: Iterable[tuple[dict[str, Any], Crops]], start: str, out: Path) -> list[dict[str, Any]]:
    """Writes trajectories, their names ``start`` and a number that stays where others are refused: the facts, with names."""
    rows: list[dict[str, Any]] = []
    for facts, crops in targets:
        if crops:
            facts["name"] = f"{start}{len(rows)}"
            write_trajectory(out / "all" / facts["name"], crops, quality=90)
        rows.append(facts)
    return rows


def main(options: PseudoOptions) -> int:
    """Makes the sources; 1 if one of them failed."""
    held = Held.of(options.held, options.out / "held.npy")
    if sum(each is not None for each in (options.segmenter, options.detector, options.faces)) != 1:
        raise ValueError("give one of --segmenter, --detector and --faces; a second call takes another")
    saliency = ISNet(options.segmenter) if options.segmenter else None
    detector = YoloX(options.detector) if options.detector else None
    faces = YuNet(options.faces) if options.faces else None
    tools = Tools(saliency, (Own(), nano(options.mirror)), held, detector, faces)
    kind = ".detected" if detector else ".faces" if faces else ""
    until = time.monotonic() + 60 * options.minutes

    def make(name: str, source: Source) -> str:
        repository = Repository(options.mirror, source.repository, source.commit)
        paths = clips(source, repository)
        done = made = 0
        for path in paths:
            record = options.out / "records" / name / f"{label(path)}{kind}.json"
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
