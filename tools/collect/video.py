"""Annotated video out of mirrored repositories: short trajectories of 330 x 330 crops, in the layout of GOT-10k.

``python -m tools.collect.video --mirror DIR --out DIR [--only SOURCE ...] [--sheets DIR]`` makes the sources in ``video.toml``.
Boxes without identity are linked through time, which also ends tracks at cuts. Of each track come 8 to 24 frames; each is a crop
in which the side of the target's context is 127 px. A source that is made again replaces its files.
"""

from __future__ import annotations

import csv
import io
import re
import shutil
import subprocess  # noqa: S404 - for the error of git
import sys
import xml.etree.ElementTree as ET  # noqa: S405 - expat of today refuses what could grow without end
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import msgspec
import numpy as np
import tyro
from PIL import Image

from metatrack.arrays import Float32, UInt8
from metatrack.files import write_atomically
from tools.collect import pictures, rules
from tools.collect.linking import Frame, Rectangle, Step, covered, link, overlap
from tools.collect.pictures import CONTEXT, SIZE
from tools.collect.repository import Repository
from tools.collect.tables import chosen, read_sources

TABLE = Path(__file__).with_name("video.toml")
SHORTEST, LONGEST = 8, 24
"""Frames of a trajectory."""
COLUMNS = ["trajectory", "source", "video", "class", "frames", "licence"]


@dataclass(frozen=True)
class VideoOptions:
    """Makes trajectories of the sources in video.toml."""

    mirror: Path
    """Folder of the mirrored repositories."""
    out: Path
    """Folder of the split train and of meta.csv."""
    only: tuple[str, ...] = ()
    """These sources alone."""
    sheets: Path | None = None
    """Folder of contact sheets, on which one sees what a source is worth."""


class VideoSource(msgspec.Struct, forbid_unknown_fields=True):
    """An entry of ``video.toml``, which says what the fields mean."""

    repositories: list[str]
    commits: list[str]
    what: str
    licence: str
    stride: int
    frames: str = ""
    labels: str = ""
    kind: Literal["voc", "yolo"] = "voc"
    rule: Literal["", "jhmdb", "wtracking", "trex", "tracktor"] = ""
    gap: int = 6
    overlap: float = 0.3
    ncc: float = 0.25
    still: float = 0.25
    cap: int = 40
    per: int = 40
    refused: dict[str, list[int]] = {}


# --- reading --------------------------------------------------------------------------------------------------------------


def videos(source: VideoSource, repositories: list[Repository]) -> Iterator[tuple[str, list[Frame]]]:
    """Names of the source's videos, and their frames."""
    if source.rule:
        yield from rules.RULES[source.rule](*repositories)
        return
    (repository,) = repositories
    found: dict[str, list[tuple[int, str, str]]] = {}
    there = repository.files.keys() | repository.absent
    for path in there:
        if (match := re.fullmatch(source.frames, path)) and (label := match.expand(source.labels)) in there:
            found.setdefault(match.groupdict().get("v") or "a", []).append((int(match["n"]), path, label))
    for video, rows in sorted(found.items()):
        frames = []
        for number, path, label in sorted(rows, key=lambda row: row[0]):
            try:
                objects = _voc(repository, label) if source.kind == "voc" else _yolo(repository, label, path)
            except (ET.ParseError, OSError, ValueError, IndexError):
                continue
            frames.append(Frame(number, rules.reader(repository, path), objects))
        yield video, frames


def _voc(repository: Repository, label: str) -> list[tuple[str, Rectangle]]:
    objects = []
    for node in ET.fromstring(repository.read(label)).iter("object"):  # noqa: S314 - see above
        left, top, right, bottom = (float(node.findtext(f"bndbox/{side}") or "") for side in ("xmin", "ymin", "xmax", "ymax"))
        objects.append((node.findtext("name") or "object", (left, top, right - left, bottom - top)))
    return objects


def _yolo(repository: Repository, label: str, path: str) -> list[tuple[str, Rectangle]]:
    with Image.open(io.BytesIO(repository.read(path))) as image:
        width, height = image.size
    objects = []
    for line in repository.text(label).splitlines():
        words = line.split()
        if len(words) < 5:
            continue
        values = [float(word) for word in words[1:]]
        if len(values) > 5 and len(values) % 2 == 0:  # a polygon
            xs, ys = values[0::2], values[1::2]
            x, y, w, h = min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)
        else:
            x, y, w, h = values[0] - values[2] / 2, values[1] - values[3] / 2, values[2], values[3]
        objects.append((words[0], (x * width, y * height, w * width, h * height)))
    return objects


# --- cutting --------------------------------------------------------------------------------------------------------------


