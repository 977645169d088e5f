"""Sources of video whose boxes stand in no usual form: a function each, from repositories to videos."""

from __future__ import annotations

import io
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import av
import cv2
import numpy as np

from metatrack.arrays import UInt8
from tools.collect.linking import Frame, Rectangle
from tools.collect.repository import Repository


def reader(repository: Repository, path: str) -> Callable[[], UInt8 | None]:
    """Reads a frame when it is wanted."""
    return lambda: repository.image(path, cv2.IMREAD_COLOR)


def held(image: UInt8) -> Callable[[], UInt8 | None]:
    """A frame that is at hand."""
    return lambda: image


def decoded(data: bytes, most: int | None = None) -> list[UInt8]:
    """The frames of a video file, BGR."""
    with av.open(io.BytesIO(data), "r") as container:
        return [np.asarray(frame.to_ndarray(format="bgr24"), np.uint8) for frame in islice(container.decode(video=0), most)]


def jhmdb(clips: Repository, boxes: Repository) -> Iterator[tuple[str, list[Frame]]]:
    """JHMDB's clips (film and web clips of 21 actions) with the boxes of the person that YOWO's evaluation carries."""
    archive = zipfile.ZipFile(io.BytesIO(boxes.read("evaluation_ucf24_jhmdb/groundtruths_jhmdb.zip")))
    known: dict[str, dict[int, Rectangle]] = {}
    for file in archive.namelist():
        if match := re.fullmatch(r"groundtruths_jhmdb/(.*)_(\d{5})\.txt", file):
            left, top, right, bottom = map(float, archive.read(file).decode().split()[1:5])
            known.setdefault(match[1], {})[int(match[2])] = (left, top, right - left, bottom - top)
    of_film: Counter[str] = Counter()
    for path in sorted(clips.files.keys() | clips.absent):
        match = re.fullmatch(r"data/(.*)/(.*)\.avi", path)
        if match is None or f"{match[1]}_{match[2]}" not in known:
            continue
        film = re.sub(r"_[a-z]_[a-z]{2}_np\d_.*", "", match[2])
        if of_film[film] < 2:
            of_film[film] += 1
            title = f"{match[1]}_{match[2]}"
            images = decoded(clips.read(path))
            rows = [(number, box) for number, box in sorted(known[title].items()) if number <= len(images)]
            yield title, [Frame(number, held(images[number - 1]), [("person", box)]) for number, box in rows]


def wtracking(repository: Repository) -> Iterator[tuple[str, list[Frame]]]:
    """One of four people before three cameras; a row of a file for each frame."""
    for camera in (1, 2, 3):
        lines = repository.text(f"annotations/Person1/boundingbox/gt_cam{camera}.txt").splitlines()
        frames = []
        for number, (x, y, w, h) in enumerate(([float(word) for word in line.split()] for line in lines if line.strip()), 1):
            path = f"ProcessedSeq/video{camera}/{number:04d}.jpg"
            usable = path in repository.files and w > 0 and h > 0
            frames.append(Frame(number, reader(repository, path), [("person", (x, y, w, h))] if usable else []))
        yield f"cam{camera}", frames


def blobs(images: list[UInt8], least: int, most: int, many: bool) -> list[Frame]:
    """Animals in an empty arena under a still camera: what differs from the median of the clip, a clean blob each.

    Args:
        images: all of the clip.
        least, most: pixels of a blob.
        many: whether there are several animals; else the largest blob counts.
    """
    greys = [np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8) for image in images]
    background = np.median(np.stack(greys[:: max(1, len(images) // 40)]), axis=0).astype(np.uint8)
    frames = []
    for number, (image, grey) in enumerate(zip(images, greys)):
        moved = (cv2.absdiff(grey, background) > 25).astype(np.uint8)
        _, _, stats, _ = cv2.connectedComponentsWithStats(cv2.morphologyEx(moved, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8)))
        height, width = grey.shape
        found: list[Any] = [
            (x, y, w, h, size)
            for x, y, w, h, size in stats[1:]
            if least <= size <= most and x > 1 and y > 1 and x + w < width - 1 and y + h < height - 1
        ]
        if not many:
            found = sorted(found, key=lambda blob: -blob[4])[:1]
        objects = [("animal", (float(x) - 1, float(y) - 1, float(w) + 2, float(h) + 2)) for x, y, w, h, _ in found]
        frames.append(Frame(number, held(image), objects))
    return frames


def trex(repository: Repository) -> Iterator[tuple[str, list[Frame]]]:
    """Guppies from above."""
    images = [repository.image(f"videos/test_frames/frame_{k:03d}.jpg", cv2.IMREAD_COLOR) for k in range(200)]
    yield "guppies", blobs([image for image in images if image is not None], 60, 3000, True)


def tracktor(repository: Repository) -> Iterator[tuple[str, list[Frame]]]:
    """A mouse and a spider, each alone."""
    for title, least in (("mouse_video", 300), ("spider_video", 100)):
        yield title, blobs(decoded(repository.read(f"videos/{title}.mp4"), 600), least, 60000, False)


RULES: dict[str, Callable[..., Iterator[tuple[str, list[Frame]]]]] = {
    "jhmdb": jhmdb,
    "wtracking": wtracking,
    "trex": trex,
    "tracktor": tracktor,
}
