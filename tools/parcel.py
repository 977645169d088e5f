"""``python -m tools.parcel pack --mix FILE --out DIR``, and ``... unpack --parcels DIR --out DIR``: a mix that travels.

A machine that is lent for minutes takes little at a time. ``pack`` writes the frames that a mix names, or some of each
trajectory, again as WebP into archives of a bounded size, with the boxes and a mix of the same sources and weights; ``unpack``
makes bitmaps of them, which cost a training next to nothing to read.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from metatrack.data.sequence import Sequence
from metatrack.files import inside, write_atomically
from metatrack.images import decode_image, encode_image
from metatrack.training.mix import MixEntry, Source, boxed_frames, load_mix
from metatrack.typed import read_json

MIB = 2**20
SPLIT = "train"
"""Folder of the trajectories of an entry, in GOT-10k's layout."""


@dataclass(frozen=True)
class PackOptions:
    """Writes the frames of mixes into archives."""

    mix: list[Path]
    """JSON files of mixes; the archives hold one of the same name for each."""
    out: Path
    """Folder of the archives, ``part-0.zip`` and so on."""
    quality: int = 72
    """Of WebP."""
    size: int = 58
    """MiB of an archive, at most."""
    frames: dict[str, int] = field(default_factory=dict)
    """How many frames of each trajectory of a source are taken, evenly spaced: ``--frames synthetic 2``; all of others."""
    processes: int = 2
    """That write at once."""


@dataclass(frozen=True)
class UnpackOptions:
    """Makes a training's data of archives."""

    parcels: Path
    """Folder of the archives."""
    out: Path
    """Folder of the data and the mixes."""
    processes: int = 2
    """That read at once."""


def taken(sequence: Sequence, most: int | None) -> list[int]:
    """Numbers of the frames that travel: of those with a box, evenly spaced."""
    frames = boxed_frames(sequence)
    if most is not None and len(frames) > most:
        frames = frames[np.linspace(0, len(frames) - 1, most).round().astype(int)]
    return [int(frame) for frame in frames]


def packed(sequence: Sequence, most: int | None, quality: int) -> tuple[list[bytes], list[str]]:
    """The frames of a trajectory as files, and their boxes as rows."""
    frames = taken(sequence, most)
    rows = [",".join(f"{value:.3f}" for value in sequence.boxes[frame]) for frame in frames]
    return [encode_image(sequence.frame(frame), ".webp", quality=quality, method=4) for frame in frames], rows


def files_of(
    source: Source, folder: str, stills: bool, most: int | None, quality: int, pool: ProcessPoolExecutor
) -> Iterator[tuple[str, bytes]]:
    """Names and contents of a source's files: a table of single images, or GOT-10k's layout."""
    n = len(source.sequences)
    results = pool.map(packed, source.sequences, [most] * n, [quality] * n, chunksize=8)
    table = ["file,x,y,w,h"]
    for sequence, (images, rows) in zip(source.sequences, results, strict=True):
        if stills:
            table.append(f"{sequence.name}.bmp,{rows[0]}")
            yield f"{folder}/{sequence.name}.webp", images[0]
            continue
        where = f"{folder}/{SPLIT}/{sequence.name}"
        for number, image in enumerate(images, 1):
            yield f"{where}/{number:08d}.webp", image
        yield f"{where}/groundtruth.txt", ("\n".join(rows) + "\n").encode()
    if stills:
        yield f"{folder}/boxes.csv", ("\n".join(table) + "\n").encode()


def pack(options: PackOptions) -> None:
    """Writes the archives.

    Raises:
        FileExistsError: the folder holds some.
        ValueError: two trajectories of a source have one name.
    """
    options.out.mkdir(parents=True, exist_ok=True)
    if there := sorted(path.name for path in options.out.glob("part-*.zip")):
        raise FileExistsError(f"{options.out} holds {there[0]}; give another --out, or remove the archives")
    with ProcessPoolExecutor(options.processes) as pool, Parts(options.out, options.size * MIB) as parts:
        for mix in options.mix:
            sources = load_mix(mix)
            entries = []
            for source, entry in zip(sources, read_json(mix, list[MixEntry]), strict=True):
                folder, stills = f"{mix.stem}-{source.name}", all(len(sequence) == 1 for sequence in source.sequences)
                for name, content in files_of(source, folder, stills, options.frames.get(source.name), options.quality, pool):
                    parts.write(name, content)
                split = None if stills else SPLIT
                entries.append(asdict(replace(entry, root=folder, stills=stills, split=split, pattern="*")))
                print(f"{folder}: {len(source.sequences)} trajectories, {parts.total / MIB:.1f} MiB in all", flush=True)
            parts.write(mix.name, json.dumps(entries, indent=1).encode())


class Parts:
    """Archives that are filled one after another."""

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder, self.limit = folder, limit
        self.number, self.size, self.total = -1, limit, 0
        self.archive: zipfile.ZipFile | None = None
        self.names: set[str] = set()

    def __enter__(self) -> Parts:
        """Writes until the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes the last archive."""
        if self.archive is not None:
            self.archive.close()

    def write(self, name: str, content: bytes) -> None:
        """Adds a file."""
        if name in self.names:
            raise ValueError(f"{name} would be packed twice: two trajectories of one source, or two mixes, have one name")
        self.names.add(name)
        size = len(content) + 2 * len(name) + 128  # what an archive notes of a file, twice
        if self.size + size > self.limit:
            self.__exit__()
            self.number, self.size = self.number + 1, 0
            self.archive = zipfile.ZipFile(self.folder / f"part-{self.number}.zip", "w", zipfile.ZIP_STORED)
        if self.archive is not None:
            self.archive.writestr(name, content)
        self.size, self.total = self.size + size, self.total + size


def unpack(options: UnpackOptions) -> None:
    """Writes the data of every archive, pictures as bitmaps."""
    archives = sorted(options.parcels.glob("part-*.zip"))
    if not archives:
        raise FileNotFoundError(f"{options.parcels} holds no part-*.zip; `python -m tools.parcel pack` writes them")
    jobs = [(archive, options.out, rank, options.processes) for archive in archives for rank in range(options.processes)]
    with ProcessPoolExecutor(options.processes) as pool:
        files = sum(pool.map(unpack_share, *zip(*jobs, strict=True)))
    print(f"{files} files of {len(archives)} archives are in {options.out}")


def unpack_share(archive: Path, out: Path, rank: int, size: int) -> int:
    """Writes every ``size``-th file of an archive, from ``rank`` on; returns their number."""
    with zipfile.ZipFile(archive) as files:
        names = files.namelist()[rank::size]
        for name in names:
            path, content = inside(out, name, archive), files.read(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix == ".webp":
                path, content = path.with_suffix(".bmp"), encode_image(decode_image(content, f"{archive}: {name}"), ".bmp")
            write_atomically(path, content)
    return len(names)


Options = Annotated[PackOptions, tyro.conf.subcommand("pack")] | Annotated[UnpackOptions, tyro.conf.subcommand("unpack")]


if __name__ == "__main__":
    options = tyro.cli(Options)
    if isinstance(options, PackOptions):
        pack(options)
    else:
        unpack(options)
