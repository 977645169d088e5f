"""Annotated video out of mirrored repositories: short trajectories of 330 x 330 crops, in the layout of GOT-10k.

``python -m tools.collect.video --mirror DIR --out DIR [--only SOURCE ...] [--sheets DIR]`` makes the sources in ``video.toml``.
Boxes without identity are linked through time, which also ends tracks at cuts. Of each track come 8 to 24 frames; each is a crop
in which the side of the target's context is 127 px. A source that is made again replaces its files.
"""

from __future__ import annotations

import re
import shutil
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from metatrack.arrays import Float32
from metatrack.geometry import Box, iou
from metatrack.images import write_image
from tools.collect.pictures import Crops, appearance, covered, crop, share_of_image, sheet, write_trajectory
from tools.collect.sources import CollectOptions, Repository, make_all, read_sources, replace_rows
from tools.collect.videos import Frame, Step, VideoSource, link, videos

TABLE = Path(__file__).with_name("video.toml")
SHORTEST, LONGEST = 8, 24  # frames of a trajectory
COLUMNS = ["trajectory", "source", "video", "class", "frames", "licence"]


@dataclass(frozen=True)
class VideoOptions(CollectOptions):
    """Makes trajectories of the sources in video.toml: the split train, and meta.csv."""

    sheets: Path | None = None
    """Folder of contact sheets, on which one sees what a source is worth."""


def pick(track: list[Step], stride: int) -> list[Step]:
    """Steps of a track that are worth a crop: large enough, of a usual shape, and not behind another object; 24 at most."""
    picked: list[Step] = []
    for step in track:
        short, long = sorted(step.box[2:])
        hidden = any(
            covered(step.box, other.box) > 0.4 and iou(step.box, other.box) < 0.95 and covered(other.box, step.box) < 0.95
            for other in step.frame.objects
        )
        late = not picked or step.frame.number - picked[-1].frame.number >= stride
        if short >= 16 and long / short <= 6 and not hidden and late:
            picked.append(step)
    if len(picked) <= LONGEST:
        return picked
    if picked[-1].frame.number - picked[0].frame.number > LONGEST * 30:
        return picked[:LONGEST]
    return [picked[int(k)] for k in np.linspace(0, len(picked) - 1, LONGEST)]


def trajectory(track: list[Step], source: VideoSource) -> Crops:
    """The first run of at least eight crops of a track whose target moves and stays like itself; else nothing."""
    steps = pick(track, source.stride)
    if len(steps) < SHORTEST:
        return []
    boxes = np.array([step.box for step in steps])
    way = np.ptp(boxes[:, :2] + boxes[:, 2:] / 2, axis=0).max()
    if way < source.still * np.sqrt(boxes[:, 2:].prod(1).mean()):
        return []
    crops: Crops = []
    previous: Float32 | None = None
    for step in steps:
        image = step.frame.read()
        if image is None:
            continue
        whole = Box(0.0, 0.0, float(image.shape[1]), float(image.shape[0]))
        if covered(step.box, whole) < 0.9 or share_of_image(step.box, image.shape) < 0.12:
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


def pieces(video: list[Frame], source: VideoSource, label: str) -> list[list[Step]]:
    """The tracks of a video, long ones in several pieces, in an order of chance that its name decides."""
    length = LONGEST * source.stride
    tracks = link(video, source.gap, source.overlap)
    cut = [track[k : k + length] for track in tracks for k in range(0, len(track), length)]
    long = [piece for piece in cut if len(piece) >= SHORTEST]
    order = np.random.default_rng(zlib.crc32(label.encode())).permutation(len(long))
    return [long[int(k)] for k in order]


def collect(name: str, source: VideoSource, repositories: list[Repository], out: Path) -> list[list[str]]:
    """Makes one source: the rows of its trajectories."""
    for old in out.glob(f"{name}_*"):
        shutil.rmtree(old)
    rows: list[list[str]] = []
    for title, video in videos(source, repositories):
        label = re.sub(r"[^A-Za-z0-9]+", "-", title).strip("-")
        count = 0
        for piece in pieces(video, source, label):
            if len(rows) >= source.cap or count >= source.per:
                break
            crops = trajectory(piece, source)
            if crops and count not in source.refused.get(label, ()):
                write_trajectory(out / f"{name}_{label}_{count}", crops, quality=88)
                origin, size = " + ".join(source.repositories), str(len(crops))
                rows.append([f"{name}_{label}_{count}", origin, f"{name}_{label}", piece[0].name, size, source.licence])
            count += bool(crops)
    return rows


def main(options: VideoOptions) -> int:
    """Makes the sources; 1 if one of them failed."""

    def make(name: str, source: VideoSource) -> str:
        repositories = [Repository(options.mirror, *each) for each in zip(source.repositories, source.commits, strict=True)]
        rows = collect(name, source, repositories, options.out / "train")
        replace_rows(options.out / "meta.csv", COLUMNS, rows, lambda row: row[0].startswith(f"{name}_"))
        if rows and options.sheets is not None:
            shown = np.random.default_rng(0).permutation(len(rows))[:16]
            write_image(options.sheets / f"{name}.png", sheet([options.out / "train" / rows[k][0] for k in sorted(shown)]))
        return f"{len(rows)} trajectories, {sum(int(row[4]) for row in rows)} frames"

    return make_all(read_sources(TABLE, VideoSource, options.only), make)


if __name__ == "__main__":
    raise SystemExit(main(tyro.cli(VideoOptions)))
