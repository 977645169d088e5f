"""Annotations of COCO, Pascal VOC and YOLO: which objects are in an image, and which image of a repository is meant."""

from __future__ import annotations

import json
import os
import re
import xml.etree.ElementTree as ET  # noqa: S405 - expat of today refuses what could grow without end
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cache, partial
from typing import Any, NamedTuple

import msgspec
import numpy as np

from metatrack.arrays import Float64, UInt8
from metatrack.geometry import Box
from metatrack.images import IMAGE_SUFFIXES
from tools.collect.sources import Repository


class Annotation(NamedTuple):
    """An object in an image."""

    box: Box
    name: str
    polygons: list[Float64] | None = None  # (k, 2) corners each
    mask: UInt8 | None = None  # in the image's size, where the shape is known so
    shares: bool = False  # whether box and polygons are in shares of the image's sides (YOLO), not in pixels

    def in_pixels(self, height: int, width: int) -> Annotation:
        """The same in pixels of an image."""
        if not self.shares:
            return self
        size = np.array([width, height])
        polygons = None if self.polygons is None else [corners * size for corners in self.polygons]
        return Annotation(Box(*(np.array(self.box) * np.tile(size, 2)).tolist()), self.name, polygons)


Annotated = tuple[str, list[Annotation]]  # name or path of an image, and what is in it


def coco(data: bytes) -> Iterator[Annotated]:
    """The images of a JSON file of COCO's form; none of another file."""
    content = json.loads(data)
    images, given = (content.get(key) for key in ("images", "annotations")) if isinstance(content, dict) else (None, None)
    if not isinstance(images, list) or not isinstance(given, list) or not given or "bbox" not in given[0]:
        return
    names = {each["id"]: str(each.get("name")) for each in content.get("categories", []) if "id" in each}
    found: dict[Any, list[Annotation]] = defaultdict(list)
    for each in given:
        box, rings = each.get("bbox") or [], each.get("segmentation")
        if len(box) == 4 and None not in box and not each.get("iscrowd") and not each.get("ignore"):
            whole = [ring for ring in rings if len(ring) >= 6 and len(ring) % 2 == 0] if isinstance(rings, list) else []
            polygons = [np.array(ring, float).reshape(-1, 2) for ring in whole]
            name = names.get(each.get("category_id"), "object")
            found[each["image_id"]].append(Annotation(Box(*map(float, box)), name, polygons or None))
    for image in images:
        if image["id"] in found:
            yield image.get("file_name", ""), found[image["id"]]


def voc(data: bytes, strict: bool = False) -> Annotated:
    """The image of an XML file of Pascal VOC's form; a ``ParseError`` where it is no XML.

    As the benchmark means it (``strict``), pixels count from 1, and objects marked as difficult or truncated are left out; else
    numbers are taken as they stand, and so are all objects.
    """
    root, first, found = ET.fromstring(data), int(strict), []  # noqa: S314 - see above
    for node in root.iter("object"):
        if strict and any((node.findtext(flag) or "0").strip() == "1" for flag in ("difficult", "truncated")):
            continue
        try:
            left, top, right, bottom = (float(node.findtext(f"bndbox/{side}") or "") for side in ("xmin", "ymin", "xmax", "ymax"))
        except ValueError:
            continue
        box = Box(left - first, top - first, right - left + first, bottom - top + first)
        found.append(Annotation(box, (node.findtext("name") or "object").strip()))
    return root.findtext("filename") or "", found


def yolo(data: bytes, names: list[str]) -> list[Annotation]:
    """The objects of a text file of YOLO's form, rows of a class and a box or a polygon; a ValueError where a row is none."""
    found = []
    for words in filter(None, map(str.split, data.decode("utf8", "replace").splitlines())):
        number, values = int(float(words[0])), np.array(words[1:], float)
        values = values[:4] if len(values) == 5 else values  # a confidence, or the number of a track
        if len(values) < 4 or len(values) % 2 or values.min() < -0.05 or values.max() > 1.05:
            continue
        name = names[number] if 0 <= number < len(names) else f"class{number}"
        corners = values.reshape(-1, 2)
        if len(corners) == 2:
            found.append(Annotation(Box(*(corners[0] - corners[1] / 2).tolist(), *corners[1].tolist()), name, shares=True))
        else:
            found.append(Annotation(Box(*corners.min(0).tolist(), *np.ptp(corners, 0).tolist()), name, [corners], shares=True))
    return found


def shared_folders(a: str, b: str) -> int:
    """How many folders two paths share."""
    return len(os.path.commonprefix([a.split("/")[:-1], b.split("/")[:-1]]))


class Images:
    """Which image belongs to an annotation: of those with its name the one in the nearest folder."""

    def __init__(self, paths: Iterable[str]) -> None:
        self.by_stem: dict[str, list[str]] = defaultdict(list)
        for path in paths:
            stem, suffix = os.path.splitext(os.path.basename(path))
            if suffix.lower() in IMAGE_SUFFIXES:
                self.by_stem[stem].append(path)

    def find(self, name: str, beside: str) -> str | None:
        """The image of a name, for an annotation at the path ``beside``."""
        named = self.by_stem.get(os.path.splitext(os.path.basename(name))[0], [])
        fitting = [path for path in named if not re.search(r"mask|segm|label", path, re.IGNORECASE)] or named
        return max(fitting, key=lambda path: (shared_folders(path, beside), -len(path)), default=None)


def annotated(repository: Repository, kind: str) -> Iterator[Annotated]:
    """Images of a repository that files of one form say something of; what is in other files is passed over."""
    images = Images(path for path, size in repository.files.items() if size >= 0)
    names = cache(partial(class_names, repository))
    suffix, longest = {"coco": (".json", 300e6), "voc": (".xml", 1e6), "yolo": (".txt", 200e3)}[kind]
    for path, size in repository.files.items():
        if not path.lower().endswith(suffix) or not 8 < size < longest or (kind == "yolo" and not images.find(path, path)):
            continue
        try:
            if kind == "coco":
                found = list(coco(repository.read(path)))
            elif kind == "voc":
                name, objects = voc(repository.read(path), strict=True)
                found = [(path if images.find(path, path) else name, objects)]
            else:
                found = [(path, yolo(repository.read(path), names(os.path.dirname(path))))]
        except (ValueError, ET.ParseError):
            continue
        for name, objects in found:
            if objects and (there := images.find(name, path)):
                yield there, objects


def class_names(repository: Repository, folder: str) -> list[str]:
    """Names of YOLO's classes: ``names`` in the ``.yaml`` nearest to a folder, or the nearest ``classes.txt`` or ``.names``."""
    tables = [p for p, size in repository.files.items() if re.search(r"(\.ya?ml|classes\.txt|\.names)$", p) and 0 < size < 50e3]
    for path in sorted(tables, key=lambda path: (-shared_folders(path, f"{folder}/"), "data" not in path, len(path))):
        data = repository.read(path)
        if not path.endswith(("yaml", "yml")):
            return [line.strip() for line in data.decode("utf8", "replace").splitlines() if line.strip()]
        try:
            names = msgspec.yaml.decode(data, type=dict[str, Any]).get("names")
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        if names:
            return [str(name) for name in (names.values() if isinstance(names, dict) else names)]
    return []
