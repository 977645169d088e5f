"""Annotated still images out of mirrored repositories: crops for training, cut-outs and photographs for synthetic clips.

``python -m tools.collect.stills --mirror DIR --out DIR [--only SOURCE ...]`` makes, of the sources in ``stills.toml``,

- ``still/<source>_<number>.jpg`` and ``still/boxes.csv``: 330 x 330 px, the context's side sqrt((w + c) (h + c)) at 127 px;
- ``cutouts/<source>_<number>.png``: objects with transparency, where there are masks or polygons;
- ``photos/<source>_<number>.jpg``: whole photographs.

It prints how many of each, as SOURCES-stills.md states them. Chance is seeded by a source's name: a repeated run gives
the same files. A source that is made again replaces its files.
"""

from __future__ import annotations

import os
import random
import re
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import msgspec
import tyro

from metatrack.arrays import UInt8
from metatrack.geometry import Box
from metatrack.images import write_image
from tools.collect import pictures
from tools.collect.annotations import Annotation, annotated
from tools.collect.sources import CollectOptions, Repository, make_all, read_sources, replace_rows

TABLE = Path(__file__).with_name("stills.toml")
KINDS: dict[str, tuple[str, str, dict[str, int]]] = {
    "crops": ("still", ".jpg", {"quality": 88}),
    "cutouts": ("cutouts", ".png", {}),
    "photos": ("photos", ".jpg", {"quality": 85}),
}
"""Of each kind of picture its folder, and the format of its files."""
COLUMNS = ["file", "x", "y", "w", "h", "class", "source"]
MIN_SIDE, MAX_ASPECT = 24, 6.0  # of a box, in pixels and as the ratio of its sides
PER_IMAGE = 6  # crops of an image, at most
LEAST_IMAGE = 0.25  # share of a crop that must lie in its image


class MaskFiles(msgspec.Struct, forbid_unknown_fields=True, rename={"name": "class"}):
    """Image files (a pattern of their paths), for each the file of its mask (a template), and the class of all objects."""

    images: str
    mask: str
    name: str


class StillSource(msgspec.Struct, forbid_unknown_fields=True):
    """An entry of ``stills.toml``, which says what the fields mean."""

    repository: str
    commit: str
    what: str
    licence: str
    formats: list[Literal["coco", "voc", "yolo"]] = []
    masks: MaskFiles | None = None
    crops: int = 2000
    per_class: int = 400
    cutouts: int = 0
    photos: int = 0
    plain_photos: str = ""


@dataclass
class Collection:
    """What a source has given so far."""

    name: str
    source: StillSource
    out: Path
    rows: list[list[str]] = field(default_factory=list)
    made: Counter[str] = field(default_factory=Counter)
    per_class: Counter[str] = field(default_factory=Counter)
    seen: pictures.Seen = field(default_factory=pictures.Seen)

    def wants(self, kind: str) -> bool:
        """Whether more of a kind is wanted."""
        return self.made[kind] < int(getattr(self.source, kind))

    def _keep(self, kind: str, picture: UInt8) -> str:
        folder, suffix, options = KINDS[kind]
        file = f"{self.name}_{self.made[kind]:05d}{suffix}"
        write_image(self.out / folder / file, picture, **options)
        self.made[kind] += 1
        return file

    def add(self, image: UInt8, objects: list[Annotation]) -> None:
        """Takes crops and cut-outs of an image."""
        height, width = image.shape[:2]
        taken = 0
        for each in objects:
            label, (x, y, w, h) = each.name.strip().lower().replace(",", " "), each.box
            left, top, right, bottom = max(0.0, x), max(0.0, y), min(width, x + w), min(height, y + h)
            w, h = right - left, bottom - top
            if min(w, h) < MIN_SIDE or max(w / h, h / w) > MAX_ASPECT or taken >= PER_IMAGE:
                continue
            cut = (left <= 1) + (top <= 1) + (right >= width - 1) + (bottom >= height - 1)
            if cut >= 2 or self.per_class[label] >= self.source.per_class:  # not marked, but plainly truncated
                continue
            if self.wants("crops"):
                taken += self._add_crop(image, Box(left, top, w, h), label)
            if cut == 0 and self.wants("cutouts"):
                mask = pictures.filled(each.polygons, (height, width)) if each.polygons else each.mask
                if mask is not None and (made := pictures.cutout(image, mask)) is not None:
                    self._keep("cutouts", made)

    def _add_crop(self, image: UInt8, box: Box, label: str) -> bool:
        made, place = pictures.crop(image, box)
        mostly_filler = pictures.share_of_image(box, image.shape) < LEAST_IMAGE
        if mostly_filler or made.std() <= 12 or self.seen.near(made):
            return False
        file = self._keep("crops", made)
        self.rows.append([file, *(f"{value:.2f}" for value in place), label, self.name])
        self.per_class[label] += 1
        return True

    def add_photo(self, image: UInt8) -> None:
        """Takes the whole image, if it will do and one is wanted."""
        if self.wants("photos") and (made := pictures.photo(image)) is not None:
            self._keep("photos", made)

    def add_all(self, repository: Repository) -> None:
        """Takes what is wanted of the source's repository, in an order of chance."""
        chance = random.Random(zlib.crc32(self.name.encode()))  # noqa: S311 - a choice that can be repeated, not a secret
        known = objects(repository, self.source)
        order = sorted(known)
        chance.shuffle(order)
        order, augmented = without_copies(order)
        for path in order:
            if not any(map(self.wants, KINDS)):
                break
            image = repository.image(path, upright=False)
            if image is not None and min(image.shape[:2]) >= 64:
                there = known[path](*image.shape[:2])
                chance.shuffle(there)
                self.add(image, there)
                if not augmented:
                    self.add_photo(image)
        pattern = self.source.plain_photos
        plain = sorted(path for path in repository.files if pattern and re.search(pattern, path))
        chance.shuffle(plain)
        for path in plain:
            if self.wants("photos") and (image := repository.image(path, upright=False)) is not None:
                self.add_photo(image)


