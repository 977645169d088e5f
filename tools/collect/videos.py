"""What a source of ``video.toml`` is, and its videos: frames, the objects in each, and tracks of objects through time."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ET  # noqa: S405 - for its error
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import Literal, NamedTuple

import av
import cv2
import msgspec
import numpy as np
import PIL.Image

from metatrack.arrays import Float64, Floats
from metatrack.geometry import Box, Image, iou
from tools.collect.annotations import Annotation, voc, yolo
from tools.collect.sources import Repository

MOST_FRAMES = 600  # of a video file that are read


class VideoSource(msgspec.Struct, forbid_unknown_fields=True):
    """An entry of ``video.toml``, which says what the fields mean."""

    repositories: list[str]
    commits: list[str]
    what: str
    licence: str
    kind: Literal["voc", "yolo", "rows", "blobs", "jhmdb"]
    stride: int
    frames: str = ""
    title: str = "a"
    labels: str = ""
    blobs: dict[str, tuple[int, int, int]] = {}
    gap: int = 6
    overlap: float = 0.3
    ncc: float = 0.25
    still: float = 0.25
    cap: int = 40
    per: int = 40
    refused: dict[str, list[int]] = {}


class Frame(NamedTuple):
    """A frame of a video, and the objects in it."""

    number: int
    read: Callable[[], Image | None]
    objects: list[Annotation]


class Step(NamedTuple):
    """A target in one frame."""

    frame: Frame
    name: str
    box: Box


def videos(source: VideoSource, repositories: list[Repository]) -> Iterator[tuple[str, list[Frame]]]:
    """Names of the source's videos, and their frames."""
    if source.kind == "jhmdb":
        yield from jhmdb(*repositories)
        return
    (repository,) = repositories
    found: dict[str, list[tuple[int, str, str]]] = {}  # number, frame and label of each frame of a video
    for match, label in repository.pairs(source.frames, source.labels or r"\g<0>"):
        number = int(match.groupdict().get("n") or 0)
        found.setdefault(match.expand(source.title), []).append((number, match.string, label))
    for video, rows in sorted(found.items()):
        if source.kind == "blobs":
            yield video, blobs(images(repository, [path for _, path, _ in sorted(rows)]), *source.blobs[video])
            continue
        frames = []
        for number, path, label in sorted(rows):
            with suppress(ET.ParseError, OSError, ValueError, IndexError):
                objects = objects_in(source.kind, repository, path, label, number)
                frames.append(Frame(number, partial(repository.image, path), objects))
        yield video, frames


def objects_in(kind: str, repository: Repository, path: str, label: str, number: int) -> list[Annotation]:
    """The objects in a frame, in pixels."""
    data = repository.read(label)
    if kind == "voc":
        return voc(data)[1]
    if kind == "rows":  # x, y, w, h of one target, a row for each frame
        box = Box(*map(float, data.decode().split("\n")[number - 1].split()))
        return [Annotation(box, "person")] if min(box.w, box.h) > 0 else []
    with PIL.Image.open(io.BytesIO(repository.read(path))) as image:  # its head alone
        return [each.in_pixels(image.height, image.width) for each in yolo(data, [])]


def images(repository: Repository, paths: list[str]) -> list[Image]:
    """Frames that are files, or those of the one video file that there is."""
    if len(paths) == 1:
        return decoded(repository.read(paths[0]))
    return [image for path in paths[:MOST_FRAMES] if (image := repository.image(path)) is not None]


def decoded(data: bytes) -> list[Image]:
    """The first frames of a video file."""
    with av.open(io.BytesIO(data), "r") as container:
        frames = islice(container.decode(video=0), MOST_FRAMES)
        return [np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for frame in frames]


