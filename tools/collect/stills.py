"""Annotated still images out of mirrored repositories: crops for training, cut-outs and photographs for synthetic clips.

``python -m tools.collect.stills --mirror DIR --out DIR [--only SOURCE ...]`` makes, of the sources in ``stills.toml``,

- ``still/<source>_<number>.jpg`` and ``still/boxes.csv``: 330 x 330 px, the context's side sqrt((w + c) (h + c)) at 127 px;
- ``cutouts/<source>_<number>.png``: objects with transparency, where there are masks or polygons;
- ``photos/<source>_<number>.jpg``: whole photographs;
- ``sources.json`` and ``SOURCES-stills.md``: what came of each.

Chance is seeded by a source's name, so that a repeated run gives the same files. A source that is made again replaces its files.
"""

from __future__ import annotations

import csv
import glob
import io
import json
import os
import random
import re
import subprocess  # noqa: S404 - for the error of git
import sys
import zlib
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import cv2
import msgspec
import numpy as np
import tyro

from metatrack.arrays import UInt8
from metatrack.files import write_atomically
from tools.collect import pictures
from tools.collect.annotations import FORMATS, Annotated, Images, masks
from tools.collect.pictures import Shape
from tools.collect.repository import Repository
from tools.collect.tables import chosen, read_sources

TABLE = Path(__file__).with_name("stills.toml")
MIN_SIDE, MAX_ASPECT = 24, 6.0
"""Of a box, in pixels and as the ratio of its sides."""
PER_IMAGE = 6
"""Crops of an image, at most."""
COLUMNS = ["file", "x", "y", "w", "h", "class", "source"]
COLOR = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION


@dataclass(frozen=True)
class StillOptions:
    """Makes crops, cut-outs and photographs of the sources in stills.toml."""

    mirror: Path
    """Folder of the mirrored repositories."""
    out: Path
    """Folder of what is made."""
    only: tuple[str, ...] = ()
    """These sources alone."""


class MaskFiles(msgspec.Struct, forbid_unknown_fields=True, rename={"name": "class"}):
    """Image files, and for each the file of its mask."""

    images: str
    """Pattern of their paths."""
    mask: str
    """Template of the mask's path."""
    name: str
    """The class of all objects."""


class StillSource(msgspec.Struct, forbid_unknown_fields=True):
    """An entry of ``stills.toml``, which says what the fields mean."""

    repository: str
    commit: str
    what: str
    licence: str
    formats: list[Literal["coco", "voc", "yolo"]] = []
    masks: MaskFiles | None = None
    limit: int = 2000
    per_class: int = 400
    cutouts: int = 0
    photos: int = 0
    plain_photos: str = ""


class Counts(msgspec.Struct):
    """What came of a source."""

    commit: str
    crops: int
    classes: int
    cutouts: int
    photos: int


Job: TypeAlias = "Annotated | str"
"""What is known of an image: its annotations, or the path of its mask."""


class Object(NamedTuple):
    """An object in an image: x, y, w, h in pixels, its class, and its shape where that is known."""

    box: tuple[float, float, float, float]
    name: str
    shape: Shape