def crop(image: UInt8, box: Rectangle) -> tuple[UInt8, Rectangle]:
    """The crop around a box, filled up with the image's mean, and the box in it."""
    x, y, w, h = box
    margin = (w + h) / 2
    scale = CONTEXT / np.sqrt((w + margin) * (h + margin))
    cx, cy = x + w / 2, y + h / 2
    fill = tuple(float(value) for value in image.mean(axis=(0, 1)))
    rx = ry = scale
    if scale < 0.5:  # shrunk first, or warpAffine would alias
        small = np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
        kx, ky = small.shape[1] / image.shape[1], small.shape[0] / image.shape[0]
        image, cx, cy, rx, ry = small, cx * kx, cy * ky, scale / kx, scale / ky
    half = SIZE / 2
    matrix = np.array([[rx, 0, half - rx * cx - 0.5 + 0.5 * rx], [0, ry, half - ry * cy - 0.5 + 0.5 * ry]])
    size, linear, constant = (SIZE, SIZE), cv2.INTER_LINEAR, cv2.BORDER_CONSTANT
    made = cv2.warpAffine(image, matrix, size, flags=linear, borderMode=constant, borderValue=fill)
    return np.asarray(made, np.uint8), (half - w * scale / 2, half - h * scale / 2, w * scale, h * scale)


