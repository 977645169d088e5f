"""Which objects are in which image of a repository: annotations of COCO, Pascal VOC and YOLO, and masks."""

from __future__ import annotations

import json
import os
import re
import xml.etree.ElementTree as ET  # noqa: S405 - expat of today refuses what could grow without end
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from metatrack.arrays import Float64
from tools.collect.repository import Repository

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")


class Annotation(NamedTuple):
    """An object in an image, 0-based."""

    box: tuple[float, float, float, float]
    """x, y, w, h in pixels, or in shares of the image's sides."""
    name: str
    polygons: list[Float64] | None
    """(k, 2) corners each, in the unit of the box."""


class Annotated(NamedTuple):
    """An image and what is in it."""

    path: str
    annotations: list[Annotation]
    shares: bool
    """Whether boxes are in shares of the image's sides."""


def stem(path: str) -> str:
    """A file's name without folder and suffix."""
    return os.path.splitext(os.path.basename(path))[0]


def common(a: list[str], b: list[str]) -> int:
    """How many folders two paths share."""
    return len(os.path.commonprefix([a, b]))


class Images:
    """Which image belongs to an annotation: of those with its name the one in the nearest folder."""

    def __init__(self, paths: Iterable[str]) -> None:
        self.by_stem: dict[str, list[str]] = defaultdict(list)
        for path in paths:
            if path.lower().endswith(IMAGE_SUFFIXES):
                self.by_stem[stem(path)].append(path)

    def find(self, name: str, beside: str) -> str | None:
        """The image of a name, for an annotation at the path ``beside``."""
        named = self.by_stem.get(stem(name), [])
        fitting = [path for path in named if not re.search(r"mask|segm|label", path, re.IGNORECASE)] or named
        parts = beside.split("/")
        return max(fitting, key=lambda path: (common(path.split("/"), parts), -len(path)), default=None)


def coco(repository: Repository, images: Images) -> Iterator[Annotated]:
    """Every JSON file of COCO's form."""
    for path, size in repository.files.items():
        if not path.lower().endswith(".json") or not 200 < size < 300e6:
            continue
        try:
            data = json.loads(repository.read(path))
        except ValueError:
            continue
        if not isinstance(data, dict) or not data.get("annotations") or not isinstance(data.get("images"), list):
            continue
        if not isinstance(data["annotations"], list) or "bbox" not in data["annotations"][0]:
            continue
        names = {each["id"]: str(each.get("name")) for each in data.get("categories", []) if "id" in each}
        found: dict[Any, list[Annotation]] = defaultdict(list)
        for each in data["annotations"]:
            box = each.get("bbox") or []
            if len(box) == 4 and None not in box and not each.get("iscrowd") and not each.get("ignore"):
                x, y, w, h = map(float, box)
                name = names.get(each.get("category_id"), "object")
                found[each["image_id"]].append(Annotation((x, y, w, h), name, _coco_polygons(each.get("segmentation"))))
        for image in data["images"]:
            if image["id"] in found and (there := images.find(image.get("file_name", ""), path)):
                yield Annotated(there, found[image["id"]], False)


def _coco_polygons(rings: Any) -> list[Float64] | None:
    if not isinstance(rings, list):
        return None
    whole = (ring for ring in rings if isinstance(ring, list) and len(ring) >= 6 and len(ring) % 2 == 0)
    return [np.array(ring, float).reshape(-1, 2) for ring in whole] or None


def voc(repository: Repository, images: Images) -> Iterator[Annotated]:
    """Every XML file of Pascal VOC's form; difficult and truncated objects are left out."""
    for path, size in repository.files.items():
        if not path.lower().endswith(".xml") or size > 1e6:
            continue
        data = repository.read(path)
        if b"<object>" not in data or b"bndbox" not in data:
            continue
        try:
            root = ET.fromstring(data)  # noqa: S314 - see above
        except ET.ParseError:
            continue
        there = images.find(path, path) or images.find(root.findtext("filename") or "", path)
        found = [annotation for each in root.iter("object") if (annotation := _voc_object(each)) is not None]
        if there and found:
            yield Annotated(there, found, False)


def _voc_object(node: ET.Element) -> Annotation | None:
    box = node.find("bndbox")
    if box is None or any((node.findtext(flag) or "0").strip() == "1" for flag in ("difficult", "truncated")):
        return None
    try:
        left, top, right, bottom = (float(box.findtext(side) or "") for side in ("xmin", "ymin", "xmax", "ymax"))
    except ValueError:
        return None
    name = (node.findtext("name") or "object").strip()
    return Annotation((left - 1, top - 1, right - left + 1, bottom - top + 1), name, None)


def yolo(repository: Repository, images: Images) -> Iterator[Annotated]:
    """Every text file of YOLO's form that is named as an image is; rows of boxes or of polygons, in shares."""
    names_of: dict[str, list[str]] = {}  # by folder
    for path, size in repository.files.items():
        if not path.endswith(".txt") or not 8 < size < 200000 or re.search(r"README|requirements|classes", path):
            continue
        there = images.find(path, path)
        if there is None:
            continue
        words = [line.split() for line in repository.text(path).splitlines() if line.strip()]
        try:
            rows = [(int(float(row[0])), np.array(row[1:], float)) for row in words]
        except ValueError:
            continue
        folder, found = os.path.dirname(path), []
        if folder not in names_of:
            names_of[folder] = _yolo_names(repository, folder)
        names = names_of[folder]
        for number, values in rows:
            if len(values) < 4 or values.min() < -0.05 or values.max() > 1.05:
                continue
            name = names[number] if 0 <= number < len(names) else f"class{number}"
            if len(values) == 4:
                x, y, w, h = values
                found.append(Annotation((x - w / 2, y - h / 2, w, h), name, None))
            elif len(values) % 2 == 0:
                corners = values.reshape(-1, 2)
                (x, y), (w, h) = corners.min(0), np.ptp(corners, 0)
                found.append(Annotation((x, y, w, h), name, [corners]))
        if found:
            yield Annotated(there, found, True)


def _yolo_names(repository: Repository, beside: str) -> list[str]:
    """Names of classes: ``names`` in the nearest ``.yaml``, or the nearest ``classes.txt`` or ``.names``."""
    parts = beside.split("/")
    tables = [p for p, size in repository.files.items() if re.search(r"(\.ya?ml|classes\.txt|\.names)$", p) and size < 50000]
    tables.sort(key=lambda path: (-common(path.split("/")[:-1], parts), "data" not in path, len(path)))
    for path in tables:
        text = repository.text(path)
        if not path.endswith(("yaml", "yml")):
            return [line.strip() for line in text.splitlines() if line.strip()]
        names: list[str] = []
        if inline := re.search(r"^names:\s*\[(.*?)\]", text, re.DOTALL | re.MULTILINE):
            names = [word.strip().strip("'\"") for word in inline[1].split(",")]
        elif re.search(r"^names:\s*$", text, re.MULTILINE):
            body = re.split(r"^names:\s*$", text, flags=re.MULTILINE)[1]
            names = re.findall(r"""^\s*(?:-|\d+:)\s*['"]?(.*?)['"]?\s*(?:#.*)?$""", body, re.MULTILINE)
        if names:
            return names
    return []


FORMATS = {"coco": coco, "voc": voc, "yolo": yolo}


def masks(repository: Repository, images: str, mask: str) -> Iterator[tuple[str, str]]:
    """Images that match a pattern, each with the file that the template ``mask`` names, where there is one."""
    for path in sorted(repository.files):
        if (match := re.match(images, path)) and (there := match.expand(mask)) in repository.files:
            yield path, there