def objects(repository: Repository, source: StillSource) -> dict[str, Callable[[int, int], list[Annotation]]]:
    """Paths of images, and for each what gives the objects in it by its height and width."""
    known: dict[str, Callable[[int, int], list[Annotation]]] = {}
    if source.masks is not None:
        for match, mask in repository.pairs(source.masks.images, source.masks.mask):
            known[match.string] = partial(_in_mask, repository, mask, source.masks.name)
    for kind in source.formats:
        for path, found in annotated(repository, kind):
            known.setdefault(path, partial(_in_pixels, found))  # the first that says something of an image counts
    return known


def _in_mask(repository: Repository, mask: str, name: str, height: int, width: int) -> list[Annotation]:
    image = repository.image(mask, upright=False)
    return [] if image is None else [Annotation(box, name, mask=part) for box, part in pictures.parts(image, (height, width))]


def _in_pixels(found: list[Annotation], height: int, width: int) -> list[Annotation]:
    return [each.in_pixels(height, width) for each in found]


def without_copies(order: list[str]) -> tuple[list[str], bool]:
    """Of exports by Roboflow, where ``<base>.rf.<hash>`` are copies of one photograph that may be augmented, one copy each.

    Of an augmented export (the second answer) the valid and test splits alone are taken, if they are large enough: they are not.
    """
    base = {path: os.path.basename(path).split(".rf.")[0] for path in order}
    held_out = {path: bool(re.search(r"(^|/)(valid|val|test)/", path)) for path in order}
    augmented = len(order) > 1.3 * len(set(base.values()))
    if augmented and sum(held_out.values()) >= 150:
        order = [path for path in order if held_out[path]]
    else:
        order = sorted(order, key=lambda path: not held_out[path])
    first: dict[str, str] = {}
    for path in order:
        first.setdefault(base[path] if ".rf." in path else path, path)
    return list(first.values()), augmented


def main(options: CollectOptions) -> int:
    """Makes the sources; 1 if one of them failed."""
    everything = read_sources(TABLE, StillSource)

    def make(name: str, source: StillSource) -> str:
        repository = Repository(options.mirror, source.repository, source.commit)
        for folder, *_ in KINDS.values():
            for old in (options.out / folder).glob(f"{name}_[0-9]*"):
                old.unlink()
        made = Collection(name, source, options.out)
        made.add_all(repository)
        rows = options.out / "still" / "boxes.csv"
        replace_rows(rows, COLUMNS, made.rows, lambda row: row[-1] == name or row[-1] not in everything)
        return f"{', '.join(f'{made.made[kind]} {kind}' for kind in KINDS)}, {len(made.per_class)} classes"

    return make_all(read_sources(TABLE, StillSource, options.only), make)


if __name__ == "__main__":
    raise SystemExit(main(tyro.cli(CollectOptions, description=__doc__)))
