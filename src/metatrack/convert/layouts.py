"""Data sets of videos as their authors laid them out on disk: images, and boxes or masks of every target.

============  ===========================================================================================================
trackingnet   ``TRAIN_*/frames/<video>/0.jpg``, ``TRAIN_*/anno/<video>.txt``: a row ``x,y,w,h`` for each frame (or the first)
vid           ILSVRC VID: ``Data/VID/<split>/.../<video>/000000.JPEG``, ``Annotations/VID/<split>/.../<video>/000000.xml``
masks         DAVIS and YouTube-VOS: ``JPEGImages/[480p/]<video>/00000.jpg``, ``Annotations/[480p/]<video>/00000.png``, in which
              each target has a colour and the background is black; boxes are those around the masks
mot           MOTChallenge: ``<video>/img1/000001.jpg``, ``<video>/gt/gt.txt``
============  ===========================================================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree  # noqa: S405 - see _objects

import numpy as np

from metatrack.convert.mot import read_mot
from metatrack.convert.tracks import LABEL, Mark, Row, Tracks, Video, collect
from metatrack.data.folders import frame_number, numbered_frames
from metatrack.data.numbers import finite_number
from metatrack.data.rows import parse_rows, read_text
from metatrack.geometry import Box
from metatrack.images import read_image


class LayoutClip(NamedTuple):
    """One video of a data set; what is wrong with it is raised where ``read`` is called."""

    name: str
    read: Callable[[], tuple[list[Path], Tracks]]  # its frames, in order, and its targets; frame 0 is the first image
    video: Path | None = None  # where its frames are, if they are no images


def trackingnet(root: Path) -> Iterator[LayoutClip]:
    """Clips of TrackingNet."""
    for truth in sorted(root.glob("**/anno/*.txt")):
        yield LayoutClip(truth.stem, partial(_trackingnet, truth))


def _trackingnet(truth: Path) -> tuple[list[Path], Tracks]:
    frames = _frames(truth.parent.parent / "frames" / truth.stem)
    rows = parse_rows(read_text(truth), truth)
    if len(rows) not in (1, len(frames)):
        raise ValueError(f"{truth} holds {len(rows)} rows, its folder {len(frames)} frames; a row for each frame is needed")
    marks: list[Row] = [("1", LABEL, Mark(i, Box(*row))) for i, row in enumerate(rows.tolist()) if min(row[2:]) > 0]
    return frames, collect(truth, marks, Video())


def vid(root: Path) -> Iterator[LayoutClip]:
    """Clips of ILSVRC VID."""
    notes = root / "Annotations" / "VID"
    for folder in sorted({file.parent for file in notes.glob("**/*.xml")}):
        images = root / "Data" / "VID" / folder.relative_to(notes)
        yield LayoutClip(folder.name, partial(_vid, folder, images))


def _vid(folder: Path, images: Path) -> tuple[list[Path], Tracks]:
    numbered = _by_number(images)
    rows: list[Row] = []
    for file in sorted(folder.glob("*.xml")):
        number = frame_number(file.stem + ".jpg")
        if number is None or number not in numbered:
            raise FileNotFoundError(f"{images} holds no image of {file}; get Data/VID of the same split")
        for facts in _objects(file):
            x0, y0, x1, y1 = (finite_number(facts.get(key, ""), f"{file}, {key}") for key in ("xmin", "ymin", "xmax", "ymax"))
            mark = Mark(list(numbered).index(number), Box(x0, y0, x1 - x0, y1 - y0), occluded=facts.get("occluded") == "1")
            rows.append((facts.get("trackid", "0"), facts.get("name", LABEL), mark))
    return list(numbered.values()), collect(folder, rows, Video())


def _objects(file: Path) -> list[dict[str, str]]:
    """The leaves of each ``object`` of a file, by name. Expat itself ends entities that grow without bound."""
    try:
        root = ElementTree.parse(file).getroot()  # noqa: S314 - see above
    except LookupError as error:
        raise ValueError(f"{file}: not XML in an encoding that is known ({error}); export it again") from error
    except ElementTree.ParseError as error:
        raise ValueError(f"{file} is no XML: {error}") from error
    return [
        {leaf.tag: leaf.text.strip() for leaf in each.iter() if leaf.text and leaf.text.strip()} for each in root.iter("object")
    ]


def masks(root: Path) -> Iterator[LayoutClip]:
    """Clips of DAVIS and YouTube-VOS."""
    notes = root / "Annotations"
    for folder in sorted({file.parent for file in notes.glob("**/*.png")}):
        images = root / "JPEGImages" / folder.relative_to(notes)
        yield LayoutClip(folder.name, partial(_masks, folder, images))


def _masks(folder: Path, images: Path) -> tuple[list[Path], Tracks]:
    numbered = _by_number(images)
    order = {number: i for i, number in enumerate(numbered)}
    rows: list[Row] = []
    ids: dict[int, int] = {}
    for number, file in sorted(numbered_frames(folder).items()):
        if number not in order:
            raise FileNotFoundError(f"{images} holds no image of the mask {file}; get JPEGImages of the same split")
        for color, box in boxes_of(read_image(file, upright=False)).items():
            rows.append((str(ids.setdefault(color, len(ids) + 1)), LABEL, Mark(order[number], box)))
    return list(numbered.values()), collect(folder, rows, Video())


def boxes_of(mask: Any) -> dict[int, Box]:
    """The box around each colour of a mask but black; ``(H, W, 3)`` or ``(H, W)``, by the colour as one number.

    >>> mask = np.zeros((4, 5), np.uint8); mask[1:3, 2:5] = 7
    >>> boxes_of(mask)
    {7: Box(x=2.0, y=1.0, w=3.0, h=2.0)}
    """
    codes = np.asarray(mask, np.int64)
    if codes.ndim == 3:
        codes = codes[..., 0] << 16 | codes[..., 1] << 8 | codes[..., 2]
    found = {}
    for code in np.unique(codes):
        if code == 0:
            continue
        rows, columns = np.flatnonzero((codes == code).any(1)), np.flatnonzero((codes == code).any(0))
        x, y = float(columns[0]), float(rows[0])
        found[int(code)] = Box(x, y, float(columns[-1]) + 1 - x, float(rows[-1]) + 1 - y)
    return found


def mot(root: Path) -> Iterator[LayoutClip]:
    """Clips of MOTChallenge."""
    for truth in sorted(root.glob("**/gt/gt.txt")):
        yield LayoutClip(truth.parent.parent.name, partial(_mot, truth))


def _mot(truth: Path) -> tuple[list[Path], Tracks]:
    return _frames(truth.parent.parent / "img1"), read_mot(truth, Video())


def _frames(folder: Path) -> list[Path]:
    return list(_by_number(folder).values())


def _by_number(folder: Path) -> dict[int, Path]:
    found = dict(sorted(numbered_frames(folder).items()))
    if not found:
        raise FileNotFoundError(f"{folder} holds no frames named by their numbers; unpack the images of the data set there")
    return found


LAYOUTS: dict[str, Callable[[Path], Iterator[LayoutClip]]] = {
    "trackingnet": trackingnet,
    "vid": vid,
    "davis": masks,
    "youtube-vos": masks,
    "mot-folder": mot,
}
"""By name."""
EXPECTED = {
    "trackingnet": "TRAIN_0/anno/NAME.txt and TRAIN_0/frames/NAME/0.jpg",
    "vid": "Annotations/VID/train/.../NAME/000000.xml and Data/VID/train/.../NAME/000000.JPEG",
    "davis": "Annotations/480p/NAME/00000.png and JPEGImages/480p/NAME/00000.jpg",
    "youtube-vos": "Annotations/NAME/00000.png and JPEGImages/NAME/00000.jpg",
    "mot-folder": "NAME/gt/gt.txt and NAME/img1/000001.jpg",
}
"""What the folder of each must hold."""