@dataclass
class Collection:
    """What a source has given so far."""

    name: str
    source: StillSource
    out: Path
    rows: list[list[str]] = field(default_factory=list)
    cutouts: int = 0
    photos: int = 0
    per_class: Counter[str] = field(default_factory=Counter)
    seen: pictures.Seen = field(default_factory=pictures.Seen)

    @property
    def full(self) -> bool:
        """Whether nothing more is wanted."""
        wanted = self.source
        return len(self.rows) >= wanted.limit and self.cutouts >= wanted.cutouts and self.photos >= wanted.photos

    def add(self, image: UInt8, objects: list[Object]) -> None:
        """Takes crops and cut-outs of an image."""
        mean = tuple(float(value) for value in image.reshape(-1, 3).mean(0))
        height, width = image.shape[:2]
        taken = 0
        for (x, y, w, h), name, shape in objects:
            label = name.strip().lower().replace(",", " ")
            left, top, right, bottom = max(0, x), max(0, y), min(width, x + w), min(height, y + h)
            w, h = right - left, bottom - top
            if min(w, h) < MIN_SIDE or max(w / h, h / w) > MAX_ASPECT or taken >= PER_IMAGE:
                continue
            cut = (left <= 1) + (top <= 1) + (right >= width - 1) + (bottom >= height - 1)
            if cut >= 2 or self.per_class[label] >= self.source.per_class:  # not marked, but plainly truncated
                continue
            if len(self.rows) < self.source.limit:
                taken += self._add_crop(image, (left, top, w, h), mean, label)
            if shape is not None and self.cutouts < self.source.cutouts and cut == 0:
                self._add_cutout(image, shape)

    def _add_crop(self, image: UInt8, box: tuple[float, float, float, float], mean: tuple[float, ...], label: str) -> bool:
        made = pictures.crop(image, box, mean)
        if made is None or made[0].std() <= 12 or self.seen.near(pictures.fingerprint(made[0])):
            return False
        file = f"{self.name}_{len(self.rows):05d}.jpg"
        pictures.write(self.out / "still" / file, made[0], 88)
        self.rows.append([file, *(f"{value:.2f}" for value in made[1]), label, self.name])
        self.per_class[label] += 1
        return True

    def _add_cutout(self, image: UInt8, shape: Shape) -> None:
        mask = pictures.as_mask(shape, image.shape[:2])
        made = None if mask is None else pictures.cutout(image, mask)
        if made is not None:
            pictures.write(self.out / "cutouts" / f"{self.name}_{self.cutouts:05d}.png", made)
            self.cutouts += 1

    def add_photo(self, image: UInt8) -> None:
        """Takes the whole image, if it will do and one is wanted."""
        made = pictures.photo(image) if self.photos < self.source.photos else None
        if made is not None:
            pictures.write(self.out / "photos" / f"{self.name}_{self.photos:05d}.jpg", made, 85)
            self.photos += 1


def collect(name: str, source: StillSource, mirror: Path, out: Path) -> tuple[list[list[str]], Counts]:
    """Makes one source: the rows of its crops, and counts.

    Raises:
        OSError: it is not mirrored, or a file cannot be written.
    """
    chance = random.Random(zlib.crc32(name.encode()))  # noqa: S311 - a choice that can be repeated, not a secret
    for folder in ("still", "cutouts", "photos"):
        for old in (out / folder).glob(f"{glob.escape(name)}_[0-9]*"):
            old.unlink()
    made = Collection(name, source, out)
    with Repository(mirror, source.repository) as repository:
        if not repository.commit.startswith(source.commit):
            print(f"{name}: the mirror is at {repository.commit[:12]}, the table at {source.commit}", file=sys.stderr)
        jobs = _jobs(repository, source)
        order = sorted(jobs)
        chance.shuffle(order)
        order, augmented = without_copies(order)
        for path in order:
            if made.full:
                break
            image = repository.image(path, COLOR)
            if image is None or min(image.shape[:2]) < 64:
                continue
            objects = _objects(repository, source, jobs[path], image.shape[:2])
            if objects is None:
                continue
            chance.shuffle(objects)
            made.add(image, objects)
            if not augmented:
                made.add_photo(image)
        if source.plain_photos:
            paths = [path for path in sorted(repository.files) if re.search(source.plain_photos, path)]
            chance.shuffle(paths)
            for path in paths:
                if made.photos >= source.photos:
                    break
                if (image := repository.image(path, COLOR)) is not None:
                    made.add_photo(image)
    counts = Counts(repository.commit, len(made.rows), len(made.per_class), made.cutouts, made.photos)
    shown = f"{counts.crops} crops, {counts.classes} classes, {counts.cutouts} cut-outs, {counts.photos} photos"
    print(f"{name}: {shown}", flush=True)
    return made.rows, counts


def _jobs(repository: Repository, source: StillSource) -> dict[str, Job]:
    """What is known of each image; the first that says something of one counts."""
    if source.masks is not None:
        return dict(masks(repository, source.masks.images, source.masks.mask))
    jobs: dict[str, Job] = {}
    images = Images(repository.files)
    for kind in source.formats:
        for annotated in FORMATS[kind](repository, images):
            jobs.setdefault(annotated.path, annotated)
    return jobs