def appearance(patch: UInt8, box: Rectangle) -> Float32:
    """The target in grey, 32 x 32, of mean 0 and deviation 1."""
    x, y, w, h = (round(value) for value in box)
    part = cv2.resize(patch[max(0, y) : y + h, max(0, x) : x + w], (32, 32), interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(part, cv2.COLOR_BGR2GRAY).astype(np.float32)
    return np.asarray((grey - grey.mean()) / (grey.std() + 1e-3), np.float32)


def pick(video: list[Frame], track: list[Step], stride: int) -> list[Step]:
    """Steps of a track that are worth a crop: large enough, of a usual shape, and not behind another object; 24 at most."""
    chosen_steps: list[Step] = []
    for step in track:
        number, _, objects = video[step.frame]
        short, long = sorted(step.box[2:])
        hidden = any(
            covered(step.box, other) > 0.4 and overlap(step.box, other) < 0.95 and covered(other, step.box) < 0.95
            for _, other in objects
        )
        late = not chosen_steps or number - video[chosen_steps[-1].frame].number >= stride
        if short >= 16 and long / short <= 6 and not hidden and late:
            chosen_steps.append(step)
    if len(chosen_steps) <= LONGEST:
        return chosen_steps
    if video[chosen_steps[-1].frame].number - video[chosen_steps[0].frame].number > LONGEST * 30:
        return chosen_steps[:LONGEST]
    return [chosen_steps[int(k)] for k in np.linspace(0, len(chosen_steps) - 1, LONGEST)]


def trajectory(video: list[Frame], track: list[Step], source: VideoSource) -> list[tuple[UInt8, Rectangle]]:
    """The first run of at least eight crops of a track whose target moves and stays like itself; else nothing."""
    steps = pick(video, track, source.stride)
    if len(steps) < SHORTEST:
        return []
    centers = np.array([(x + w / 2, y + h / 2) for _, _, (x, y, w, h) in steps])
    if np.ptp(centers, axis=0).max() < source.still * np.sqrt(np.mean([step.box[2] * step.box[3] for step in steps])):
        return []
    crops: list[tuple[UInt8, Rectangle]] = []
    previous: Float32 | None = None
    for step in steps:
        image = video[step.frame].read()
        if image is None or _hardly_in(step.box, image.shape):
            continue
        patch, box = crop(image, step.box)
        now = appearance(patch, box)
        if previous is not None and float((now * previous).mean()) < source.ncc:  # a cut, a swap or a bad box
            if len(crops) >= SHORTEST:
                break
            crops = []
        crops.append((patch, box))
        previous = now
    return crops if len(crops) >= SHORTEST else []


def _hardly_in(box: Rectangle, shape: tuple[int, ...]) -> bool:
    """Whether the target is cut off by the frame, or hardly any of its context is in it."""
    x, y, w, h = box
    frame = (0.0, 0.0, float(shape[1]), float(shape[0]))
    side = SIZE / CONTEXT * np.sqrt((w + (w + h) / 2) * (h + (w + h) / 2))
    return covered(box, frame) < 0.9 or covered((x + w / 2 - side / 2, y + h / 2 - side / 2, side, side), frame) < 0.12


# --- writing --------------------------------------------------------------------------------------------------------------


def collect(name: str, source: VideoSource, mirror: Path, out: Path) -> list[list[str]]:
    """Makes one source: the rows of its trajectories.

    Raises:
        OSError: it is not mirrored, or a file cannot be written.
    """
    for old in (out / "train").glob(f"{name}_*"):
        shutil.rmtree(old)
    repositories = [Repository(mirror, each) for each in source.repositories]
    rows: list[list[str]] = []
    try:
        for repository, commit in zip(repositories, source.commits):
            if not repository.commit.startswith(commit):
                print(f"{name}: {repository.name} is at {repository.commit[:12]}, the table at {commit}", file=sys.stderr)
        for title, video in videos(source, repositories):
            label = re.sub(r"[^A-Za-z0-9]+", "-", title).strip("-")
            count = 0
            for piece in _pieces(video, source, label):
                if len(rows) >= source.cap or count >= source.per:
                    break
                crops = trajectory(video, piece, source)
                if crops and count not in source.refused.get(label, ()):
                    _write(out / "train" / f"{name}_{label}_{count}", crops)
                    origin, size = " + ".join(source.repositories), str(len(crops))
                    rows.append([f"{name}_{label}_{count}", origin, f"{name}_{label}", piece[0].name, size, source.licence])
                count += bool(crops)
    finally:
        for repository in repositories:
            repository.__exit__(None, None, None)
    return rows


def _pieces(video: list[Frame], source: VideoSource, label: str) -> list[list[Step]]:
    """The tracks of a video, long ones in several pieces, in an order of chance that its name decides."""
    length = LONGEST * source.stride
    tracks = link(video, source.gap, source.overlap)
    pieces = [track[k : k + length] for track in tracks if len(track) >= SHORTEST for k in range(0, len(track), length)]
    pieces = [piece for piece in pieces if len(piece) >= SHORTEST]
    order = np.random.default_rng(zlib.crc32(label.encode())).permutation(len(pieces))
    return [pieces[int(k)] for k in order]


def _write(folder: Path, crops: list[tuple[UInt8, Rectangle]]) -> None:
    for k, (patch, _) in enumerate(crops, 1):
        pictures.write(folder / f"{k:08d}.jpg", patch, 88)
    rows = (",".join(f"{value:.3f}" for value in box) for _, box in crops)
    write_atomically(folder / "groundtruth.txt", "".join(f"{row}\n" for row in rows))


def sheet(out: Path, names: list[str]) -> UInt8:
    """A contact sheet of up to 16 trajectories, six frames each, with the boxes."""
    rows = []
    for name in (names[k] for k in sorted(np.random.default_rng(0).permutation(len(names))[:16])):
        boxes = np.loadtxt(out / "train" / name / "groundtruth.txt", delimiter=",", ndmin=2)
        shown = []
        for k in np.linspace(0, len(boxes) - 1, 6).astype(int):
            image = np.asarray(cv2.imread(str(out / "train" / name / f"{k + 1:08d}.jpg")), np.uint8)
            x, y, w, h = boxes[k]
            cv2.rectangle(image, (int(x), int(y)), (int(x + w), int(y + h)), (0, 255, 0), 2)
            shown.append(cv2.resize(image[65:265, 65:265], (120, 120), interpolation=cv2.INTER_AREA))
        row = np.ascontiguousarray(np.hstack(shown))
        cv2.putText(row, name[:60], (3, 11), 0, 0.35, (0, 0, 255), 1)
        rows.append(row)
    rows += [np.zeros_like(rows[0])] * (len(rows) % 2)
    return np.asarray(np.vstack([np.hstack(rows[k : k + 2]) for k in range(0, len(rows), 2)]), np.uint8)


def main(options: VideoOptions) -> int:
    """Makes the sources; 1 if one of them failed."""
    cv2.setNumThreads(1)
    (options.out / "train").mkdir(parents=True, exist_ok=True)
    table, status = options.out / "meta.csv", 0
    for name, source in chosen(options.only, read_sources(TABLE, VideoSource)).items():
        try:
            rows = collect(name, source, options.mirror, options.out)
        except (OSError, ValueError, LookupError, TypeError, cv2.error, subprocess.CalledProcessError) as error:
            print(f"{name}: failed: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            status = 1
            continue
        there = list(csv.reader(io.StringIO(table.read_text())))[1:] if table.exists() else []
        text = io.StringIO()
        old = [row for row in there if not row[0].startswith(f"{name}_")]
        csv.writer(text, lineterminator="\n").writerows([COLUMNS, *old, *rows])
        write_atomically(table, text.getvalue())
        if rows and options.sheets is not None:
            pictures.write(options.sheets / f"{name}.png", sheet(options.out, [row[0] for row in rows]))
        print(f"{name}: {len(rows)} trajectories, {sum(int(row[4]) for row in rows)} frames", flush=True)
    return status


if __name__ == "__main__":
    raise SystemExit(main(tyro.cli(VideoOptions)))