def blobs(frames: list[Image], least: int, most: int, animals: int) -> list[Frame]:
    """Animals in an empty arena under a still camera: what differs from the median, blobs of so many pixels, the largest ones."""
    greys = [np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8) for image in frames]
    background = np.median(np.stack(greys[:: max(1, len(greys) // 40)]), axis=0).astype(np.uint8)
    found = []
    for number, (image, grey) in enumerate(zip(frames, greys)):
        moved = (cv2.absdiff(grey, background) > 25).astype(np.uint8)
        _, _, stats, _ = cv2.connectedComponentsWithStats(cv2.morphologyEx(moved, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8)))
        height, width = grey.shape
        clean = [
            (size, Box(x - 1.0, y - 1.0, w + 2.0, h + 2.0))
            for x, y, w, h, size in stats[1:].tolist()
            if least <= size <= most and x > 1 and y > 1 and x + w < width - 1 and y + h < height - 1
        ]
        largest = clean if len(clean) <= animals else sorted(clean, key=lambda each: -each[0])[:animals]
        found.append(Frame(number, partial(np.asarray, image), [Annotation(box, "animal") for _, box in largest]))
    return found


def jhmdb(clips: Repository, boxes: Repository) -> Iterator[tuple[str, list[Frame]]]:
    """JHMDB's clips (film and web clips of 21 actions) with the boxes of the person that YOWO's evaluation carries."""
    archive = zipfile.ZipFile(io.BytesIO(boxes.read("evaluation_ucf24_jhmdb/groundtruths_jhmdb.zip")))
    known: dict[str, dict[int, list[Annotation]]] = {}  # by clip and frame
    for file in archive.namelist():
        if match := re.fullmatch(r"groundtruths_jhmdb/(.*)_(\d{5})\.txt", file):
            left, top, right, bottom = map(float, archive.read(file).decode().split()[1:5])
            person = Annotation(Box(left, top, right - left, bottom - top), "person")
            known.setdefault(match[1], {})[int(match[2])] = [person]
    of_film: Counter[str] = Counter()
    for path in sorted(clips.files):
        match = re.fullmatch(r"data/(.*)/(.*)\.avi", path)
        if match is None or (title := f"{match[1]}_{match[2]}") not in known:
            continue
        film = re.sub(r"_[a-z]_[a-z]{2}_np\d_.*", "", match[2])
        of_film[film] += 1
        if of_film[film] <= 2:  # two clips of a film
            there, images = known[title], enumerate(decoded(clips.read(path)), 1)
            yield title, [Frame(n, partial(np.asarray, image), there[n]) for n, image in images if n in there]


def link(video: list[Frame], gap: int, least: float) -> list[list[Step]]:
    """Tracks of objects of one class: best mutual overlap, from where constant velocity puts the box, or where it was.

    A track that ends is better than one that swaps: where two boxes are nearly as good, it ends, and so it does after ``gap``
    frames, or where boxes overlap less than ``least``.
    """
    live: list[list[Step]] = []
    done: list[list[Step]] = []
    for frame in video:
        done += [track for track in live if frame.number - track[-1].frame.number > gap]
        live = [track for track in live if frame.number - track[-1].frame.number <= gap]
        steps = [Step(frame, each.name, each.box) for each in frame.objects]
        scores = np.array([_scores(track, steps) for track in live]).reshape(len(live), len(steps))
        used: set[int] = set()
        for row, track in enumerate(live):
            if steps and (best := _clear_winner(scores, row, least)) is not None and best not in used:
                used.add(best)
                track.append(steps[best])
        live += [[step] for k, step in enumerate(steps) if k not in used and min(step.box[2:]) > 0]
    return done + live


def _scores(track: list[Step], steps: list[Step]) -> Floats:
    """How well each of the steps to a frame goes on with a track; 0 for another class, or for another size."""
    last = track[-1]
    boxes = np.array([step.box for step in steps], np.float64).reshape(-1, 4)
    expected = np.array(last.box)
    if len(track) > 1 and steps:
        before = track[-2]
        now, then, earlier = (step.frame.number for step in (steps[0], last, before))
        middles = [np.array(step.box[:2]) + np.array(step.box[2:]) / 2 for step in (before, last)]
        expected[:2] += (now - then) / max(1, then - earlier) * (middles[1] - middles[0])
    growth = boxes[:, 2:].prod(1) / (last.box.w * last.box.h + 1e-9)
    possible = [step.name == last.name and min(step.box[2:]) > 0 for step in steps]
    fitting = np.array(possible, bool) & (growth > 0.5) & (growth < 2)
    return np.where(fitting, np.maximum(iou(expected, boxes), iou(last.box, boxes)), 0.0)


def _clear_winner(scores: Float64, row: int, least: float) -> int | None:
    """The box that goes on with a track; none if there is doubt."""
    best = int(scores[row].argmax())
    score = scores[row, best]
    if score < least or (scores.shape[1] > 1 and (scores[:, best].argmax() != row or np.sort(scores[row])[-2] >= 0.6 * score)):
        return None
    return best