def without_copies(order: list[str]) -> tuple[list[str], bool]:
    """Of exports by Roboflow, where ``<base>.rf.<hash>`` are copies of one photograph that may be augmented, one copy each.

    Of an augmented export the valid and test splits alone are taken, if they are large enough: they are not augmented.

    Returns:
        the paths, and whether the export is augmented.
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for path in order:
        groups[_base(path)].append(path)

    def held_out(path: str) -> bool:
        return bool(re.search(r"(^|/)(valid|val|test)/", path))

    augmented = len(order) > 1.3 * len(groups)
    if augmented and sum(map(held_out, order)) >= 150:
        order = [path for path in order if held_out(path)]
    else:
        order = sorted(order, key=lambda path: not held_out(path))
    done: set[str] = set()
    picked = []
    for path in order:
        if ".rf." not in path or _base(path) not in done:
            done.add(_base(path))
            picked.append(path)
    return picked, augmented


def _base(path: str) -> str:
    return os.path.basename(path).split(".rf.")[0]


def _objects(repository: Repository, source: StillSource, job: Job, size: tuple[int, ...]) -> list[Object] | None:
    """The objects of an image of ``size`` (height, width); None if its mask cannot be read."""
    height, width = size
    if isinstance(job, Annotated):
        unit = np.array([width, height, width, height] if job.shares else [1.0] * 4)
        return [
            Object(tuple(np.array(each.box) * unit), each.name, [p * unit[:2] for p in each.polygons] if each.polygons else None)
            for each in job.annotations
        ]
    mask = repository.image(job, cv2.IMREAD_UNCHANGED)
    if mask is None or source.masks is None:
        return None
    return [Object(box, source.masks.name, part) for box, part in pictures.parts(pictures.binary(mask, (height, width)))]


def overview(sources: dict[str, StillSource], counts: dict[str, Counts]) -> str:
    """``SOURCES-stills.md``."""
    made = [(name, source, counts[name]) for name, source in sources.items() if name in counts]
    lines = ["# Still images collected by tools/collect/stills.py", ""]
    lines += ["Counts after the rules (size, truncation, filler, near duplicates, caps).", ""]
    lines += ["| source | repository | commit | what | licence as stated there | crops | classes | cut-outs | photos |"]
    lines += ["|---|---|---|---|---|---|---|---|---|"]
    for name, source, count in made:
        facts = f"{name} | {source.repository} | {count.commit[:12]} | {source.what} | {source.licence}"
        lines.append(f"| {facts} | {count.crops} | {count.classes} | {count.cutouts} | {count.photos} |")
    crops, cutouts, photos = (sum(getattr(count, key) for *_, count in made) for key in ("crops", "cutouts", "photos"))
    return "\n".join([*lines, "", f"Total: {crops} crops, {cutouts} cut-outs, {photos} photographs.", ""])


def main(options: StillOptions) -> int:
    """Makes the sources; 1 if one of them failed."""
    cv2.setNumThreads(1)
    sources, status = read_sources(TABLE, StillSource), 0
    for folder in ("still", "cutouts", "photos"):
        (options.out / folder).mkdir(parents=True, exist_ok=True)
    table, facts = options.out / "still" / "boxes.csv", options.out / "sources.json"
    counts = msgspec.json.decode(facts.read_bytes(), type=dict[str, Counts]) if facts.exists() else {}
    for name, source in chosen(options.only, sources).items():
        try:
            rows, counts[name] = collect(name, source, options.mirror, options.out)
        except (OSError, ValueError, LookupError, TypeError, cv2.error, subprocess.CalledProcessError) as error:
            print(f"{name}: failed: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            status = 1
            continue
        there = list(csv.reader(io.StringIO(table.read_text()))) if table.exists() else []
        old = [row for row in there if row and row[0] != "file" and row[-1] != name and row[-1] in sources]
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([COLUMNS, *old, *rows])
        write_atomically(table, text.getvalue())
        write_atomically(facts, json.dumps(msgspec.to_builtins(counts), indent=1))
    write_atomically(options.out / "SOURCES-stills.md", overview(sources, counts))
    return status


if __name__ == "__main__":
    raise SystemExit(main(tyro.cli(StillOptions)))
